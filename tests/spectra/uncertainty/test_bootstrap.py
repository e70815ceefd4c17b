import numpy as np
import pytest

from mrspec_prep.physics import Encodings, default_grid, kernel_matrix
from mrspec_prep.spectra import find_peaks, fit_nnls, integrate_regions, mean_parameters, reduce_kernel
from mrspec_prep.spectra.uncertainty.bootstrap import bootstrap
from mrspec_prep.spectra.uncertainty.main_peaks import main_peaks
from mrspec_prep.spectra.uncertainty.resampling import refit_copies

REGIONS = {"short": {"t2": (0.0, 40.0)}, "long": {"t2": (100.0, np.inf)}}
NOISE = 0.01


class Echoes:
    """Two T2 components, 32 echoes, each three times."""

    encodings = Encodings(echo_time=np.repeat(10.0 * np.arange(1, 33), 3))
    grid = default_grid(("t2",), encodings, points=(40,))
    kernel = kernel_matrix("t2", encodings, grid)
    truth = np.zeros(40)
    truth[[14, 25]] = 0.3, 0.7
    clean = kernel @ truth

    @classmethod
    def repeated(cls, n, seed=0):
        return cls.clean + NOISE * np.random.default_rng(seed).standard_normal((n, len(cls.clean)))

    @classmethod
    def read(cls, fit):
        return (
            integrate_regions(fit, cls.grid, REGIONS)
            | mean_parameters(fit, cls.grid, "t2", cls.encodings)
            | {f"peak-{axis}": values for axis, values in main_peaks(fit, cls.grid).items()}
        )


@pytest.mark.parametrize(("kind", "alpha"), [("residual", 0.01), ("parametric", 0.01), ("parametric", 0.0)])
def test_the_scatter_is_that_of_repeated_scans(kind, alpha):
    scans = fit_nnls(Echoes.repeated(600), Echoes.kernel, alpha)
    expected = {name: values.std() for name, values in Echoes.read(scans).items()}
    few = Echoes.repeated(20, seed=1)
    found = bootstrap(
        few, Echoes.kernel, fit_nnls(few, Echoes.kernel, alpha), Echoes.read, kind=kind, noise_std=NOISE, n_resamples=80
    )
    for name, tolerance in {"t2": 0.15, "long": 0.3}.items():
        assert np.median(found.std[name]) == pytest.approx(expected[name], rel=tolerance), name
    # the fitted spectrum is broader than the truth: its tails and its peak scatter more
    for name in ("s0", "peak-t2"):
        assert 0.7 < np.median(found.std[name]) / expected[name] < 2.5, name


def test_intervals_cover_the_mean_of_repeated_scans():
    mean = {name: v.mean() for name, v in Echoes.read(fit_nnls(Echoes.repeated(2000), Echoes.kernel)).items()}
    scans = Echoes.repeated(250, seed=2)
    fit = fit_nnls(scans, Echoes.kernel)
    found = bootstrap(scans, Echoes.kernel, fit, Echoes.read, n_resamples=60)
    for name in ("long", "t2", "s0"):
        inside = (found.low[name] <= mean[name]) & (mean[name] <= found.high[name])
        assert inside.mean() >= 0.91, name
        if name == "t2":
            assert inside.mean() <= 0.985


def test_refits_are_those_of_the_solver(placenta):
    reduced = reduce_kernel(placenta.kernel)
    fit = fit_nnls(placenta.signals[:1], reduced)
    rng = np.random.default_rng(0)
    copies = reduced.basis @ fit.spectra[0] + 0.05 * rng.standard_normal((30, reduced.n_ranks))
    duals = np.empty_like(copies)
    failed = refit_copies(reduced.columns, copies, 0.01, fit.dual[0].copy(), 1e-6, duals)
    expected = fit_nnls(copies @ reduced.projection.T, reduced, tolerance=1e-13).spectra
    found = np.maximum(duals @ reduced.basis, 0) / 0.01
    assert failed == 0
    error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() < 2e-6


def test_a_voxel_depends_on_its_name_only(placenta):
    signals, names = placenta.signals[:9], np.arange(100, 109)
    reduced, order = reduce_kernel(placenta.kernel), np.array([4, 0, 8, 2])

    def read(fit):
        return integrate_regions(fit, placenta.grid, {"slow": {"diffusivity": (0.0, 1.0)}})

    def run(index, **more):
        fit = fit_nnls(signals[index], reduced)
        return bootstrap(signals[index], reduced, fit, read, n_resamples=20, voxel_ids=names[index], **more)

    every, again = run(np.arange(9), n_threads=1), run(np.arange(9), n_threads=2)
    np.testing.assert_array_equal(every.std["slow"], again.std["slow"])
    np.testing.assert_array_equal(every.low["slow"], again.low["slow"])
    np.testing.assert_allclose(every.std["slow"][order], run(order).std["slow"], rtol=1e-9)
    assert not np.allclose(every.std["slow"], run(np.arange(9), seed=1).std["slow"], rtol=1e-6)


def test_intervals_respect_limits():
    signals = Echoes.repeated(10)
    fit = fit_nnls(signals, Echoes.kernel)
    limits = dict.fromkeys(REGIONS, (0.0, 1.0))
    found = bootstrap(signals, Echoes.kernel, fit, Echoes.read, n_resamples=40, limits=limits)
    assert (found.low["short"] >= 0).all()
    assert (found.low["short"] < found.high["short"]).all()
    assert found.n_failed.tolist() == [0] * 10


def test_main_peaks_are_the_largest_that_find_peaks_finds(placenta):
    fit = fit_nnls(placenta.signals, placenta.kernel)
    found = main_peaks(fit, placenta.grid)
    for voxel, spectrum in enumerate(fit.spectra):
        largest = find_peaks(spectrum, placenta.grid, threshold=1e-9)[0]
        for axis, position in largest.position.items():
            assert found[axis][voxel] == pytest.approx(position, rel=1e-9)
    assert main_peaks(np.zeros((1, placenta.grid.n_bins)), placenta.grid)["t2star"][0] == 0


@pytest.mark.parametrize(
    ("more", "word"),
    [({"kind": "magic"}, "kind"), ({"n_resamples": 5}, "resamples"), ({"level": 0}, "level"),
     ({"kind": "parametric"}, "noise_std")],
)  # fmt: skip
def test_nonsense_is_refused(more, word):
    signals = Echoes.repeated(2)
    with pytest.raises(ValueError, match=word):
        bootstrap(signals, Echoes.kernel, fit_nnls(signals, Echoes.kernel), Echoes.read, **more)
