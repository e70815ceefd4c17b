import numpy as np
import pytest

from mrspec_prep.spectra import fit_inspect, select_n_clusters
from mrspec_prep.spectra.clusters.climb import climb
from mrspec_prep.spectra.clusters.em_problem import make_problem
from mrspec_prep.spectra.clusters.em_updates import EmSteps
from mrspec_prep.spectra.clusters.short_runs import seeded_state
from mrspec_prep.spectra.noise.likelihoods import NoiseModel

NOISES = {"gaussian": None, "student-t": NoiseModel("student-t", degrees_of_freedom=5), "rician": NoiseModel("rician")}


def steps_of(data, noise="gaussian", mode="exact", scale="fixed"):
    return EmSteps(make_problem(data.signals, data.kernel, 0.05, mode=mode, scale=scale, noise=NOISES[noise]))


def starts_of(steps, numbers=(2, 3, 5)):
    return [seeded_state(steps.problem, m, np.random.default_rng(m)) for m in numbers]


def assert_same(first, second):
    assert first.trace == second.trace
    assert (first.converged, first.n_passes) == (second.converged, second.n_passes)
    for name, values in vars(first.state).items():
        np.testing.assert_array_equal(values, getattr(second.state, name), err_msg=name)


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
@pytest.mark.parametrize(("noise", "mode"), [("gaussian", "exact"), ("gaussian", "paper"), ("student-t", "exact")])
def test_climbs_in_the_same_passes_are_those_made_alone(placenta, noise, mode, scale):
    steps = steps_of(placenta, noise, mode, scale)
    together = climb(steps, starts_of(steps), 40)
    for one, state in zip(together, starts_of(steps), strict=True):
        assert_same(one, climb(steps, [state], 40)[0])
    assert len({one.n_passes for one in together}) > 1  # some ended while others went on


def test_magnitudes_climb_together_as_alone(placenta):
    steps = steps_of(placenta, "rician")
    for one, state in zip(climb(steps, starts_of(steps), 6), starts_of(steps), strict=True):
        assert_same(one, climb(steps, [state], 6)[0])


@pytest.mark.parametrize("scale", ["fixed", "profiled"])
def test_every_pass_is_a_place_to_resume_from(placenta, scale):
    steps = steps_of(placenta, scale=scale)
    written = []

    def keep(climbs):
        written.append([{name: np.array(array) for name, array in one.items()} for one in climbs])

    whole = climb(steps, starts_of(steps), 25, on_step=keep)
    assert any("kept/spectra" in one for climbs in written for one in climbs)  # also while a leap is on trial
    for climbs in written:
        for one, again in zip(whole, climb(steps, starts_of(steps), 25, resume=climbs), strict=True):
            assert_same(one, again)


def test_resume_refuses_other_settings(placenta):
    steps = steps_of(placenta)
    written = []
    climb(steps, starts_of(steps, [2]), 3, on_step=lambda climbs: written.append(climbs))
    with pytest.raises(ValueError, match="other settings"):
        climb(steps, starts_of(steps, [3]), 3, resume=written[-1])
    with pytest.raises(ValueError, match="1 climbs to resume, 2 states"):
        climb(steps, starts_of(steps, [2, 3]), 3, resume=written[-1])


def test_traces_rise_though_leaps_fail(placenta):
    steps = steps_of(placenta)
    climbs = climb(steps, starts_of(steps, range(2, 9)), 60)
    for one in climbs:
        assert np.diff(one.trace).min() > -1e-10 * abs(one.trace[-1])
    assert any(one.n_passes > len(one.trace) for one in climbs)  # a pass that leaves no trace is a leap undone


def test_a_fit_of_a_selection_is_the_fit_alone(four_tissues):
    together = select_n_clusters(four_tissues.signals, four_tissues.kernel, 0.05, [2, 4, 6], n_starts=4, seed=3)
    for m, fit in together.fits.items():
        rng = np.random.default_rng([3, m])
        alone = fit_inspect(four_tissues.signals, four_tissues.kernel, 0.05, m, n_starts=4, seed=rng)
        np.testing.assert_array_equal(fit.spectra, alone.spectra)
        assert (fit.bic, fit.n_steps, fit.stability) == (alone.bic, alone.n_steps, alone.stability)
