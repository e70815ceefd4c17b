"""Uncertainty of a few voxels of the placenta example, through the nodes that a run uses."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.input.images import load_signals
from mrspec_prep.bids.input.volumes import series_shape
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.output.derivatives import read_map
from mrspec_prep.interfaces.nnls import FitNNLS
from mrspec_prep.interfaces.uncertainty import EstimateUncertainty, SaveUncertainty
from mrspec_prep.options import UncertaintyOptions
from mrspec_prep.workflows.participant import init_participant_wf
from mrspec_prep.workflows.planning.participant import plan_participant

ZEBRA = Path(__file__).parents[2] / "bids_examples/zebra_t2star-adc"
N_VOXELS = 5
MODEL = "sub-01_model-adct2star_param-"


@pytest.fixture(scope="module")
def plan():
    layout = open_layout(ZEBRA, ["01"])
    overrides = ["kernel.points=[8, 8]", "uncertainty.bootstrap=20", "uncertainty.bounds=true"]
    return plan_participant(layout, "01", overrides=overrides)


@pytest.fixture(scope="module")
def saved(plan, tmp_path_factory):
    """Folder of the maps, region of interest, and results of the fit."""
    folder = tmp_path_factory.mktemp("nodes")
    (series,) = plan.series
    (folder / "series.json").write_text(json.dumps(series.series.to_json()))
    roi = np.zeros(series_shape(series.series), bool)
    roi.flat[np.arange(N_VOXELS) * 7 + roi.size // 2] = True
    signals = load_signals(series.series, roi)
    for name, array in {"roi": roi, "signals": signals, "noise": np.full(N_VOXELS, 0.03 * signals.max())}.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "noise.json").write_text(json.dumps({"method": "b0-repeats", "degrees_of_freedom": 25.0}))
    fitting = {"series": str(folder / "series.json"), "kernel": series.kernel_settings, "num_threads": 1}
    files = {name: str(folder / f"{name}.npy") for name in ("signals", "noise")}
    (folder / "fit").mkdir()
    fit = FitNNLS(**fitting, **files, alpha=0.01, tolerance=1e-9, regions={}).run(cwd=str(folder / "fit")).outputs
    settings = asdict(UncertaintyOptions(bootstrap=20, bounds=True))
    estimated = EstimateUncertainty(
        **fitting, **files, roi=str(folder / "roi.npy"), noise_notes=str(folder / "noise.json"), spectra=fit.spectra,
        regions={}, settings=settings, seed=0,
    ).run(cwd=str(folder)).outputs  # fmt: skip
    SaveUncertainty(
        series=fitting["series"], kernel=series.kernel_settings, roi=str(folder / "roi.npy"),
        out_dir=str(folder / "out"), bids_dir=str(ZEBRA), workflow_name="x", why="y", options_hash="0", seed=0,
        settings=series.options.to_dict(), maps=estimated.maps, notes=estimated.notes,
    ).run(cwd=str(folder))  # fmt: skip
    return folder / "out/sub-01/dwi", roi, dict(np.load(fit.maps))


def test_ranges_surround_the_estimates_and_bounds_are_wider(saved):
    folder, roi, maps = saved
    for region in ("slowlong", "freelong", "fastlong"):
        found = {
            kind: read_map(folder / f"{MODEL}{region}_desc-nnls{kind}_dwimap.nii.gz").data[roi]
            for kind in ("std", "low", "high", "min", "max")
        }
        estimate = maps[f"region-{region}"]
        assert (found["low"] <= estimate + 1e-6).all()
        assert (estimate <= found["high"] + 1e-6).all()
        assert (found["min"] <= found["max"]).all()
        assert (found["std"] > 0).all()


def test_visible_fractions_have_an_estimate_and_bounds(saved):
    folder, roi, _ = saved
    regions = ("slowlong", "freelong", "fastlong", "slowshort", "freeshort", "fastshort")
    maps = {r: read_map(folder / f"{MODEL}visible{r}_desc-nnls_dwimap.nii.gz") for r in regions}
    assert np.allclose(sum(found.data[roi] for found in maps.values()), 1, atol=1e-6)
    low, high = (read_map(folder / f"{MODEL}visibleslowlong_desc-nnls{end}_dwimap.nii.gz") for end in ("min", "max"))
    assert (low.data[roi] <= high.data[roi]).all()
    assert low.key == "visible" and "visible fraction inside the region slowlong" in low.metadata["Description"]


def test_parameters_and_the_main_peak_have_their_maps_with_units(saved):
    folder, roi, maps = saved
    for key in ("t2star", "diffusivity", "s0", "peakt2star", "peakdiffusivity"):
        spread = read_map(folder / f"{MODEL}{key}_desc-nnlsstd_dwimap.nii.gz")
        assert spread.key == key
        assert (spread.data[roi] > 0).all()
    peak = read_map(folder / f"{MODEL}peakt2star_desc-nnls_dwimap.nii.gz")
    assert peak.metadata["Units"] == "s"
    assert (peak.data[roi] > 5).all()
    low = read_map(folder / f"{MODEL}t2star_desc-nnlslow_dwimap.nii.gz")
    assert (low.data[roi] < maps["t2star"]).all()


def test_sidecars_say_what_was_done_and_what_is_not_in_it(saved):
    folder, _, _ = saved
    spread = json.loads((folder / f"{MODEL}slowlong_desc-nnlsstd_dwimap.json").read_text())
    assert spread["Resamples"] == 20
    assert spread["Resampling"] == "residual"
    assert "bias" in spread["Description"]
    assert "Bootstrap" in spread["EstimationAlgorithm"]
    bound = json.loads((folder / f"{MODEL}slowlong_desc-nnlsmax_dwimap.json").read_text())
    assert bound["Level"] == 0.95
    assert "95% noise limit" in bound["Description"]


def test_the_steps_are_wired_only_where_they_are_asked_for(plan, tmp_path):
    class Machine:
        omp_nthreads, steps_gb = 1, 2.0

    def labels(plan, name):
        where = {"out_dir": tmp_path, "bids_dir": ZEBRA, "work_dir": tmp_path / name}
        return {node.name for node in init_participant_wf(plan, **where, resources=Machine())._get_all_nodes()}

    plain = plan_participant(open_layout(ZEBRA, ["01"]), "01")
    assert {"uncertainty", "save_uncertainty"} <= labels(plan, "with")
    assert not {"uncertainty", "save_uncertainty"} & labels(plain, "without")
