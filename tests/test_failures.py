"""What docs/failures.md quotes is what the program says: rows are provoked here, or found in the source."""

import ast
import errno
import json
import os
import re
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from filelock import FileLock

from benchmarks.fuzz_targets import make_study
from docs.builder import messages
from mrspec_prep.bids.errors import InputError, unreadable
from mrspec_prep.bids.input.contents import tally_image
from mrspec_prep.bids.input.images import load_mask
from mrspec_prep.bids.layout import open_layout, select_participants
from mrspec_prep.bids.nifti import REAL
from mrspec_prep.cli import history, participants
from mrspec_prep.cli.history import WorkDirError, claim_work_dir
from mrspec_prep.cli.parser import build_parser
from mrspec_prep.cli.places import check_output, check_work_dir
from mrspec_prep.cli.run import run
from mrspec_prep.options import OptionsError, load_options
from mrspec_prep.reports.crashes import with_remedy
from mrspec_prep.workflow_files import WorkflowNotFoundError, find_workflow
from mrspec_prep.workflows.planning.feasibility import check_feasible, check_memory
from mrspec_prep.workflows.planning.inputs import check_inputs_of
from mrspec_prep.workflows.planning.participant import plan_participant
from mrspec_prep.workflows.running.multiproc import DISK_FULL, WORKER_DIED
from tests.docs_pages import DOCS

PAGE = (DOCS / "failures.md").read_text(encoding="utf-8")
REFUSED = (InputError, OptionsError, WorkflowNotFoundError, WorkDirError)


def quoted(title):
    """Messages in the tables of a section: the code in the first cell that holds any words of the program."""
    part = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    column = 1 if title == "Exit codes" else 0
    cells = [line.split(" | ")[column].strip("| ") for line in part.splitlines() if line.startswith("| ")][1:]
    return [cell.strip("`") for cell in cells if cell.startswith("`")]


def pattern(message):
    """Regular expression of a quoted message; what stands for something else may be anything."""
    return ".*".join(re.escape(part) for part in message.removesuffix(" …").split("…"))


@cache
def source_texts():
    """Texts of the rooms that speak to the user, ``…`` for what varies; problems of all rooms with their remedies."""
    texts = {f"{problem}. Remedy: {remedy}" for _, problem, remedy in messages.messages()}
    patterns = ("*.py", *(f"{room}/**/*.py" for room in ("cli", "workflows", "interfaces")))
    speaking = (path for pattern in patterns for path in messages.PACKAGE.glob(pattern))
    for path in speaking:
        for node in ast.walk(messages.tree_of(path)):
            if isinstance(node, ast.JoinedStr | ast.BinOp):
                texts.add(messages._words(node, ast.Module([], [])))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                text = node.value if isinstance(node.value, str) else node.value.decode("utf-8", "replace")
                texts.add(re.sub(r"%[sd]", "…", text))
    return texts


def setting(folder, **keys):
    path = folder / "sub-01_dwi.json"
    content = json.loads(path.read_text()) | keys
    path.write_text(json.dumps(content))


def image(folder, change, name="sub-01_dwi.nii"):
    old = nib.load(folder / "sub-01_dwi.nii")
    nib.save(nib.Nifti1Image(change(np.asarray(old.dataobj, np.float32)), old.affine), folder / name)


def table(folder, bvalues, directions):
    (folder / "sub-01_dwi.bval").write_text(bvalues)
    (folder / "sub-01_dwi.bvec").write_text(directions)


def second(folder, change, **sidecar):
    """Another file of the session, of another echo time."""
    setting(folder, EchoTime=0.05, MultipartID="a")
    for ending in ("bval", "bvec"):
        shutil.copy(folder / f"sub-01_dwi.{ending}", folder / f"sub-01_acq-two_dwi.{ending}")
    image(folder, change, "sub-01_acq-two_dwi.nii")
    (folder / "sub-01_acq-two_dwi.json").write_text(json.dumps({"RepetitionTime": 4.0} | sidecar))
    for path in folder.glob("sub-01_dwi.*"):
        path.rename(path.with_name(path.name.replace("_dwi", "_acq-one_dwi")))


def linked(folder, name, target):
    (folder / name).unlink()
    (folder / name).symlink_to(target)


def forbidden(folder):
    raise unreadable(folder / "sub-01_dwi.nii", PermissionError(errno.EACCES, "Permission denied"))


def masked(*values):
    """Read masks, each with one value everywhere but in its own corner."""

    def read(folder):
        paths = []
        for number, value in enumerate(values):
            mask = np.zeros(nib.load(folder / "sub-01_dwi.nii").shape[:3], np.uint8)
            mask[number] = value
            paths.append(folder / f"mask{number}.nii")
            nib.save(nib.Nifti1Image(mask, nib.load(folder / "sub-01_dwi.nii").affine), paths[-1])
        load_mask(paths, planned(folder).series[0].series)

    return read


