import errno
import importlib.util
import os
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest

from mrspec_prep import compiled as module


def test_blocks_cover_every_item_once_in_order_for_any_number_of_threads():
    for n_threads in (1, 3):
        assert module.for_blocks(10, 4, lambda a, b: (a, b), n_threads) == [(0, 4), (4, 8), (8, 10)]
    assert module.for_blocks(0, 4, lambda a, b: (a, b)) == []


def test_blocks_run_on_as_many_threads_as_asked():
    seen, gate = set(), threading.Barrier(2, timeout=20)

    def work(start, stop):
        gate.wait()
        seen.add(threading.get_ident())

    module.for_blocks(2, 1, work, n_threads=2)
    assert len(seen) == 2


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


@pytest.mark.parametrize(("setting", "most"), [("1", 1), ("1,4", 1), ("no number", 10**6)])
def test_omp_num_threads_is_respected(monkeypatch, setting, most):
    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    assert 1 <= module.available_threads() <= most


def test_blas_is_single_threaded_inside_the_context():
    from threadpoolctl import threadpool_info

    with module.single_threaded_blas():
        np.ones((4, 4)) @ np.ones((4, 4))
        assert {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"} == {1}


HASH_OF_STARTS = """
import hashlib
import numpy as np
from mrspec_prep.spectra.voxelwise.gram import gram_start_block
rng = np.random.default_rng(0)
columns, signals, duals = np.abs(rng.normal(size=(90, 20))), rng.random((40, 20)), np.zeros((40, 20))
gram_start_block(columns @ columns.T, columns, 20, signals, 0.01, 1e-9, 5000, duals)
print(hashlib.sha256(duals.tobytes()).hexdigest())
"""


@pytest.mark.long
def test_code_just_compiled_and_code_from_the_cache_give_the_same_bytes(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.run(
            [sys.executable, "-c", HASH_OF_STARTS], env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    assert list(tmp_path.rglob("*.nbc"))
    assert runs[0].stdout == runs[1].stdout
