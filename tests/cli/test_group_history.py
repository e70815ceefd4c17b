import pytest
from filelock import FileLock

from mrspec_prep.cli import history
from mrspec_prep.cli.group_history import claim_group, finished_group, forget_group, mark_group, remove_stale_group
from mrspec_prep.cli.history import WorkDirError

TABLE = "group_participants.tsv"
SPECTRA = "group_desc-inspect_spectra.h5"
MAP = "sub-01/dwi/sub-01_seg-group_dseg.nii.gz"
OTHERS = "sub-02/ses-1/dwi/sub-02_ses-1_seg-group_dseg.nii.gz"
WEIGHTS = "sub-01/dwi/sub-01_model-groupmap_param-component1_dwimap.nii.gz"
TEMPLATE, OTHER_TEMPLATE = (f"tpl-group/tpl-group_model-{kernel}_desc-inspect_spectra.h5" for kernel in ("adc", "t1"))
PARTICIPANTS = ("sub-01/dwi/sub-01_seg-inspect_dseg.nii.gz", "sub-01/dwi/sub-01_model-adc_desc-inspect_spectra.h5")


@pytest.fixture
def out(tmp_path):
    for name in (TABLE, SPECTRA, TEMPLATE, OTHER_TEMPLATE, MAP, OTHERS, WEIGHTS, *PARTICIPANTS, "group.html"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_a_finished_group_is_known_by_its_key_until_a_file_is_missing_or_it_is_begun_again(out):
    assert finished_group(out) is None
    mark_group(out, "abc", [out / TABLE, out / MAP])
    assert finished_group(out) == "abc"
    forget_group(out)
    assert finished_group(out) is None
    for gone in (MAP, "group.html"):
        mark_group(out, "abc", [out / TABLE, out / MAP])
        (out / gone).rename(out / "aside")
        assert finished_group(out) is None
        (out / "aside").rename(out / gone)


def test_maps_of_others_go_with_their_folders_and_results_of_participants_stay(out):
    kept = [TABLE, SPECTRA, TEMPLATE, MAP]
    assert remove_stale_group(out, [out / name for name in kept]) == [WEIGHTS, OTHERS, OTHER_TEMPLATE]
    assert not (out / "sub-02").exists()
    assert all((out / name).is_file() for name in (*kept, *PARTICIPANTS))
    assert remove_stale_group(out, [out / name for name in kept]) == []
    assert remove_stale_group(out, [out / TABLE, out / SPECTRA, out / MAP]) == [TEMPLATE]
    assert not (out / "tpl-group").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"key": "abc"}'])
def test_a_damaged_record_is_none(out, content):
    mark_group(out, "abc", [out / TABLE])
    (out / "logs/group/finished.json").write_text(content)
    assert finished_group(out) is None


def test_two_runs_never_write_one_group(out):
    (out / "logs/group").mkdir(parents=True)
    with FileLock(out / "logs/group/.lock"), pytest.raises(WorkDirError, match="working on the group of.*OUT_DIR"):
        claim_group(out)
    claim_group(out)
    claim_group(out)
    history.LOCKS.pop().release()