def planned(folder, *overrides, workflow=None):
    """Plan of the study that holds a folder; all that is checked before computing is checked."""
    root = folder.parents[1]
    path = find_workflow(workflow) if workflow else None
    plan = plan_participant(open_layout(root), "01", workflow=path, overrides=list(overrides))
    check_feasible(plan)
    part = plan.series[0]
    if not part.masks and "mask.source=automatic" not in overrides:
        image = nib.load(part.series.images[0])
        nib.save(nib.Nifti1Image(np.ones(image.shape[:3], np.uint8), image.affine), root.parent / "everywhere.nii")
        plan = replace(plan, series=(replace(part, masks=(root.parent / "everywhere.nii",)), *plan.series[1:]))
    (checked,) = check_inputs_of([plan], root.parent / "out", 1)
    if isinstance(checked, Exception):
        raise checked
    return checked


def claimed(folder, prepare, clean=False):
    work = folder / "work"
    work.mkdir()
    prepare(work)
    claim_work_dir(work, ["sub-01"], clean)


EXCHANGED = "intermediate results there could be exchanged for code that runs in your name. …"


def as_another_user(work):
    os.chown(work, 4321, 4321)
    os.geteuid = lambda: 1234  # put back by the fixture


def held(work):
    (work / ".locks").mkdir()
    held.lock = FileLock(work / ".locks" / "sub-01.lock")
    held.lock.acquire()


def without_locks(work):
    def acquire(*args, **more):
        raise OSError(errno.ENOLCK, "No locks available")

    FileLock.acquire = acquire  # put back by the fixture


