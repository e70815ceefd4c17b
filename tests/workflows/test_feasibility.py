import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.images import load_reference
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.options import load_options
from mrspec_prep.physics import possible_kernels
from mrspec_prep.physics.models import model_named
from mrspec_prep.physics.models.prepare import volumes_of
from mrspec_prep.workflow_files import find_workflow
from mrspec_prep.workflows.planning.feasibility import check_feasible, check_memory, n_distinct
from mrspec_prep.workflows.planning.inputs import check_inputs_of
from mrspec_prep.workflows.planning.participant import ParticipantPlan, plan_participant, restrict_to_kernel

EXAMPLES = Path(__file__).parents[2] / "bids_examples"
ZEBRA, MRF = EXAMPLES / "zebra_t2star-adc", EXAMPLES / "mrf"


@pytest.fixture(scope="module")
def plan():
    return plan_participant(open_layout(ZEBRA, ["01"]), "01")


def with_volumes(plan, keep, **sections):
    """Plan of a few of the volumes, with other options."""
    (series_plan,) = plan.series
    series = series_plan.series
    less = replace(series, volumes=series.volumes[keep], encodings=series.encodings.take(keep))
    return ParticipantPlan(plan.subject, (replace(series_plan, series=less, **sections),))


def options(plan, *overrides):
    return replace(load_options(None, overrides), kernel=plan.series[0].options.kernel)


def one_of_each(plan):
    return np.sort(plan.series[0].series.encodings.groups()[1])


def test_the_example_is_feasible(plan):
    check_feasible(plan)


def test_fingerprints_as_one_file_of_complex_numbers_are_feasible(tmp_path):
    shutil.copytree(MRF, tmp_path / "bids", ignore=shutil.ignore_patterns("derivatives"))
    parts = {part: next((tmp_path / "bids").rglob(f"*_part-{part}_MRF.nii.gz")) for part in ("real", "imag")}
    real, imag = (nib.load(path).slicer[8:14, 8:14] for path in parts.values())
    frames = (real.get_fdata() + 1j * imag.get_fdata()).astype(np.complex64)
    one = parts["real"].with_name(parts["real"].name.replace("_part-real", ""))
    for path in (tmp_path / "bids").rglob("*_part-*_MRF.*"):
        path.unlink()
    nib.save(nib.Nifti1Image(frames, real.affine), one)
    plan = plan_participant(open_layout(tmp_path / "bids"), "01", workflow=find_workflow("mrf_subspace"))
    check_memory(plan, 1.0)
    check_feasible(plan)
    (checked,) = check_inputs_of([plan], tmp_path / "out", 1)
    assert checked.series[0].series.parts == ("complex",)
    with pytest.raises(InputError, match="needs at least"):
        check_memory(plan, 1e-9)


def test_a_mask_that_does_not_fit_is_refused_before_anything_is_computed(plan, tmp_path):
    image = nib.load(plan.series[0].series.images[0])
    keep = np.arange(len(plan.series[0].series.encodings))
    for name, mask, message in (
        ("empty", np.zeros(image.shape[:3]), "the mask is empty"),
        ("other", np.ones((2, 2, 2)), "not on the grid"),
    ):
        path = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(mask.astype(np.uint8), image.affine), path)
        with pytest.raises(InputError, match=message):
            check_feasible(with_volumes(plan, keep, masks=(path,)))
    with pytest.raises(InputError, match="not on the grid"):
        check_feasible(with_volumes(plan, keep, noise_map=path))


def test_noise_from_repeats_needs_repeats(plan):
    alone = one_of_each(plan)
    with pytest.raises(InputError, match="b0-repeats cannot tell.*Remedy: --noise residual"):
        check_feasible(with_volumes(plan, alone, options=options(plan, "noise.method=b0-repeats")))
    check_feasible(with_volumes(plan, alone, options=options(plan, "noise.method=residual")))


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """Plan of the example as if its lowest b were 100 s/mm2."""
    folder = tmp_path_factory.mktemp("weighted")
    shutil.copytree(ZEBRA / "sub-01", folder / "sub-01")
    shutil.copy(ZEBRA / "dataset_description.json", folder)
    for path in folder.rglob("*.bval"):
        np.savetxt(path, np.loadtxt(path, ndmin=2) + 100, fmt="%g")
    for path in folder.rglob("*.bvec"):
        directions = np.loadtxt(path)
        np.savetxt(path, np.where(np.linalg.norm(directions, axis=0) > 0, directions, [[0], [0], [1]]), fmt="%.6f")
    return plan_participant(open_layout(folder, ["01"]), "01")


def test_a_series_without_unweighted_volumes_is_planned_and_said(plan, weighted):
    check_feasible(weighted)
    ours, theirs = weighted.series[0], plan.series[0]
    assert ours.kernel == "adc-t2star"
    (note,) = [note for note in ours.series.notes if "No volume is unweighted" in note]
    assert "S0 is extrapolated from b >= 100 s/mm2" in note
    np.testing.assert_array_equal(load_reference(ours.series)[0], load_reference(theirs.series)[0])
    assert not [note for note in theirs.series.notes if "unweighted" in note]


def test_what_needs_unweighted_volumes_is_refused_in_words(weighted):
    encodings = weighted.series[0].series.encodings
    with pytest.raises(InputError, match="t2star has no diffusion, and no volume is unweighted.*lowest b 100"):
        restrict_to_kernel(weighted.series[0].series, "t2star")
    repeats = replace(weighted.series[0], options=options(weighted, "noise.method=b0-repeats"))
    with pytest.raises(InputError, match="no volume with b <= 50 s/mm2, the lowest b is 100"):
        check_feasible(ParticipantPlan("01", (repeats,)))
    with pytest.raises(ValueError, match="no diffusion and describes unweighted volumes, and the lowest b is 100"):
        volumes_of(model_named("t2"), encodings)
    assert possible_kernels(encodings) == ("adc-t2", "adc-t2star", "adc-kurtosis", "adc")


def test_too_few_encodings_are_refused_before_anything_is_computed(plan):
    two = one_of_each(plan)[:2]
    with pytest.raises(InputError, match="fewer encodings than a fit needs.*2 different"):
        check_feasible(with_volumes(plan, two))
    three = one_of_each(plan)[[0, 1, -1]]
    assert n_distinct(plan.series[0].series.encodings.take(three)) == 3
    with pytest.raises(InputError, match="leaves no residual.*Remedy: --noise NUMBER"):
        check_feasible(with_volumes(plan, three, options=options(plan, "noise.method=auto")))
    check_feasible(with_volumes(plan, three, options=options(plan, "noise.method=0.1")))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nnls.regions.slow.t1=[1, 10]", "names the axis t1.*its axes are diffusivity, t2star"),
        ("nnls.regions.slow.t2star=[1e6, 1e7]", "holds no bin of the grid.*the grid reaches"),
    ],
)
def test_a_region_outside_the_grid_is_refused(plan, override, message):
    keep = np.arange(len(plan.series[0].series.encodings))
    with pytest.raises(InputError, match=message):
        check_feasible(with_volumes(plan, keep, options=options(plan, override)))
