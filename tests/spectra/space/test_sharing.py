from types import SimpleNamespace

import numpy as np
import pytest

from mrspec_prep.physics import add_noise, default_grid, kernel_matrix, simulate_signals
from mrspec_prep.spectra import fit_nnls, integrate_regions, neighbours_of, reduce_kernel
from mrspec_prep.spectra.space.sharing import alike, share_signals

SHAPE = (7, 7, 7)
NOISE = 0.05


@pytest.fixture(scope="module")
def halves(placenta):
    """Two tissues, slow fraction 0.8 and 0.2, that meet in a plane."""
    grid = default_grid(("diffusivity", "t2star"), placenta.encodings, points=(16, 16))
    fraction = np.where(np.indices(SHAPE)[0] < 3, 0.8, 0.2).ravel()
    tissues = {"diffusivity": np.array([1.0, 20.0]), "t2star": np.array([50.0, 100.0])}
    pure = simulate_signals("adc-t2star", placenta.encodings, tissues)
    clean = np.stack([fraction, 1 - fraction], axis=1) @ pure
    clean /= clean[:, :6].mean()
    return SimpleNamespace(
        clean=clean,
        signals=add_noise(clean, NOISE, np.random.default_rng(0)),
        fraction=fraction,
        grid=grid,
        kernel=reduce_kernel(kernel_matrix("adc-t2star", placenta.encodings, grid)),
        neighbours=neighbours_of(np.ones(SHAPE, bool)),
    )


def share(data, spatial, signals=None, noise_std=NOISE):
    signals = data.signals if signals is None else signals
    return share_signals(signals, data.kernel, noise_std, data.neighbours, spatial)


def test_weight_zero_shares_nothing(halves):
    shared = share(halves, 0.0)
    np.testing.assert_array_equal(shared.signals, halves.signals)
    np.testing.assert_allclose(shared.noise_std, NOISE)
    np.testing.assert_allclose(shared.n_shared, 1)


def test_fit_of_the_mean_solves_the_joint_problem(halves):
    """No other spectrum is closer to the voxel's and its neighbours' signals, by their weights."""
    shared = share(halves, 1.0)
    voxel, neighbours = 200, halves.neighbours
    part = slice(neighbours.starts[voxel], neighbours.starts[voxel + 1])
    variances = np.full(len(halves.signals), NOISE**2)
    weights = (neighbours.weight * alike(halves.signals, halves.kernel, variances, neighbours))[part]
    stacked = np.vstack([halves.signals[voxel], halves.signals[neighbours.index[part]]])
    shares = np.append(1.0, weights) / (1 + weights.sum())
    spectrum = fit_nnls(shared.signals[voxel][None], halves.kernel, 0.01, 1e-12).spectra[0]
    matrix = halves.kernel.projection @ halves.kernel.basis
    residuals = stacked - matrix @ spectrum
    gradient = -matrix.T @ (shares @ residuals) + 0.01 * spectrum
    assert np.abs(gradient[spectrum > 0]).max() < 1e-5 and gradient[spectrum == 0].min() > -1e-5


def test_nothing_is_shared_across_an_edge(halves):
    shared = share(halves, 3.0)
    near = np.isin(np.indices(SHAPE)[0].ravel(), (2, 3))
    own_tissue = np.array([halves.clean[0], halves.clean[-1]])[(halves.fraction < 0.5).astype(int)]
    other = np.array([halves.clean[-1], halves.clean[0]])[(halves.fraction < 0.5).astype(int)]
    towards = ((shared.signals - own_tissue) * (other - own_tissue)).sum(1) / ((other - own_tissue) ** 2).sum(1)
    assert abs(towards[near].mean()) < 0.02


def test_alike_is_a_p_value(halves):
    """Uniform where neighbours have the same signal, about zero across the edge."""
    plane = np.indices(SHAPE)[0].ravel()
    rows = np.repeat(np.arange(len(plane)), np.diff(halves.neighbours.starts))
    same = (plane[rows] < 3) == (plane[halves.neighbours.index] < 3)
    values = alike(halves.signals, halves.kernel, np.full(len(plane), NOISE**2), halves.neighbours)
    np.testing.assert_allclose(np.quantile(values[same], [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.05)
    assert values[~same].max() < 1e-3


def test_noise_of_the_mean_is_as_promised(halves):
    flat = np.broadcast_to(halves.clean[0], halves.clean.shape)
    rng, errors = np.random.default_rng(1), []
    for _ in range(20):
        shared = share(halves, 0.5, add_noise(flat, NOISE, rng))
        errors.append((shared.signals - flat) / shared.noise_std[:, None])
    assert np.std(errors) == pytest.approx(1, abs=0.1)  # weights depend on the noise: not exactly 1


def test_fractions_are_closer_to_the_truth(halves):
    regions = {"slow": {"diffusivity": (0, 4.5)}}
    errors = []
    for spatial in (0.0, 1.0):
        result = fit_nnls(share(halves, spatial).signals, halves.kernel, 0.01)
        errors.append(
            np.sqrt(np.mean((integrate_regions(result, halves.grid, regions)["slow"] - halves.fraction) ** 2))
        )
    assert errors[1] < 0.6 * errors[0]


def test_permuted_voxels_give_permuted_means(halves):
    order = np.random.default_rng(2).permutation(len(halves.signals))
    moved = share_signals(halves.signals[order], halves.kernel, NOISE, halves.neighbours.permuted(order), 1.0)
    np.testing.assert_allclose(moved.signals, share(halves, 1.0).signals[order], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"spatial": -1.0}, "spatial"), ({"signals": np.ones((3, 330))}, "343"), ({"noise_std": 0.0}, "noise_std")],
)
def test_bad_input_is_refused(halves, change, words):
    with pytest.raises(ValueError, match=words):
        share(halves, **{"spatial": 1.0, **change})
