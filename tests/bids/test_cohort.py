"""Collecting a group's input: who takes part, who does not and why, and what is refused before anything is computed."""

import json
import tracemalloc

import numpy as np
import pytest

from mrspec_prep.bids.atomic import write_json
from mrspec_prep.bids.cohort.collect import collect_cohort
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.output.compressed import read_compressed, write_compressed
from mrspec_prep.bids.output.derivative_dataset import output_path, start_dataset
from mrspec_prep.options import SelectOptions
from tests.bids.compressed_files import ABOUT, damage, set_attribute, small_protocol, write_small

BOUNDS = {"diffusivity": [0.1, 40.0], "t2star": [10.0, 800.0]}
SHORT, LONG = small_protocol(bounds=BOUNDS), small_protocol(longest=200.0, bounds=BOUNDS)


class Outputs:
    """An output directory of the participant level that a test fills."""

    def __init__(self, root):
        self.root = root
        root.mkdir(parents=True)
        start_dataset(root, root)

    def add(self, subject, *, protocol=SHORT, session=None, datatype="dwi", finished=True, **more):
        """Write one file of a participant; gives its path."""
        entities = {"subject": subject, "session": session}
        entities |= {key: more.pop(key) for key in ("acquisition", "run") if key in more}
        naming = {"datatype": datatype, "suffix": "spectra", "extension": ".h5", "desc": "compressed"}
        path = output_path(self.root, entities, model=protocol.kernel_settings["name"], **naming)
        write_small(path, protocol, **more)
        if finished is not None:
            record = {"key": "0" * 16 if finished else None, "files": []}
            write_json(self.root / f"sub-{subject}/log/finished.json", record)
        return path

    def table(self, *rows):
        (self.root / "participants.tsv").write_text("\n".join("\t".join(row) for row in rows) + "\n")


@pytest.fixture
def out(tmp_path):
    return Outputs(tmp_path / "out")


@pytest.fixture
def other(tmp_path):
    return Outputs(tmp_path / "other")


def refusal(*args, **more):
    """Text of the refusal; a remedy is always in it."""
    with pytest.raises(InputError) as refused:
        collect_cohort(*args, **more)
    return str(refused.value)


def causes(cohort):
    return {exclusion.subject: exclusion.cause for exclusion in cohort.exclusions}


def test_two_sites_with_two_protocols_become_one_cohort(out, other, tmp_path):
    for subject in ("10", "9"):
        out.add(subject)
    other.add("03", protocol=LONG, session="a")
    other.add("03", session="b")
    other.add("04", protocol=LONG, session="a")
    out.table(
        ("participant_id", "age", "site"), ("sub-9", "30", "n/a"), ("sub-10", "n/a", "n/a"), ("sub-77", "1", "n/a")
    )
    other.table(("participant_id", "group"), ("sub-03", "control"))
    cohort = collect_cohort(out.root, {"utrecht": other.root, "masks": tmp_path}, bids_dir=tmp_path)
    people = [(m.subject, m.session, cohort.sites[m.site].name) for m in cohort.members]
    there = [("03", "a", "utrecht"), ("03", "b", "utrecht"), ("04", "a", "utrecht")]
    assert people == [*there, ("9", None, "main"), ("10", None, "main")]
    assert [m.protocol for m in cohort.members] == [0, 1, 0, 1, 1]
    assert [p.encodings.echo_time.max() for p in cohort.protocols] == [200, 150]
    assert [(s.n_participants, s.own_gain) for s in cohort.sites] == [(2, True), (2, True)]
    assert cohort.kernel == "adc-t2star" and cohort.n_voxels == 50 and not cohort.exclusions and not cohort.warnings
    assert cohort.columns == ("age", "site", "group")
    assert cohort.participants["9"] == {"age": "30", "site": None, "group": None}
    assert any("masks" in note and "not read as a site" in note for note in cohort.notes)
    assert any("without any outputs: sub-77" in note for note in cohort.notes)


def test_sites_of_one_output_directory_are_a_column_of_participants_tsv(out, tmp_path):
    for subject in ("01", "02", "03"):
        out.add(subject)
    (tmp_path / "bids").mkdir()
    raw = tmp_path / "bids" / "participants.tsv"
    raw.write_text("participant_id\tsite\nsub-01\tA\nsub-02\tA\nsub-03\tB\n")
    out.table(("participant_id", "site"), ("sub-01", "B"))
    cohort = collect_cohort(out.root, bids_dir=tmp_path / "bids")
    assert [(s.name, s.n_participants, s.own_gain) for s in cohort.sites] == [("A", 2, True), ("B", 1, False)]
    contradiction, lone = cohort.warnings
    assert "site = B for sub-01" in contradiction and "Site B has one participant" in lone


