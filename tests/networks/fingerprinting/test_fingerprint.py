"""Laws of dictionary matching: truth without noise, brute force, phase, noise, errors in words."""

import numpy as np
import pytest

from mrspec_prep.networks import fit_fingerprint
from mrspec_prep.networks.fingerprinting.dictionary import make_dictionary
from mrspec_prep.networks.fingerprinting.matching import match_atoms
from mrspec_prep.networks.fingerprinting.projection import project
from mrspec_prep.networks.fingerprinting.refinement import refine
from mrspec_prep.physics import Grid
from mrspec_prep.physics.fingerprinting import fisp_schedule, simulate_fisp

SCHEDULE = fisp_schedule(240)
GRID = Grid(t1=np.geomspace(100, 4500, 40), t2=np.geomspace(8, 1500, 40))


@pytest.fixture(scope="module")
def dictionary():
    return make_dictionary(SCHEDULE, GRID)


def tissues(n, seed=0):
    """Relaxation times of tissue [ms] and complex M0."""
    rng = np.random.default_rng(seed)
    t1 = np.exp(rng.uniform(np.log(400), np.log(4000), n))
    t2 = np.exp(rng.uniform(np.log(25), np.log(600), n))
    return t1, np.minimum(t2, 0.8 * t1), (0.5 + rng.random(n)) * np.exp(2j * np.pi * rng.random(n))


def noise(shape, sigma, seed=1):
    rng = np.random.default_rng(seed)
    return sigma * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def test_truth_without_noise_also_between_the_atoms():
    t1, t2, m0 = tissues(300)
    series = m0[:, None] * simulate_fisp(SCHEDULE, t1, t2)
    found = fit_fingerprint(series, SCHEDULE, grid=GRID)
    np.testing.assert_allclose(found.t1, t1, rtol=4e-3)
    np.testing.assert_allclose(found.t2, t2, rtol=4e-3)
    np.testing.assert_allclose(found.m0, m0, rtol=4e-3)
    assert found.match.min() > 1 - 1e-6
    assert found.match.max() <= 1
    atoms = fit_fingerprint(series, SCHEDULE, grid=GRID, settings={"refine": False})
    assert set(atoms.t1) <= set(GRID.t1)
    assert np.abs(np.log(atoms.t1 / t1)).max() < 2.1 * np.log(GRID.t1[1] / GRID.t1[0])
    assert np.abs(np.log(found.t2 / t2)).mean() < 0.05 * np.abs(np.log(atoms.t2 / t2)).mean()


@pytest.mark.parametrize("rank", [2, 6, 7])
@pytest.mark.parametrize("sigma", [0.0, 0.01, 1.0])
def test_fast_matching_is_brute_force(rank, sigma):
    dictionary = make_dictionary(SCHEDULE, GRID, rank)
    t1, t2, m0 = tissues(1000)
    c = m0[:, None] * dictionary.compress(t1, t2) + noise((1000, rank), sigma)
    products = np.abs(c @ dictionary.directions.T)
    index, product = match_atoms(c, dictionary.directions)
    np.testing.assert_array_equal(index, products.argmax(axis=1))
    np.testing.assert_allclose(product, products.max(axis=1), rtol=1e-12)


def test_near_ties_are_decided_in_double_precision():
    angles = 1e-5 * np.arange(600)  # cosines that single precision cannot tell apart
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    c = np.exp(1j) * (directions[[0, 123, 599]])
    np.testing.assert_array_equal(match_atoms(c, directions)[0], [0, 123, 599])


def test_the_phase_of_the_series_is_that_of_m0_and_nothing_else():
    t1, t2, m0 = tissues(50)
    series = m0[:, None] * simulate_fisp(SCHEDULE, t1, t2) + noise((50, 240), 0.01)
    one, two = (fit_fingerprint(series * turn, SCHEDULE, grid=GRID) for turn in (1, 3j))
    np.testing.assert_allclose(two.t1, one.t1, rtol=1e-4)
    np.testing.assert_allclose(two.t2, one.t2, rtol=1e-4)
    np.testing.assert_allclose(two.m0, 3j * one.m0, rtol=1e-4)


def test_the_refined_fit_is_never_worse_than_the_atom_and_is_least_squares(dictionary):
    t1, t2, m0 = tissues(200)
    c = m0[:, None] * dictionary.compress(t1, t2) + noise((200, 6), 0.05)
    index, product = match_atoms(c, dictionary.directions)
    r1, r2, _, better, signals = refine(c, dictionary, index)
    assert (better >= product * (1 - 1e-12)).all()
    np.testing.assert_allclose(signals, dictionary.compress(r1, r2), rtol=0, atol=2e-3 * np.abs(signals).max())
    inside = (r1 < 4000) & (r2 > 10) & (r2 < 0.9 * r1) & (r2 < 1300)
    for factors in ((1.01, 1.0), (0.99, 1.0), (1.0, 1.01), (1.0, 0.99)):  # no neighbour fits better
        near = dictionary.compress(r1 * factors[0], r2 * factors[1])
        there = np.abs((near * c).sum(axis=1)) / np.linalg.norm(near, axis=1)
        assert (there < better * (1 + 1e-5))[inside].all()


