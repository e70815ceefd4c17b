"""Likelihood of volumes that a fit has not seen."""

import numpy as np

from mrspec_prep.spectra.clusters.climb import climb
from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.em_sums import expect
from mrspec_prep.spectra.clusters.em_updates import EmSteps, state_from_responsibilities
from mrspec_prep.spectra.compression.reduction import reduce_kernel
from mrspec_prep.threads import single_threaded_blas

FOLD_STEPS = 100


def volume_folds(kernel, n_folds):
    """Fold of each volume: volumes of equal encoding are dealt out in turn.

    Parameters
    ----------
    kernel : (n_encodings, n_bins) array or ReducedKernel
    n_folds : int

    Returns
    -------
    (n_encodings,) int array

    """
    rows = getattr(kernel, "projection", kernel)
    seen = {}
    group = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in np.ascontiguousarray(rows)])
    fold = np.empty(len(group), int)
    fold[np.argsort(group, kind="stable")] = np.arange(len(group)) % n_folds
    return fold


def held_out_log_likelihood(signals, kernel, noise_std, fits, n_folds, problem, **settings):
    """Log-likelihood of each fold's volumes given the other volumes and the spectra fitted to these.

    log p(S_held | S_kept) = l(all volumes) - l(kept volumes), both at the spectra of the kept
    volumes, which EM finds from the responsibilities of the fit to all volumes.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
    kernel : (n_encodings, n_bins) array or ReducedKernel
    noise_std : float or (n_voxels,) array
    fits : dict of int to InspectResult
    n_folds : int
        At least 2.
    problem : Problem
        Of all volumes, without neighbours.
    **settings
        Of ``make_problem``.

    Returns
    -------
    dict of int to float
        Sum over folds [nats].

    Raises
    ------
    ValueError
        Fewer than 2 folds, or more folds than volumes.

    """
    if not 2 <= n_folds <= problem.n_encodings:
        raise ValueError(f"held-out volumes need 2 to {problem.n_encodings} folds, got {n_folds}")
    signals = np.asarray(signals)
    whole = kernel if isinstance(kernel, np.ndarray) else kernel.projection @ kernel.basis
    fold = volume_folds(kernel, n_folds)
    totals = dict.fromkeys(fits, 0.0)
    with single_threaded_blas():
        for held in range(n_folds):
            kept = fold != held
            part = make_problem(
                signals[:, kept], reduce_kernel(whole[kept]), noise_std, units=problem.units, **settings
            )
            states = [state_from_responsibilities(part, fit.responsibilities) for fit in fits.values()]
            climb(EmSteps(part), states, FOLD_STEPS)
            seen = [value for value, _ in expect(part, states)]
            for state in states:
                _set_kernel(problem, state)
            everything = [value for value, _ in expect(problem, states)]
            for m, whole_value, seen_value in zip(fits, everything, seen, strict=True):
                totals[m] += whole_value - seen_value
    return totals


def _set_kernel(problem, state):
    """Compressed signals of a state's spectra under another problem's kernel, in place."""
    state.means = state.spectra @ problem.reduced.columns
    state.norms = (state.means**2).sum(axis=1)
