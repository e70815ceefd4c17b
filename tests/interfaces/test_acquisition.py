"""The record of an acquisition: its noise map names the paper of its method."""

import json
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.nifti import read_grid
from mrspec_prep.bids.output.catalogue import references_of
from mrspec_prep.bids.output.derivatives import read_map
from mrspec_prep.interfaces.derivatives import SaveAcquisition
from mrspec_prep.workflows.planning.participant import plan_participant

ZEBRA = Path(__file__).parents[2] / "bids_examples" / "zebra_t2star-adc"
PAPERS = {"mppca": ["veraart2016"], "residual": ["butler1981"], "neighbours": ["donoho1994"], "b0-repeats": None}


@pytest.mark.parametrize("method", PAPERS)
def test_noise_names_the_paper_of_its_method_or_none(tmp_path, method):
    overrides = ["kernel.points=[4,4]"]
    (plan,) = plan_participant(open_layout(ZEBRA, ["01"]), "01", overrides=overrides).series
    roi = np.zeros(read_grid(plan.series.images[0]).shape, bool)
    roi[4:6, 4, 1] = True
    np.save(tmp_path / "roi.npy", roi)
    np.save(tmp_path / "noise.npy", np.full(2, 5.0))
    noise = {"method": method, "n_repeats": 1, "degrees_of_freedom": None, "snr": 20.0}
    notes = {"series": plan.series.to_json(), "noise": noise, "roi": {"source": "x", "notes": []}}
    for name, content in notes.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    SaveAcquisition(
        series=str(tmp_path / "series.json"),
        kernel=plan.kernel_settings, roi=str(tmp_path / "roi.npy"), out_dir=str(tmp_path / "out"), bids_dir=str(ZEBRA),
        workflow_name="x", why="y", options_hash="0", seed=0, settings=plan.options.to_dict(),
        roi_notes=str(tmp_path / "roi.json"), noise=str(tmp_path / "noise.npy"),
        noise_notes=str(tmp_path / "noise.json"),
    ).run(cwd=str(tmp_path))  # fmt: skip
    about = read_map(tmp_path / "out/sub-01/dwi/sub-01_desc-noise_dwimap.nii.gz").metadata
    wanted = PAPERS[method] and references_of(PAPERS[method])
    assert about.get("EstimationReference") == wanted
