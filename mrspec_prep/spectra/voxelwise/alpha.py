"""Choice of the regularisation weight alpha by a named rule, voxel by voxel or for the image.

With rho(alpha) = ||K f - s||2, rho0 = rho(0), eta(alpha) = ||f||2, m encodings, r the rank of the kernel:

========== =================================================================================
fixed      alpha as given
gcv        least m rho / (m - tr H)2, H the hat matrix on the non-zero bins (Golub et al. 1979)
lcurve     greatest curvature of (log rho, log eta) (Hansen 1992), as the turn of the tangent
           over the arc between alpha / 2.15 and 2.15 alpha, so that no single bin decides
chi2       rho = 1.02 rho0 (the multi-echo T2 literature)
discrepancy rho = m sigma2 (Morozov)
brd        ||y|| = sigma sqrt(r), the fixed point of alpha <- alpha sigma sqrt(r) / ||y|| (Butler,
           Reeds and Dawson 1981): the discrepancy of the compressed signal, y = P's - B f
========== =================================================================================

Scope ``voxel``: each voxel its own alpha. Scope ``image``: one alpha, the same rule on the stacked
problem of all voxels, residual and penalty summed with weights 1 / sigma2 (1 where no noise is given),
m and r times the number of voxels.

What to expect. ``chi2`` always has a solution where the unregularised fit leaves a residual. ``discrepancy`` has
none in voxels whose unregularised fit leaves more than its expected share (a quarter to a half of them, since
that fit uses only a few of the m degrees of freedom), ``brd`` in fewer: it leaves aside what no spectrum can
explain, such as the scatter over gradient directions. Both are only as good as sigma. The GCV function is flat and,
because bins enter and leave, not smooth: the alpha found lies within one or two per cent of its least value, which may
be a factor away in alpha. Spectra of many bins are searched on merged columns first and refined on all of them.
"""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.spectra.compression.levels import coarse_columns
from mrspec_prep.spectra.compression.reduction import check_signals, reduce_kernel
from mrspec_prep.spectra.voxelwise import alpha_rules
from mrspec_prep.spectra.voxelwise.alpha_path import fit_each, new_state
from mrspec_prep.threads import for_blocks, single_threaded_blas

RULES = ("fixed", "gcv", "lcurve", "chi2", "discrepancy", "brd")
SCOPES = ("voxel", "image")
NEED_NOISE = ("discrepancy", "brd")
CHI2_FACTOR = 1.02
BOUNDS = (1e-9, 1.0)  # alphas searched, relative to the largest squared singular value of the kernel
GRAM_BINS_PER_RANK = 3.5  # up to which block pivoting on the Gram matrix beats Newton in the dual (measured)
COARSE_COLUMNS = 100  # merged columns on which large problems look for alpha first
COARSE_ALPHA = 1e-6  # relative weight at which columns are judged alike
STACKED_VOXELS = 1024  # voxels of an image that are stacked at most, evenly spaced
BLOCK = 64
MULTIPLIER_TOLERANCE = 1e-11
MAX_CHANGES = 5000
MAX_STEPS = 200


@dataclass(frozen=True, eq=False)
class AlphaChoice:
    """Regularisation weights picked by a rule.

    Attributes
    ----------
    alpha : float or (n_voxels,) array
        Weight of ||f||2 (paper 1, Eq. 4); an array for scope ``voxel``.
    rule, scope : str
    met : bool or (n_voxels,) bool array
        Whether the rule's equation has a solution within the bounds searched; where not, alpha is the
        nearer bound: the smallest where even the unregularised fit leaves too much, the largest where no
        fit is needed.
    bounds : (low, high)
        Alphas searched; None for a fixed alpha.
    dual : (n_voxels, n_ranks) array or None
        Duals at the weights chosen, where each voxel has its own: starts for the fit.
    n_stacked : int
        Voxels that an image's alpha rests on; 0 otherwise.

    """

    alpha: float | np.ndarray
    rule: str
    scope: str
    met: bool | np.ndarray
    bounds: tuple | None = None
    dual: np.ndarray | None = None
    n_stacked: int = 0


