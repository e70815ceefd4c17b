import os

import pytest

from mrspec_prep.cli.resources import find_resources

CORES = len(os.sched_getaffinity(0))


def test_the_user_wins(tmp_path):
    found = find_resources(7, 3, 5.0, environ={"SLURM_CPUS_PER_TASK": "2"}, cgroup=tmp_path)
    assert (found.nprocs, found.omp_nthreads, found.mem_gb) == (7, 3, 5.0)


def test_slurm_is_read(tmp_path):
    found = find_resources(environ={"SLURM_CPUS_PER_TASK": "6", "SLURM_MEM_PER_CPU": "2048"}, cgroup=tmp_path)
    assert found.nprocs == 6
    assert found.mem_gb == pytest.approx(12 * 0.9)


def test_cgroup_limits_are_read(tmp_path):
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text("1000000000\n")
    found = find_resources(environ={}, cgroup=tmp_path)
    assert found.nprocs == 1
    assert found.mem_gb == pytest.approx(0.9)


def test_without_limits_the_machine_counts(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert find_resources(environ={}, cgroup=tmp_path).nprocs == CORES


def test_a_step_never_has_more_threads_than_the_run(tmp_path):
    assert find_resources(2, 16, environ={}, cgroup=tmp_path).omp_nthreads == 2


def test_many_series_share_the_threads_unless_the_user_gave_them(tmp_path):
    found = find_resources(8, environ={}, cgroup=tmp_path)
    assert [found.shared_by(n).omp_nthreads for n in (1, 2, 3, 8, 100)] == [8, 4, 2, 1, 1]
    assert find_resources(8, 4, environ={}, cgroup=tmp_path).shared_by(100).omp_nthreads == 4
