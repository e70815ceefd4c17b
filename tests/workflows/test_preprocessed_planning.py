"""Plans of preprocessed images: mask, decay with echo time, what is said."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.images import load_signals
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.workflows.planning.feasibility import check_feasible
from mrspec_prep.workflows.planning.participant import plan_participant
from tests.bids.qsiprep_like import copy_raw, like_qsiprep

ZEBRA = Path(__file__).parents[2] / "bids_examples" / "zebra_t2star-adc"
MASK = next((ZEBRA / "derivatives/masks/sub-01/dwi").glob("*_mask.nii.gz"))
SCANS = [f"sub-01/dwi/sub-01_acq-te{te}_dwi.nii.gz" for te in ("078", "150")]
NO_RECORD = {"series_b0_correction": None}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return copy_raw(ZEBRA, tmp_path_factory.mktemp("raw") / "bids", SCANS)


@pytest.fixture(scope="module")
def layout(raw):
    return open_layout(raw, ["01"])


@pytest.fixture
def plan(raw, layout, tmp_path):
    """Plan of what was preprocessed in some way."""

    def make(*overrides, derivatives=None, mask=True, **how):
        root = tmp_path / "qsiprep"
        brain = nib.load(MASK).get_fdata() if mask else None
        like_qsiprep(raw, root, SCANS, "sub-01/dwi/sub-01", mask=brain, **how)
        plan = plan_participant(
            layout, "01", overrides=list(overrides), derivatives={"qsiprep": root} | (derivatives or {})
        )
        check_feasible(plan)
        return plan.series[0]

    return make


def test_the_mask_beside_the_images_is_taken_and_said(plan):
    made = plan()
    assert [path.name for path in made.masks] == ["sub-01_space-ACPC_desc-brain_mask.nii.gz"]
    assert any("found beside the preprocessed images" in note for note in made.series.notes)
    assert made.kernel == "adc-t2star"


def test_noise_that_interpolation_misleads_is_said(plan):
    assert any("interpolated" in note for note in plan("noise.method='mppca'").series.notes)
    assert not any("interpolated" in note for note in plan().series.notes)


def test_a_mask_of_another_dataset_wins_and_without_any_it_is_automatic(plan):
    made = plan(derivatives={"masks": ZEBRA / "derivatives" / "masks"})
    assert made.masks == (MASK,)
    assert plan("mask.source='automatic'").masks == ()


def test_without_a_mask_beside_it_is_automatic_unless_one_was_asked_for(plan):
    assert plan(mask=False).masks == ()
    with pytest.raises(InputError, match="no derivative mask"):
        plan("mask.source='derivative'", mask=False)


@pytest.mark.parametrize("how", [{"harmonise": True}, {"harmonise": True, "columns": NO_RECORD}])
def test_scaled_scans_are_refused_with_the_option_that_avoids_it(plan, how):
    with pytest.raises(InputError, match=r"b=0 intensity.*Remedy: .*--no-b0-harmonization"):
        plan(**how)


def test_the_figures_are_said_and_the_user_may_know_better(plan):
    with pytest.raises(InputError, match=r"mean b=0 signal \d+ at TE 78 ms and \d+ at TE 150 ms.*rising in \d+ %"):
        plan(harmonise=True, columns=NO_RECORD)
    assert plan("select.b0_scaling='trusted'", harmonise=True, columns=NO_RECORD).kernel == "adc-t2star"
    assert plan(columns=NO_RECORD).kernel == "adc-t2star"


def test_echo_times_that_were_swapped_are_refused_even_where_nothing_was_scaled(plan, raw, tmp_path):
    swapped = copy_raw(raw, tmp_path / "swapped", SCANS)
    first, second = (swapped / scan.replace(".nii.gz", ".json") for scan in SCANS)
    texts = first.read_text(), second.read_text()
    first.write_text(texts[1])
    second.write_text(texts[0])
    root = tmp_path / "qsiprep"
    like_qsiprep(swapped, root, SCANS, "sub-01/dwi/sub-01")
    plan = plan_participant(open_layout(swapped, ["01"]), "01", derivatives={"qsiprep": root})
    with pytest.raises(InputError, match="no decay at all"):
        check_feasible(plan)


def test_the_signals_are_those_of_the_raw_scans(plan, layout):
    made = plan()
    same = plan_participant(layout, "01").series[0].series
    roi, expected = nib.load(MASK).get_fdata() > 0, same.encodings
    np.testing.assert_array_equal(load_signals(made.series, roi), load_signals(same, roi))
    assert made.series.decay == same.decay
    for axis in ("bvalue", "echo_time"):
        np.testing.assert_array_equal(getattr(made.series.encodings, axis), getattr(expected, axis))
    assert np.ptp(made.series.encodings.echo_time) == 72
