"""Checks that every call of the Python interface shares; a refusal names the argument, the value and the remedy."""

import numpy as np


def number_array(values, name):
    """Values as an array of numbers, real or complex, never masked.

    Parameters
    ----------
    values : array or nested sequence
    name : str
        Of the argument, in messages.

    Returns
    -------
    array
        The one given where it is an array already; a masked array without masked values gives its data.

    Raises
    ------
    ValueError
        Rows of different length, no numbers, or masked values.

    """
    if np.ma.isMaskedArray(values):
        hidden = int(np.ma.count_masked(values))
        if hidden:
            raise ValueError(
                f"{name} is a masked array with {hidden} masked values, and a mask would be lost: give the voxels to "
                "use as a plain array, for example values[~mask.any(axis=-1)].data"
            )
        values = values.data
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers, every row as long as the first: {error}") from error
    if array.dtype.kind not in "iufc":
        raise ValueError(f"{name} must be an array of numbers, got values of type {array.dtype}")
    return array


def real_array(values, name):
    """Values as an array of real numbers: as ``number_array``, and complex ones are refused.

    Raises
    ------
    ValueError
        Complex values, or what ``number_array`` refuses.

    """
    array = number_array(values, name)
    if array.dtype.kind == "c":
        raise ValueError(
            f"{name} must be real, got {array.dtype}: take the magnitude, np.abs({name}), or demodulate the phase and "
            f"take {name}.real"
        )
    return array


def whole_number(value, name, low=None):
    """Value as an int.

    Raises
    ------
    ValueError
        Not a whole number, or below ``low``.

    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))
    if not whole or (low is not None and value < low):
        raise ValueError(f"{name} must be a whole number{'' if low is None else f' >= {low}'}, got {value!r}")
    return int(value)


def real_number(value, name, low=None, low_open=False):
    """Value as a float.

    Raises
    ------
    ValueError
        Not one finite real number, or below ``low`` (or at it, where that is open).

    """
    array = real_array(value, name)
    if array.ndim or not np.isfinite(array):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    if low is not None and (array <= low if low_open else array < low):
        raise ValueError(f"{name} must be a finite number {'>' if low_open else '>='} {low:g}, got {value!r}")
    return float(array)


def random_seed(seed):
    """Seed as an int, or the numpy Generator that was given.

    Raises
    ------
    ValueError
        No whole number from 0 on.

    """
    return seed if isinstance(seed, np.random.Generator) else whole_number(seed, "seed", 0)


def noise_of_voxels(noise_std, n_voxels):
    """Sigma of every voxel, (n_voxels,) float array, from a number or one value per voxel.

    Raises
    ------
    ValueError
        Another shape, not finite, or not positive.

    """
    sigma = real_array(noise_std, "noise_std").astype(float)
    if sigma.shape not in ((), (n_voxels,)):
        raise ValueError(f"noise_std must be a number or (n_voxels,) = ({n_voxels},), got shape {sigma.shape}")
    wrong = ~(np.isfinite(sigma) & (sigma > 0))
    if wrong.any():
        raise ValueError(f"noise_std must be finite and > 0 everywhere, got {np.ravel(sigma[wrong])[0]:g}")
    return np.array(np.broadcast_to(sigma, (n_voxels,)))
