import os

import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.cli.plugin_file import plugin_and_room
from mrspec_prep.cli.resources import Resources, find_resources

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


def test_what_the_command_holds_is_taken_off_what_steps_may_use(tmp_path):
    plugin, plugin_args, found = plugin_and_room(None, Resources(4, 2, 20.0, ""))
    assert plugin == "MultiProc" and 0.05 < found.own_gb < 10
    assert plugin_args["memory_gb"] == found.steps_gb == pytest.approx(20.0 - found.own_gb)
    assert f"20.0 GB of memory, {found.own_gb:.1f} GB of it this command's own" in found.memory_in_words
    _, _, alone = plugin_and_room(None, Resources(1, 1, 20.0, ""))
    assert alone.steps_gb == 20.0  # steps run in this process
    (tmp_path / "plugin.yml").write_text("plugin: SLURM\n")
    _, _, elsewhere = plugin_and_room(tmp_path / "plugin.yml", Resources(4, 2, 0.01, ""))
    assert elsewhere.steps_gb == 0.01


@pytest.mark.parametrize(
    ("nprocs", "mem_gb", "own_gb", "remedy"),
    [
        (4, 0.6, 0.4, "--mem 700m or more.* or --nprocs 1"),
        (4, 0.35, 0.4, "--mem 700m or more, and as much for the job$"),
        (1, 0.35, 0.4, "--mem 400m or more"),
        (1, 0.2, 0.1, "--mem 300m or more"),
    ],
)
def test_a_run_in_which_no_step_fits_is_refused(nprocs, mem_gb, own_gb, remedy):
    with pytest.raises(InputError, match=f"this command itself holds {own_gb:.2f} GB.*{remedy}"):
        Resources(nprocs, 1, mem_gb, "", own_gb=own_gb).check()
    Resources(nprocs, 1, 0.7, "", own_gb=own_gb).check()