def test_noise_is_measured_also_where_frames_share_it():
    rng = np.random.default_rng(0)
    t1, t2, m0 = tissues(800)
    signals = m0[:, None] * simulate_fisp(SCHEDULE, t1, t2)
    white = noise((800, 240), 0.03)
    found = fit_fingerprint(signals + white, SCHEDULE, grid=GRID)
    assert found.noise_std == pytest.approx(0.03, rel=0.08)
    shared = np.stack([np.roll(white, k, axis=1) for k in range(4)]).sum(axis=0)  # of four neighbours each
    subspace = make_dictionary(SCHEDULE, GRID).subspace
    error = (shared @ subspace.T).view(float).std()
    assert error > 0.09
    assert fit_fingerprint(signals + shared, SCHEDULE, grid=GRID).noise_std == pytest.approx(error, rel=0.15)
    real = project(0.03 * rng.standard_normal((800, 240)), subspace)
    assert real.noise_std == pytest.approx(0.03, rel=0.08)


def test_volumes_masks_and_voxels_left_out():
    t1, t2, m0 = tissues(24)
    series = (m0[:, None] * simulate_fisp(SCHEDULE, t1, t2)).reshape(4, 3, 2, 240)
    mask = np.zeros((4, 3, 2), bool)
    mask[1:3] = True
    found = fit_fingerprint(series.astype(np.complex64), SCHEDULE, grid=GRID, mask=mask)
    assert found.t1.shape == found.match.shape == (4, 3, 2)
    assert found.coefficients.shape == (4, 3, 2, 6)
    assert (found.t1[~mask] == 0).all()
    assert (found.m0[~mask] == 0).all()
    np.testing.assert_allclose(found.t1[mask], t1.reshape(4, 3, 2)[mask], rtol=3e-3)
    series[0, 0, 0] = 0  # without a mask, voxels without signal stay out
    found = fit_fingerprint(series, SCHEDULE, grid=GRID)
    assert found.mask.sum() == 23
    assert found.t2[0, 0, 0] == 0
    assert found.risk is None
    assert (found.device, found.rank, found.settings["n_frames"]) == ("cpu", 6, 240)


def test_magnitudes_are_matched_with_magnitudes():
    t1, t2, m0 = tissues(100)
    signals = simulate_fisp(SCHEDULE, t1, t2)
    found = fit_fingerprint(np.abs(m0[:, None] * signals), SCHEDULE, grid=GRID, rank=10)
    assert found.settings["magnitude"]
    assert np.median(np.abs(found.t1 / t1 - 1)) < 0.01
    assert np.median(np.abs(found.t2 / t2 - 1)) < 0.02
    signed = fit_fingerprint(np.abs(m0)[:, None] * signals, SCHEDULE, grid=GRID)
    assert not signed.settings["magnitude"]
    np.testing.assert_allclose(signed.t1, t1, rtol=2e-3)


def test_a_share_of_energy_chooses_the_rank():
    found = fit_fingerprint(simulate_fisp(SCHEDULE, 900.0, 80.0), SCHEDULE, grid=GRID, rank=0.99)
    less = make_dictionary(SCHEDULE, GRID, found.rank - 1)
    assert less.power < 0.99 <= found.power
    np.testing.assert_allclose(less.subspace @ less.subspace.T, np.eye(found.rank - 1), atol=1e-10)


def test_steps_are_told():
    steps = []
    fit_fingerprint(np.ones((5, 240)), SCHEDULE, grid=GRID, on_step=lambda *s: steps.append(s))
    assert steps == [(1, 1)]


ONES = np.ones((5, 240), complex)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"series": np.ones((5, 239))}, "239 frames and the schedule 240"),
        ({"series": np.ones((5, 5, 240))}, "series must be"),
        ({"series": np.full((5, 240), "a")}, "array of numbers"),
        ({"series": np.zeros((5, 240))}, "zero everywhere"),
        ({"series": ONES * np.nan}, "5 voxels hold NaN"),
        ({"series": ONES * [[0], [1], [1], [0], [1]], "mask": np.ones(5)}, "2 voxels of the mask are zero"),
        ({"mask": np.zeros(5)}, "the mask is empty"),
        ({"mask": np.ones(4)}, "one value per voxel"),
        ({"method": "dictionnary"}, "did you mean 'dictionary'"),
        ({"rank": 0}, "rank must be a whole number from 1 to 240"),
        ({"rank": 241}, "rank must be a whole number"),
        ({"noise_std": 0.0}, "noise_std must be a finite number > 0"),
        ({"grid": Grid(t1=[100.0, 200.0], t2=[300.0, 400.0])}, "no atom"),
        ({"grid": Grid(t1=[100.0, 200.0])}, "axes t1 and t2"),
        ({"settings": {"refined": True}}, "refined"),
        ({"settings": {"refine": 3}}, "refine must be true or false"),
    ],
)
def test_errors_name_the_remedy(change, words):
    arguments = {"series": ONES, "schedule": SCHEDULE, "grid": GRID} | change
    with pytest.raises(ValueError, match=words):
        fit_fingerprint(**arguments)
