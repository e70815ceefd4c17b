import json
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.dataset import list_participants
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.series import Series, find_series
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.options import SelectOptions

DATA = Path(__file__).parents[2].parent / "shared/data"


def echo_times(series):
    return np.unique(series.encodings.echo_time.round(6)).tolist()


# --- form 1: several dwi


def test_dwi_with_equal_entities_except_acq_are_joined(tiny):
    for te in (60, 91):
        tiny.dwi(f"acq-te{te}_", (0, 1000, 2000), EchoTime=te / 1000, RepetitionTime=7.1)
    (series,) = tiny.find()
    assert (series.subject, series.session, series.datatype, series.suffix) == ("01", None, "dwi", "dwi")
    assert series.entities == {"subject": "01"}
    assert [p.name for p in series.images] == ["sub-01_acq-te60_dwi.nii.gz", "sub-01_acq-te91_dwi.nii.gz"]
    assert series.volumes.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert series.encodings.bvalue.tolist() == [0, 1000, 2000] * 2
    np.testing.assert_allclose(series.encodings.echo_time, [60] * 3 + [91] * 3)
    assert series.encodings.repetition_time is None
    assert series.decay == "t2"
    assert series.notes == ()
    assert "acq- (te60, te91)" in series.joined


def test_a_multipart_id_ties_runs_and_keeps_others_apart(tiny):
    tiny.dwi("acq-a_run-1_", EchoTime=0.06, MultipartID="x")
    tiny.dwi("acq-b_run-2_", EchoTime=0.08, MultipartID="x")
    tiny.dwi("acq-c_", EchoTime=0.1, MultipartID="y")
    tied, alone = tiny.find()
    assert echo_times(tied) == [60, 80]
    assert "MultipartID 'x'" in tied.joined
    assert echo_times(alone) == [100]
    assert alone.entities == {"subject": "01", "acquisition": "c"}


@pytest.mark.parametrize("entity", ["dir", "run", "rec"])
def test_other_entities_keep_series_apart(tiny, entity):
    first, second = {"dir": ("AP", "PA"), "run": ("1", "2"), "rec": ("norm", "raw")}[entity]
    for te in (60, 80):
        for label in (first, second):
            tiny.dwi(f"acq-{te}_{entity}-{label}_" if entity != "rec" else f"acq-{te}_rec-{label}_", EchoTime=te / 1000)
    series = tiny.find()
    key = {"dir": "direction", "run": "run", "rec": "reconstruction"}[entity]
    assert [one.entities for one in series] == [{"subject": "01", key: first}, {"subject": "01", key: second}]
    assert all(len(one.images) == 2 for one in series)


def test_a_lost_image_is_said(tiny):
    tiny.dwi("acq-a_", EchoTime=0.06)
    tiny.dwi("acq-b_", EchoTime=0.08)
    tiny.dwi("acq-c_", EchoTime=0.1).unlink()
    (series,) = tiny.find()
    assert len(series.images) == 2
    assert [note for note in series.notes if "acq-c_dwi.bval has no image" in note]


def test_an_image_that_lost_its_sidecar_is_not_taken_for_a_series_of_its_own(tiny):
    tiny.dwi("acq-a_", EchoTime=0.06, MultipartID="x")
    tiny.dwi("acq-b_", EchoTime=0.08, MultipartID="x")
    lost = tiny.dwi("acq-c_")
    with pytest.raises(InputError, match="acq-c_dwi.json: EchoTime and MultipartID are missing.*--bids-filter-file"):
        tiny.find()
    tiny.json("sub-01/dwi/sub-01_acq-c_dwi.json", {"EchoTime": 0.09})
    assert [len(series.images) for series in tiny.find()] == [2, 1]
    assert lost.is_file()


@pytest.mark.parametrize("multipart", [{}, {"MultipartID": "x"}])
def test_opposite_phase_encodings_are_separate(tiny, multipart):
    tiny.dwi("acq-a_dir-AP_", EchoTime=0.06, **multipart)
    tiny.dwi("acq-b_dir-PA_", EchoTime=0.06, **multipart)
    assert len(tiny.find()) == 2


