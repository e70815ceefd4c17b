"""The group fit on dask workers; skipped where dask is not installed. ``make test-hpc`` installs it."""

import os
import signal

import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.output.compressed import CompressedProtocol, write_compressed
from mrspec_prep.interfaces.group.members import member_of, protocol_of
from mrspec_prep.physics import Encodings, add_noise, default_grid, kernel_axes, kernel_matrix, simulate_signals
from mrspec_prep.spectra.compression.truncation import compress_signals, truncate_kernel
from mrspec_prep.spectra.group.fit import fit_group

distributed = pytest.importorskip("distributed", reason="dask is optional; make test-hpc installs it")
from mrspec_prep.interfaces.group.dask_cluster import dask_client  # noqa: E402
from mrspec_prep.interfaces.group.dask_shards import DaskExecutor  # noqa: E402

# warnings of distributed's own, about ports and event loops, are not ours
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]
BOUNDS = {"diffusivity": (0.1, 20.0), "t2star": (10.0, 500.0)}
TISSUES = {"diffusivity": np.array([0.7, 1.5, 3.0]), "t2star": np.array([40.0, 110.0, 60.0])}


def protocol(longest):
    b, te = np.meshgrid([0.0, 50, 200, 400, 800, 1600], np.linspace(60, longest, 4), indexing="ij")
    encodings = Encodings(bvalue=b.ravel(), echo_time=te.ravel())
    grid = default_grid(kernel_axes("adc-t2star"), encodings, points=[8, 8], bounds=BOUNDS)
    reduced = truncate_kernel(kernel_matrix("adc-t2star", encodings, grid))
    settings = {"name": "adc-t2star", "points": [8, 8], "spacing": "log", "bounds": BOUNDS}
    return reduced, CompressedProtocol(settings, encodings, grid, reduced.projection, reduced.singular_values)


def write_member(path, kernel, stored, n_voxels, seed):
    rng = np.random.default_rng(seed)
    clean = simulate_signals("adc-t2star", stored.encodings, TISSUES)
    signals = add_noise(2.5 * clean[rng.integers(0, 3, n_voxels)], 0.05, rng)
    compressed, outside = compress_signals(signals, kernel)
    about = {
        "Sources": [],
        "Datatype": "dwi",
        "Suffix": "dwi",
        "NoiseDistribution": "gaussian",
        "SignalsAre": "measured",
    }
    roi = np.arange(512).reshape(8, 8, 8) < n_voxels
    write_compressed(
        path, signals=compressed, sigma=np.full(n_voxels, 0.05), outside=outside, roi=roi, affine=np.eye(4),
        protocol=stored, metadata=about,
    )  # fmt: skip


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Seven small members of two protocols and sites, as files."""
    folder = tmp_path_factory.mktemp("group")
    protocols = [protocol(150.0), protocol(200.0)]
    members = []
    for number in range(7):
        path = folder / f"{number}.h5"
        write_member(path, *protocols[number % 2], 200 + 40 * number, number)
        members.append({"path": str(path), "protocol": number % 2, "site": number % 2})
    return {"members": members, "protocols": [members[0]["path"], members[1]["path"]]}


def executor(client, plan, group="a"):
    members = [member_of(record, record["path"])[0] for record in plan["members"]]
    return DaskExecutor(client, plan, [one.signals.shape for one in members], "profiled", group)


def fit(plan, **more):
    members = [member_of(record, record["path"])[0] for record in plan["members"]]
    protocols = [protocol_of(path) for path in plan["protocols"]]
    return fit_group(members, protocols, 3, n_starts=2, max_steps=12, **more)


def same_bytes(one, other):
    return all(
        np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(*map(_values, (one, other)), strict=True)
    )


def _values(result):
    return [value for value in vars(result).values() if value is not None]


@pytest.fixture(scope="module")
def alone(plan):
    return fit(plan), fit(plan, proportions="member")


@pytest.mark.parametrize("n_workers", [1, 4])
def test_the_bytes_do_not_depend_on_the_number_of_workers(plan, alone, n_workers):
    with dask_client(f"local:{n_workers}") as client:
        assert same_bytes(fit(plan, executor=executor(client, plan)), alone[0])
        found = fit(plan, executor=executor(client, plan), proportions="member")
        assert same_bytes(found, alone[1])


def test_a_worker_that_dies_costs_its_share_of_a_step_and_nothing_else(plan, alone):
    with dask_client("local:3") as client:
        living = list(client.run(os.getpid).values())

        def kill_one(_):
            if len(living) > 1:
                os.kill(living.pop(), signal.SIGKILL)

        found = fit(plan, executor=executor(client, plan), on_step=kill_one)
    assert len(living) == 1
    assert same_bytes(found, alone[0])


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_share_that_kills_every_worker_ends_the_fit_in_words(plan, monkeypatch):
    monkeypatch.setattr("mrspec_prep.interfaces.group.dask_shards.work_on", die)
    kept = {"threads_per_worker": 1, "dashboard_address": ":0", "scheduler_kwargs": {"allowed_failures": 0}}
    with distributed.LocalCluster(2, **kept) as cluster, distributed.Client(cluster) as client:
        one = executor(client, plan, "die")
        with pytest.raises(RuntimeError, match=r"dask workers died one after the other.*more memory"):
            one.levels()


def test_a_scheduler_that_dies_ends_the_fit_in_words(plan):
    with dask_client("local:1") as client:
        one = executor(client, plan, "scheduler")
        one.levels()
        client.cluster.sync(client.cluster.scheduler.close)
        with pytest.raises(RuntimeError, match=r"scheduler does not answer.*last checkpoint"):
            one._everywhere(lambda indices: None)


def test_a_damaged_file_is_named_by_the_worker_that_reads_it(plan, tmp_path):
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(b"nothing")
    records = [*plan["members"][:-1], plan["members"][-1] | {"path": str(damaged)}]
    sizes = [(200, 6)] * len(records)
    with dask_client("local:2") as client, pytest.raises(InputError, match=r"damaged\.h5.*Remedy"):
        DaskExecutor(client, plan | {"members": records}, sizes, "profiled", "b").levels()
