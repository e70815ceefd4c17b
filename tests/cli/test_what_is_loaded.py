"""What a run loads before its first step: seconds of every command, and memory of every process."""

import subprocess
import sys

import pytest

#: what only some steps need; they load it then
LATE = ("torch", "matplotlib", "scipy.stats", "dipy", "pandas", "dask", "distributed")


@pytest.mark.parametrize(("module", "late"), [("mrspec_prep.cli.run", LATE), ("mrspec_prep.cli.start", ("nipype",))])
def test_what_some_steps_need_is_loaded_late(module, late):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert set(loaded.stdout.split()).isdisjoint(late)