def test_opposite_phase_encodings_without_dir_are_separate(tiny):
    tiny.dwi("acq-a_", EchoTime=0.06, PhaseEncodingDirection="j")
    tiny.dwi("acq-b_", EchoTime=0.08, PhaseEncodingDirection="j")
    tiny.dwi("acq-c_", EchoTime=0.06, PhaseEncodingDirection="j-")
    forward, backward = tiny.find()
    assert echo_times(forward) == [60, 80]
    assert backward.entities["acquisition"] == "c"
    tiny.dwi("acq-d_", EchoTime=0.09)
    with pytest.raises(InputError, match="PhaseEncodingDirection is missing.*leave sub-01_acq-d"):
        tiny.find()


def test_a_series_in_which_nothing_varies_is_left_out_and_said(tiny):
    tiny.dwi("dir-AP_", EchoTime=0.06)
    tiny.dwi("dir-PA_", (0, 0), EchoTime=0.06)
    (series,) = tiny.find()
    assert series.entities["direction"] == "AP"
    assert "sub-01_dir-PA_dwi.nii.gz: left out" in series.notes[0]


def test_nothing_varies_at_all(tiny):
    tiny.dwi("", (0, 0, 0), EchoTime=0.06)
    with pytest.raises(InputError, match="fewer encodings than a fit needs.*3 volumes alike"):
        tiny.find()


def test_echo_on_a_dwi_is_read_with_a_warning(tiny):
    for echo in (1, 2):
        tiny.dwi(f"echo-{echo}_", EchoTime=0.06 * echo)
    (series,) = tiny.find()
    assert echo_times(series) == [60, 120]
    assert series.decay == "t2star"
    assert any("not BIDS" in note for note in series.notes)


@pytest.mark.parametrize(
    ("sequence", "decay"),
    [("EP", "t2"), (["EP", "SE"], "t2"), (["SE", "GR", "EP"], "t2star"), ("EP\\GR", "t2star")],
)
def test_the_sequence_tells_t2star_from_t2(tiny, sequence, decay):
    tiny.dwi("", EchoTime=0.06, ScanningSequence=sequence)
    assert tiny.find()[0].decay == decay


def test_inversion_times_of_several_dwi(tiny):
    for ti in (0.05, 0.5):
        tiny.dwi(f"acq-ti{1000 * ti:04.0f}_", EchoTime=0.06, InversionTime=ti, RepetitionTime=7.5)
    (series,) = tiny.find()
    np.testing.assert_allclose(series.encodings.inversion_time, [50, 50, 500, 500])
    np.testing.assert_allclose(series.encodings.repetition_time, 7500)


def test_an_unknown_repetition_time_is_said(tiny):
    for inv in (1, 2):
        tiny.image(f"sub-01/anat/sub-01_inv-{inv}_IRT1", sidecar={"InversionTime": 0.5 * inv})
    (series,) = tiny.find()
    assert series.encodings.repetition_time is None
    assert any("full relaxation" in note for note in series.notes)


def test_repetition_times_that_differ_are_said(tiny):
    tiny.dwi("acq-a_", EchoTime=0.06, RepetitionTime=7.1)
    tiny.dwi("acq-b_", EchoTime=0.09, RepetitionTime=7.8)
    assert "7100, 7800 ms" in tiny.find()[0].notes[0]


@pytest.mark.parametrize("key", ["EchoTime", "InversionTime"])
def test_a_time_that_only_some_files_have_is_refused(tiny, key):
    both = {"EchoTime": 0.06, "InversionTime": 0.5}
    tiny.dwi("acq-a_", **both)
    tiny.dwi("acq-b_", **{k: 2 * v for k, v in both.items() if k != key})
    with pytest.raises(InputError, match=f"acq-b_dwi.json: {key} is missing.*add {key}") as caught:
        tiny.find()
    assert "filter" in caught.value.remedy


