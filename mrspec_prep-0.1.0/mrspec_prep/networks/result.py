"""What every method of parameter mapping answers."""

from dataclasses import dataclass, field

import numpy as np

#: probabilities of the quantiles in ``intervals``: ends of the 95 % interval outside, of the 68 % interval inside
LEVELS = (0.025, 0.15865525393145707, 0.8413447460685429, 0.975)


CONES = (LEVELS[2] - LEVELS[1], LEVELS[3] - LEVELS[0])  #: probabilities of ``cones``, .683 and .95


@dataclass(frozen=True, eq=False)
class MapsResult:
    """Parameter maps of many voxels.

    Attributes
    ----------
    maps : dict of str to (n_voxels,) array
        By parameter of the model [units of the model's table].
    std : dict of str to (n_voxels,) array or None
        Posterior standard deviation (least squares: standard error), same names and units.
    intervals : dict of str to (n_voxels, 4) array or None
        Posterior quantiles at ``LEVELS``, same names (no components of a direction) and units. A posterior with
        mass at a bound has quantiles at the bound.
    cones : (n_voxels, 2) array or None
        Of models with a direction: angles to it [rad] that the true axis exceeds with no more than 1 - ``CONES``.
    latent : (n_voxels, n_latent) array or None
    cluster_probs : (n_voxels, K) array or None
        Probability that a voxel belongs to each component of the prior.
    risk : (n_voxels,) array or None
        Disagreement with least squares beyond what the noise explains; None for least squares itself.
    converged : (n_voxels,) bool array
    valid : (n_voxels,) bool array
        Where the model describes the whole protocol at these parameters (MSDKI: b <= 3 / (D K)).
    noise_std : (n_voxels,) array
        Sigma that was used [signal units].
    residual : (n_voxels,) array or None
        Root mean square of data minus fit over its expectation from the noise; None where no encoding is left over.
    history : dict of str to list
        What was watched while training, by name; empty where nothing was trained.
    device : str
        ``cpu`` or ``cuda``.
    seed : int
    settings : dict
        Every setting that was used, defaults too.

    """

    maps: dict
    std: dict | None
    converged: np.ndarray
    valid: np.ndarray
    noise_std: np.ndarray
    intervals: dict | None = None
    cones: np.ndarray | None = None
    latent: np.ndarray | None = None
    cluster_probs: np.ndarray | None = None
    risk: np.ndarray | None = None
    residual: np.ndarray | None = None
    history: dict = field(default_factory=dict)
    device: str = "cpu"
    seed: int = 0
    settings: dict = field(default_factory=dict)
