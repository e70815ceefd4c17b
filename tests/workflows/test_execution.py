import gc

import pytest

from mrspec_prep.reports.crashes import cause_of
from mrspec_prep.workflows.running import execution
from mrspec_prep.workflows.running.execution import failures_of

DAMAGED = "an intermediate result is damaged: type the same command again, which"
CRASH = """Node: mrspec_prep_wf.sub_01_wf.series_0_dwi_wf.roi
Working directory: somewhere

Node inputs:

masks = <undefined>
Traceback (most recent call last):
  File "multiproc.py", line 66, in run_node
    result["result"] = node.run(updatehash=updatehash)
nipype.pipeline.engine.nodes.NodeExecutionError: Exception raised while executing Node roi.

Traceback:
\tTraceback (most recent call last):
\t  File "core.py", line 401, in run
\t    runtime = self._run_interface(runtime)
\tmrspec_prep.bids.errors.InputError: sub-01_dwi.nii.gz: 3 voxels hold NaN (found NaN). Remedy: mask them out
"""


def test_the_cause_is_the_innermost_exception():
    cause = cause_of(CRASH)
    assert cause == "InputError: sub-01_dwi.nii.gz: 3 voxels hold NaN (found NaN). Remedy: mask them out"


def test_a_crash_file_becomes_a_failure_with_its_step(tmp_path):
    (tmp_path / "crash-1.txt").write_text(CRASH)
    (failure,) = failures_of("01", tmp_path)
    assert (failure.subject, failure.step, failure.is_input_error) == ("01", "roi", True)


def test_a_crash_file_cut_short_by_a_full_disk_still_names_its_step(tmp_path):
    (tmp_path / "crash-20260101-101010-me-save_nnls-1a2b.txt").write_text("")
    (failure,) = failures_of("01", tmp_path)
    assert failure.step == "save_nnls"
    assert "is the disk full?" in failure.cause
    (tmp_path / "crash-20260101-101010-me-save_nnls-1a2b.txt").write_text("OSError: [Errno 28] No space left on device")
    (failure,) = failures_of("01", tmp_path)
    assert "Remedy: make space" in failure.cause


def test_no_crash_file_no_failure(tmp_path):
    assert failures_of("01", tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("raised", "remedy"),
    [
        ("OSError: [Errno 28] No space left on device: 'x'", "make space"),
        ("OSError: [Errno 122] Disk quota exceeded", "make space"),
        ("OSError: [Errno 27] File too large", "make space"),
        ("OSError: [Errno 30] Read-only file system: 'x'", "make OUT_DIR and the work directory writable"),
        ("PermissionError: [Errno 13] Permission denied: 'x'", "make OUT_DIR and the work directory writable"),
        ("OSError: [Errno 5] Input/output error", "check the disk"),
        ("OSError: [Errno 116] Stale file handle", "check the disk"),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 74.5 GiB", "give more memory"),
        ("\tMemoryError", "give more memory"),
        ("ValueError: EOF: reading array header, expected 118 bytes got 72", DAMAGED),
        ("zipfile.BadZipFile: File is not a zip file", DAMAGED),
        ("_pickle.UnpicklingError: pickle data was truncated", DAMAGED),
        ("EOFError: Compressed file ended before the end-of-stream marker was reached", "an intermediate result is"),
    ],
)
def test_what_the_machine_did_is_told_with_a_remedy(raised, remedy):
    assert f"Remedy: {remedy}" in cause_of(f"Traceback:\nNodeExecutionError: Exception raised\n{raised}\n")


def test_what_is_loaded_is_left_out_of_collections_while_a_graph_runs(monkeypatch):
    frozen = []
    monkeypatch.setattr(execution, "_run", lambda *_: frozen.append(gc.get_freeze_count()))
    monkeypatch.setattr(execution.nipype_config, "resource_monitor", False)
    execution.run_graph(object())
    assert frozen[0] > 1000
    assert gc.get_freeze_count() == 0