def test_a_repetition_time_that_only_some_files_have(tiny):
    for ti in (1, 2):
        tiny.dwi(f"acq-{ti}_", EchoTime=0.06, InversionTime=float(ti), **({"RepetitionTime": 7.5} if ti == 1 else {}))
    with pytest.raises(InputError, match="RepetitionTime is missing"):
        tiny.find()


def test_an_inversion_longer_than_the_repetition_is_refused(tiny):
    for ti in (0.5, 2.0):
        tiny.dwi(f"acq-{ti:.0f}_", EchoTime=0.06, InversionTime=ti, RepetitionTime=1.5)
    with pytest.raises(InputError, match="longer than the repetition time.*TI 2000 ms, TR 1500 ms"):
        tiny.find()


def test_without_echo_time_diffusion_is_left(tiny):
    tiny.dwi("")
    (series,) = tiny.find()
    assert series.encodings.echo_time is None
    assert series.encodings.varying() == ("bvalue",)


def test_joined_files_on_different_grids_are_refused(tiny):
    tiny.dwi("acq-a_", EchoTime=0.06)
    moved = np.diag([2, 2, 2, 1.0])
    moved[0, 3] = 0.5
    tiny.image("sub-01/dwi/sub-01_acq-b_dwi", 2, affine=moved, bval=[0, 1000], sidecar={"EchoTime": 0.08})
    with pytest.raises(InputError, match="acq-b.*not on the grid of sub-01_acq-a.*affines differ by 0.5"):
        tiny.find()
    tiny.image("sub-01/dwi/sub-01_acq-b_dwi", data=np.ones((3, 4, 3, 2)), bval=[0, 1000])
    with pytest.raises(InputError, match="3 x 4 x 3 against 3 x 4 x 2"):
        tiny.find()


def test_affines_that_differ_by_rounding_are_joined(tiny):
    tiny.dwi("acq-a_", EchoTime=0.06)
    affine = np.diag([2.0, 2, 2, 1]) + 5e-4 * np.eye(4, k=3)
    tiny.image("sub-01/dwi/sub-01_acq-b_dwi", 2, affine=affine, bval=[0, 1000], sidecar={"EchoTime": 0.08})
    assert len(tiny.find()) == 1


# --- form 2: one value per volume


def test_one_dwi_with_an_echo_time_per_volume(tiny):
    tiny.dwi("", (0, 1000, 0), EchoTime=[0.06, 0.06, 0.09])
    (series,) = tiny.find()
    np.testing.assert_allclose(series.encodings.echo_time, [60, 60, 90])
    assert series.joined == "One file, sub-01_dwi.nii.gz."


def test_inversion_and_repetition_times_per_volume(tiny):
    tiny.dwi("", (0, 1000, 0), EchoTime=0.08, InversionTimes=[0.1, 1, 2], RepetitionTimes=[7, 7, 8])
    (series,) = tiny.find()
    np.testing.assert_allclose(series.encodings.inversion_time, [100, 1000, 2000])
    np.testing.assert_allclose(series.encodings.repetition_time, [7000, 7000, 8000])


def test_a_short_array_is_refused(tiny):
    tiny.dwi("", (0, 1000, 0), EchoTime=[0.06, 0.09])
    with pytest.raises(InputError, match="EchoTime holds 2 values, the image has 3 volumes"):
        tiny.find()


# --- form 3: a table beside the image


def test_a_table_replaces_bval_bvec_and_sidecar(tiny):
    tiny.image("sub-01/dwi/sub-01_dwi", 3)
    tiny.text("sub-01/dwi/sub-01_gradechoinv.txt", "0 0 0 0 78 NaN\n0 0 1 800 78 NaN\n0 0 1 800 114 NaN\n")
    (series,) = tiny.find()
    assert series.encodings.bvalue.tolist() == [0, 800, 800]
    assert series.encodings.echo_time.tolist() == [78, 78, 114]
    assert series.encodings.inversion_time is None


