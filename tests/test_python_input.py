"""The stable Python names, given what users give: kinds of arrays work alike, what cannot be is refused in words."""

import warnings

import numpy as np
import pytest

from mrspec_prep.networks import CompartmentClassifier, fit_fingerprint, fit_maps, fit_scan_cnn
from mrspec_prep.physics import Encodings, Grid, Schedule, add_noise, kernel_matrix, simulate_signals
from mrspec_prep.physics.fingerprinting import fisp_schedule, simulate_fisp
from mrspec_prep.spectra import (
    estimate_noise,
    fit_inspect,
    fit_inspect_map,
    fit_nnls,
    integrate_regions,
    noise_mppca,
    select_n_clusters,
)

ENCODINGS = Encodings(echo_time=np.arange(10.0, 330.0, 10.0))
GRID = Grid(t2=np.geomspace(5, 1000, 20))
KERNEL = kernel_matrix("t2", ENCODINGS, GRID)
SIGNALS = add_noise(
    simulate_signals("t2", ENCODINGS, {"t2": np.repeat([50.0, 90.0], 6)}), 0.01, np.random.default_rng(0)
)
IMAGES = SIGNALS[:, [0, 3, 6, 9]].reshape(4, 3, 1, 4)
CLASSIFIED = Encodings(echo_time=np.arange(8.0, 264.0, 8.0))
SPECTRA = np.eye(20)

CALLS = {
    "fit_nnls": lambda s: fit_nnls(s, KERNEL).spectra,
    "fit_nnls_0": lambda s: fit_nnls(s, KERNEL, alpha=0).spectra,
    "fit_inspect": lambda s: fit_inspect(s, KERNEL, 0.01, 2, n_starts=2).spectra,
    "fit_inspect_map": lambda s: fit_inspect_map(s, KERNEL, 0.01, 2, n_starts=1).spectra,
    "select_n_clusters": lambda s: select_n_clusters(s, KERNEL, 0.01, [1, 2], n_starts=2).table["bic"],
    "estimate_noise": lambda s: estimate_noise(s, ENCODINGS, "residual", kernel=KERNEL).noise_std,
    "fit_maps": lambda s: fit_maps(s, ENCODINGS, "t2").maps["t2"],
    "predict_proba": lambda s: CompartmentClassifier.for_protocol(CLASSIFIED).predict_proba(s),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_lists_strides_and_read_only_arrays_are_as_good_and_left_alone(call):
    expected = call(SIGNALS.copy())
    wide = np.zeros((12, 64))
    wide[:, ::2] = SIGNALS
    frozen = SIGNALS.copy(order="F")
    frozen.setflags(write=False)
    for given in (SIGNALS.tolist(), wide[:, ::2], frozen, np.ma.masked_array(SIGNALS)):
        np.testing.assert_allclose(call(given), expected, rtol=1e-6, atol=1e-9)
    assert (wide[:, ::2] == SIGNALS).all() and (frozen == SIGNALS).all()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_float32_and_integers(call):
    whole = np.round(SIGNALS * 1000).astype(np.int16)
    whole[whole == 0] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (whole, whole.astype(np.float32)):
            scale = call(given).max() / call(whole.astype(float)).max()
            assert scale == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_complex_masked_and_ragged_signals_are_refused(call):
    with pytest.raises(ValueError, match=r"signals must be real, got complex128: take the magnitude"):
        call(SIGNALS.astype(complex))
    with pytest.raises(ValueError, match=r"masked array with 1 masked values"):
        call(np.ma.masked_array(SIGNALS, np.arange(SIGNALS.size).reshape(SIGNALS.shape) == 5))
    with pytest.raises(ValueError, match="every row as long as the first"):
        call([[1.0, 2.0], [1.0]])
    with pytest.raises(ValueError, match="array of numbers, got values of type <U"):
        call(SIGNALS.astype(str))


def test_images_and_series_are_refused_alike():
    with pytest.raises(ValueError, match="images must be real"):
        fit_scan_cnn(IMAGES.astype(complex), [10, 40, 70, 100], method="varpro")
    with pytest.raises(ValueError, match="masked values"):
        fit_scan_cnn(np.ma.masked_less(IMAGES, 0.5), [10, 40, 70, 100], method="varpro")
    with pytest.raises(ValueError, match="masked values"):
        fit_fingerprint(np.ma.masked_less(np.ones((2, 3)), 2), Schedule([30, 30, 30], 10, 2))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_integration_names_the_voxel_that_is_not_finite(value):
    spectra = SPECTRA.copy()
    spectra[7, 3] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="NaN or infinite values in 1 voxels, first voxel 7"):
            integrate_regions(spectra, GRID, {"short": {"t2": (0, 40)}})
    with pytest.raises(ValueError, match="axis t2s; the grid has t2; did you mean t2"):
        integrate_regions(SPECTRA, GRID, {"short": {"t2s": (0, 40)}})


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"direction": [[3, 0, 0]]}, r"direction of volume 0 must be a unit vector .* length 3"),
        ({"direction": [[0, 0, 0]]}, "direction of volume 0 must be a unit vector"),
        ({"direction": [1, 0, 0]}, r"direction must be \(n_encodings, 3\), got shape \(3,\)"),
        ({"bvalue": [0, 1000], "direction": np.eye(3)[:, :2]}, "transpose it"),
        ({"bvalue": [[0, 1000]]}, r"bvalue must be one number per volume, \(n_encodings,\), got shape \(1, 2\)"),
        ({"bvalue": [1j]}, "bvalue must be real"),
    ],
)
def test_encodings_refuse_in_words(columns, words):
    with pytest.raises(ValueError, match=words):
        Encodings(**{"bvalue": [1000.0], **columns})


