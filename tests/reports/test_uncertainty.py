"""The section on uncertainty says and shows what the maps hold, and nothing where there are none."""

import json
import tomllib

import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.bids.output.derivatives import write_map
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.methods import compose, methods_facts
from mrspec_prep.reports.subject import build_subject_report
from mrspec_prep.reports.uncertainty import limits_table, uncertainty_blocks

WORDS = tomllib.loads(data_text("report.toml"))
REGION = "slowshort"
ABOUT = {
    "Sources": ["bids:raw:x"], "OptionsHash": "0f1e2d3c4b5a", "Seed": 0, "Level": 0.95, "Resamples": 100,
    "Resampling": "residual", "Simultaneous": True, "ComparedNumbers": 9, "VoxelsWithoutBounds": 7, "Region": REGION,
}  # fmt: skip


class Pen:
    def __init__(self):
        self.names = []

    def figure(self, svg, name, caption):
        self.names.append(name)
        return {"kind": "figure", "caption": caption}


@pytest.fixture
def out(participant):
    """Participant with uncertainty of one region and of T2*."""
    out = participant(shape=(14, 16, 3), steps=("nnls",))
    folder = out / "sub-01/dwi"
    like = folder / f"sub-01_model-adct2star_param-{REGION}_desc-nnls_dwimap.nii.gz"
    (series,) = collect_series(out, "01")
    roi = series.roi.data.astype(bool)
    for kind, value in {"std": 0.04, "low": 0.2, "high": 0.4, "min": 0.1, "max": 0.9}.items():
        path = folder / like.name.replace("desc-nnls", f"desc-nnls{kind}")
        write_map(path, np.full(roi.sum(), value), roi, like, key="fraction", metadata=ABOUT)
    path = folder / "sub-01_model-adct2star_param-t2star_desc-nnlsstd_dwimap.nii.gz"
    write_map(path, np.full(roi.sum(), 3.0), roi, like, key="t2star", metadata=ABOUT)
    sidecar = folder / "sub-01_desc-encodings_axes.json"
    content = json.loads(sidecar.read_text())
    content["CramerRaoBounds"] = [
        {"Components": 1, "RelativeErrors": {"diffusivity": 0.02, "t2star": 0.034}, "FractionError": 0.0},
        {"Components": 2, "RelativeErrors": {"diffusivity": 0.4, "t2star": "n/a"}, "FractionError": 0.1},
    ]
    sidecar.write_text(json.dumps(content))
    return out


def test_maps_lie_beside_their_estimate_and_are_no_estimates_themselves(out):
    (series,) = collect_series(out, "01")
    assert set(series.uncertainty) == {"std", "low", "high", "min", "max"}
    assert np.median(series.fractions[REGION].data[series.roi.data > 0]) != pytest.approx(0.9, abs=1e-3)
    pen = Pen()
    blocks = list(uncertainty_blocks(series, WORDS, pen))
    assert pen.names == [f"range-{REGION}", "spread"]
    table = next(block for block in blocks if block["kind"] == "table")
    cells = dict(zip(table["headers"], next(row for row in table["rows"] if row[0] == REGION), strict=True))
    assert cells["standard deviation"] == "0.04"
    assert cells["bounds"] == "0.1 to 0.9"
    assert any(row[0] == "Mean T2* [ms]" and "3" in row for row in table["rows"])


def test_the_words_say_what_the_intervals_do_not_hold(out):
    (series,) = collect_series(out, "01")
    text = " ".join(next(uncertainty_blocks(series, WORDS, Pen()))["entries"])
    assert "100 times" in text
    assert "bias is not in the interval" in text
    assert "In seven voxels" in text
    methods = compose(methods_facts(series, WORDS), WORDS)
    assert "95\u202f% intervals" in methods
    assert "[@efron1979]" in methods
    assert "@patil2022" in methods


def test_the_bounds_of_k_components_are_a_table(out):
    (series,) = collect_series(out, "01")
    table = limits_table(series)
    assert table["rows"][0] == ["1", "2\u202f%", "3\u202f%", "\u2013"]
    assert table["rows"][1] == ["2", "40\u202f%", "> 100\u202f%", "10\u202f%"]


def test_the_page_holds_the_section_only_where_there_is_uncertainty(out, participant):
    assert WORDS["sections"]["uncertainty"] in build_subject_report(out, "01").read_text()
    plain = participant(subject="02", shape=(14, 16, 3), steps=("nnls",))
    (series,) = collect_series(plain, "02")
    assert list(uncertainty_blocks(series, WORDS, Pen())) == []
    assert "bootstrap" not in compose(methods_facts(series, WORDS), WORDS)