def test_a_table_and_the_files_it_agrees_with(tiny):
    tiny.dwi("", (0, 800, 800), EchoTime=0.078, RepetitionTime=5.0)
    table = "0 0 0 0 78 NaN\n0 0 1 800 78 NaN\n0 0 1 800 114 NaN\n"
    tiny.text("sub-01/dwi/sub-01_gradechoinv.txt", table)
    assert tiny.find()[0].encodings.direction[1].tolist() == [0, 0, 1]
    tiny.text("sub-01/dwi/sub-01_gradechoinv.txt", table.replace("78", "90"))
    with pytest.raises(InputError, match="table and the sidecar's EchoTime contradict.*sidecar 78 ms"):
        tiny.find()
    tiny.text("sub-01/dwi/sub-01_gradechoinv.txt", table.replace("800", "600"))
    with pytest.raises(InputError, match="b-values contradict the table"):
        tiny.find()


def test_a_column_that_is_not_varied_is_completed_from_the_sidecar(tiny):
    tiny.image("sub-01/dwi/sub-01_dwi", 2, sidecar={"EchoTime": 0.08})
    tiny.text("sub-01/dwi/sub-01_gradechoinv.txt", "0 0 0 0 NaN 100 7500\n0 0 1 800 NaN 1000 7500\n")
    (series,) = tiny.find()
    assert series.encodings.echo_time.tolist() == [80, 80]
    assert series.encodings.inversion_time.tolist() == [100, 1000]
    assert series.encodings.repetition_time.tolist() == [7500, 7500]


def test_seconds_in_a_table_are_said(tiny):
    tiny.image("sub-01/dwi/sub-01_dwi", 2)
    tiny.text("sub-01/dwi/sub-01_acqparams.tsv", "gx\tgy\tgz\tb\tTE\n0\t0\t0\t0\t0.06\n0\t0\t1\t900\t0.09\n")
    (series,) = tiny.find()
    assert series.encodings.echo_time.tolist() == [60, 90]
    assert any("recognised as seconds" in note for note in series.notes)


# --- form 4: anatomical collections


@pytest.mark.parametrize(("suffix", "decay"), [("MESE", "t2"), ("MEGRE", "t2star")])
def test_echoes_are_joined_in_natural_order(tiny, suffix, decay):
    for echo in (1, 2, 10):
        tiny.image(f"sub-01/anat/sub-01_echo-{echo}_{suffix}", sidecar={"EchoTime": 0.01 * echo})
    (series,) = tiny.find()
    np.testing.assert_allclose(series.encodings.echo_time, [10, 20, 100])
    assert (series.datatype, series.suffix, series.decay) == ("anat", suffix, decay)
    assert series.encodings.bvalue is None
    assert series.volumes.tolist() == [[0, 0], [1, 0], [2, 0]]


def test_inversions_with_an_inherited_sidecar(tiny):
    tiny.json("IRT1.json", {"RepetitionTimePreparation": 2.55, "EchoTime": 0.014})
    for inv, ti in enumerate((0.35, 0.5, 0.65, 0.8), start=1):
        tiny.image(f"sub-01/anat/sub-01_inv-{inv:02d}_IRT1", sidecar={"InversionTime": ti})
    (series,) = tiny.find()
    np.testing.assert_allclose(series.encodings.inversion_time, [350, 500, 650, 800])
    np.testing.assert_allclose(series.encodings.repetition_time, 2550)
    np.testing.assert_allclose(series.encodings.echo_time, 14)
    assert series.encodings.varying() == ("inversion_time",)


