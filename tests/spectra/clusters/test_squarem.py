import numpy as np

from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.em_sums import e_step
from mrspec_prep.spectra.clusters.em_updates import log_prior, m_step, run_em
from mrspec_prep.spectra.clusters.short_runs import seeded_state
from mrspec_prep.spectra.clusters.squarem import LARGEST_STEP, Extrapolation


def test_a_slow_geometric_path_is_leapt_along():
    """A path that closes a tenth of its distance per step is brought nearly to its end."""
    end, start = np.array([[5.0, 1.0]]), np.array([[1.0, 3.0]])
    path = [end + (start - end) * 0.9**n for n in range(3)]
    probs = np.array([1.0])
    leaps = Extrapolation()
    leaps.bound = 100.0
    _, spectra = leaps.leap(*[(probs, point, point) for point in path], np.ones(1))
    np.testing.assert_allclose(spectra, end, atol=1e-9)


def test_results_stay_probabilities_and_spectra():
    rng = np.random.default_rng(0)
    states = [(rng.dirichlet([1, 1, 1]), s := rng.exponential(size=(3, 9)), s[:, :2]) for _ in range(3)]
    leaps = Extrapolation()
    found = leaps.leap(*states, np.ones(3))
    if found is not None:
        probs, spectra = found
        np.testing.assert_allclose(probs.sum(), 1)
        assert (probs > 0).all() and (spectra >= 0).all()


def test_the_bound_grows_with_success_and_falls_with_failure():
    leaps = Extrapolation()
    leaps.last = leaps.bound
    leaps.judge(True)
    assert leaps.bound > LARGEST_STEP
    leaps.judge(False)
    leaps.judge(False)
    assert leaps.bound < LARGEST_STEP


def test_accelerated_em_reaches_the_optimum_of_plain_em_in_fewer_steps(placenta):
    problem = make_problem(placenta.signals, placenta.kernel, 0.05)
    state = seeded_state(problem, 3, np.random.default_rng(3))
    trace, converged = run_em(problem, state, 500)
    plain = seeded_state(problem, 3, np.random.default_rng(3))
    for _ in range(4 * len(trace)):
        value, *sums = e_step(problem, plain)
        m_step(problem, plain, *sums)
    assert converged
    value, *_ = e_step(problem, plain)
    assert trace[-1] >= value + log_prior(problem, plain) - 1e-5 * len(placenta.signals)
