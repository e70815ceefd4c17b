import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from mrspec_prep import threads as module


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


@pytest.mark.parametrize(("setting", "most"), [("1", 1), ("1,4", 1), ("no number", 10**6)])
def test_omp_num_threads_is_respected(monkeypatch, setting, most):
    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    assert 1 <= module.available_threads() <= most


def test_blas_is_single_threaded_inside_the_context():
    with module.single_threaded_blas():
        np.ones((4, 4)) @ np.ones((4, 4))
        assert {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"} == {1}