#: message of the page -> what makes the program say it, given the folder of the images of a small study
PROVOKED = {
    "a dwi needs a .bval file and this one has none": lambda f: (f / "sub-01_dwi.bval").unlink(),
    "the image has … volumes, the b-value file … values": lambda f: (f / "sub-01_dwi.bval").write_text("0 0 700"),
    "the direction file must have 3 rows of … values": lambda f: (f / "sub-01_dwi.bvec").write_text("0 1\n0 0\n0 0"),
    "direction of volume … (b = … s/mm2) is not a unit vector": lambda f: (f / "sub-01_dwi.bvec").write_text(
        "0 0 2 0 0 2\n0 0 0 1 0 0\n0 0 0 0 0 0"
    ),
    "b-values look like ms/um2 where BIDS says s/mm2": lambda f: (f / "sub-01_dwi.bval").write_text("0 0 .7 1 0 .7"),
    "EchoTime is in milliseconds where BIDS says seconds": lambda f: setting(f, EchoTime=[50] * 3 + [100] * 3),
    "EchoTime holds … values, the image has … volumes": lambda f: setting(f, EchoTime=[0.05, 0.1]),
    "the image has … volumes, the table … rows": lambda f: (f / "sub-01_acqparams.tsv").write_text(
        "gx gy gz b TE TI TR\n1 0 0 0 50 NaN 4000\n"
    ),
    "EchoTime and MultipartID are missing, and other images of this session have them: …": lambda f: second(f, abs),
    "not on the grid of …": lambda f: second(f, lambda data: data[:2], EchoTime=0.08, MultipartID="a"),
    "fewer encodings than a fit needs: neither b, TE nor TI varies": lambda f: (
        setting(f, EchoTime=0.05), table(f, "0 0 0 0 0 0", "\n".join(["0 0 0 0 0 0"] * 3))
    ),
    "fewer encodings than a fit needs: kernel … has … axes and an amplitude": lambda f: (
        image(f, lambda data: data[..., :2]), setting(f, EchoTime=[0.05, 0.1]), table(f, "0 700", "0 1\n0 0\n0 0")
    ),
    "no unweighted encoding is repeated, so that b0-repeats cannot tell the noise": lambda f: (
        setting(f, EchoTime=[0.05, 0.06, 0.05, 0.1, 0.1, 0.1]), planned(f, "noise.method=b0-repeats")
    ),
    "the image is empty": lambda f: (f / "sub-01_dwi.nii").write_bytes(b""),
    "the image is truncated or its header wrong: … bytes promised": lambda f: os.truncate(f / "sub-01_dwi.nii", 400),
    "the image is truncated or corrupt": lambda f: (f / "sub-01_dwi.nii").write_bytes(b"abc" * 300),
    "an image must be 3-D, or 4-D with volumes last": lambda f: image(f, lambda data: data[..., None, :]),
    "the symbolic link points to a file that is not here": lambda f: linked(f, "sub-01_dwi.nii", "../.git/annex/x"),
    "symbolic links form a loop": lambda f: linked(f, "sub-01_dwi.bval", "sub-01_dwi.bval"),
    "no permission to read this": forbidden,
    "not valid JSON: …": lambda f: (f / "sub-01_dwi.json").write_text("{"),
    "sub-… has no image to read (datatype …, suffix …)": lambda f: [path.unlink() for path in f.iterdir()],
    "no derivative mask was found for this series": lambda f: planned(f, "mask.source=derivative"),
    "no file of this name": lambda f: planned(f, "mask.source=/nowhere/sub-{subject}.nii.gz"),
    "the mask is empty": masked(0),
    "the masks have no voxel in common": masked(1, 1),
    "… of the region's voxels have NaN, infinite or non-positive signal …": lambda f: image(f, lambda data: -data),
    "volume … is zero in the whole region": lambda f: image(f, lambda data: data * np.array([1, 1, 0, 1, 1, 1])),
    "column … seems to mix seconds and milliseconds": lambda f: (f / "sub-01_acqparams.tsv").write_text(
        "gx gy gz b TE TI TR\n" + "".join(f"0 0 0 0 {te} NaN 4000\n" for te in [0.05] * 3 + [50] * 3)
    ),
    "kernel … has no diffusion, and no volume is unweighted": lambda f: (
        table(f, "700 1400 700 700 1400 700", "1 1 1 1 1 1\n0 0 0 0 0 0\n0 0 0 0 0 0"), planned(f, "kernel.name=t2")
    ),
    "no mask can be drawn on the reference image, which shows nothing that stands out": lambda f: (
        image(f, lambda data: 0 * data + 7), planned(f, "mask.source=automatic")
    ),
    "the file changed while it was read": lambda f: tally_image(
        f / "sub-01_dwi.nii", REAL, [lambda volume, values: os.utime(f / "sub-01_dwi.nii")]
    ),
    "the noise map is not positive everywhere in the region of interest": lambda f: (
        image(f, lambda data: 0 * data[..., 0], "noise.nii"), planned(f, f"noise.method={f}/noise.nii")
    ),
    "… clusters need as many voxels": lambda f: planned(f, "inspect.n_clusters=99"),
    "reading this image needs at least … GB of memory, and this job has … GB": lambda f: check_memory(planned(f), 1e-9),
    "kernel … needs the … to vary over the volumes, and it does not": lambda f: planned(f, workflow="t1_inspect"),
    "no workflow …: neither a name that comes with the package nor a file. …": lambda f: find_workflow("t2stat"),
    "--set …: unknown key …; did you mean …?": lambda f: load_options(overrides=["inspect.nclusters=3"]),
    "--set …: nnls.alpha must be >= 0, got …": lambda f: load_options(overrides=["nnls.alpha=-1"]),
    "no participant … in the dataset": lambda f: select_participants(f.parents[1], ["7"], True),
    "OUT_DIR is the BIDS dataset itself": lambda f: check_output(f.parents[1], f.parents[1]),
    "OUT_DIR lies inside the raw data": lambda f: check_output(f.parents[1], f / "out"),
    "the work directory holds …, …": lambda f: check_work_dir(f.parents[1], f.parents[1], f / "out"),
    "BIDS_DIR does not exist": lambda f: select_participants(f / "elsewhere", [], True),
    "not a BIDS dataset: dataset_description.json is missing": lambda f: select_participants(f.parents[0], [], True),
    "the dataset holds no participant folder (sub-*)": lambda f: (
        shutil.rmtree(f.parent), select_participants(f.parents[1], [], True)
    ),
    "nothing is finished for …": lambda f: participants.rebuild(f / "out", ["01"], True),
    f"… may be written by everyone: {EXCHANGED}": lambda f: claimed(f, lambda work: work.chmod(0o777)),
    f"… belongs to another user: {EXCHANGED}": lambda f: claimed(f, as_another_user),
    "… was not made by mrspec_prep and is not emptied. …": lambda f: claimed(
        f, lambda work: (work / "mine").touch(), clean=True
    ),
    "cannot write to the work directory …: …. Remedy: --work-dir": lambda f: (
        (f / "file").touch(), claim_work_dir(f / "file" / "work", ["sub-01"])
    ),
    "another mrspec_prep is working on …. Remedy: wait for it, or …": lambda f: claimed(f, held),
    "… cannot be locked: …. Remedy: a disk that knows locks and that you may write to; …": lambda f: claimed(
        f, without_locks
    ),
}  # fmt: skip
#: cause of a step or of a run -> message of the page
CAUSES = {
    WORKER_DIED: "WorkerDied: the process computing this step was killed from outside, most often for lack of memory. "
    "…",
    with_remedy("MemoryError: Unable to allocate 3.1 GiB"): "MemoryError… Remedy: give more memory (--mem and the "
    "job's own limit) or fewer processes (--nprocs), …",
    DISK_FULL: "OSError: No space left on device: the disk of the work directory is full. …",
    with_remedy("OSError: [Errno 116] Stale file handle"): "…. Remedy: check the disk and its connection, then type "
    "the same command again",
    with_remedy("EOFError: Ran out of input"): "… Remedy: an intermediate result is damaged: type the same command "
    "again, which finds and computes it anew",
}