def test_directions_within_the_tolerance_of_sidecars_and_zero_at_b0_are_taken():
    directions = [[0, 0, 0], [1.04, 0, 0], [0, 0.96, 0]]
    np.testing.assert_array_equal(Encodings(bvalue=[0, 1000, 1000], direction=directions).direction, directions)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit_inspect(SIGNALS, KERNEL, 0.01, 2.5), "n_clusters must be a whole number >= 1, got 2.5"),
        (lambda: fit_inspect(SIGNALS, KERNEL, 0.01, "3"), "n_clusters must be a whole number >= 1, got '3'"),
        (lambda: fit_inspect(SIGNALS, KERNEL, 0.01, 2, seed=1.5), "seed must be a whole number >= 0, got 1.5"),
        (lambda: fit_inspect_map(SIGNALS, KERNEL, 0.01, 1.5), "n_components must be a whole number"),
        (lambda: select_n_clusters(SIGNALS, KERNEL, 0.01, 3), r"candidates must list numbers of clusters, as \[3\]"),
        (lambda: select_n_clusters(SIGNALS, KERNEL, 0.01, [2.5]), "each of the candidates must be a whole number"),
        (lambda: select_n_clusters(SIGNALS, KERNEL, 0.01, "3"), "each of the candidates must be a whole number"),
        (lambda: fit_maps(SIGNALS, ENCODINGS, "t2", noise_std=[0.1, 0.1]), r"\(12,\), got shape \(2,\)"),
        (lambda: fit_maps(SIGNALS, ENCODINGS, "t2", noise_std=-1), "noise_std must be finite and > 0"),
        (lambda: fit_maps(SIGNALS[:0], ENCODINGS, "t2"), "signals hold no voxel"),
        (lambda: fit_maps(SIGNALS, ENCODINGS, "t2", device="tpu"), "device must be auto, cpu or cuda, got 'tpu'"),
        (lambda: fit_maps(SIGNALS, ENCODINGS, "t2", seed=1.5), "seed must be a whole number >= 0, got 1.5"),
        (lambda: fit_scan_cnn(IMAGES, [10, 40, 70, 100], device="tpu", method="varpro"), "device must be auto"),
        (lambda: fit_scan_cnn(IMAGES, [10, 40, 70, 100], seed=1.5, method="varpro"), "seed must be a whole number"),
        (lambda: fit_fingerprint(np.ones((1, 3)), Schedule([30] * 3, 10, 2), device="tpu"), "device must be auto"),
    ],
)
def test_arguments_that_cannot_be_are_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()


class Frame:
    """As much of a data frame as a table needs."""

    def __init__(self, columns):
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return self._columns[name]


def test_schedules_are_also_taken_as_columns_in_the_units_of_the_file():
    schedule = fisp_schedule(60)
    series = -2 * simulate_fisp(schedule, t1=[850.0, 1400.0], t2=[65.0, 95.0])
    grid = Grid(t1=np.geomspace(300, 3000, 20), t2=np.geomspace(20, 300, 20))
    columns = {
        "flip_angle": schedule.flip_angle.tolist(),
        "repetition_time": schedule.repetition_time / 1e3,
        "echo_time": schedule.echo_time / 1e3,
        "inversion_time": schedule.inversion_time / 1e3,
    }
    expected = fit_fingerprint(series, schedule, grid=grid)
    assert expected.m0.dtype == float
    np.testing.assert_allclose(expected.m0, -2, rtol=1e-2)
    assert np.iscomplexobj(fit_fingerprint(series * 1j, schedule, grid=grid).m0)
    structured = np.zeros(60, [(name, float) for name in columns])
    for name, values in columns.items():
        structured[name] = values
    for given in (columns, Frame({**columns, "frame": range(60)}), structured):
        np.testing.assert_allclose(fit_fingerprint(series, given, grid=grid).t2, expected.t2, rtol=1e-9)
    wrong = {
        "is inversion_time meant": {k.replace("sion_time", "sion_times"): v for k, v in columns.items()},
        "is flip_angle meant": {("flip_angles" if k == "flip_angle" else k): v for k, v in columns.items()},
        "column TI: is inversion_time meant": {("TI" if k == "inversion_time" else k): v for k, v in columns.items()},
        "column te: is echo_time meant": {("te" if k == "echo_time" else k): v for k, v in columns.items()},
        "lacks echo_time": {k: v for k, v in columns.items() if k != "echo_time"},
        "repetition_time of the schedule is .* divide by 1000": {
            **columns,
            "repetition_time": schedule.repetition_time,
        },
        "differ in phase": {**columns, "phase": np.arange(60.0)},
        "must be a Schedule, a mapping or a table, got list": [1, 2],
    }
    for words, given in wrong.items():
        with pytest.raises(ValueError, match=words):
            fit_fingerprint(series, given, grid=grid)