def choose_alpha(signals, kernel, rule, noise_std=None, scope="voxel", *, alpha=0.01, chi2_factor=CHI2_FACTOR,
                 n_threads=None):  # fmt: skip
    """Regularisation weights by a named rule (table at the head of the module).

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
        Any unit; alpha does not depend on it.
    kernel : (n_encodings, n_bins) array or ReducedKernel
    rule : str
        One of ``RULES``.
    noise_std : float or (n_voxels,) array, optional
        [signal units]. Needed by ``discrepancy`` and ``brd``; weighs the voxels of scope ``image``.
    scope : str
        ``voxel`` or ``image``. The image's alpha rests on up to 1024 voxels, evenly spaced.
    alpha : float
        What the rule ``fixed`` gives.
    chi2_factor : float
        Of the rule ``chi2``: residual wanted over the unregularised one.
    n_threads : int, optional
        Default: the cores available. The result does not depend on it.

    Returns
    -------
    AlphaChoice
        Give it to ``fit_nnls`` as ``alpha``.

    Raises
    ------
    ValueError
        Unknown rule or scope, noise missing or not positive, chi2_factor not above 1, wrong shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import Encodings, Grid, kernel_matrix, simulate_signals
    >>> from mrspec_prep.spectra import choose_alpha, fit_nnls
    >>> encodings = Encodings(echo_time=np.arange(10.0, 330.0, 10.0))  # ms
    >>> kernel = kernel_matrix("t2", encodings, Grid(t2=np.geomspace(5, 1000, 30)))
    >>> signals = simulate_signals("t2", encodings, {"t2": [40.0, 90.0]})
    >>> signals += np.random.default_rng(0).normal(0, 0.01, signals.shape)
    >>> found = choose_alpha(signals, kernel, "discrepancy", noise_std=0.01)
    >>> found.alpha.shape, fit_nnls(signals, kernel, alpha=found.alpha).converged.tolist()
    ((2,), [True, True])

    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}, got {scope!r}")
    if not chi2_factor > 1:
        raise ValueError(f"chi2_factor must be > 1, got {chi2_factor}")
    reduced = reduce_kernel(kernel)
    signals = check_signals(signals, reduced.n_encodings)
    noise = _checked_noise(noise_std, rule, len(signals))
    if rule == "fixed":
        return AlphaChoice(float(alpha), rule, scope, True)
    if scope == "image":
        return _for_image(signals, reduced, rule, noise, chi2_factor)
    return _for_voxels(signals, reduced, rule, noise, chi2_factor, n_threads)


def _checked_noise(noise_std, rule, n_voxels):
    """(n_voxels,) noise or None."""
    if noise_std is None:
        if rule in NEED_NOISE:
            raise ValueError(f"the rule {rule} needs noise_std; gcv, lcurve and chi2 do without")
        return None
    noise = np.asarray(noise_std, dtype=float)
    if noise.ndim > 1 or noise.size not in (1, n_voxels):
        raise ValueError(f"noise_std must be a number or ({n_voxels},), got shape {noise.shape}")
    if not (np.isfinite(noise).all() and (noise > 0).all()):
        raise ValueError("noise_std must be finite and > 0 in every voxel")
    return np.broadcast_to(noise.reshape(-1), (n_voxels,))


def _whole_problem(reduced):
    """The problem as the compiled code reads it: columns, Gram matrix, whether that is used."""
    if reduced.n_bins > GRAM_BINS_PER_RANK * reduced.n_ranks:
        return reduced.columns, np.zeros((0, 0)), False
    with single_threaded_blas():
        return reduced.columns, reduced.columns @ reduced.basis, True


def _problems(reduced):
    """The problem, the coarse one for its start where it is large, and the bounds of log alpha."""
    largest = reduced.singular_values[0] ** 2
    bounds = (np.log(BOUNDS[0] * largest), np.log(BOUNDS[1] * largest))
    problem = _whole_problem(reduced)
    if problem[2]:
        return problem, problem, bounds
    n_coarse = int(min(COARSE_COLUMNS, GRAM_BINS_PER_RANK * reduced.n_ranks))
    coarse, _ = coarse_columns(reduced, COARSE_ALPHA * largest, n_coarse, 0.0)
    with single_threaded_blas():
        coarse_gram = coarse @ coarse.T
    return problem, (coarse, coarse_gram, True), bounds


def _rule_inputs(rule, n_voxels, outside, noise, reduced, chi2_factor):
    """Code of the rule, energy outside the range that counts, and target of each voxel."""
    if rule == "chi2":
        return alpha_rules.CHI2, outside, np.full(n_voxels, float(chi2_factor))
    if rule == "discrepancy":
        return alpha_rules.TARGET, outside, reduced.n_encodings * noise**2
    if rule == "brd":
        return alpha_rules.TARGET, np.zeros_like(outside), reduced.n_ranks * noise**2
    return (alpha_rules.GCV if rule == "gcv" else alpha_rules.LCURVE), outside, np.zeros(n_voxels)


def _voxels(signals, reduced):
    """Compressed signals, their products with the columns, and energy outside the range."""
    compressed, outside = reduced.compress(signals)
    with single_threaded_blas():
        return compressed, np.ascontiguousarray(compressed @ reduced.basis), outside


def _for_voxels(signals, reduced, rule, noise, chi2_factor, n_threads):
    n_voxels = len(signals)
    problem, coarse, bounds = _problems(reduced)
    alphas, met = np.ones(n_voxels), np.zeros(n_voxels, bool)
    duals = np.zeros((n_voxels, reduced.n_ranks))

    def work(start, stop):
        part = slice(start, stop)
        compressed, projected, outside = _voxels(signals[part], reduced)
        sigma = None if noise is None else noise[part]
        code, outside, targets = _rule_inputs(rule, stop - start, outside, sigma, reduced, chi2_factor)
        voxels = (compressed, projected, outside, np.ones(stop - start))
        alpha_rules.choose_each(
            problem, coarse, voxels, code, targets, float(reduced.n_encodings), bounds,
            (MULTIPLIER_TOLERANCE, MAX_CHANGES), alphas[part], met[part], duals[part],
        )  # fmt: skip

    for_blocks(n_voxels, BLOCK, work, n_threads)
    return AlphaChoice(alphas, rule, "voxel", met, tuple(np.exp(bounds)), duals)


def _for_image(signals, reduced, rule, noise, chi2_factor):
    if len(signals) == 0:
        raise ValueError("an alpha for the image needs at least one voxel")
    chosen = np.unique(np.linspace(0, len(signals) - 1, min(len(signals), STACKED_VOXELS)).astype(int))
    problem, coarse, bounds = _problems(reduced)
    compressed, projected, outside = _voxels(signals[chosen], reduced)
    weights = np.ones(len(chosen)) if noise is None else noise[chosen] ** -2.0
    code, outside, targets = _rule_inputs(
        rule, len(chosen), outside, None if noise is None else noise[chosen], reduced, chi2_factor
    )
    target = float(chi2_factor) if rule == "chi2" else float(np.sum(weights * targets))
    voxels = (compressed, projected, outside, weights)
    state = new_state(problem, compressed, projected)
    alpha, met = alpha_rules.choose(
        problem, coarse, voxels, state, code, target, float(reduced.n_encodings * len(chosen)), bounds,
        (MULTIPLIER_TOLERANCE, MAX_CHANGES),
    )  # fmt: skip
    return AlphaChoice(float(alpha), rule, "image", bool(met), tuple(np.exp(bounds)), None, len(chosen))


def fit_with_own_alphas(compressed, outside, reduced, alphas, tolerance, starts=None, n_threads=None):
    """Certified duals of voxels that have an alpha each.

    Parameters
    ----------
    compressed, outside : arrays
        Of ``ReducedKernel.compress``.
    reduced : ReducedKernel
    alphas : (n_voxels,) array
        Above 0.
    tolerance : float
        Relative excess of the objective allowed.
    starts : (n_voxels, n_ranks) array, optional
        Duals to start from.
    n_threads : int, optional

    Returns
    -------
    dual : (n_voxels, n_ranks) array
    gap : (n_voxels,) array
    steps : (n_voxels,) int array

    """
    n_voxels = len(compressed)
    problem = _whole_problem(reduced)
    duals = np.zeros_like(compressed) if starts is None else np.array(starts, dtype=float)
    gaps, steps = np.zeros(n_voxels), np.zeros(n_voxels, np.int64)

    def work(start, stop):
        part = slice(start, stop)
        with single_threaded_blas():
            projected = np.ascontiguousarray(compressed[part] @ reduced.basis)
        voxels = (compressed[part], projected, outside[part], np.ones(stop - start))
        fit_each(
            problem, voxels, alphas[part], duals[part], starts is not None, tolerance, MAX_STEPS, gaps[part],
            steps[part],
        )  # fmt: skip

    for_blocks(n_voxels, BLOCK, work, n_threads)
    return duals, gaps, steps
