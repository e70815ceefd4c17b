"""Preprocessed images: every volume traced back to its raw file, and what cannot be is refused."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.images import find_masks, masks_beside
from mrspec_prep.bids.input.series import Series, find_series
from mrspec_prep.options import SelectOptions
from tests.bids.conftest import SHAPE
from tests.bids.qsiprep_like import like_qsiprep

BVAL = (0, 0, 1000)
FIRST, SECOND = "sub-01/dwi/sub-01_acq-te078_dwi.nii.gz", "sub-01/dwi/sub-01_acq-te114_dwi.nii.gz"


@pytest.fixture
def raw(tiny):
    """Two scans, TE 78 and 114 ms."""
    for label, echo_time in (("te078", 0.078), ("te114", 0.114)):
        tiny.dwi(f"acq-{label}_", BVAL, EchoTime=echo_time, MultipartID="a", RepetitionTime=4)
    return tiny


@pytest.fixture
def prepared(raw, tmp_path):
    """Write a preprocessed dataset of both scans; call it with what is to differ."""

    def write(scans=(FIRST, SECOND), stem="sub-01/dwi/sub-01", **how):
        return like_qsiprep(raw.root, tmp_path / "qsiprep", scans, stem, mask=np.ones(SHAPE), **how)

    return write


@pytest.fixture(autouse=True)
def files_without_index(monkeypatch):
    """Files of a participant from the disk: an index of every small dataset would take most of the time."""

    def listed(layout, subject):
        return sorted(p for p in (Path(layout.root) / f"sub-{subject}").rglob("*") if p.is_file())

    monkeypatch.setattr("mrspec_prep.bids.layout.participant_files", listed)


def series_of(root, filters=None, sessions=None, derivatives=None):
    return find_series(SimpleNamespace(root=str(root)), "01", SelectOptions(), sessions, filters, derivatives)


def find(tiny, tmp_path, filters=None, sessions=None, **derivatives):
    return series_of(tiny.root, filters, sessions, {"qsiprep": tmp_path / "qsiprep"} | derivatives)


def test_scans_that_were_concatenated_have_the_times_of_their_raw_files(raw, prepared, tmp_path):
    image = prepared()
    (series,) = find(raw, tmp_path)
    (expected,) = series_of(raw.root)
    assert series.images == (image,)
    np.testing.assert_allclose(series.encodings.echo_time, [78, 78, 78, 114, 114, 114])
    np.testing.assert_array_equal(series.encodings.bvalue, expected.encodings.bvalue)
    lengths = np.linalg.norm(series.encodings.direction, axis=1)
    np.testing.assert_allclose(lengths, [0, 0, 1, 0, 0, 1], atol=1e-6)
    assert not np.allclose(series.encodings.direction, expected.encodings.direction)  # rotated with the head
    assert series.raw_volumes == [(scan.rpartition("/")[2], v) for scan in (FIRST, SECOND) for v in range(3)]
    assert (series.origins.b0_scaling, series.entities["space"]) == ("kept", "ACPC")
    assert any("6 volumes were traced back to 2 raw scan(s)" in note for note in series.notes)


def test_a_plus_sign_in_a_raw_name_makes_no_mean_of_two(tiny, tmp_path):
    stem = "sub-01/ses-a+b/dwi/sub-01_ses-a+b"
    scans = [f"{stem}_acq-te{te}+x_dwi" for te in ("078", "114")]
    for scan, echo_time in zip(scans, (0.078, 0.114), strict=True):
        tiny.image(scan, 3, bval=BVAL, sidecar={"EchoTime": echo_time})
    like_qsiprep(tiny.root, tmp_path / "qsiprep", [f"{scan}.nii.gz" for scan in scans], stem)
    (series,) = find(tiny, tmp_path, sessions=["a+b"])
    np.testing.assert_allclose(series.encodings.echo_time, [78, 78, 78, 114, 114, 114])
    assert series.raw_volumes[5] == ("sub-01_ses-a+b_acq-te114+x_dwi.nii.gz", 2)


def test_a_series_goes_through_json_and_back(raw, prepared, tmp_path):
    prepared()
    (series,) = find(raw, tmp_path)
    again = Series.from_json(json.loads(json.dumps(series.to_json())))
    assert again.origins == series.origins
    assert again.raw_volumes == series.raw_volumes


def test_scans_preprocessed_one_by_one_are_joined_as_raw_ones_are(raw, prepared, tmp_path):
    prepared([FIRST], "sub-01/dwi/sub-01_acq-te078")
    prepared([SECOND], "sub-01/dwi/sub-01_acq-te114")
    (series,) = find(raw, tmp_path)
    assert len(series.images) == 2
    np.testing.assert_allclose(series.encodings.echo_time, [78, 78, 78, 114, 114, 114])
    assert "MultipartID" in series.joined
    assert [p.name for p in masks_beside(series)] == [
        f"sub-01_acq-{te}_space-ACPC_desc-brain_mask.nii.gz" for te in ("te078", "te114")
    ]


def test_older_names_are_read(raw, prepared, tmp_path):
    for echo_time in ("te078", "te114"):
        sidecar = raw.root / f"sub-01/dwi/sub-01_acq-{echo_time}_dwi.json"
        sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"ScanningSequence": ["EP", "GR"]}))
    prepared(space="T1w", confounds="_confounds.tsv", sidecar=False)
    (series,) = find(raw, tmp_path)
    assert series.decay == "t2star"  # as the raw sidecars say
    assert series.entities["space"] == "T1w"
    np.testing.assert_allclose(series.encodings.echo_time, [78, 78, 78, 114, 114, 114])


def test_the_dataset_may_be_bids_dir_itself_and_its_sidecar_stands_in_for_the_raw_data(raw, prepared, tmp_path):
    prepared()
    (series,) = series_of(tmp_path / "qsiprep", derivatives={"raw": raw.root})
    (alone,) = series_of(tmp_path / "qsiprep")
    for one in (series, alone):
        np.testing.assert_allclose(one.encodings.echo_time, [78, 78, 78, 114, 114, 114])
    assert not any("not at hand" in note for note in series.notes)
    assert any("sub-01_acq-te078_dwi.nii.gz is not at hand" in note for note in alone.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"harmonise": True},
            r"scaled all scans to one b=0 intensity.*0\.800 at TE 78 ms, 1\.333 at TE 114 ms.*--no-b0-harmonization",
        ),
        ({"columns": {"original_file": None}}, "lacks the column original_file"),
        ({"columns": {"original_file": ["a_dwi.nii.gz"] * 6}, "sidecar": False}, "raw image that is not there"),
        ({"columns": {"original_file": [FIRST[11:]] * 4 + [SECOND[11:]] * 2}}, "has 3 volumes, and 4 preprocessed"),
        ({"columns": {"original_file": [FIRST[11:] + "+" + SECOND[11:]] * 6}}, "mean of two raw ones"),
        ({"columns": {"bval": [0, 1000, 0] * 2}}, "b-values recorded for sub-01_acq-te078.*volume 1: 1000 and 0"),
        ({"columns": {"bval": ["much"] * 6}}, "bval must hold numbers"),
        ({"columns": {"bval": None}}, "lacks the column bval"),
        ({"columns": {"series_b0_correction": ["a"] * 6}}, "series_b0_correction must hold numbers"),
    ],
)
def test_what_cannot_be_traced_or_was_scaled_is_refused(raw, prepared, tmp_path, change, message):
    for scan, scale in ((FIRST, 1.0), (SECOND, 0.6)):  # signals that fall with echo time
        stem = scan[11:].partition("_dwi")[0].removeprefix("sub-01_")
        data = scale * np.broadcast_to([500.0, 500.0, 200.0], (*SHAPE, 3))
        echo_time = 0.078 if scan == FIRST else 0.114
        raw.image(f"sub-01/dwi/sub-01_{stem}_dwi", data=data, bval=BVAL, sidecar={"EchoTime": echo_time})
    if change.get("harmonise"):
        change = change | {"columns": None}
    prepared(**change)
    with pytest.raises(InputError, match=message) as refused:
        find(raw, tmp_path)
    assert refused.value.remedy


def test_scaling_is_only_said_where_all_scans_have_one_echo_time(raw, prepared, tmp_path):
    raw.dwi("acq-te114_", BVAL, EchoTime=0.078, MultipartID="a")
    raw.image(
        "sub-01/dwi/sub-01_acq-te078_dwi", 3, bval=BVAL, sidecar={"EchoTime": 0.078}, data=np.full((*SHAPE, 3), 7)
    )
    prepared(harmonise=True)
    (series,) = find(raw, tmp_path)
    assert series.origins.b0_scaling == "one-time"
    assert any("scaled to one b=0 intensity; they share" in note for note in series.notes)


def test_the_log_tells_of_scaling_where_the_table_does_not(raw, prepared, tmp_path):
    unknown = {"series_b0_mean": None, "series_b0_correction": None}
    prepared(columns=unknown, settings={"no_b0_harmonization": False})
    with pytest.raises(InputError, match="qsiprep.toml: no_b0_harmonization = false"):
        find(raw, tmp_path)
    prepared(columns=unknown, settings={"no_b0_harmonization": True, "denoise_method": "dwidenoise"})
    (series,) = find(raw, tmp_path)
    assert series.origins.b0_scaling == "unknown"
    assert any("Noise was removed by dwidenoise" in note for note in series.notes)


def test_missing_rows_confounds_and_participants_are_refused(raw, prepared, tmp_path):
    image = prepared()
    table = tmp_path / "qsiprep/sub-01/dwi/sub-01_desc-confounds_timeseries.tsv"
    whole = table.read_text()
    table.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match="6 volumes, its confounds table 5 rows"):
        find(raw, tmp_path)
    table.write_text(whole.replace("0.1\t", "", 1))
    with pytest.raises(InputError, match="tab-separated"):
        find(raw, tmp_path)
    table.unlink()
    with pytest.raises(InputError, match=r"table of confounds is missing.*--distortion-group-merge none"):
        find(raw, tmp_path)
    image.unlink()
    other = tmp_path / "qsiprep/sub-02/dwi/sub-02_space-ACPC_desc-preproc_dwi.nii.gz"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"")
    with pytest.raises(InputError, match=r"none of sub-01.*--participant-label"):
        find(raw, tmp_path)


def test_two_spaces_are_a_choice_of_the_user(raw, prepared, tmp_path):
    prepared()
    prepared(space="T1w")
    with pytest.raises(InputError, match=r'two values of space-.*\{"dwi": \{"space": '):
        find(raw, tmp_path)
    (series,) = find(raw, tmp_path, {"dwi": {"space": "T1w"}})
    assert series.entities["space"] == "T1w"
    with pytest.raises(InputError, match="filters leave no preprocessed image"):
        find(raw, tmp_path, {"dwi": {"space": "MNI"}})


def test_two_datasets_a_folder_too_high_and_one_without_participants_are_refused(raw, prepared, tmp_path):
    prepared()
    like_qsiprep(raw.root, tmp_path / "other", [FIRST], "sub-01/dwi/sub-01")
    with pytest.raises(InputError, match=r"two datasets \(found qsiprep and other\)"):
        find(raw, tmp_path, other=tmp_path / "other")
    (tmp_path / "up").mkdir()
    with pytest.raises(InputError, match="holds no participant folder"):
        find(raw, tmp_path, other=tmp_path / "up")
    (tmp_path / "other").rename(tmp_path / "up" / "qsiprep")
    with pytest.raises(InputError, match=r"Remedy: give other=.*up/qsiprep"):
        find(raw, tmp_path, other=tmp_path / "up")


def test_sessions(tiny, tmp_path):
    for session in ("a", "b"):
        stem = f"sub-01/ses-{session}/dwi/sub-01_ses-{session}"
        tiny.image(f"{stem}_dwi", 3, bval=BVAL, sidecar={"EchoTime": 0.078})
    like_qsiprep(tiny.root, tmp_path / "qsiprep", [f"{stem}_dwi.nii.gz"], stem)
    with pytest.raises(InputError, match=r"raw images and no preprocessed ones in qsiprep \(found ses-a\).*-label b"):
        find(tiny, tmp_path)
    (series,) = find(tiny, tmp_path, sessions=["ses-b"])
    assert (series.session, series.entities["session"]) == ("b", "b")
    with pytest.raises(InputError, match="choose from: b"):
        find(tiny, tmp_path, sessions=["a"])


def test_sidecars_of_other_programs_tell_the_echo_times(raw, tmp_path):
    root = tmp_path / "qsiprep"
    image = like_qsiprep(raw.root, root, [FIRST, SECOND], "sub-01/dwi/sub-01")
    (root / "sub-01/dwi/sub-01_desc-confounds_timeseries.tsv").unlink()
    (root / "dataset_description.json").write_text('{"Name": "x", "GeneratedBy": [{"Name": "designer"}]}')
    sidecar = image.with_name(image.name.replace(".nii.gz", ".json"))
    sidecar.write_text('{"EchoTime": [0.078, 0.078, 0.078, 0.114, 0.114, 0.114]}')
    (series,) = find(raw, tmp_path)
    np.testing.assert_allclose(series.encodings.echo_time, [78, 78, 78, 114, 114, 114])
    assert series.raw_volumes is None
    sidecar.write_text("{}")
    with pytest.raises(InputError, match=r"EchoTime is not known.*one number, or one per volume"):
        find(raw, tmp_path)


def test_a_contradicting_sidecar_and_raw_scans_without_echo_time_are_refused(raw, prepared, tmp_path):
    image = prepared()
    sidecar = image.with_name(image.name.replace(".nii.gz", ".json"))
    sidecar.write_text('{"EchoTime": 0.078}')
    with pytest.raises(InputError, match=r"contradict about EchoTime \(found volume 3: 78 and 114 ms\)"):
        find(raw, tmp_path)
    sidecar.write_text("{}")
    (raw.root / SECOND.replace(".nii.gz", ".json")).write_text("{}")
    with pytest.raises(InputError, match="te114_dwi.nii.gz tells no EchoTime"):
        find(raw, tmp_path)


def test_raw_and_preprocessed_images_in_one_dataset_are_refused(raw, tmp_path):
    like_qsiprep(raw.root, raw.root, [FIRST], "sub-01/dwi/sub-01")
    with pytest.raises(InputError, match="raw and preprocessed images of one kind"):
        series_of(raw.root)
    (series,) = series_of(raw.root, {"dwi": {"desc": None}})
    assert series.origins is None
    (series,) = series_of(raw.root, {"dwi": {"desc": "preproc"}})
    assert series.origins.dataset == "BIDS_DIR"


def test_masks_in_the_space_of_the_images_are_found_elsewhere(raw, prepared, tmp_path):
    prepared()
    (series,) = find(raw, tmp_path)
    for space in ("space-ACPC_", ""):
        raw.image(f"../masks/sub-01/dwi/sub-01_{space}desc-roi_mask")
    assert [path.name for path in find_masks(series, [tmp_path / "masks"])] == [
        "sub-01_space-ACPC_desc-roi_mask.nii.gz"
    ]
