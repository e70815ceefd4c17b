"""Simulated signals of known tissue and known noise."""

import numpy as np

from mrspec_prep.physics.kernels import kernel_axes, signal

NOISE_KINDS = ("gaussian", "rician", "nc-chi")


def simulate_signals(name, encodings, parameters, fractions=None, s0=1.0):
    """Noise-free signals of voxels that mix one or more compartments.

    Parameters
    ----------
    name : str
        Kernel, key of ``KERNELS``.
    encodings : Encodings
    parameters : dict of str to array
        Per spectral axis (n_voxels,) or (n_voxels, n_compartments)
        [diffusivity um2/ms, t2, t2star, t1 ms].
    fractions : (n_voxels, n_compartments) array, optional
        Volume fractions; equal parts by default.
    s0 : float or (n_voxels,) array
        Signal at b=0, TE=0, full recovery.

    Returns
    -------
    (n_voxels, n_encodings) array
        Sum over compartments; signed where inversion recovery takes part.

    Raises
    ------
    ValueError
        Unknown kernel, a parameter is missing, or fractions of another number of compartments.

    Examples
    --------
    One voxel of one compartment, one that mixes two:

    >>> from mrspec_prep.physics import Encodings, simulate_signals
    >>> tissue = {"t2": [[80.0, 80.0], [20.0, 80.0]]}
    >>> simulate_signals("t2", Encodings(echo_time=[0, 80]), tissue, fractions=[[0.5, 0.5], [0.25, 0.75]]).round(3)
    array([[1.   , 0.368],
           [1.   , 0.28 ]])

    """
    missing = [axis for axis in kernel_axes(name) if axis not in parameters]
    if missing:
        raise ValueError(f"kernel {name} needs {', '.join(missing)}, got {', '.join(parameters) or 'no parameter'}")
    arrays = np.broadcast_arrays(*[np.asarray(v, float) for v in parameters.values()])
    stacked = {key: (a[:, None] if a.ndim == 1 else a) for key, a in zip(parameters, arrays, strict=True)}
    n_voxels, n_compartments = next(iter(stacked.values())).shape
    if fractions is None:
        fractions = np.full((n_voxels, n_compartments), 1.0 / n_compartments)
    if np.shape(fractions)[-1:] != (n_compartments,):
        raise ValueError(f"fractions must be ({n_voxels}, {n_compartments}), got shape {np.shape(fractions)}")
    pure = signal(name, encodings, **{key: a.ravel() for key, a in stacked.items()})
    pure = pure.reshape(len(encodings), n_voxels, n_compartments)
    mixed = np.einsum("enc,nc->ne", pure, np.broadcast_to(fractions, (n_voxels, n_compartments)))
    return mixed * np.broadcast_to(np.asarray(s0, float), (n_voxels,))[:, None]


def add_noise(signals, noise_std, rng, kind="gaussian", n_coils=1):
    """Signals with measurement noise.

    Parameters
    ----------
    signals : array
        Noise-free signals, any shape.
    noise_std : float or array
        Standard deviation of each (real) channel, broadcast against ``signals``.
    rng : numpy.random.Generator
    kind : str
        ``gaussian``; ``rician`` (magnitude of complex noise); ``nc-chi`` (root sum of
        squares over ``n_coils`` channels, the signal split evenly between them).
    n_coils : int
        For ``nc-chi``.

    Returns
    -------
    array of the shape of ``signals``

    Raises
    ------
    ValueError
        Unknown noise kind, or no generator.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import add_noise
    >>> noisy = add_noise(np.zeros(100_000), 1.0, np.random.default_rng(0), "rician")  # magnitudes of noise alone
    >>> float(noisy.mean().round(2))  # sqrt(pi / 2)
    1.25

    """
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy Generator, as np.random.default_rng(0), got {rng!r}")
    if kind == "gaussian":
        return signals + noise_std * rng.standard_normal(np.shape(signals))
    if kind not in NOISE_KINDS:
        raise ValueError(f"noise kind must be one of {', '.join(NOISE_KINDS)}, got {kind!r}")
    coils = 1 if kind == "rician" else n_coils
    power = np.zeros(np.shape(signals))
    for _ in range(coils):
        real = signals / np.sqrt(coils) + noise_std * rng.standard_normal(np.shape(signals))
        imaginary = noise_std * rng.standard_normal(np.shape(signals))
        power += real**2 + imaginary**2
    return np.sqrt(power)
