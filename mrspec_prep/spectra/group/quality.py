"""How well shared spectra describe one participant: what a reader needs to judge a scan or a site."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.threads import single_threaded_blas

BLOCK = 65_536  # voxels read at a time


@dataclass(frozen=True)
class Quality:
    """Three numbers of one participant, medians or means over its voxels.

    Parameters
    ----------
    snr : float
        Median of the root mean square signal over the noise; the noise's own share is taken off.
    residual : float
        Root of the median squared misfit of the most probable cluster over its expectation; 1 where the spectra
        explain the signals, also those parts of them that no spectrum could.
    certainty : float
        Mean probability of the most probable cluster.

    """

    snr: float
    residual: float
    certainty: float


def member_quality(member, protocol, spectra, responsibilities, *, scale="profiled", gain=1.0):
    """Signal-to-noise ratio, residual and certainty of one participant under shared spectra.

    Parameters
    ----------
    member : Member
        Memory maps are read in blocks.
    protocol : Protocol
        Of the member.
    spectra : (n_clusters, n_bins) array
        Shared by the group.
    responsibilities : (n_voxels, n_clusters) array
    scale : str
        ``profiled``: every voxel takes its best scale; ``fixed``: the spectra times ``gain`` are the signals.
    gain : float
        Of the member's site; used with ``fixed``.

    Returns
    -------
    Quality

    Raises
    ------
    ValueError
        Responsibilities for other voxels or clusters.

    """
    means = np.asarray(spectra) @ protocol.reduced.columns * (gain if scale == "fixed" else 1.0)
    n_voxels = len(member.signals)
    if responsibilities.shape != (n_voxels, len(means)):
        raise ValueError(f"responsibilities must be {(n_voxels, len(means))}, got {responsibilities.shape}")
    norms = np.maximum((means**2).sum(axis=1), np.finfo(float).tiny)
    free = int(scale == "profiled")
    freedom = max(1, protocol.n_encodings - free)
    squared, energy, certainty = np.empty(n_voxels), np.empty(n_voxels), 0.0
    with single_threaded_blas():
        for start in range(0, n_voxels, BLOCK):
            part = slice(start, min(start + BLOCK, n_voxels))
            signals, variance = np.asarray(member.signals[part], float), np.square(member.noise_std[part], dtype=float)
            best = responsibilities[part].argmax(axis=1)
            certainty += responsibilities[part].max(axis=1).sum()
            inner = np.einsum("nk,nk->n", signals, means[best])
            fitted = np.maximum(inner, 0) ** 2 / norms[best] if free else 2 * inner - norms[best]
            total = np.einsum("nk,nk->n", signals, signals) + member.outside[part]
            squared[part] = (total - fitted) / (freedom * variance)
            energy[part] = np.maximum(total / protocol.n_encodings - variance, 0) / variance
    residual = np.sqrt(max(float(np.median(squared)), 0.0))
    return Quality(float(np.sqrt(np.median(energy))), float(residual), float(certainty / n_voxels))
