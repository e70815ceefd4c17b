from mrspec_prep.interfaces.base import within_threads
from mrspec_prep.threads import available_threads


def test_a_node_sets_the_threads_of_the_voxel_loops_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert available_threads() == 1
    with within_threads(3):
        assert available_threads() == 3
    assert available_threads() == 1
