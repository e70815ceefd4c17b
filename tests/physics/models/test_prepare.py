"""Laws of preparation: the powder mean, its weights, and the volumes a model may use."""

import numpy as np
import pytest

from mrspec_prep.physics import Encodings
from mrspec_prep.physics.models import MODELS, prepare
from mrspec_prep.physics.models.prepare import shells


def test_shells_join_what_a_scanner_plays_apart_and_keep_small_b_values_distinct():
    assert shells(np.array([995.0, 5.0, 1005.0, 0.0, 2000.0, 1000.0])).tolist() == [2, 1, 2, 0, 3, 2]
    placenta = np.array([0.0, 5, 10, 18, 25, 36, 50, 100, 200, 400, 600, 800, 1200, 1600])
    assert len(set(shells(placenta))) == 14
    assert len(set(shells(np.arange(700.0, 1000.0, 10.0)))) > 3


def test_the_powder_mean_weighs_by_directions():
    bvalue = np.array([0.0, 1000, 1000, 1000, 2000, 2000])
    signals = np.array([[1.0, 0.5, 0.6, 0.7, 0.2, 0.4]])
    prepared = prepare(MODELS["msdki"], signals, Encodings(bvalue=bvalue))
    np.testing.assert_allclose(prepared.signals, [[1.0, 0.6, 0.3]])
    assert prepared.n_averages.tolist() == [1, 3, 2]
    assert prepared.encodings.bvalue.tolist() == [0, 1000, 2000]


def test_directions_stay_apart_where_the_model_has_one():
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((6, 3))
    direction = np.vstack([np.zeros((2, 3)), drawn / np.linalg.norm(drawn, axis=1, keepdims=True)])
    table = Encodings(bvalue=[0.0, 0.0] + [1000.0] * 6, direction=direction)
    prepared = prepare(MODELS["ball-stick"], rng.random((2, 8)), table)
    assert prepared.n_averages.tolist() == [2, 1, 1, 1, 1, 1, 1]


def test_volumes_a_model_does_not_describe_are_left_out():
    bvalue = np.tile([0.0, 500, 1000, 2000, 6000], 2)
    table = Encodings(bvalue=bvalue, echo_time=np.repeat([60.0, 90.0], 5))
    prepared = prepare(MODELS["msdki"], np.ones((1, 10)), table)
    assert prepared.volumes.tolist() == [True] * 4 + [False] * 6
    with pytest.raises(ValueError, match="4 free parameters"):
        prepare(MODELS["ivim"], np.ones((1, 3)), Encodings(bvalue=[0.0, 500, 1000]))
    with pytest.raises(ValueError, match="needs echo_time to vary"):
        prepare(MODELS["t2"], np.ones((1, 3)), Encodings(bvalue=[0.0, 500, 1000]))


def test_signed_inversion_recovery_is_not_taken_for_magnitudes():
    table = Encodings(inversion_time=[50.0, 400, 900, 2500])
    signals = np.array([[-0.9, -0.2, 0.3, 0.9]])
    with pytest.raises(ValueError, match="use ir-t1-signed"):
        prepare(MODELS["ir-t1"], signals, table)
    assert prepare(MODELS["ir-t1-signed"], signals, table).signals.min() < 0


@pytest.mark.parametrize("name", ["msdki", "ball-stick"])
@pytest.mark.parametrize("weak", [[0.0, 49, 51, 52], [50.0] * 22])
def test_volumes_about_the_ceiling_of_b0_may_lack_a_direction(name, weak):
    """A mean has no direction, and 22 volumes of b = 50 have a mean b of 50."""
    bvalue = np.array([*weak, *[1000.0] * 3, *[2000.0] * 3])
    direction = np.where(bvalue[:, None] > 50, np.tile(np.eye(3), (len(bvalue), 1))[: len(bvalue)], 0.0)
    prepared = prepare(MODELS[name], np.ones((1, len(bvalue))), Encodings(bvalue=bvalue, direction=direction))
    assert (prepared.encodings.direction is None) == (name == "msdki")
    assert prepared.n_averages.sum() == len(bvalue)
