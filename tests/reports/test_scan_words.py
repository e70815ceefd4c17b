"""What is said of a scan-specific network: scatter, likeness, risk and trust, from maps with known changes."""

import tomllib

import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.bids.output.derivatives import MapFile
from mrspec_prep.reports.maps.collect import MethodMaps
from mrspec_prep.reports.scan_cnn.words import likeness, scatter_of, sentences

WORDS = tomllib.loads(data_text("report.toml"))
SHAPE = (30, 32, 2)
ROI = np.zeros(SHAPE, bool)
ROI[3:-3, 3:-3] = True
RNG = np.random.default_rng(0)
SMOOTH = 80 + 10 * np.sin(np.arange(30) / 9)[:, None, None] + np.zeros(SHAPE)
NOISE = RNG.normal(0, 6, SHAPE)


def method(name, t2, risk=None, **settings):
    made = MethodMaps(name, "t2")
    made.maps["t2"] = MapFile(np.where(ROI, t2, 0.0), np.eye(4), {"MethodSettings": settings}, "model-t2")
    if risk is not None:
        made.extras["risk"] = MapFile(np.where(ROI, risk, 0.0), np.eye(4), {}, "model-risk")
    return made


def said(t2, risk=None, **settings):
    return " ".join(sentences([method("varpro", SMOOTH + NOISE), method("scancnn", t2, risk, **settings)], ROI, WORDS))


def test_scatter_is_that_of_the_noise_and_knows_no_slope():
    assert abs(scatter_of(SMOOTH + NOISE, ROI) / 6 - 1) < 0.1
    assert scatter_of(3.0 * SMOOTH, ROI) < 0.5
    assert np.isnan(scatter_of(SMOOTH, ROI & (np.arange(SHAPE[0]) < 4)[:, None, None]))


def test_noise_is_not_alike_and_a_pattern_is():
    assert abs(likeness(NOISE, ROI)) < 0.1
    assert likeness(SMOOTH, ROI) > 0.9


def test_less_noise_is_called_smoother_and_its_change_noise():
    text = said(SMOOTH + 0.25 * NOISE, np.full(SHAPE, 0.8))
    assert "it is 4.0 times smoother. The median of the differences is" in text and "hardly alike" in text
    assert "In no voxel does it depart" in text and "can be read everywhere" in text


def test_the_same_map_took_no_noise_away():
    assert "took hardly any noise away" in said(SMOOTH + 0.97 * NOISE, np.full(SHAPE, 0.1))


def test_a_map_of_another_shape_has_structure_in_its_change():
    text = said(SMOOTH + 0.2 * NOISE + 12 * np.sin(np.arange(30) / 3)[:, None, None], np.full(SHAPE, 1.0))
    assert "Look at the difference map for anatomy" in text


@pytest.mark.parametrize(("share", "words"), [(0.02, "can be read in the rest"), (0.2, "as a picture only")])
def test_risk_decides_on_trust(share, words):
    risk = np.where(RNG.random(SHAPE) < share, 5.0, 0.5)
    assert words in said(SMOOTH + 0.25 * NOISE, risk)


def test_where_the_risk_lies_is_said():
    within = np.zeros(SHAPE, bool)
    within[4:-4, 4:-4] = True
    text = said(SMOOTH + 0.25 * NOISE, np.where(within, 0.5, 4.0))
    assert "at the border of the region" in text and "longer" not in text
    long = SMOOTH + np.where(np.arange(32)[:, None] < 6, 200.0, 0.0)
    methods = [method("varpro", long + NOISE), method("scancnn", long, np.where(long > 200, 4.0, 0.5))]
    assert "their T2 is longer (median 2" in " ".join(sentences(methods, ROI, WORDS))


def test_published_settings_and_a_missing_risk_are_said():
    text = said(SMOOTH + 0.25 * NOISE, base="paper")
    assert text.startswith("It ran with architecture and loss as published") and "No risk map was written" in text
    assert sentences([method("varpro", SMOOTH)], ROI, WORDS) == []