def test_one_site_with_one_participant_needs_no_gain_and_no_warning(out):
    out.add("01")
    cohort = collect_cohort(out.root)
    assert cohort.warnings == () and [s.own_gain for s in cohort.sites] == [False]


def test_participants_that_cannot_take_part_do_not_stop_the_rest(out):
    for subject in ("01", "02"):
        out.add(subject)
    whole = out.add("03")
    whole.write_bytes(whole.read_bytes()[:-500])
    out.add("04").write_text("no hdf5 at all")
    out.add("05", n_voxels=0)
    out.add("06", finished=False)
    out.add("07", finished=None)
    (out.root / "sub-07/log/20260101-000000_aa").mkdir(parents=True)
    (out.root / "sub-08/dwi").mkdir(parents=True)
    out.add("09", finished=None)
    name = out.add("11")
    name.rename(name.with_name(name.name.replace("sub-11", "sub-12")))
    cohort = collect_cohort(out.root)
    assert [m.subject for m in cohort.members] == ["01", "02", "09"]
    why = causes(cohort)
    assert list(why) == ["03", "04", "05", "06", "07", "08", "11"]
    assert "truncated" in why["03"] and "no HDF5" in why["04"] and "no voxel" in why["05"]
    assert "failed" in why["06"] and "failed" in why["07"] and "no compressed signals" in why["08"]
    assert "disagree" in why["11"]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_signals_that_are_no_numbers_exclude_their_participant_alone(out, wrong):
    out.add("01")
    path = out.add("02")
    signals = read_compressed(path).signals.copy()
    signals[7, 1] = wrong
    damage(path, "signals", signals)
    cohort = collect_cohort(out.root)
    assert [member.subject for member in cohort.members] == ["01"]
    assert "signals of voxel 7 hold NaN" in causes(cohort)["02"]
    assert cohort.exclusions[0].file == path


def test_links_are_followed(out, tmp_path):
    path = out.add("01")
    annex = tmp_path / "annex.h5"
    path.rename(annex)
    path.symlink_to(annex)
    (tmp_path / "link").symlink_to(out.root)
    assert collect_cohort(tmp_path / "link").members[0].header.n_voxels == 10
    annex.unlink()
    assert "datalad get" in refusal(out.root)


def test_relative_paths_are_fine(out, monkeypatch):
    out.add("01")
    monkeypatch.chdir(out.root.parent)
    (member,) = collect_cohort("out").members
    assert read_compressed(member.header.path).signals.shape == (10, 8)


def test_out_dir_may_be_named_or_empty(out, tmp_path):
    out.add("01")
    assert collect_cohort(out.root, {"here": out.root}).sites[0].name == "here"
    assert collect_cohort(tmp_path / "new", {"there": out.root}).sites[0].name == "there"


def test_labels_sessions_and_filters_choose(out):
    for subject in ("01", "02"):
        for session in ("a", "b"):
            out.add(subject, session=session)

    def chosen(**more):
        return [(m.subject, m.session) for m in collect_cohort(out.root, **more).members]

    assert chosen(participants=["sub-02"]) == [("02", "a"), ("02", "b")]
    assert chosen(sessions=["ses-b"]) == [("01", "b"), ("02", "b")]
    assert chosen(filters={"dwi": {"session": "a", "suffix": "dwi", "echo": "1"}}) == [("01", "a"), ("02", "a")]
    assert chosen(filters={"dwi": {"session": None}, "anat": {"session": "a"}, "t1w": 3} | {"dwi": {}})[0] == (
        "01",
        "a",
    )
    assert "2 series were left out by --session-label." in collect_cohort(out.root, sessions=["a"]).notes
    assert "choose from: 01, 02" in refusal(out.root, participants=["07"])
    assert "choose from: a, b" in refusal(out.root, sessions=["c"])
    assert "--bids-filter-file leaves no participant" in refusal(out.root, filters={"dwi": {"session": None}})