def test_t1_t2_collection(tiny):
    for ti in (0.05, 0.4):
        for echo in (1, 2):
            name = f"sub-01/anat/sub-01_acq-ti{1000 * ti:04.0f}_echo-{echo}_MESE"
            tiny.image(name, sidecar={"EchoTime": 0.02 * echo, "InversionTime": ti})
    (series,) = tiny.find()
    assert series.encodings.echo_time.tolist() == [20, 40, 20, 40]
    assert series.encodings.inversion_time.tolist() == [50, 50, 400, 400]
    assert "acq- (ti0050, ti0400) and echo- (1, 2)" in series.joined


def test_acquisitions_that_repeat_the_same_echoes_are_separate_scans(tiny):
    for label in ("coarse", "fine"):
        shape = (3, 4, 2) if label == "coarse" else (6, 8, 2)
        for echo in (1, 2):
            name = f"sub-01/anat/sub-01_acq-{label}_echo-{echo}_MEGRE"
            tiny.image(name, data=np.ones(shape), sidecar={"EchoTime": 0.01 * echo})
    assert [s.entities["acquisition"] for s in tiny.find()] == ["coarse", "fine"]


def test_a_plain_echo_train_beside_a_t1_t2_collection(tiny):
    for label in ("", "acq-ti50_", "acq-ti400_"):
        for echo in (1, 2):
            sidecar = {"EchoTime": 0.02 * echo} | ({"InversionTime": float(label[6:-1]) / 1000} if label else {})
            tiny.image(f"sub-01/anat/sub-01_{label}echo-{echo}_MESE", sidecar=sidecar)
    by_varying = {series.encodings.varying(): series for series in tiny.find()}
    assert set(by_varying) == {("echo_time",), ("echo_time", "inversion_time")}
    names = [tuple(sorted(series.entities.items())) for series in by_varying.values()]
    assert len(set(names)) == 2


def test_a_forgotten_inversion_time_is_refused(tiny):
    for label, ti in (("ti50", 0.05), ("ti400", None)):
        for echo in (1, 2):
            sidecar = {"EchoTime": 0.02 * echo} | ({} if ti is None else {"InversionTime": ti})
            tiny.image(f"sub-01/anat/sub-01_acq-{label}_echo-{echo}_MESE", sidecar=sidecar)
    with pytest.raises(InputError, match="acq-ti400_echo-1_MESE.json: InversionTime is missing"):
        tiny.find()


@pytest.mark.parametrize(("suffix", "key"), [("MESE", "EchoTime"), ("MEGRE", "EchoTime"), ("IRT1", "InversionTime")])
def test_a_collection_without_its_time_is_refused(tiny, suffix, key):
    tiny.image(f"sub-01/anat/sub-01_{'inv' if suffix == 'IRT1' else 'echo'}-1_{suffix}", sidecar={})
    with pytest.raises(InputError, match=f"{key} is missing, which a {suffix} needs"):
        tiny.find()


@pytest.mark.parametrize(("entity", "suffix", "key"), [("echo", "MESE", "EchoTime"), ("inv", "IRT1", "InversionTime")])
def test_two_echoes_at_the_same_time_are_refused(tiny, entity, suffix, key):
    for number, time in ((1, 0.01), (2, 0.02), (3, 0.02)):
        tiny.image(f"sub-01/anat/sub-01_{entity}-{number}_{suffix}", sidecar={key: time})
    with pytest.raises(InputError, match=f"{entity}-3.*same echo and inversion time as sub-01_{entity}-2.*run-"):
        tiny.find()


def test_phase_images_are_left_out_and_said(tiny):
    for echo in (1, 2):
        for part in ("mag", "phase"):
            tiny.image(f"sub-01/anat/sub-01_echo-{echo}_part-{part}_MEGRE", sidecar={"EchoTime": 0.01 * echo})
    (series,) = tiny.find()
    assert len(series.images) == 2
    assert sum("phase" in note for note in series.notes) == 2


