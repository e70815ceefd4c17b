"""Neighbours through the nodes that a run uses, on a small block of the placenta example."""

import json
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.input.images import load_signals
from mrspec_prep.bids.input.volumes import series_shape
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.output.derivatives import read_map
from mrspec_prep.interfaces import progress
from mrspec_prep.interfaces.base import neighbours_in
from mrspec_prep.interfaces.derivatives import SaveInspect, SaveNNLS
from mrspec_prep.interfaces.inspect_em import FitInspect
from mrspec_prep.interfaces.nnls import FitNNLS
from mrspec_prep.options import OptionsError, load_options
from mrspec_prep.workflows.planning.participant import plan_participant
from mrspec_prep.workflows.spectral import init_spectral_wf

ZEBRA = Path(__file__).parents[2] / "bids_examples/zebra_t2star-adc"
OVERRIDES = ["kernel.points=[8, 8]", "inspect.n_clusters=2", "inspect.spatial=true", "nnls.spatial=1"]


@pytest.fixture(scope="module")
def plan():
    return plan_participant(open_layout(ZEBRA, ["01"]), "01", overrides=OVERRIDES)


@pytest.fixture(scope="module")
def saved(plan, tmp_path_factory):
    """Folder of the derivatives, region of interest, and fits."""
    folder = tmp_path_factory.mktemp("nodes")
    (series,) = plan.series
    (folder / "series.json").write_text(json.dumps(series.series.to_json()))
    shape = series_shape(series.series)
    roi = np.zeros(shape, bool)
    roi[tuple(slice(n // 2 - 2, n // 2 + 2) for n in shape)] = True
    signals = load_signals(series.series, roi)
    for name, array in {"roi": roi, "signals": signals, "noise": np.full(roi.sum(), 0.03 * signals.max())}.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "noise.json").write_text(json.dumps({"method": "b0-repeats", "degrees_of_freedom": 25.0}))
    common = {"series": str(folder / "series.json"), "kernel": series.kernel_settings}
    files = {name: str(folder / f"{name}.npy") for name in ("signals", "noise", "roi")}
    settings, said = series.options.to_dict(), []
    for name in ("nnls", "inspect"):
        (folder / name).mkdir()
    nnls = FitNNLS(**common, **files, alpha=0.01, tolerance=1e-9, regions={}, spatial=1.0)
    nnls = nnls.run(cwd=str(folder / "nnls")).outputs
    inspect = FitInspect(**common, **files, noise_notes=str(folder / "noise.json"), settings=settings["inspect"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "SECONDS_BETWEEN_WORDS", 0)
        patch.setattr(progress.LOGGER, "info", lambda *words: said.append(words[0] % words[1:]))
        inspect = inspect.run(cwd=str(folder / "inspect")).outputs
    saving = common | {
        "roi": files["roi"], "out_dir": str(folder / "out"), "bids_dir": str(ZEBRA), "workflow_name": "x", "why": "y",
        "options_hash": "0", "seed": 0, "settings": settings,
    }  # fmt: skip
    SaveNNLS(**saving, spectra=nnls.spectra, maps=nnls.maps).run(cwd=str(folder))
    SaveInspect(**saving, fit=inspect.fit, selection=inspect.selection).run(cwd=str(folder))
    return folder / "out/sub-01/dwi", roi, dict(np.load(nnls.maps)), dict(np.load(inspect.fit)), said


def test_the_map_says_how_many_voxels_stand_behind_a_spectrum(saved):
    folder, roi, maps, *_ = saved
    found = read_map(folder / "sub-01_model-adct2star_param-shared_desc-nnls_dwimap.nii.gz")
    np.testing.assert_allclose(found.data[roi], maps["shared"], rtol=1e-6)
    assert (maps["shared"] >= 1).all() and maps["shared"].max() > 1.1
    assert found.metadata["SpatialWeight"] == 1 and "1" in found.metadata["Description"]


def test_sidecars_of_clusters_say_the_prior_and_its_weight(saved):
    folder, _, _, fit, _ = saved
    about = json.loads((folder / "sub-01_seg-inspect_dseg.json").read_text())
    assert about["SpatialPrior"] == "potts" and about["SpatialWeight"] == pytest.approx(float(fit["spatial_weight"]))
    assert fit["spatial_weight"] >= 0
    assert (folder.parents[1] / "seg-inspect_dseg.tsv").is_file()


def test_a_fit_of_clusters_says_how_far_it_is(saved):
    said = saved[-1]
    assert all(line.startswith("clusters: ") for line in said)
    for words in ("starts of 2 clusters", "step 1 with", "neighbours of 2 clusters"):
        assert any(words in line for line in said)


def test_the_selection_table_has_all_its_columns_and_na_where_nothing_was_held_out(saved):
    lines = (saved[0] / "sub-01_desc-inspect_selection.tsv").read_text().splitlines()
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    assert {"n_clusters", "log_likelihood", "bic", "aic", "held_out", "stability"} <= set(rows[0])
    assert all(row["held_out"] == "n/a" and row["bic"] != "n/a" for row in rows)


def test_neighbours_are_those_of_the_roi_and_the_voxel_size(plan):
    (series,) = plan.series
    found = neighbours_in(series.series, np.ones((2, 1, 1), bool), 6)
    assert found.n_voxels == 2 and len(found.index) == 2


def test_the_graph_hands_the_region_to_both_fits(plan, tmp_path):
    (series,) = plan.series
    (tmp_path / "series.json").write_text(json.dumps(series.series.to_json()))
    workflow = init_spectral_wf(series, tmp_path / "series.json", saving={}, name="series")
    for name in ("nnls", "inspect_em"):
        (edge,) = (workflow._graph.get_edge_data(source, node) for source, node in workflow._graph.in_edges
                   if node.name == name and source.name == "signals")  # fmt: skip
        assert ("roi", "roi") in edge["connect"]
    assert workflow.get_node("nnls").inputs.spatial == 1
    assert workflow.get_node("inspect_em").inputs.settings["spatial"] is True


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (["nnls.spatial=-1"], "nnls.spatial"),
        (["inspect.spatial=potts"], "true or false"),
        (["nnls.spatial=1", "uncertainty.bootstrap=50"], "uncertainty"),
    ],
)
def test_settings_that_cannot_be_are_refused(override, words):
    with pytest.raises(OptionsError, match=words):
        load_options(overrides=override)