def test_a_filter_of_the_images_that_were_joined_chooses_at_the_group_too(out):
    """A series of several acquisitions has none in its name; the filter that chose them keeps it."""
    for subject, times in (("01", ("078", "150")), ("02", ("078", "222"))):
        names = [f"bids:raw:sub-{subject}/dwi/sub-{subject}_acq-te{time}_dwi.nii.gz" for time in times]
        out.add(subject, metadata=ABOUT | {"Sources": names})

    def chosen(value):
        found = collect_cohort(out.root, filters={"dwi": {"acquisition": value}})
        return [member.subject for member in found.members]

    assert chosen(["te078", "te150"]) == ["01"]
    assert chosen("*") == chosen(None) == ["01", "02"]
    assert "leaves no participant" in refusal(out.root, filters={"dwi": {"acquisition": "te078"}})
    assert "leaves no participant" in refusal(out.root, filters={"dwi": {"acquisition": "*", "run": "1"}})


def test_a_filter_reads_the_names_in_sources_as_they_are_on_disk(out):
    """Sources are URIs: what is no ASCII is percent-encoded."""
    out.add("01", metadata=ABOUT | {"Sources": ["bids:raw:sub-01/dwi/sub-01_acq-%C3%A9cho_dwi.nii.gz"]})
    assert len(collect_cohort(out.root, filters={"dwi": {"acquisition": "écho"}}).members) == 1
    assert "leaves no participant" in refusal(out.root, filters={"dwi": {"acquisition": "echo"}})


def test_nothing_found_is_refused(out, tmp_path):
    assert "run the participant level first" in refusal(tmp_path / "nowhere")
    assert "run the participant level first" in refusal(out.root)
    out.add("01", n_voxels=0)
    assert "no participant can take part" in refusal(out.root)


def test_an_out_dir_of_others_is_refused(tmp_path, out):
    foreign = tmp_path / "qsiprep"
    write_json(foreign / "dataset_description.json", {"GeneratedBy": [{"Name": "QSIPrep"}]})
    assert "GeneratedBy QSIPrep" in refusal(foreign)
    (tmp_path / "raw/sub-01").mkdir(parents=True)
    assert "no output directory" in refusal(tmp_path / "raw")
    out.add("01")
    (note,) = collect_cohort(out.root, {"prep": foreign}).notes
    assert "made by QSIPrep" in note


def test_a_participant_in_two_folders_is_refused(out, other):
    out.add("01")
    other.add("01", session="a")
    message = refusal(out.root, {"utrecht": other.root})
    assert "sub-01 is in 2 output directories" in message and "utrecht" in message
    assert "given as two sites" in refusal(out.root, {"a": other.root, "b": other.root})


def test_mixed_versions_are_refused(out):
    for subject in ("01", "02", "03"):
        path = out.add(subject)
    set_attribute(path, "software_version", "0.1.9")
    assert len(collect_cohort(out.root).members) == 3
    set_attribute(path, "software_version", "0.2.0")
    assert "0.1: sub-01, sub-02; 0.2: sub-03" in refusal(out.root)


def test_another_format_is_refused(out):
    out.add("01")
    set_attribute(out.add("02"), "format", 0)
    assert "sub-02" in refusal(out.root) and "format 0" in refusal(out.root)


def test_another_grid_is_refused_with_what_to_type(out):
    for subject in ("01", "02"):
        out.add(subject)
    out.add("03", protocol=small_protocol())
    message = refusal(out.root)
    assert "different grids" in message and "sub-03" in message
    typed = "--set 'kernel.diffusivity=[0.1,100]' --set 'kernel.t2star=[10,800]' --set 'kernel.points=[6,7]'"
    assert message.endswith(typed)


def test_rounding_makes_no_other_grid(out):
    out.add("01")
    nudged = {axis: [ends[0] * (1 + 2e-8), ends[1]] for axis, ends in BOUNDS.items()}
    out.add("02", protocol=small_protocol(bounds=nudged))
    cohort = collect_cohort(out.root)
    assert cohort.members[0].header.grid is cohort.members[1].header.grid is cohort.grid


def test_kernels_are_not_mixed(out):
    for subject in ("01", "02"):
        out.add(subject)
        out.add(subject, protocol=small_protocol("adc", [5], n_ranks=4))
    out.add("03", protocol=small_protocol("adc", [5], n_ranks=4))
    message = refusal(out.root)
    assert "adc: sub-01, sub-02, sub-03; adc-t2star: sub-01, sub-02" in message and "--set kernel.name=" in message
    cohort = collect_cohort(out.root, kernel="adc-t2star")
    assert [m.subject for m in cohort.members] == ["01", "02"]
    assert causes(cohort) == {"03": "it has no series with the kernel adc-t2star, only adc"}
    assert "no participant has a series with the kernel t1" in refusal(out.root, kernel="t1")


