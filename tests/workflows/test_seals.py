import gzip
import os
import pickle

import nibabel as nib
import numpy as np
import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe

from mrspec_prep.bids.errors import InputError
from mrspec_prep.workflows.running import seals
from mrspec_prep.workflows.running.execution import configure_nipype, run_graph
from mrspec_prep.workflows.running.seals import SEAL, damage, is_finished, is_sealed, mend, seal
from mrspec_prep.workflows.running.steps import Step


def finish(folder):
    """A folder as a finished step leaves it."""
    folder.mkdir(parents=True)
    np.save(folder / "noise.npy", np.arange(500.0))
    np.savez(folder / "fit.npz", spectra=np.arange(500.0))
    nib.save(nib.Nifti1Image(np.arange(512.0).reshape(8, 8, 8), np.eye(4)), folder / "roi.nii.gz")
    (folder / "result_step.pklz").write_bytes(gzip.compress(pickle.dumps({"a": 1})))
    (folder / "_0xabc.json").write_text("[]")
    seal(folder)
    return folder


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("name", ["noise.npy", "fit.npz", "roi.nii.gz", "result_step.pklz"])
@pytest.mark.parametrize(
    ("spoil", "words"), [(half, "bytes, not"), (zeros, "does not hold"), (os.remove, "is missing")]
)
def test_a_step_with_a_damaged_file_is_removed_and_said(tmp_path, name, spoil, words, caplog):
    step, other = finish(tmp_path / "sub_01_wf/series_wf/noise"), finish(tmp_path / "sub_01_wf/series_wf/nnls")
    assert damage(step) is None
    assert mend([tmp_path]) == []
    spoil(step / name)
    assert mend([tmp_path / "sub_01_wf", tmp_path / "sub_02_wf"]) == [step]
    assert not step.exists() and other.is_dir()
    assert f"sub_01.series.noise is damaged ({name}" in caplog.text and words in caplog.text


@pytest.mark.parametrize("content", ["", '{"files": {"a', '{"files": [1]}', '{"files": {"noise.npy": 3}}', "\0" * 40])
def test_a_damaged_seal_seals_nothing(tmp_path, content):
    step = finish(tmp_path / "noise")
    (step / SEAL).write_text(content)
    assert damage(step) == f"{SEAL} is damaged"
    (step / SEAL).unlink()
    assert damage(step) == "it was not written to its end"
    assert mend([tmp_path]) == [step]


def test_what_another_version_wrote_is_computed_again(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    with monkeypatch.context() as earlier:
        earlier.setattr(seals, "__version__", "0.0.1")
        step = finish(tmp_path / "noise")
        assert damage(step) is None
    assert mend([tmp_path]) == [step]
    assert "Another version of mrspec_prep left 1 intermediate results" in caplog.text and "damaged" not in caplog.text


def test_a_step_that_failed_or_was_killed_is_left_to_nipype(tmp_path):
    step = finish(tmp_path / "noise")
    (step / SEAL).unlink()
    (step / "_0xabc.json").rename(step / "_0xabc_unfinished.json")
    assert not is_finished(step)
    assert mend([tmp_path]) == []


@pytest.mark.parametrize("kind", ["file", "folder", "above", "link", "owner"])
def test_what_a_stranger_could_have_written_is_refused_unread(tmp_path, kind, monkeypatch):
    step = finish(tmp_path / "sub_01_wf/noise")
    result = step / "result_step.pklz"
    if kind == "file":
        result.chmod(0o666)
    elif kind == "folder":
        step.chmod(0o777)
    elif kind == "above":
        step.parent.chmod(0o777)
    elif kind == "link":
        result.rename(tmp_path / "elsewhere")
        result.symlink_to(tmp_path / "elsewhere")
    else:
        if os.geteuid() == 0:
            os.chown(result, 4321, -1)
        monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(InputError, match="runs in your name.*--clean-workdir"):
        mend([tmp_path / "sub_01_wf"])
    assert step.is_dir()


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def _one_more(number):
    return number + 1


def test_a_result_that_was_exchanged_is_computed_again_and_never_unpickled(tmp_path):
    configure_nipype(tmp_path / "crash", verbose=False)
    for again in (False, True):
        workflow = pe.Workflow("some_wf", base_dir=str(tmp_path / "work"))
        first = Step(Function(function=_one_more, input_names=["number"], output_names=["out"]), "first")
        second = Step(Function(function=_one_more, input_names=["number"], output_names=["out"]), "second")
        first.inputs.number = 1
        workflow.connect(first, "out", second, "number")
        folder = tmp_path / "work/some_wf/first"
        if again:
            (folder / "result_first.pklz").write_bytes(gzip.compress(pickle.dumps(Evil(str(tmp_path / "evil")))))
            assert mend([tmp_path / "work/some_wf"]) == [folder]
        assert run_graph(workflow, plugin="Linear") is None
        assert is_sealed(folder) and damage(folder) is None
    assert not (tmp_path / "evil").exists()
