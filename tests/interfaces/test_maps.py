"""What is kept of a result, and under which names."""

import numpy as np
import pytest

from mrspec_prep.bids.catalogue import map_entry, method_entry
from mrspec_prep.cli.maps_preview import COSTS
from mrspec_prep.interfaces.maps import DIRECTION, arrays_of, maps_of_model, notes_of
from mrspec_prep.networks import METHODS, MapsResult
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
    assert notes["MethodSettings"] == {"k": 3} and notes["Model"] == "ball-stick" and notes["NVolumes"] == 12


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_name_sources_and_a_cost(method):
    assert {"title", "algorithm", "std", "interval", "references"} <= set(method_entry(method))
    assert len(COSTS[method]) == 4


@pytest.mark.parametrize("model", MODELS)
def test_every_map_of_a_model_is_in_the_catalogue(model):
    names = maps_of_model(model)
    assert names[-1] == "s0"
    assert ("direction" in names) == MODELS[model].oriented
    for name in names:
        map_entry(f"model-{name}")
