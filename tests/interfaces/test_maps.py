"""What is kept of a result, and under which names."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.series import Series
from mrspec_prep.bids.output.catalogue import map_entry, method_entry
from mrspec_prep.cli.preview.maps import COSTS
from mrspec_prep.interfaces.maps import DIRECTION, FitMaps, arrays_of, maps_of_model, notes_of
from mrspec_prep.networks import METHODS, MapsResult
from mrspec_prep.options import MapsOptions
from mrspec_prep.physics import Encodings
from mrspec_prep.physics.models import MODELS

N = 4
ONES = np.ones(N, bool)


def result(**more):
    maps = {"s0": np.ones(N), "stick_fraction": np.full(N, 0.5)} | dict(zip(DIRECTION, np.eye(N, 3).T, strict=True))
    fields = {
        "maps": maps,
        "std": {name: np.full(N, 0.1) for name in maps},
        "converged": ONES,
        "valid": ONES,
        "noise_std": np.ones(N),
        "settings": dict(model="ball-stick", method="lsq", distribution="gaussian", n_encodings=9, n_volumes=12, k=3),
    }
    return MapsResult(**fields | more)


def test_a_direction_is_one_map_and_its_uncertainty_an_angle():
    arrays = arrays_of(result())
    assert set(arrays) == {
        *("value:s0", "value:stick_fraction", "value:direction"),
        *("std:s0", "std:stick_fraction", "std:direction"),
    }
    np.testing.assert_array_equal(arrays["value:direction"], np.eye(N, 3))
    np.testing.assert_allclose(arrays["std:direction"], 0.1 * np.sqrt(3), rtol=1e-6)
    cones = arrays_of(result(cones=np.tile([0.1, 0.3], (N, 1))))
    np.testing.assert_allclose(cones["high:direction"], 0.3, rtol=1e-6)
    wide = arrays_of(result(std={name: np.full(N, 9.0) for name in result().maps}))
    np.testing.assert_allclose(wide["std:direction"], np.pi / 2)


def test_ends_of_intervals_are_the_outermost_quantiles_and_may_be_left_out():
    found = result(intervals={"s0": np.tile([0.8, 0.9, 1.1, 1.2], (N, 1))})
    arrays = arrays_of(found)
    assert arrays["low:s0"][0] == np.float32(0.8) and arrays["high:s0"][0] == np.float32(1.2)
    assert not [name for name in arrays_of(found, intervals=False) if name.startswith(("low", "high"))]


def test_what_there_is_is_kept_and_flags_only_where_they_say_something():
    found = result(
        latent=np.zeros((N, 2)),
        risk=np.ones(N),
        residual=np.ones(N),
        cluster_probs=np.full((N, 3), 1 / 3),
        valid=np.array([True, False, True, True]),
        history={"loss": [3.0, 2.0], "words": ["a"], "none": []},
        std=None,
    )
    arrays = arrays_of(found)
    assert {"value:latent", "value:risk", "value:residual", "value:valid", "probs:components"} <= set(arrays)
    assert "value:converged" not in arrays
    assert [name for name in arrays if name.startswith("history")] == ["history:loss"]
    notes = notes_of(found)
    assert notes["NVoxelsValid"] == 3 and notes["NVoxelsConverged"] == N
    assert "Collapsed" not in notes
    flat = result(settings=found.settings | {"collapsed": ["kurtosis"]})
    assert notes_of(flat)["Collapsed"] == ["kurtosis"]
    assert notes["MethodSettings"] == {"k": 3} and notes["Model"] == "ball-stick" and notes["NVolumes"] == 12


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_name_sources_and_a_cost(method):
    assert {"title", "algorithm", "std", "interval", "references"} <= set(method_entry(method))
    assert len(COSTS[method]) == 5


@pytest.mark.parametrize("model", MODELS)
def test_every_map_of_a_model_is_in_the_catalogue(model):
    names = maps_of_model(model)
    assert names[-1] == "s0"
    assert ("direction" in names) == MODELS[model].oriented
    for name in names:
        map_entry(f"model-{name}")


INVERSION = Encodings(inversion_time=np.array([50.0, 200, 400, 700, 1200, 2500]), repetition_time=np.full(6, 3000.0))
T1 = np.linspace(600, 1200, 12)


def fit(folder, signals, model, encodings=INVERSION, degrees=None, noise=None, method="lsq", threads=1):
    """Arrays and notes of a fit."""
    images = (Path("sub-01_inv-1_IRT1.nii.gz"),)
    series = Series("01", None, "anat", "IRT1", {}, images, np.zeros((6, 2), int), encodings, "", (), "t2")
    (folder / "series.json").write_text(json.dumps(series.to_json()))
    noise = np.full(len(signals), 0.01) if noise is None else noise
    (folder / "noise.json").write_text(json.dumps({"method": "b0-repeats", "degrees_of_freedom": degrees}))
    for name, array in {"signals": signals, "noise": noise}.items():
        np.save(folder / f"{name}.npy", array)
    settings = asdict(MapsOptions(model=model, methods=(method,), settings="paper"))
    files = {name: str(folder / f"{name}.npy") for name in ("signals", "noise")}
    node = FitMaps(series=str(folder / "series.json"), **files, noise_notes=str(folder / "noise.json"),
                   settings=settings, method=method, seed=0, num_threads=threads, device="cpu")  # fmt: skip
    found = node.run(cwd=str(folder)).outputs
    return dict(np.load(found.maps)), json.loads(Path(found.notes).read_text())


def inverted(model):
    tissue = {"s0": np.ones(len(T1)), "t1": T1, "inversion_efficiency": np.full(len(T1), 0.95)}
    return MODELS[model].signal(INVERSION, tissue)


def test_magnitudes_after_inversion_give_t1_and_signs_need_the_other_model(tmp_path):
    arrays, _ = fit(tmp_path, inverted("ir-t1"), "ir-t1")
    np.testing.assert_allclose(arrays["value:t1"], T1, rtol=1e-3)
    signed = inverted("ir-t1-signed")
    np.testing.assert_allclose(fit(tmp_path, signed, "ir-t1-signed")[0]["value:t1"], T1, rtol=1e-3)
    with pytest.raises(InputError, match="hold signs.*Remedy: --set maps.model=ir-t1-signed"):
        fit(tmp_path, signed, "ir-t1")


def test_noise_from_few_repeats_is_shared_and_said(tmp_path):
    noise = 0.01 * np.sqrt(np.random.default_rng(0).chisquare(4, len(T1)) / 4)
    shared, notes = fit(tmp_path, inverted("ir-t1"), "ir-t1", degrees=4.0, noise=noise)
    own, plain = fit(tmp_path, inverted("ir-t1"), "ir-t1", noise=noise)
    assert notes["NoiseOwnDegreesOfFreedom"] == 4 and "NoiseShared" not in plain
    assert np.ptp(np.log(shared["std:s0"])) < np.ptp(np.log(own["std:s0"]))


@pytest.mark.filterwarnings("ignore:.*collapsed:RuntimeWarning")  # published settings do, now and then
def test_a_network_gives_the_same_on_any_number_of_threads(tmp_path):
    signals = np.tile(inverted("ir-t1"), (20, 1))
    one, two = (fit(tmp_path, signals, "ir-t1", method="gmm-vae", threads=n)[0] for n in (1, 2))
    assert {"value:risk", "value:latent", "probs:components", "history:loss"} <= set(one)
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], err_msg=name)