FULL = "…: No space left on device. Remedy: make space on that disk and type the same command again"
NO_OPTION = "unrecognized arguments: … (did you mean …?)"
SECTIONS = ("Exit codes", "The machine", "The command line and workflow files", "Input that is refused")


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", os.geteuid)
    monkeypatch.setattr(FileLock, "acquire", FileLock.acquire)
    yield make_study(tmp_path / "bids")[0]
    history.LOCKS.clear()


@pytest.mark.parametrize("message", PROVOKED)
def test_a_message_of_the_page_is_what_is_said(study, message):
    with pytest.raises(REFUSED) as caught:
        PROVOKED[message](study)
        planned(study)
    assert re.search(pattern(message), str(caught.value))


def test_causes_of_the_page_are_those_of_steps():
    for cause, message in CAUSES.items():
        assert re.match(pattern(message), cause), f"{message}: {cause}"


@pytest.mark.parametrize("title", SECTIONS)
def test_every_message_of_the_page_is_provoked_or_stands_in_the_source(title):
    rows = quoted(title)
    assert len(rows) >= 6
    for message in {*rows} - {*PROVOKED, *CAUSES.values(), FULL, NO_OPTION}:
        assert any(re.search(pattern(message), text) for text in source_texts()), message
    if title == "Input that is refused":
        assert {*rows} - {*PROVOKED} == {"unweighted signals do not fall with echo time as they must: …"}


def test_everything_provoked_is_on_the_page():
    rows = {message for title in SECTIONS for message in quoted(title)}
    assert {*PROVOKED, *CAUSES.values(), FULL, NO_OPTION} <= rows


def test_messages_within_sentences_stand_in_the_source():
    sentences = "".join(line for line in PAGE.splitlines(keepends=True) if not line.startswith("|"))
    spans = [span for span in re.findall(r"`([^`]+ …|[^`]+ [^`]*answers)`", sentences.replace("\n", " "))]
    texts = source_texts()
    assert len(spans) >= 4
    for message in spans:
        assert any(re.search(pattern(message), " ".join(text.split())) for text in texts), message


@pytest.mark.parametrize(
    ("raised", "code", "last"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/out/x"), 1, "FAILED: the run could not go on. Log: …"),
        (MemoryError(), 1, "FAILED: the run could not go on. Log: …"),
        (OptionsError("--set x"), 2, "Nothing was computed. Log: …"),
    ],
)
def test_last_lines_of_the_table_of_exit_codes(study, capsys, monkeypatch, raised, code, last):
    def fails(*args, **more):
        raise raised

    monkeypatch.setattr(participants, "open_layout", fails)
    root = study.parents[1]
    assert run([str(root), str(root.parent / "out"), "participant", "-w", str(root.parent / "work")]) == code
    *above, line = capsys.readouterr().err.splitlines()
    assert last in quoted("Exit codes") and re.search(pattern(last), line)
    if isinstance(raised, OSError):
        assert re.search(pattern(FULL), above[-1])


def test_a_wrong_option_is_answered_as_the_page_says(capsys):
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(["bids", "out", "participant", "--particpant-label", "01"])
    assert re.search(pattern(NO_OPTION), capsys.readouterr().err)


def test_the_made_list_holds_messages_with_their_remedies():
    found = messages.messages()
    assert len(found) > 250
    by_problem = {problem: remedy for _, problem, remedy in found}
    assert by_problem["the image is empty"] == "fetch or convert it again"
    assert by_problem["… holds … values, the image has … volumes"] == "one value per volume"
    assert by_problem["OUT_DIR is a file"].startswith("write to a folder of its own")
    text = messages.text()
    assert all(f"| `{problem}` |" in text for problem in by_problem if "|" not in problem)


def test_messages_of_a_new_room_need_a_place_on_the_page():
    with pytest.raises(ValueError, match="no part of the page"):
        messages._part("elsewhere/new.py")
    assert {Path(path).parts[0] for path, _, _ in messages.messages()} >= {"bids", "cli", "options", "workflows"}
