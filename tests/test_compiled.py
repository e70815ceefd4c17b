import errno
import importlib.util
import os
import subprocess
import sys
import time

import numba
import pytest

from mrspec_prep import compiled as module


def test_compiles_without_a_cache_folder(monkeypatch):
    real = numba.njit

    def no_cache(function, **settings):
        if settings.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(function, **settings)

    monkeypatch.setattr(module.numba, "njit", no_cache)

    def twice(x):
        return 2 * x

    assert module.compiled(twice)(21) == 42


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("spoil", [lambda old: old[: len(old) // 2], lambda old: b"", lambda old: bytes(len(old))])
def test_damaged_compiled_code_is_compiled_again_and_kept(tmp_path, suffix, spoil, caplog, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    (tmp_path / "loops.py").write_text("def twice(x):\n    return 2 * x\n")

    def hits():
        spec = importlib.util.spec_from_file_location("loops", tmp_path / "loops.py")
        loops = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loops)
        function = module.compiled(loops.twice)
        assert function(21) == 42
        return sum(function.stats.cache_hits.values())

    assert hits() == 0 and not caplog.text
    (file,) = (tmp_path / "__pycache__").glob(f"*.{suffix}")
    file.write_bytes(spoil(file.read_bytes()))
    assert hits() == 0 and "is damaged" in caplog.text
    caplog.clear()
    assert hits() == 1 and not caplog.text


def test_compiled_code_that_cannot_be_read_now_is_compiled_and_stays(monkeypatch, caplog):
    def stale(*_):
        raise OSError(errno.ESTALE, "Stale file handle")

    def flush(self):
        raise AssertionError("what others use was removed")

    monkeypatch.setattr(module.FunctionCache, "load_overload", stale)
    monkeypatch.setattr(module.FunctionCache, "flush", flush)

    def fivefold(x):
        return 5 * x

    assert module.compiled(fivefold)(5) == 25
    assert "is damaged" not in caplog.text


def test_compiled_code_that_cannot_be_kept_is_used(tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.FunctionCache, "save_overload", full)

    def thrice(x):
        return 3 * x

    assert module.compiled(thrice)(5) == 15
    assert "cannot be kept" in caplog.text and "No space left" in caplog.text


def test_compiled_code_without_an_object_of_its_own_is_used(monkeypatch, caplog):
    """What linking the code of another process, saved meanwhile, may end in."""

    def unlinked(*_):
        raise RuntimeError("no compiled object yet for <Library 'fourfold'>")

    monkeypatch.setattr(module.FunctionCache, "save_overload", unlinked)

    def fourfold(x):
        return 4 * x

    assert module.compiled(fourfold)(5) == 20
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


HASH_OF_STARTS = """
import hashlib
import numpy as np
from mrspec_prep.spectra.voxelwise.gram import gram_start_block
rng = np.random.default_rng(0)
columns, signals, duals = np.abs(rng.normal(size=(90, 20))), rng.random((40, 20)), np.zeros((40, 20))
gram_start_block(columns @ columns.T, columns, 20, signals, 0.01, 1e-9, 5000, duals)
print(hashlib.sha256(duals.tobytes()).hexdigest())
"""


HASH_OF_CLUSTERS = """
import hashlib
import numpy as np
from mrspec_prep.spectra.clusters.em_noise import student_block
rng = np.random.default_rng(0)
means, signals = rng.normal(size=(10, 7)), rng.normal(size=(164, 7))
moments, weights, sums = np.empty((3, 10)), np.empty(10), np.empty((10, 7))
energies, variances = (signals**2).sum(1) + 0.3, np.full(164, 0.01)
gain = student_block(
    signals, energies, variances, np.full((1, 10), np.log(0.1)), means, (means**2).sum(1), 0.04, 20.0, 125.0,
    moments, weights, sums, np.empty((0, 10)), np.empty(0), np.empty(10),
)
print(gain, hashlib.sha256(moments.tobytes() + weights.tobytes() + sums.tobytes()).hexdigest())
"""


@pytest.mark.long
@pytest.mark.parametrize("code", [HASH_OF_STARTS, HASH_OF_CLUSTERS], ids=["starts", "clusters"])
def test_code_just_compiled_and_code_from_the_cache_give_the_same_bytes(tmp_path, code):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    assert list(tmp_path.rglob("*.nbc"))
    assert runs[0].stdout == runs[1].stdout


LOOPS = """
import sys, time
from mrspec_prep.compiled import compiled

@compiled
def inner(x):
    return x + x

@compiled
def outer(x):
    return inner(x) - x

go = float(sys.argv[1])
time.sleep(max(0, go - time.time()))
for value in (2, 2.0, 2j)[:: int(sys.argv[2])]:
    assert outer(value) == value
print(sum(outer.stats.cache_misses.values()) + sum(inner.stats.cache_misses.values()))
"""


def test_runs_that_begin_at_once_compile_everything_once(tmp_path):
    """Of numba's own cache, entries of processes that save at once are lost or name the code of others."""
    (tmp_path / "loops.py").write_text(LOOPS)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    def start(order, wait):
        command = [sys.executable, "loops.py", str(time.time() + wait), str(order)]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    together = [start(order, 3) for order in (1, -1, 1)]
    ends = [process.communicate(timeout=120) for process in together]
    assert [process.returncode for process in together] == [0, 0, 0], ends
    assert sum(int(out) for out, _ in ends) == 6  # two functions, three types
    later = start(1, 0)
    assert later.communicate(timeout=120)[0] == b"0\n"


def test_turns_are_given_back_by_the_dead_and_not_awaited_for_ever(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(module, "TURN_SECONDS", 0.1)
    caplog.set_level("INFO", "mrspec_prep")
    holder = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print('held', flush=True); input()"
    with module.TURN:
        assert module.TURN.take() and not module.TURN.take()  # held: nothing to look at again
    (lock,) = tmp_path.rglob("compiling.lock")
    with subprocess.Popen(
        [sys.executable, "-c", holder, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"

        @module.compiled
        def sixfold(x):
            return 6 * x

        assert sixfold(7) == 42
        assert "waiting for it" in caplog.text
        process.kill()
    with module.TURN:
        assert module.TURN.take()


def test_a_disk_without_locks_costs_nothing_but_the_turn(tmp_path, monkeypatch):
    class NoLocks(module.FileLock):
        def acquire(self, *_, **__):
            raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(module, "FileLock", NoLocks)

    @module.compiled
    def sevenfold(x):
        return 7 * x

    assert sevenfold(6) == 42
    assert list(tmp_path.rglob("*.nbc"))
