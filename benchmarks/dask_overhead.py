"""What a pass of the group fit costs on dask beyond the sums themselves.

    python -m benchmarks.dask_overhead [--workers 4] [--members 8] [--passes 50]

Members of 100 voxels, so that nearly all of a pass is overhead: states out, sums back. Needs the extra ``hpc``.
Printed: median and least milliseconds of a pass on dask workers of this machine and on one thread of this process,
for one state of 8 clusters and for 2 to 10 clusters at once.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.simulated_study import KERNEL, compartment_values, encodings_of
from mrspec_prep.bids.output.compressed import CompressedProtocol, write_compressed
from mrspec_prep.interfaces.group.dask_cluster import dask_client
from mrspec_prep.interfaces.group.dask_shards import DaskExecutor
from mrspec_prep.interfaces.group.members import member_of, protocol_of
from mrspec_prep.physics import add_noise, default_grid, kernel_axes, kernel_matrix, simulate_signals
from mrspec_prep.spectra.compression.truncation import compress_signals, truncate_kernel
from mrspec_prep.spectra.group import Sent, ThreadExecutor

N_VOXELS, NOISE, POINTS = 100, 0.04, [20, 20]


def write_members(folder, n_members):
    """Files of small members of the placenta protocol; the plan of their group."""
    encodings = encodings_of("placenta")
    grid = default_grid(kernel_axes(KERNEL), encodings, points=POINTS)
    kernel = truncate_kernel(kernel_matrix(KERNEL, encodings, grid))
    settings = {"name": KERNEL, "points": POINTS, "spacing": "log", "bounds": {}}
    protocol = CompressedProtocol(settings, encodings, grid, kernel.projection, kernel.singular_values)
    clean = simulate_signals(KERNEL, encodings, *compartment_values())
    about = {
        "Sources": [],
        "Datatype": "dwi",
        "Suffix": "dwi",
        "NoiseDistribution": "gaussian",
        "SignalsAre": "measured",
    }
    records = []
    for number in range(n_members):
        rng = np.random.default_rng(number)
        signals, outside = compress_signals(add_noise(clean[rng.integers(0, 8, N_VOXELS)], NOISE, rng), kernel)
        path = folder / f"{number}.h5"
        write_compressed(
            path, signals=signals, sigma=np.full(N_VOXELS, NOISE), outside=outside, roi=np.ones((N_VOXELS, 1, 1), bool),
            affine=np.eye(4), protocol=protocol, metadata=about,
        )  # fmt: skip
        records.append({"path": str(path), "protocol": 0, "site": 0})
    return {"members": records, "protocols": [records[0]["path"]]}, clean @ kernel.projection


def states(numbers, means):
    """What is sent of states with these numbers of clusters."""
    rng = np.random.default_rng(0)
    return [
        Sent(
            np.log(np.full((1, m), 1 / m)),
            [means[np.arange(m) % len(means)] * (1 + 0.1 * rng.random((m, 1)))],
            np.ones(1),
        )
        for m in numbers
    ]


def milliseconds(executor, sent, n_passes):
    """Median and least time of a pass [ms]."""
    times = []
    for _ in range(n_passes):
        began = time.perf_counter()
        executor.expect(sent)
        times.append(1e3 * (time.perf_counter() - began))
    return np.median(times), np.min(times)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--passes", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, dask_client(f"local:{args.workers}") as client:
        plan, means = write_members(Path(folder), args.members)
        members = [member_of(record, record["path"])[0] for record in plan["members"]]
        protocols = [protocol_of(path) for path in plan["protocols"]]
        sizes = [member.signals.shape for member in members]
        executors = {
            f"dask, {args.workers} workers": DaskExecutor(client, plan, sizes, "profiled", "overhead"),
            "one thread": ThreadExecutor(members, protocols, "profiled", 1),
        }
        for name, executor in executors.items():
            for words, numbers in (("8 clusters", [8]), ("2 to 10 clusters", range(2, 11))):
                sent = states(numbers, means)
                executor.expect(sent)
                median, least = milliseconds(executor, sent, args.passes)
                print(f"{name:16} {words:18} median {median:6.1f} ms   least {least:6.1f} ms")


if __name__ == "__main__":
    main()