def test_one_voxel_and_one_encoding():
    assert fit_nnls(SIGNALS[:1], KERNEL).spectra.shape == (1, 20)
    assert fit_nnls([[1.0]], KERNEL[:1]).converged.all()
    assert fit_maps(SIGNALS[:1], ENCODINGS, "t2").maps["t2"].shape == (1,)
    assert fit_inspect(SIGNALS[:1], KERNEL, 0.01, 1, n_starts=1).responsibilities.tolist() == [[1.0]]
    with pytest.raises(ValueError, match="needs echo_time to vary"):
        fit_maps([[1.0]], Encodings(echo_time=[10.0]), "t2")


def test_mppca_is_of_images_and_reaches_every_voxel_of_the_mask():
    with pytest.raises(ValueError, match=r"call noise_mppca\(image, roi\)"):
        estimate_noise(SIGNALS, ENCODINGS, "mppca")
    rng = np.random.default_rng(0)
    image = 100 + rng.normal(0, 1, (12, 6, 6, 10)) * np.where(np.arange(12) < 6, 2.0, 8.0)[:, None, None, None]
    roi = np.zeros(image.shape[:3], bool)
    roi[[0, 2, 9, 11], 2, 2] = True  # 0 and 11: no patch around them lies within the image
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sigma = noise_mppca(image, roi)
    np.testing.assert_allclose(sigma, [2, 2, 8, 8], rtol=0.25)
    with pytest.raises(ValueError, match="roi holds no voxel"):
        noise_mppca(image, np.zeros_like(roi))
    with pytest.raises(ValueError, match="got shapes"):
        noise_mppca(image[..., 0], roi)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit_nnls(SIGNALS, KERNEL, alpha="a"), "alpha must be an array of numbers"),
        (lambda: fit_nnls(SIGNALS, KERNEL, tolerance=0), "tolerance must be a finite number > 0, got 0"),
        (lambda: fit_inspect(SIGNALS, KERNEL, 0.1, 1, alpha=-1), "alpha must be a finite number >= 0, got -1"),
        (lambda: integrate_regions(SPECTRA, GRID, [(0, 40)]), "regions must be a dict of name to box"),
        (lambda: integrate_regions(SPECTRA, GRID, {"a": (0, 40)}), "a region must be a box"),
        (lambda: integrate_regions(SPECTRA, GRID, {"a": {"t2": 5}}), r"\(low, high\) with low < high along t2, got 5"),
        (lambda: integrate_regions(SPECTRA, GRID, {"a": {"t2": (40, 5)}}), "low < high"),
        (lambda: kernel_matrix("t2", {"echo_time": [1]}, GRID), "must be Encodings, .* got dict"),
        (lambda: estimate_noise(SIGNALS, [1, 2]), "must be Encodings, .* got list"),
        (lambda: fit_maps(SIGNALS, [1, 2], "t2"), "must be Encodings, .* got list"),
        (lambda: CompartmentClassifier.for_protocol([1]), "must be Encodings, .* got list"),
        (lambda: Encodings(echo_time=[]), "at least one volume"),
        (lambda: Grid(t2=[[1, 2], [3, 4]]), r"a list of values, \(n,\), got shape \(2, 2\)"),
        (lambda: simulate_signals("t2", ENCODINGS, {}), "kernel t2 needs t2, got no parameter"),
        (lambda: simulate_signals("t2", ENCODINGS, {"t2": [[50.0, 60.0]]}, [[1, 0, 0]]), r"fractions must be \(1, 2\)"),
        (lambda: add_noise(SIGNALS, 1, 0), "rng must be a numpy Generator"),
        (lambda: fit_fingerprint(np.ones((1, 3)), Schedule([30] * 3, 10, 2), noise_std="a"), "array of numbers"),
    ],
)
def test_things_of_another_kind_are_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("number", [3, 3.0, np.float32(3), np.int64(3)])
def test_noise_given_as_any_number(number):
    assert (estimate_noise(SIGNALS, ENCODINGS, number).noise_std == 3).all()