def test_several_series_of_one_kernel_are_refused_with_what_tells_them_apart(out):
    out.add("01")
    out.add("02", run="1")
    out.add("02", run="2")
    message = refusal(out.root)
    assert '{"dwi": {"run": "1"}}' in message and "sub-02 has 2 series" in message
    out.add("02", datatype="anat")
    assert "--set select.datatype=anat" in refusal(out.root)
    assert len(collect_cohort(out.root, select=SelectOptions(datatype="anat")).members) == 1
    assert len(collect_cohort(out.root, filters={"dwi": {"run": ["2", None]}, "anat": {"run": "1"}}).members) == 2


@pytest.mark.parametrize("wrong", [None, np.nan, 0.0])
def test_no_noise_level_is_refused(out, wrong):
    out.add("01")
    path = out.add("02")
    damage(path, "sigma", None if wrong is None else np.full(10, wrong, np.float32))
    message = refusal(out.root)
    assert "sub-02" in message and "noise level" in message and "Remedy" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id\tage\nsub-01\t3\n", "participant_id among them"),
        ("", "participant_id among them"),
        ("participant_id\tage\nsub-01\n", "row 2 has another number of cells"),
        ("participant_id\nsub-01\n01\n", "row 3 names a participant twice"),
        ("participant_id\nn/a\n", "row 2 names no participant"),
    ],
)
def test_a_table_that_is_none_is_refused(out, text, words):
    out.add("01")
    (out.root / "participants.tsv").write_text(text)
    assert words in refusal(out.root)


def test_collecting_holds_no_signals(out):
    n_voxels = 200_000
    entities = {"subject": "01"}
    path = output_path(
        out.root, entities, datatype="dwi", suffix="spectra", extension=".h5", model="adc-t2star", desc="compressed"
    )
    values = {"sigma": np.ones(n_voxels), "outside": np.zeros(n_voxels), "roi": np.ones((100, 100, 20), bool)}
    signals = np.ones((n_voxels, 8), np.float32)
    write_compressed(path, signals=signals, **values, affine=np.eye(4), protocol=SHORT, metadata=ABOUT)
    tracemalloc.start()
    cohort = collect_cohort(out.root)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cohort.n_voxels == n_voxels
    assert held < 1e6 and peak < signals.nbytes / 3


def test_a_record_that_cannot_be_read_counts_as_no_end(out):
    out.add("01")
    out.add("02")
    (out.root / "sub-02/log/finished.json").write_text(json.dumps([1]))
    assert list(causes(collect_cohort(out.root))) == ["02"]


def test_a_participant_whose_folder_is_a_link_to_nothing_is_listed(out):
    out.add("01")
    (out.root / "sub-02").symlink_to("sub-02")
    (out.root / "sub-03").symlink_to("/not/here")
    (out.root / "sub-03.html").symlink_to("/not/here.html")
    cohort = collect_cohort(out.root)
    assert [member.subject for member in cohort.members] == ["01"]
    found = causes(cohort)
    assert set(found) == {"02", "03"}
    assert "symbolic links form a loop" in found["02"] and "points to a file that is not here" in found["03"]
    assert all(exclusion.file is not None for exclusion in cohort.exclusions)


@pytest.mark.parametrize("nothing", ["n/a", "NA", "N/A", "NaN", "nan", ""])
def test_what_other_programs_write_for_no_value_is_none(out, nothing):
    out.add("01")
    out.table(("participant_id", "group", "age"), ("sub-01", nothing, "30"))
    assert collect_cohort(out.root).participants["01"] == {"group": None, "age": "30"}


def test_members_that_the_table_does_not_name_are_told(out):
    out.add("01")
    out.add("02")
    assert not collect_cohort(out.root).notes
    out.table(("participant_id", "group"), ("sub-01", "a"), ("sub-2", "b"))
    assert any("does not name sub-02" in note for note in collect_cohort(out.root).notes)


def test_a_site_of_the_name_of_our_own_is_refused(out, other):
    out.add("01")
    other.add("02")
    assert "give it another name" in refusal(out.root, {"main": other.root})
    assert collect_cohort(out.root, {"main": out.root}).sites[0].name == "main"