def test_series_of_one_folder_get_different_names(tiny):
    for suffix in ("MESE", "MEGRE"):
        for echo in (1, 2):
            tiny.image(f"sub-01/anat/sub-01_echo-{echo}_{suffix}", sidecar={"EchoTime": 0.01 * echo})
    tiny.dwi("", EchoTime=0.06)
    names = {series.suffix: series.entities for series in tiny.find()}
    assert names == {
        "MEGRE": {"subject": "01", "acquisition": "megre"},
        "MESE": {"subject": "01", "acquisition": "mese"},
        "dwi": {"subject": "01"},
    }


def test_multipart_series_of_one_folder_get_different_names(tiny):
    for label, tie in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")):
        tiny.dwi(f"acq-{label}_", EchoTime=0.06 if label in "ac" else 0.09, MultipartID=tie)
    assert [series.entities["acquisition"] for series in tiny.find()] == ["dwi1", "dwi2"]


def test_each_session_is_its_own_series(tiny):
    for session in ("1", "2"):
        for te in (60, 90):
            name = f"sub-01/ses-{session}/dwi/sub-01_ses-{session}_acq-te{te}_dwi"
            tiny.image(name, 2, bval=[0, 1000], sidecar={"EchoTime": te / 1000})
    assert [series.entities for series in tiny.find()] == [{"subject": "01", "session": s} for s in ("1", "2")]


def test_filters_reach_the_series(tiny):
    for te in (60, 91):
        tiny.dwi(f"acq-te{te}_", EchoTime=te / 1000)
    (series,) = tiny.find(filters={"dwi": {"acquisition": "te60"}})
    assert echo_times(series) == [60]
    with pytest.raises(InputError, match="no image to read.*--bids-filter-file"):
        tiny.find(filters={"dwi": {"acquisition": None}})


def test_a_series_travels_as_json(tiny):
    tiny.dwi("", (0, 1000), EchoTime=[0.06, 0.09], RepetitionTime=3.0)
    (series,) = tiny.find()
    back = Series.from_json(json.loads(json.dumps(series.to_json())))
    assert back.to_json() == series.to_json()
    assert back.encodings == series.encodings
    np.testing.assert_array_equal(back.volumes, series.volumes)
    assert back.images == series.images


def test_the_order_of_writing_does_not_matter(tiny, tmp_path):
    other = type(tiny)(tmp_path / "other")
    for dataset, order in ((tiny, (60, 78, 114)), (other, (114, 60, 78))):
        for te in order:
            dataset.dwi(f"acq-te{te}_", EchoTime=te / 1000)
    first, second = tiny.find()[0], other.find()[0]
    assert [p.name for p in first.images] == [p.name for p in second.images]
    assert first.encodings == second.encodings


@pytest.mark.parametrize(
    ("folder", "subject", "n_encodings", "varying", "decay"),
    [
        ("mdt_brain_2te/bids", "01", 217, ("bvalue", "echo_time"), "t2"),
        ("qmrlab_mese30_brain/bids", "01", 30, ("echo_time",), "t2"),
        ("sepal_gre8_phantom/bids", "phantom", 8, ("echo_time",), "t2star"),
        ("sepal_irse6_phantom/bids", "phantom", 6, ("inversion_time",), "t2"),
        ("ds000114_singleshell/bids", "01", 20, ("bvalue",), "t2"),
    ],
)
def test_real_datasets(folder, subject, n_encodings, varying, decay):
    root = DATA / folder
    if not root.exists():
        pytest.skip(f"{root} is not on this machine")
    assert list_participants(root) == [subject]
    (series,) = find_series(open_layout(root, [subject]), subject, SelectOptions())
    assert len(series.encodings) == n_encodings
    assert series.encodings.varying() == varying
    assert series.decay == decay


@pytest.mark.parametrize("name", ["qmri_irt1", "qmri_megre", "qmri_mese"])
def test_empty_images_are_refused_in_words(name):
    root = DATA / "bids_examples_qmri_empty" / name
    if not root.exists():
        pytest.skip(f"{root} is not on this machine")
    with pytest.raises(InputError, match=r"the image is empty \(found 0 bytes\)"):
        find_series(open_layout(root, ["01"]), "01", SelectOptions())
