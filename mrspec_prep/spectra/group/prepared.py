"""One look at all voxels of a member before a fit: checks, units, and what no parameter moves."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln

from mrspec_prep.compiled import compiled
from mrspec_prep.spectra.clusters.em_problem import SCALE_VARIANCE
from mrspec_prep.spectra.group.members import Member

BLOCK = 1024  # voxels read and brought to their units at a time
LARGEST_RATIO = 1e8  # of a voxel's 2-norm to its noise; the signals of files are of single precision


@dataclass(frozen=True, eq=False)
class PreparedMember:
    """A member and what one look at its voxels found; serves every pass over them.

    ``typical`` is the median 2-norm of its voxels [signal units]. A voxel's unit is its 2-norm over ``norm_of_one``,
    that of a signal whose strongest volume is 1 (``scale="profiled"``), or 1. It tells nothing of the other voxels:
    the same tissue has the same units in every member of a protocol, whatever else the member is made of.
    ``constant`` is the sum of the log-likelihoods of zero mean signals [nats], ``log_level`` the mean log unit.
    """

    member: Member
    n_encodings: int
    scale_variance: float
    typical: float
    norm_of_one: float
    constant: float = 0.0
    log_level: float = 0.0

    def block(self, start, stop):
        """Signals, variances, energies ||S||2 and units of some voxels, in their units; arrays of their own."""
        signals = np.array(self.member.signals[start:stop], dtype=float)
        variances = np.array(self.member.noise_std[start:stop], dtype=float)
        energies = np.array(self.member.outside[start:stop], dtype=float)
        units = np.empty(len(signals))
        to_units(signals, variances, energies, units, self.scale_variance > 0, self.typical, self.norm_of_one)
        return signals, variances, energies, units


@compiled
def to_units(signals, variances, energies, units, free, typical, norm_of_one):
    """Bring a block to its voxels' units in place; ``variances`` holds sigma and ``energies`` the part outside."""
    n_voxels, n_ranks = signals.shape
    for n in range(n_voxels):
        energy = max(energies[n], 0.0)
        for k in range(n_ranks):
            energy += signals[n, k] * signals[n, k]
        unit = 1.0
        if free:
            norm = np.sqrt(energy)
            unit = (norm if norm > 0.0 else typical) / norm_of_one
            for k in range(n_ranks):
                signals[n, k] /= unit
        units[n] = unit
        energies[n] = energy / unit**2
        variances[n] = variances[n] ** 2 / unit**2


def prepare_member(member, protocol, scale, name="member"):
    """Check all voxels of a member and find its units, in one pass.

    Parameters
    ----------
    member : Member
    protocol : Protocol
    scale : str
        ``fixed`` or ``profiled``.
    name : str
        For messages.

    Returns
    -------
    PreparedMember

    Raises
    ------
    ValueError
        Values not finite, sigma not positive, energies negative, signals zero everywhere or beyond single precision.

    """
    norms = np.empty(member.n_voxels)
    for start in range(0, member.n_voxels, BLOCK):
        part = slice(start, start + BLOCK)
        signals = np.array(member.signals[part], dtype=float)
        sigma, outside = np.asarray(member.noise_std[part], dtype=float), np.asarray(member.outside[part], dtype=float)
        _check_block(signals, sigma, outside, name, start)
        norms[part] = np.sqrt(np.maximum(outside, 0.0) + np.einsum("nk,nk->n", signals, signals))
    lit = norms > 0
    if not lit.any():
        raise ValueError(f"{name}: signals are zero everywhere")
    typical = float(np.median(norms[lit]))
    norm_of_one = _norm_of_one(protocol.reduced)
    variance = SCALE_VARIANCE if scale == "profiled" else 0.0
    level = float(np.log(norms[lit]).mean() - np.log(norm_of_one)) if variance else 0.0
    prepared = PreparedMember(member, protocol.n_encodings, variance, typical, norm_of_one, log_level=level)
    return replace(prepared, constant=_constant(prepared))


def _norm_of_one(reduced):
    """2-norm of a signal whose strongest volume is 1: geometric mean over the bins of a protocol's grid."""
    peaks = np.abs(reduced.columns @ reduced.projection.T).max(axis=1)
    norms = np.linalg.norm(reduced.columns, axis=1)
    seen = peaks > 0
    return float(np.exp(np.log(norms[seen] / peaks[seen]).mean()))


def _check_block(signals, sigma, outside, name, start):
    """Refuse a block that no fit can use, in words."""
    bad = ~(np.isfinite(signals).all(axis=1) & np.isfinite(sigma) & np.isfinite(outside))
    if bad.any():
        raise ValueError(f"{name}: {bad.sum()} voxels hold NaN or infinite values, first {start + bad.argmax()}")
    if not (sigma > 0).all():
        raise ValueError(f"{name}: noise_std must be > 0 everywhere, voxel {start + sigma.argmin()} has {sigma.min()}")
    scale = np.einsum("nk,nk->n", signals, signals)
    ratio = np.sqrt(scale) / sigma
    if ratio.max(initial=0.0) > LARGEST_RATIO:
        raise ValueError(
            f"{name}: the signals of voxel {start + ratio.argmax()} are {ratio.max():.3g} times its noise_std, more "
            f"than single precision can hold ({LARGEST_RATIO:.0g}): a damaged or wrongly scaled file"
        )
    if (outside < -1e-4 * scale - 1e-300).any():
        raise ValueError(f"{name}: outside must be >= 0, voxel {start + outside.argmin()} has {outside.min()}")


def _constant(prepared):
    """Sum over the voxels of the log-likelihood of a zero mean signal [nats of the signals in their own units]."""
    nu, n_data, total = prepared.member.degrees_of_freedom, prepared.n_encodings, 0.0
    for start in range(0, prepared.member.n_voxels, BLOCK):
        _, variances, energies, units = prepared.block(start, start + BLOCK)
        ratio, logs = energies / variances, np.log(variances) + 2 * np.log(units)
        if nu is None:
            total += float((-0.5 * ratio - 0.5 * n_data * (np.log(2 * np.pi) + logs)).sum())
        else:
            half = (n_data + nu) / 2
            norm = gammaln(half) - gammaln(nu / 2) - n_data / 2 * (np.log(np.pi * nu) + logs)
            total += float((norm - half * np.log1p(ratio / nu)).sum())
    return total
