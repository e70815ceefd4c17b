"""Cost of a group's EM step against the number of participants, out of core, and what it means for large studies.

    OMP_NUM_THREADS=2 python -m benchmarks.group scaling SCRATCH --participants 10 20 40 80 200 --figure FIGURE.png

Members are memory maps in the scratch folder (200 x 1e5 voxels: 4 GB), written once and used again. For every number
of participants a process of its own times passes of the E-step and M-steps for 8 clusters of the placenta protocol
on 2500 bins and states its peak memory; file pages that the system caches are not counted, what they are is said.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.protocols import placenta
from benchmarks.simulated_study import KERNEL, TISSUES, compartment_values
from mrspec_prep.physics import add_noise, default_grid, kernel_axes, kernel_matrix, simulate_signals
from mrspec_prep.spectra.clusters.em_problem import SCALE_VARIANCE
from mrspec_prep.spectra.compression.reduction import reduce_kernel
from mrspec_prep.spectra.group import Member, Protocol, ThreadExecutor, truncated
from mrspec_prep.spectra.group.basis import common_basis
from mrspec_prep.spectra.group.steps import GroupSteps, Places
from mrspec_prep.threads import available_threads

N_RANKS = 47
N_CLUSTERS = 8
OVERLAP = 0.7  # of the tissues, as in the accuracy table
STEPS = 5
EXTRA_BYTES = 8  # of sigma and of the energy outside, float32 each
FIT_STEPS = 100  # steps of a whole fit, for the projection


def protocol_of():
    """The placenta protocol on 2500 bins."""
    grid = default_grid(kernel_axes(KERNEL), placenta(), points=(50, 50))
    return Protocol(truncated(reduce_kernel(kernel_matrix(KERNEL, placenta(), grid)), N_RANKS), len(placenta()))


def write_members(folder, n_members, n_voxels, protocol):
    """Write the members' files that are not there yet; compressed signals of one participant after the other."""
    values, fractions = compartment_values()
    fractions = (1 - OVERLAP) * fractions + OVERLAP * fractions.mean(axis=0)
    clean = simulate_signals(KERNEL, placenta(), values, fractions)
    for i in range(n_members):
        path = folder / f"member-{n_voxels}-{i:04d}.npy"
        if path.exists():
            continue
        rng = np.random.default_rng([i, 5])
        tissues = rng.choice(len(TISSUES), n_voxels, p=rng.dirichlet(np.full(len(TISSUES), 3.0)))
        noise = float(clean[:, placenta().reference()].mean()) / 20
        # noise in the kernel's range has the same law after compression; outside it is chi-squared
        signals = add_noise((clean @ protocol.reduced.projection)[tissues], noise, rng)
        outside = noise**2 * rng.chisquare(len(placenta()) - N_RANKS, n_voxels)
        rows = np.column_stack([signals, np.full(n_voxels, noise), outside]).astype(np.float32)
        part = path.with_suffix(".part")
        with part.open("wb") as stream:
            np.save(stream, np.ascontiguousarray(rows))
        part.rename(path)


def open_members(folder, n_members, n_voxels):
    """Members on memory maps."""
    members = []
    for i in range(n_members):
        rows = np.load(folder / f"member-{n_voxels}-{i:04d}.npy", mmap_mode="r")
        members.append(Member(rows[:, :N_RANKS], rows[:, N_RANKS], rows[:, N_RANKS + 1]))
    return members


