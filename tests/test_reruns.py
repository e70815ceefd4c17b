"""What a user does after a first run: delete results, change settings and change them back, spoil an input."""

import errno
import os
import resource
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest

from mrspec_prep.bids import nifti
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.output.derivatives import read_table
from mrspec_prep.cli import history, participants
from mrspec_prep.cli import run as command
from mrspec_prep.interfaces import noise, reportlets
from mrspec_prep.workflows.planning.feasibility import check_memory
from mrspec_prep.workflows.running.measured_memory import measured_before

ZEBRA = Path(__file__).parents[1] / "bids_examples" / "zebra_t2star-adc"
pytestmark = pytest.mark.timeout(200)


def quick_report(out_dir, subject):
    """Page without figures: what is tested here is when it is written."""
    path = Path(out_dir) / f"sub-{subject}.html"
    path.write_text(" ".join(note.cause for note in participants.collect_crashes(out_dir, subject)) or "no step failed")
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A dataset of one participant, 6 x 6 x 1 voxels."""
    shutil.copytree(ZEBRA, tmp_path / "bids", ignore=shutil.ignore_patterns("sub-02", "derivatives"))
    for path in (tmp_path / "bids").rglob("*.nii.gz"):
        nib.save(nib.load(path).slicer[9:15, 9:15, 1:2], path)
    monkeypatch.setattr(reportlets, "build_subject_report", quick_report)
    monkeypatch.setattr(participants, "build_subject_report", quick_report)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(place, *words):
    for lock in history.LOCKS:
        lock.release()
    history.LOCKS.clear()
    quick = ["--nprocs", "1", "--noise", "0.03", "--mask", "automatic", "--sloppy"]
    small = ["--set", "kernel.points=[6,6]", "--set", "inspect.n_clusters=2", "-w", place / "work"]
    return command.run([str(w) for w in (place / "bids", place / "out", "participant", *quick, *small, *words)])


def spoil(monkeypatch):
    """From now on the noise of the first participant cannot be told, once it is computed. Returns what ends that."""
    estimate = noise.EstimateNoise._run_interface

    def spoilt(node, runtime):
        if "sub_01" in runtime.cwd:
            raise InputError("no noise to be found here", remedy="none")
        return estimate(node, runtime)

    monkeypatch.setattr(noise.EstimateNoise, "_run_interface", spoilt)
    return lambda: monkeypatch.setattr(noise.EstimateNoise, "_run_interface", estimate)


def results(place):
    return {str(p.relative_to(place)): p.read_bytes() for p in (place / "out").rglob("*.nii.gz")}


def test_deleted_results_come_back_although_the_work_directory_knows_them(place):
    assert run(place, "--resource-monitor") == 0
    (table,) = (place / "out/logs").glob("*_resources.tsv")
    assert "save_nnls" in table.read_text()
    ((ratios,),) = [measured_before(place / "out/logs").values()]
    columns, _ = read_table(table)
    of_step = dict(
        zip(columns["step"], zip(columns["mem_peak_gb"], columns["mem_estimated_gb"], strict=True), strict=True)
    )
    peak, estimate = map(float, of_step["mrspec_prep_wf.sub_01_wf.series_0_dwi_wf.nnls"])
    # one process runs everything here, these tests too: the monitor saw its memory, and that of what they began
    begun = sum(child.memory_info().rss for child in psutil.Process().children(recursive=True))
    assert 0.1 < peak <= (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + begun) / 1e9 + 0.1
    assert ratios["nnls"] == pytest.approx(peak / estimate)
    assert {path.name for path in place.iterdir()} == {"bids", "out", "work"}
    first = results(place)
    assert first
    shutil.rmtree(place / "out")
    assert run(place) == 0
    assert results(place) == first
    (place / "out/sub-01.html").unlink()
    assert run(place) == 0
    assert (place / "out/sub-01.html").is_file()


def test_damaged_intermediate_results_are_computed_again_and_nothing_else(place, capsys):
    assert run(place) == 0
    first, series = results(place), place / "work/mrspec_prep_wf/sub_01_wf/series_0_dwi_wf"
    whole = {path: path.read_bytes() for path in series.rglob("*.np?")}
    written = (series / "roi/roi.npy").stat().st_mtime_ns
    result, fit = series / "nnls/result_nnls.pklz", series / "inspect_em/fit.npz"
    for path in (result, fit):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (series / "noise/noise.npy").unlink()
    (series / "signals/signals.npy").write_bytes(bytes((series / "signals/signals.npy").stat().st_size))
    shutil.rmtree(place / "out")
    capsys.readouterr()
    assert run(place) == 0
    said = capsys.readouterr().err
    for step, words in {
        "nnls": "result_nnls.pklz has",
        "inspect_em": "fit.npz has",
        "noise": "noise.npy is missing",
        "signals": "signals.npy does not hold what was written",
    }.items():
        assert f"sub_01.series_0_dwi.{step} is damaged ({words}" in said
    assert said.count("this step is computed again") == 4
    assert (series / "roi/roi.npy").stat().st_mtime_ns == written
    assert results(place) == first
    assert {path: path.read_bytes() for path in series.rglob("*.np?")} == whole


def test_settings_changed_and_changed_back_give_the_first_results(place):
    assert run(place) == 0
    first = results(place)
    assert run(place, "--set", "nnls.alpha=1.0", "--set", "inspect_map.n_components=2") == 0
    assert set(results(place)) > set(first)
    assert run(place) == 0
    assert results(place) == first


def test_a_study_may_be_computed_session_by_session(place):
    dwi = place / "bids/sub-01/dwi"
    for session in ("1", "2"):
        (place / f"bids/sub-01/ses-{session}/dwi").mkdir(parents=True)
        for path in dwi.iterdir():
            name = path.name.replace("sub-01_", f"sub-01_ses-{session}_")
            shutil.copy(path, place / f"bids/sub-01/ses-{session}/dwi" / name)
    shutil.rmtree(dwi)
    assert run(place, "--session-label", "1") == 0
    first = results(place)
    assert run(place, "--session-label", "2", "--set", "nnls.alpha=1.0") == 0
    both = results(place)
    assert first.items() <= both.items() and len(both) == 2 * len(first)
    assert run(place, "--session-label", "1") == 0
    assert results(place) == both


def test_a_run_file_runs_the_same_again(place):
    assert run(place, "--set", "nnls.alpha=0.5", "--random-seed", "3") == 0
    first = results(place)
    (run_file,) = (place / "out/sub-01/log").glob("*/mrspec_prep.toml")
    for lock in history.LOCKS:
        lock.release()
    history.LOCKS.clear()
    words = [place / "bids", place / "again", "participant", "--config-file", run_file, "-w", place / "w2"]
    assert command.run([str(word) for word in [*words, "--nprocs", "1"]]) == 0
    assert {n.replace("again", "out", 1) for n in map(str, (place / "again").rglob("*.nii.gz"))} == {
        str(place / name) for name in first
    }
    for name, content in first.items():
        assert (place / name.replace("out", "again", 1)).read_bytes() == content


def test_a_failed_rerun_is_no_finished_participant(place, monkeypatch):
    assert run(place) == 0
    bring_back = spoil(monkeypatch)
    assert run(place, "--noise", "0.04") == 1
    assert "no noise to be found here" in (place / "out/sub-01.html").read_text()
    bring_back()
    assert run(place) == 0
    assert (place / "out/sub-01.html").read_text() == "no step failed"


def test_a_touched_input_changes_nothing_and_a_truncated_result_is_written_again(place, capsys):
    assert run(place) == 0
    first = results(place)
    for path in (place / "bids").rglob("*.nii.gz"):
        os.utime(path)
    capsys.readouterr()
    assert run(place) == 0
    assert "sub-01 is finished already" in capsys.readouterr().err
    for name in ("sub-01/dwi/sub-01_desc-noise_dwimap.nii.gz", "sub-01.html"):
        path = place / "out" / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert run(place) == 0
        assert "finished already" not in capsys.readouterr().err
        assert results(place) == first
    assert (place / "out/sub-01.html").read_text() == "no step failed"
    assert run(place, "--reports-only") == 0
    assert run(place) == 0
    assert "sub-01 is finished already" in capsys.readouterr().err


def test_reports_alone_need_results_and_tell_of_failures(place, capsys):
    assert run(place, "--reports-only", "--participant-label", "01") == 2
    assert "nothing is finished for sub-01" in capsys.readouterr().err
    assert not list((place / "out").rglob("*.html"))
    assert run(place) == 0
    (place / "out/sub-01.html").unlink()
    assert run(place, "--boilerplate-only") == 0
    assert "InSpect" in (place / "out/logs/CITATION.md").read_text()
    assert not (place / "out/sub-01.html").exists()
    assert run(place, "--reports-only") == 0
    (newest,) = (place / "out/sub-01/log").glob("*/")
    (newest / "crash-1.txt").write_text("Node: a.noise\n\nValueError: no scatter\n")
    assert run(place, "--reports-only") == 1
    assert "FAILED: sub-01" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("cause", ["content not here", "disk", "memory"])
def test_who_is_finished_stays_so_where_the_machine_lets_nobody_read(place, capsys, monkeypatch, cause):
    twin(place, "02")
    assert run(place) == 0
    first, known = results(place), (place / "out/logs/inputs/sub-01/files.json").read_bytes()
    image = next((place / "bids/sub-01").rglob("*te078_dwi.nii.gz"))
    with monkeypatch.context() as now:
        if cause == "content not here":
            image.rename(place / "away")
            image.symlink_to(place / "nowhere")
        elif cause == "disk":
            now.setattr(nifti.nib, "load", broken(nib.load, image.name, OSError(errno.EIO, "Input/output error")))
        else:
            now.setattr(
                participants, "check_memory", lambda plan, _: check_memory(plan, 1e-9 if plan.subject == "01" else 1)
            )
        assert run(place) == 1
    said = capsys.readouterr().err
    assert "FAILED: sub-01 (1 participant(s) done)" in said.splitlines()[-1]
    words = {
        "content not here": "symbolic link points to",
        "disk": "Input/output error",
        "memory": "this job has 1e-09",
    }
    assert words[cause] in said and words[cause] in (place / "out/sub-01.html").read_text()
    assert (place / "out/logs/inputs/sub-01/files.json").read_bytes() == known
    if image.is_symlink():
        (place / "away").replace(image)
    assert run(place) == 0
    assert "sub-01 is finished already" in capsys.readouterr().err
    assert (place / "out/sub-01.html").read_text() == "no step failed"
    assert run(place) == 0
    assert "sub-01 is finished already" in capsys.readouterr().err and results(place) == first


def twin(place, label):
    """Another participant with the images of the first."""
    shutil.copytree(place / "bids/sub-01", place / f"bids/sub-{label}")
    for path in (place / f"bids/sub-{label}").rglob("sub-01*"):
        path.rename(path.with_name(path.name.replace("sub-01", f"sub-{label}")))


def broken(function, name, error):
    """The function, but that it raises an error for files of a name."""

    def run(path, *more):
        if Path(path).name == name:
            raise error
        return function(path, *more)

    return run


def test_a_participant_that_was_never_reached_is_not_called_done(place, capsys, monkeypatch):
    twin(place, "02")
    twin(place, "03")
    spoil(monkeypatch)
    assert run(place, "--stop-on-first-crash") == 1
    said = capsys.readouterr().err
    assert "FAILED: sub-01, sub-02, sub-03 (0 participant(s) done)" in said.splitlines()[-1]
    assert "sub-02 failed in step run: not run to its end" in said
    assert not list((place / "out").rglob("finished.json"))
    assert run(place) == 1
    assert "FAILED: sub-01 (2 participant(s) done)" in capsys.readouterr().err.splitlines()[-1]


def test_an_image_replaced_within_the_same_mask_is_fitted_again(place):
    assert run(place) == 0
    first = results(place)
    for path in (place / "bids").rglob("*.nii.gz"):
        image = nib.load(path)
        nib.save(nib.Nifti1Image((1.5 * image.get_fdata()).astype(np.float32), image.affine), path)
    assert run(place) == 0
    again = results(place)
    shutil.rmtree(place / "out")
    assert run(place, "-w", place / "other") == 0
    assert again == results(place) != first
