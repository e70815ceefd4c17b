"""One series per echo time: by files where each has one, else by volumes."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.input.images import load_signals
from mrspec_prep.bids.input.series import find_series
from mrspec_prep.bids.input.volumes import series_shape
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.options import SelectOptions

EXAMPLES = Path(__file__).parents[2] / "bids_examples"


def series_of(dataset, split="echo-time"):
    return find_series(open_layout(dataset, ["01"]), "01", SelectOptions(split=split))


@pytest.mark.parametrize(("name", "n"), [("zebra_t2star-adc", 5), ("echotime-array", 4)])
def test_parts_hold_every_volume_once_with_its_own_signals(name, n):
    (whole,), parts = series_of(EXAMPLES / name, "none"), series_of(EXAMPLES / name)
    assert len(parts) == n
    assert sum(len(part.encodings) for part in parts) == len(whole.encodings)
    roi = np.zeros(series_shape(whole), bool)
    roi.flat[roi.size // 2 :: 97] = True
    signals = load_signals(whole, roi)
    for part in parts:
        times = part.encodings.echo_time
        assert np.ptp(times) == 0 and "bvalue" in part.encodings.varying()
        rows = whole.encodings.echo_time == times[0]
        np.testing.assert_array_equal(load_signals(part, roi), signals[:, rows])
        np.testing.assert_array_equal(part.encodings.bvalue, whole.encodings.bvalue[rows])


def test_parts_are_named_by_acq_or_echo_time():
    assert [part.entities["acquisition"] for part in series_of(EXAMPLES / "zebra_t2star-adc")][:2] == ["te078", "te114"]
    assert [part.entities["acquisition"] for part in series_of(EXAMPLES / "echotime-array")][:2] == ["te57", "te70"]
    assert series_of(EXAMPLES / "zebra_t2star-adc")[0].joined.startswith("One file")


def test_shells_in_files_of_one_echo_time_stay_together(tmp_path):
    shutil.copytree(EXAMPLES / "zebra_t2star-adc", tmp_path / "bids", ignore=shutil.ignore_patterns("sub-02", "deriv*"))
    for path in (tmp_path / "bids/sub-01/dwi").glob("*te078*"):
        shutil.copy(path, path.with_name(path.name.replace("te078", "more")))
    first, *rest = series_of(tmp_path / "bids")
    assert first.entities["acquisition"] == "te78" and len(first.images) == 2
    assert len(rest) == 4


def test_relaxometry_is_left_as_it_is():
    (whole,) = series_of(EXAMPLES / "t1-t2_mese", "none")
    (same,) = series_of(EXAMPLES / "t1-t2_mese")
    assert same.images == whole.images