def resident():
    """Memory of this process that no file backs, now [bytes], and the peak of all [bytes]."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own = int(status["RssAnon"].split()[0]) * 1024
    return own, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(folder, n_members, n_voxels):
    """Time of passes and steps with this many members; printed as JSON."""
    protocol = protocol_of()
    members = open_members(folder, n_members, n_voxels)
    start = time.perf_counter()
    executor = ThreadExecutor(members, [protocol])
    opened = time.perf_counter() - start
    places = Places(np.zeros(n_members, int), np.zeros(n_members, int), np.full(n_members, n_voxels))
    steps = GroupSteps(
        common_basis([protocol.reduced]), places, executor, 0.01, 10.0, SCALE_VARIANCE, False, concentration=20.0
    )
    state = steps.empty_state(N_CLUSTERS)
    state.spectra = np.random.default_rng(0).uniform(0.5, 1.5, state.spectra.shape) / state.spectra.shape[1]
    steps.refresh(state)
    passes, rest, processor = [], [], []
    for _ in range(STEPS):
        before, begun = time.perf_counter(), time.process_time()
        [(_, sums)] = steps.expect([state])
        between = time.perf_counter()
        steps.maximise(state, sums)
        passes.append(between - before)
        rest.append(time.perf_counter() - between)
        processor.append(time.process_time() - begun)
    own, peak = resident()
    found = {
        "members": n_members, "open": opened, "pass": float(np.median(passes)), "maximise": float(np.median(rest)),
        "processor": float(np.median(processor)), "own": own, "peak": peak, "threads": available_threads(),
    }  # fmt: skip
    print(json.dumps(found))


def line_of(one, n_voxels):
    """One row of the table, in words."""
    size = one["members"] * n_voxels * (4 * N_RANKS + EXTRA_BYTES)
    return (
        f"{one['members']:4d} participants x {n_voxels}: first look {one['open']:6.1f} s, "
        f"step {one['pass'] + one['maximise']:.3f} s (pass {one['pass']:.3f}, M-step {one['maximise']:.3f}), "
        f"processor {one['processor']:.3f} s, {one['threads']} threads; own memory {one['own'] / 1e6:.0f} MB, "
        f"peak with mapped files {one['peak'] / 1e6:.0f} MB, files {size / 1e9:.2f} GB"
    )


def scaling(folder, numbers, n_voxels, figure, clock):
    """Measure every number of participants in a process of its own; print, fit a line and draw."""
    folder.mkdir(parents=True, exist_ok=True)
    write_members(folder, max(numbers), n_voxels, protocol_of())
    rows = []
    for n in numbers:
        command = [sys.executable, "-m", "benchmarks.group", "scaling-one", str(folder), str(n), str(n_voxels)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(line_of(rows[-1], n_voxels), flush=True)
    x = np.array([one["members"] for one in rows], dtype=float)
    y = np.array([one["processor" if clock == "processor" else "pass"] for one in rows])
    y = y + np.array([0.0 if clock == "processor" else one["maximise"] for one in rows])
    n_threads = 1 if clock == "processor" else rows[0]["threads"]
    slope, constant = np.polyfit(x, y, 1) if len(x) > 1 else (y[0] / x[0], 0.0)
    left = y - slope * x - constant
    fit = 1 - (left**2).sum() / ((y - y.mean()) ** 2).sum() if len(x) > 2 else float("nan")
    print(f"straight line: {slope * 1e3:.2f} ms per participant and step + {constant * 1e3:.1f} ms; R2 = {fit:.5f}")
    if figure:
        draw(x, y, slope, constant, n_voxels, clock, figure)
    projection(slope * 1e3, constant * 1e3, n_voxels, n_threads)


def draw(x, y, slope, constant, n_voxels, clock, path):
    """Seconds of a step against participants, and the line through them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
    axes.plot(x, slope * x + constant, color="#999999", label=f"{slope * 1e3:.1f} ms per participant")
    axes.plot(x, y, "o", color="#0072B2", label="measured")
    axes.set(
        xlabel=f"participants x {n_voxels:,} voxels", ylabel=f"seconds per EM step ({clock} time)",
        xlim=(0, None), ylim=(0, None),
        title=f"{N_CLUSTERS} clusters, 2500 bins, memory maps",
    )  # fmt: skip
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def projection(ms_per_member, ms_constant, n_voxels, n_threads):
    """Print what the line means for 1000 and 100,000 participants, with its arithmetic."""
    bytes_per_voxel = 4 * N_RANKS + EXTRA_BYTES
    core_ms = ms_per_member * n_threads
    print(f"\none participant, one core: {ms_per_member:.2f} ms x {n_threads} threads = {core_ms:.2f} ms per step")
    for n_members, n_cores in ((1000, 16), (100_000, 1600)):
        gigabytes = n_members * n_voxels * bytes_per_voxel / 1e9
        step = (n_members * core_ms / n_cores + ms_constant) / 1e3
        per_worker = gigabytes / (n_cores / 16)
        sums = 8 * (1 + 3 * N_CLUSTERS + N_CLUSTERS + N_CLUSTERS * N_RANKS)
        print(f"{n_members:,} participants on {n_cores:,} cores")
        print(
            f"  data: {n_members:,} x {n_voxels:,} voxels x {bytes_per_voxel} B = {gigabytes:,.0f} GB, "
            f"{per_worker:,.0f} GB for each worker of 16 cores"
        )
        print(f"  step: {n_members:,} x {core_ms:.2f} ms / {n_cores:,} + {ms_constant:.0f} ms = {step:.2f} s")
        print(f"  fit: {FIT_STEPS} steps x {step:.2f} s = {step * FIT_STEPS / 60:.1f} min")
        print(f"  sums per step: {n_members:,} x {sums / 1e3:.1f} kB = {n_members * sums / 1e6:,.1f} MB")
    print("assumed: cores as fast as here, files in memory or on a disk that keeps up, and sums that arrive in time")


def add_parsers(parts):
    """Commands of this file."""
    one = parts.add_parser("scaling", help="cost of a step against participants, out of core")
    one.add_argument("scratch", type=Path, help="folder for the members' files; 200 x 1e5 voxels need 4 GB")
    one.add_argument("--participants", type=int, nargs="+", default=[10, 20, 40])
    one.add_argument("--voxels", type=int, default=100_000)
    clocks = ("wall", "processor")
    one.add_argument("--clock", choices=clocks, default="wall", help="processor: for a machine that others use too")
    one.add_argument("--figure", type=Path, help="where to draw the line (.png)")
    one = parts.add_parser("scaling-one", help="one point, as JSON (called by scaling)")
    one.add_argument("scratch", type=Path)
    one.add_argument("members", type=int)
    one.add_argument("voxels", type=int)
    one = parts.add_parser("projection", help="arithmetic for 1000 and 100,000 participants")
    one.add_argument("--step-ms", type=float, required=True, help="per participant and step")
    one.add_argument("--constant-ms", type=float, default=0.0)
    one.add_argument("--threads", type=int, default=1, help="that step-ms was measured on")
    one.add_argument("--voxels", type=int, default=100_000)


def run(options):
    """Run one of these commands."""
    if options.part == "scaling":
        scaling(options.scratch, sorted(options.participants), options.voxels, options.figure, options.clock)
    elif options.part == "scaling-one":
        measure(options.scratch, options.members, options.voxels)
    else:
        projection(options.step_ms, options.constant_ms, options.voxels, options.threads)
