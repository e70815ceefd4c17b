"""The inversion efficiency from the settings to every node that builds a kernel."""

import json
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.nifti import read_grid
from mrspec_prep.interfaces.base import read_series
from mrspec_prep.interfaces.efficiency import EstimateEfficiency
from mrspec_prep.options import KernelOptions, OptionsError
from mrspec_prep.workflows.planning.participant import plan_participant
from mrspec_prep.workflows.spectral import init_spectral_wf

MESE = Path(__file__).parents[2] / "bids_examples" / "t1-t2_mese"


def planned(tmp_path, *overrides):
    (plan,) = plan_participant(open_layout(MESE, ["01"]), "01", overrides=list(overrides)).series
    series = tmp_path / "series.json"
    series.write_text(json.dumps(plan.series.to_json()))
    return plan, series


def series_sources(workflow):
    """Node that every node takes its series from."""
    return {
        node.name: origin.name
        for origin, node, data in workflow._graph.edges(data=True)
        for _, target in data["connect"]
        if target == "series"
    }


def test_a_number_is_part_of_the_encodings_from_the_plan_on(tmp_path):
    plan, series = planned(tmp_path, "kernel.inversion_efficiency=0.8")
    assert (read_series(series).encodings.inversion_efficiency == 0.8).all()
    assert "efficiency" not in init_spectral_wf(plan, series, saving={}, name="series").list_node_names()


def test_a_perfect_inversion_changes_nothing(tmp_path):
    plain, given = planned(tmp_path)[0], planned(tmp_path, "kernel.inversion_efficiency=1")[0]
    assert plain.series.encodings == given.series.encodings
    assert plain.series.encodings.inversion_efficiency is None


@pytest.mark.long
def test_an_estimate_reaches_every_later_node(tmp_path):
    plan, series = planned(
        tmp_path, "kernel.inversion_efficiency=auto", "noise.distribution=rician", "uncertainty.bounds=true",
        "inspect_map.n_components=2",
    )  # fmt: skip
    workflow = init_spectral_wf(plan, series, saving={}, name="series")
    assert series_sources(workflow) == {
        name: "efficiency" for name in workflow.list_node_names() if name not in ("roi", "efficiency")
    }


def test_the_node_finds_the_perfect_inversion_of_the_example(tmp_path, monkeypatch):
    plan, series = planned(tmp_path, "kernel.inversion_efficiency=auto")
    shape = read_grid(plan.series.images[0]).shape[:3]
    roi = np.zeros(shape, bool)
    roi[6:10, 12:16, 1] = True
    np.save(tmp_path / "roi.npy", roi)
    (tmp_path / "notes.json").write_text(json.dumps({"notes": []}))
    monkeypatch.chdir(tmp_path)
    node = EstimateEfficiency(
        series=str(series), kernel=plan.kernel_settings, roi=str(tmp_path / "roi.npy"),
        notes=str(tmp_path / "notes.json"),
    )  # fmt: skip
    outputs = node.run().outputs
    notes = json.loads(Path(outputs.notes).read_text())
    assert notes["inversion_efficiency"]["interval"][1] == 1.0
    assert "perfect inversion is not excluded" in notes["notes"][0]
    assert (read_series(outputs.series).encodings.inversion_efficiency == 1.0).all()


@pytest.mark.parametrize("value", [-0.1, 1.2, "perfect", True])
def test_other_values_are_refused(value):
    with pytest.raises(OptionsError, match="inversion_efficiency"):
        KernelOptions(inversion_efficiency=value)
