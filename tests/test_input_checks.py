"""Spoilt values of images, masks and noise maps: refused before computing, also by --dry-run, and remembered."""

import errno
import gc
import gzip
import hashlib
import json
import os
import re
import shutil
import tracemalloc
import weakref
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.atomic import write_json
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.contents import InputRecord, digest_file
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.cli import history
from mrspec_prep.cli import run as command
from mrspec_prep.interfaces import mask as roi_node
from mrspec_prep.interfaces.fingerprints import FingerprintROI
from mrspec_prep.workflows.planning import inputs, scans
from mrspec_prep.workflows.planning.feasibility import check_feasible
from mrspec_prep.workflows.planning.participant import plan_participant

EXAMPLES = Path(__file__).parents[1] / "bids_examples"
ZEBRA, MRF = EXAMPLES / "zebra_t2star-adc", EXAMPLES / "mrf"
MASK = "{subject}_mask.nii.gz"
RECORD = "out/logs/inputs/sub-01/files.json"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two participants of 6 x 6 x 1 voxels, and masks of all of them."""
    shutil.copytree(ZEBRA, tmp_path / "bids", ignore=shutil.ignore_patterns("derivatives"))
    for path in (tmp_path / "bids").rglob("*.nii.gz"):
        nib.save(nib.load(path).slicer[9:15, 9:15, 1:2], path)
    for subject in ("01", "02"):
        mask(tmp_path, subject, np.ones((6, 6, 1)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mask(place, subject, values, name=MASK, affine=None):
    affine = nib.load(next((place / "bids").rglob("*te078_dwi.nii.gz"))).affine if affine is None else affine
    path = place / name.replace("{subject}", subject)
    nib.save(nib.Nifti1Image(np.asarray(values, np.float32), affine), path)
    return path


def images(place, subject="01"):
    return sorted((place / "bids" / f"sub-{subject}").rglob("*_dwi.nii.gz"))


def change(path, values):
    """Exchange the values of an image: a function of what it holds."""
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(values(image.get_fdata(dtype=np.float32)), np.float32), image.affine), path)


def run(place, *words, subject=("01",)):
    for lock in history.LOCKS:
        lock.release()
    history.LOCKS.clear()
    chosen = ["--participant-label", *subject, "--nprocs", "2", "--mask", MASK]
    return command.run([str(w) for w in (place / "bids", place / "out", "participant", *chosen, *words)])


def zero_all(place):
    for path in images(place):
        change(path, np.zeros_like)


def zero_one(place):
    change(images(place)[2], np.zeros_like)


def flip_a_bit(place):
    path = images(place)[1]
    content = bytearray(gzip.decompress(path.read_bytes()))
    packed = bytearray(gzip.compress(bytes(content), 0))  # stored as it is: only the check sum tells
    packed[-2000] ^= 1
    path.write_bytes(bytes(packed))


def nan_in_most(place):
    def spoilt(values):
        values[:, :, :, 3].ravel()[:] = 1
        values[1:, :5, :, 3] = np.nan
        return values

    change(images(place)[0], spoilt)


def one_voxel(place):
    values = np.zeros((6, 6, 1))
    values[2, 2] = 1
    mask(place, "01", values)


def few_voxels(place):
    values = np.zeros((6, 6, 1))
    values[0, :5] = 1
    mask(place, "01", values)


def map_of(*values):
    def make(place):
        noise = np.full((6, 6, 1), 0.03)
        noise.ravel()[: len(values)] = values
        mask(place, "01", noise, "noise_{subject}.nii.gz")

    return make


SPOILT = {
    "all images zero": (zero_all, "te078_dwi.nii.gz: volume 0 is zero in the whole region (found 125 such volumes)"),
    "one image zero": (zero_one, "te150_dwi.nii.gz: volume 0 is zero in the whole region (found 25 such volumes)"),
    "a flipped bit": (flip_a_bit, "te114_dwi.nii.gz: the image is truncated or corrupt (found CRC check failed"),
    "NaN in most": (nan_in_most, "69% of the region's voxels have NaN, infinite or non-positive signal (the first: "
                                 "voxel [1, 0, 0], volume 3) (found 25 of 36: 25 with NaN"),
    "a mask of one voxel": (one_voxel, "clusters need as many voxels (found 1 voxels"),
    "more clusters than voxels": (few_voxels, "6 clusters need as many voxels (found 5 voxels"),
    "a noise map of zeros": (map_of(0, 0), "noise_01.nii.gz: the noise map is not positive everywhere in the region of "
                                           "interest (found 2 voxels)"),
    "a noise map of NaN": (map_of(np.nan, np.inf, -1), "the noise map is not positive everywhere in the region of "
                                                       "interest (found 3 voxels)"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_values_are_refused_before_computing_and_by_the_preview(place, capsys, name):
    spoil, message = SPOILT[name]
    spoil(place)
    words = ["--noise", "noise_{subject}.nii.gz" if "noise map" in name else "0.03"]
    words += ["--set", "inspect.n_clusters=6"] if "clusters" in name else []
    for attempt in (["--dry-run"], []):  # the second takes what the first remembered
        assert run(place, *words, *attempt) == 2
        said = capsys.readouterr().err
        assert message in said and "Remedy: " in said
        assert "No participant can be processed" in said.splitlines()[-1]
        assert not (place / "out/sub-01").exists() and not (place / "work").exists()


def test_without_a_mask_the_spoilt_image_is_named(place, capsys):
    change(images(place)[2], lambda values: np.full_like(values, np.nan))
    assert run(place, "--dry-run", "--mask", "automatic") == 2
    assert "te150_dwi.nii.gz: 100% of the region's voxels have NaN" in capsys.readouterr().err


def test_other_participants_go_on_and_without_a_mask_it_is_told_too(place, capsys):
    zero_one(place)
    assert run(place, "--dry-run", "--mask", "automatic", subject=("01", "02")) == 1
    said = capsys.readouterr()
    assert "te150_dwi.nii.gz: volume 0 is zero in the whole region" in said.err
    assert "FAILED: sub-01 cannot be processed" in said.err.splitlines()[-1]
    assert "sub-02\n======" in said.out
    for path in images(place, "02"):
        change(path, lambda values: np.full_like(values, 7))
    assert run(place, "--dry-run", "--mask", "automatic", subject=("02",)) == 2
    words = "te078_dwi.nii.gz: no mask can be drawn on the reference image, which shows nothing that stands out (found "
    assert f"{words}values from 7 to 7" in capsys.readouterr().err
    for path in images(place, "02"):
        change(path, lambda values: np.full_like(values, np.nan))
    assert run(place, "--dry-run", "--mask", "automatic", subject=("02",)) == 2
    assert f"{words}values from 0 to 0, NaN and infinite ones taken as 0" in capsys.readouterr().err


def test_voxels_that_are_left_out_are_said_on_the_console_and_in_the_preview(place, capsys):
    def lost(values):
        values[0, 0], values[1, 0], values[2, 0, 0, 1] = 0, -5, 0
        return values

    change(images(place)[1], lost)
    assert run(place, "--dry-run", "--noise", "0.03") == 0
    said = capsys.readouterr()
    reason = "2 at zero, or one negative value, in all volumes of sub-01_acq-te114_dwi.nii.gz."
    for text in (said.err, said.out, (place / "out/logs/sub-01_preview.txt").read_text()):
        assert f"2 of 36 voxels were left out: {reason}" in text
        assert "zero or negative in some volumes: 1 of sub-01_acq-te114_dwi.nii.gz" in text
    (log,) = (place / "out/logs").glob("*.log")
    assert "2 of 36 voxels were left out" in log.read_text()


def checked(place, out="out", **more):
    """Plan of the participant after its inputs were read."""
    plan = plan_participant(open_layout(place / "bids", ["01"]), "01", overrides=[f"mask.source={MASK}"], **more)
    check_feasible(plan)
    (found,) = inputs.check_inputs_of([plan], place / out, 2)
    if isinstance(found, Exception):
        raise found
    return found


@pytest.fixture
def reads(monkeypatch):
    """Names of the images that are read whole."""
    names, read = [], inputs.tally_image

    def counted(path, *more):
        names.append(path.name)
        return read(path, *more)

    monkeypatch.setattr(inputs, "tally_image", counted)
    return names


def test_what_was_read_is_remembered_and_only_changes_are_read(place, reads):
    first = checked(place)
    assert len(reads) == len(set(reads)) == 5
    (series,) = first.series
    assert dict(series.digests)[str(images(place)[0])] == digest_file(images(place)[0])
    reads.clear()
    assert checked(place).key == first.key and reads == []
    os.utime(images(place)[0])
    assert checked(place).key == first.key and reads == []
    image = images(place)[0]
    before = image.stat()
    content = bytearray(image.read_bytes())
    image.write_bytes(gzip.compress(gzip.decompress(bytes(content)), 1))
    assert checked(place).key != first.key and len(reads) == 5  # other bytes: read, whatever they say
    image.write_bytes(bytes(content))
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert checked(place).key == first.key


def test_a_change_that_hides_behind_its_old_date_is_seen(place):
    path = images(place)[0]
    content = gzip.compress(gzip.decompress(path.read_bytes()), 0)
    path.write_bytes(content)
    os.utime(path, ns=(10**18, 10**18))
    first = checked(place)
    data = bytearray(gzip.decompress(content))
    data[-40:] = b"\2\1" * 20
    changed = gzip.compress(bytes(data), 0)
    assert len(changed) == len(content) and changed != content
    path.write_bytes(changed)
    os.utime(path, ns=(10**18, 10**18))
    assert checked(place).key != first.key


DAMAGE = {
    "cut": lambda text: text[:40],
    "other format": lambda text: re.sub(r'"format": \d+', '"format": 0', text),
    "no counts": lambda text: text.replace('"n_voxels": 36', '"n_voxels": "many"'),
    "negative": lambda text: text.replace('"n_unusable": 0', '"n_unusable": -1'),
    "no digest": lambda text: text.replace('"findings": {\n  "', '"findings": {\n  "../'),
    "no voxels": lambda text: text.replace('"n_voxels": 36', '"n_voxels": 0'),
    "a voxel beyond": lambda text: re.sub(r'"first": \[\s+0', '"first": [ 99', text),
    "an image beyond": lambda text: text.replace('"zero_volumes": []', '"zero_volumes": [[9, 0]]'),
    "no pair": lambda text: text.replace('"zero_volumes": []', '"zero_volumes": [[1]]'),
    "words": lambda text: text.replace('"zero_volumes": []', '"zero_volumes": [["a", "b"]]'),
    "more images": lambda text: re.sub(r'"n_lost": \[', '"n_lost": [1, ', text),
    "a list": lambda text: "[1]",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_record_that_is_none_means_that_files_are_read_again(place, reads, name):
    first = checked(place)
    record = place / RECORD
    text = record.read_text()
    assert DAMAGE[name](text) != text
    record.write_text(DAMAGE[name](text))
    reads.clear()
    assert checked(place).key == first.key
    assert len(reads) == 5
    assert record.read_text() == text


def test_what_another_version_found_is_not_believed(place, reads, monkeypatch):
    checked(place)
    monkeypatch.setattr(scans, "__version__", "another")
    reads.clear()
    checked(place)
    assert reads


def test_a_record_that_others_may_write_is_not_believed(place, reads):
    checked(place)
    record = place / RECORD
    content = json.loads(record.read_text())
    for known in content["files"].values():
        known[1] = "0" * 64
    record.write_text(json.dumps(content))
    record.chmod(0o666)
    reads.clear()
    assert dict(checked(place).series[0].digests)[str(images(place)[0])] == digest_file(images(place)[0])
    assert len(reads) == 5
    assert InputRecord(record).stamps  # written anew, by us


def test_a_file_that_changes_while_it_is_read_is_refused(place, monkeypatch):
    read = scans.ImageTally.add

    def meddled(self, volume, *more):
        os.utime(images(place)[0])
        read(self, volume, *more)

    monkeypatch.setattr(scans.ImageTally, "add", meddled)
    with pytest.raises(ValueError, match="te078_dwi.nii.gz: the file changed while it was read.*Remedy: wait"):
        checked(place)


def test_an_interrupt_does_not_wait_for_whole_images(place, monkeypatch):
    class FirstOnly(inputs.Event):
        def is_set(self):
            taken.append(1)
            return super().is_set()

    taken = []
    monkeypatch.setattr(inputs, "Event", FirstOnly)

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(InputRecord, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checked(place)
    event = FirstOnly()
    event.set()
    with pytest.raises(InterruptedError):
        inputs.tally_image(images(place)[0], "biuf", [], event)
    assert len(taken) > 25


def test_digests_end_with_an_interrupt_too(place):
    event = inputs.Event()
    path = images(place)[0]
    assert digest_file(path, event) == hashlib.sha256(path.read_bytes()).hexdigest()
    event.set()
    with pytest.raises(InterruptedError):
        digest_file(path, event)


def test_readers_and_participants_are_as_many_as_the_memory_holds(place):
    plan = plan_participant(open_layout(place / "bids", ["01"]), "01")
    (scan,) = (scans.scan_of(series) for series in plan.series)
    one, kept = scan.reader_bytes, scan.n_bytes
    assert (one, kept) == (36 * 40, 36 * (16 + 5 * 3 / 8 + 8))
    for n_bytes, readers, participants in ((0, 1, 1), (one + kept, 1, 1), (2 * (one + kept), 2, 2), (1e9, 8, 2)):
        found = inputs._shares([plan, plan], 8, n_bytes)
        assert found[:2] == (readers, participants) and found[2] >= kept
        assert readers * one + participants * found[2] <= max(n_bytes, one + kept)


@pytest.mark.parametrize("n_sessions", [1, 8])
def test_what_is_held_of_many_images_of_one_participant_stays_within_the_memory(tmp_path, monkeypatch, n_sessions):
    """40 images in which some voxels are negative, which takes most."""
    shape, n_echoes, rng, mem_gb = (128, 128, 32), 40 // n_sessions, np.random.default_rng(0), 0.055
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "bids/dataset_description.json", {"Name": "x", "BIDSVersion": "1.11.0"})
    mask(tmp_path, "01", np.ones(shape), affine=np.eye(4))
    for session in range(n_sessions):
        for echo in range(1, n_echoes + 1):
            name = f"bids/sub-01/ses-{session}/anat/sub-01_ses-{session}_echo-{echo:02d}_MESE"
            write_json(tmp_path / f"{name}.json", {"EchoTime": 0.01 * echo, "RepetitionTime": 2.0})
            values = rng.normal(500 if echo == 1 else 20, 20, shape).astype(np.int16)
            nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / f"{name}.nii")
    plan = plan_participant(open_layout(tmp_path / "bids", ["01"]), "01", overrides=[f"mask.source={MASK}"])
    assert len(plan.series) == n_sessions
    (free,) = inputs.check_inputs_of([plan], tmp_path / "free", 4)
    tracemalloc.start()
    try:
        (bounded,) = inputs.check_inputs_of([plan], tmp_path / "bounded", 4, mem_gb)
        peak = tracemalloc.get_traced_memory()[1] / 1e9
    finally:
        tracemalloc.stop()
    assert bounded == free and len(free.series[0].voxel_notes) == 1
    assert peak < mem_gb


def test_images_that_went_away_fail_their_participant_and_no_other(place):
    layout = open_layout(place / "bids", ["01"])
    gone, stays = (plan_participant(layout, "01", overrides=[f"mask.source={MASK}"]) for _ in range(2))
    kept = place / "kept"
    shutil.copytree(place / "bids/sub-01", kept)
    series = stays.series[0]
    moved = tuple(kept / path.relative_to(place / "bids/sub-01") for path in series.series.images)
    stays = replace(stays, series=(replace(series, series=replace(series.series, images=moved)),))
    for path in images(place):
        path.unlink()
    error, found = inputs.check_inputs_of([gone, stays], place / "out", 2)
    assert isinstance(error, (InputError, OSError)) and "te078_dwi.nii.gz" in str(error)
    assert not isinstance(found, Exception), found


def test_what_was_read_of_a_refused_participant_is_let_go(place, monkeypatch):
    tallies, made = [], scans.ImageTally

    def kept(*words):
        tally = made(*words)
        tallies.append(weakref.ref(tally))
        return tally

    monkeypatch.setattr(scans, "ImageTally", kept)
    for path in images(place):
        change(path, np.zeros_like)
    plan = plan_participant(open_layout(place / "bids", ["01"]), "01", overrides=[f"mask.source={MASK}"])
    (error,) = inputs.check_inputs_of([plan], place / "out", 2)
    assert isinstance(error, InputError) and len(tallies) == 5
    gc.collect()
    assert not any(tally() for tally in tallies)


def test_a_job_looks_at_no_more_records_however_many_participants_were_read_before(place, monkeypatch):
    known, scan, listed = place / "out/logs/inputs", os.scandir, []

    def counted(path="."):
        with scan(path) as found:
            listed.extend(entry.path for entry in found if str(entry.path).startswith(f"{known}/"))
        return scan(path)

    assert run(place, "--dry-run", "--noise", "0.03") == 0
    for subject in range(30):
        shutil.copytree(known / "sub-01", known / f"sub-x{subject}")
    monkeypatch.setattr(os, "scandir", counted)
    shutil.rmtree(known / "sub-01")
    listed.clear()
    assert run(place, "--dry-run", "--noise", "0.03") == 0
    assert (place / RECORD).is_file() and listed == []


def test_a_record_that_cannot_be_kept_ends_no_run(place, monkeypatch, caplog):
    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(InputRecord, "save", full)
    assert checked(place).series[0].digests
    assert "cannot be remembered" in caplog.text and "No space left" in caplog.text


def test_a_work_directory_that_cannot_be_is_refused_before_images_are_read(place, reads, capsys):
    assert run(place, "--dry-run", "--work-dir", str(place / "bids/work")) == 2
    assert "lies inside the BIDS dataset" in capsys.readouterr().err and not reads
    assert run(place, "--dry-run", "--noise", "0.03") == 0
    assert "Reading the images of 1 participant(s)" in capsys.readouterr().err and reads


def test_fingerprints_are_read_before_computing_too(tmp_path):
    shutil.copytree(MRF, tmp_path / "bids")
    real, imag = sorted(tmp_path.rglob("*_MRF.nii.gz"), reverse=True)
    roi = nib.load(next(tmp_path.rglob("*_mask.nii.gz"))).get_fdata() > 0
    masks = {"masks": tmp_path / "bids/derivatives/masks"}
    plan = plan_participant(open_layout(tmp_path / "bids", ["01"]), "01", derivatives=masks)

    def found():
        (plan_or_error,) = inputs.check_inputs_of([plan], tmp_path / "out", 2)
        return plan_or_error

    def spoil(where):
        def spoilt(values):
            values[where] = np.nan
            return values

        change(imag, spoilt)

    assert found().series[0].voxel_notes == ()
    spoil(tuple(np.argwhere(roi)[0]))
    (note,) = found().series[0].voxel_notes
    assert note == f"1 of {roi.sum()} voxels were left out: not finite, or zero in every frame."
    spoil(roi)
    assert "100% of the region's voxels have NaN or infinite values" in str(found())
    for path in (real, imag):
        change(path, np.zeros_like)
    assert f"0 not finite, {roi.sum()} zero in every frame" in str(found())


def dark_where_the_mask_is(place):
    """Of the first image a corner stays, of the second all but that corner: voxels of an automatic mask are cut off."""
    for path, inside in zip(images(place)[:2], (False, True), strict=True):

        def spoilt(values, inside=inside):
            corner = np.zeros(values.shape, bool)
            corner[:3, :3] = True
            return np.where(corner != inside, 0, values)

        change(path, spoilt)


def nan_in_another(place):
    change(images(place)[1], lambda values: np.where(np.arange(values.shape[3]) == 3, np.nan, values))


AUTOMATIC = {
    "cut off": (dark_where_the_mask_is, (), "in all volumes of sub-01_acq-te114_dwi.nii.gz). Remedy: give a mask"),
    "an image zero": (zero_one, (), "te150_dwi.nii.gz: volume 0 is zero in the whole region"),
    "all zero": (zero_all, (), "te078_dwi.nii.gz: no mask can be drawn on the reference image"),
    "NaN": (nan_in_another, (), "of the region's voxels have NaN, infinite or non-positive signal (the first: voxel ["),
    "more clusters": (lambda place: None, ("--set", "inspect.n_clusters=100"), "100 clusters need as many voxels"),
    "a noise map of zeros": (map_of(*36 * [0]), ("--noise", "noise_{subject}.nii.gz"), "the noise map is not positive"),
}


@pytest.mark.parametrize("name", AUTOMATIC)
def test_voxels_of_an_automatic_mask_are_refused_before_computing_too(place, capsys, name):
    spoil, words, message = AUTOMATIC[name]
    spoil(place)
    for attempt in (["--dry-run"], []):
        assert run(place, "--mask", "automatic", "--noise", "0.03", *words, *attempt) == 2
        said = capsys.readouterr().err
        assert message in said and "Remedy: " in said
        assert not (place / "out/sub-01").exists() and not (place / "work").exists()


def test_the_automatic_mask_is_that_of_the_step_and_its_voxels_are_told_before(place, reads, monkeypatch):
    def lost(values):
        values[3, 3] = 0
        return values

    change(images(place)[1], lost)
    plan = plan_participant(open_layout(place / "bids", ["01"]), "01")
    drawn, draw = [], roi_node.automatic_mask
    monkeypatch.setattr(roi_node, "automatic_mask", lambda reference: drawn.append(draw(reference)) or drawn[-1])
    (checked,) = inputs.check_inputs_of([plan], place / "out", 2)
    (note,) = checked.series[0].voxel_notes
    assert "1 at zero, or one negative value, in all volumes of sub-01_acq-te114_dwi.nii.gz." in note
    series = write_json(place / "series.json", plan.series[0].series.to_json())
    node = roi_node.ComputeROI(series=str(series)).run(cwd=str(place))
    assert json.loads(Path(node.outputs.notes).read_text())["notes"] == [note]
    assert len(drawn) == 2 and np.array_equal(*drawn) and np.array_equal(np.load(node.outputs.roi), drawn[0])
    reads.clear()
    assert inputs.check_inputs_of([plan], place / "out", 2) == [checked] and not reads and len(drawn) == 2


@pytest.mark.parametrize("spoil", ["nothing", "NaN", "zero"])
def test_fingerprints_without_a_mask_are_judged_before_computing(tmp_path, spoil):
    shutil.copytree(MRF, tmp_path / "bids", ignore=shutil.ignore_patterns("derivatives"))
    plan = plan_participant(open_layout(tmp_path / "bids", ["01"]), "01")
    series = write_json(tmp_path / "series.json", plan.series[0].series.to_json())
    node = FingerprintROI(series=str(series)).run(cwd=str(tmp_path))
    roi = np.load(node.outputs.roi)

    def spoilt(values):
        x, y, z = np.argwhere(roi)[: roi.sum() // 3].T
        values[x, y, z, 5] = np.nan
        return values if spoil == "NaN" else np.zeros_like(values)

    if spoil != "nothing":
        for path in plan.series[0].series.images:
            change(path, spoilt)
    (found,) = inputs.check_inputs_of([plan], tmp_path / "out", 2)
    if spoil == "nothing":
        assert list(found.series[0].voxel_notes) == json.loads(Path(node.outputs.notes).read_text())["notes"]
        (finding,) = InputRecord(tmp_path / RECORD).findings.values()
        assert finding.n_voxels - finding.n_unusable == roi.sum()
    elif spoil == "NaN":
        assert "of the region's voxels have NaN or infinite values" in str(found)
    else:
        assert "no mask can be drawn on the reference image" in str(found)
