"""How long a run takes to begin: indexing one of many participants, and from the command to the first step.

    python -m benchmarks.start_up [--participants 100] [--images 10] [--repeats 3]

A dataset of tiny files is made in a temporary folder: so many participants, each with so many diffusion images of one
echo time each and their sidecars. Asked for: one participant indexed in < 2 s, first step begun in < 10 s. Beside the
time that passed stands the processor time, which a busy machine does not lengthen.
"""

import argparse
import gzip
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

SUBJECT = "001"
ASKED = {"index and series": 2.0, "command to first step": 10.0}
BVALUES = (0, 0, 0, 500, 1000)


def make_dataset(root, n_participants, n_images):
    """Write the dataset: images of 4 x 4 x 2 voxels whose signal falls with b-value and echo time."""
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "start-up", "BIDSVersion": "1.10.0"}')
    rng = np.random.default_rng(0)
    for participant in range(1, n_participants + 1):
        folder = root / f"sub-{participant:03d}" / "dwi"
        folder.mkdir(parents=True)
        for image in range(n_images):
            stem, echo_time = f"sub-{participant:03d}_acq-te{60 + 10 * image:03d}_dwi", 60 + 10 * image
            signal_of = 1000 * np.exp(-np.array(BVALUES) * 1e-3 - echo_time / 80)
            data = (signal_of + rng.normal(scale=5, size=(4, 4, 2, len(BVALUES)))).astype(np.float32)
            (folder / f"{stem}.nii.gz").write_bytes(gzip.compress(nib.Nifti1Image(data, np.eye(4)).to_bytes(), 1))
            (folder / f"{stem}.json").write_text(json.dumps({"EchoTime": echo_time / 1000, "MultipartID": "a"}))
            (folder / f"{stem}.bval").write_text(" ".join(map(str, BVALUES)) + "\n")
            (folder / f"{stem}.bvec").write_text("0 0 0 1 0\n0 0 0 0 1\n0 0 0 0 0\n")


def time_index(root, database=None):
    """Seconds that pass and of the processor for the index of one participant and its series, libraries loaded."""
    from mrspec_prep.bids.input.series import find_series
    from mrspec_prep.bids.layout import open_layout
    from mrspec_prep.options import SelectOptions

    began, used = time.perf_counter(), time.process_time()
    layout = open_layout(root, [SUBJECT], database)
    middle, half = time.perf_counter(), time.process_time()
    find_series(layout, SUBJECT, SelectOptions())
    layout.session.close()
    return {
        "index": (middle - began, half - used),
        "index and series": (time.perf_counter() - began, time.process_time() - used),
    }


def time_command(root, folder, *words):
    """Seconds that pass and of the processor from the command to its first step, for one participant."""
    command = [sys.executable, "-m", "mrspec_prep", root, folder / "out", "participant", "--participant-label", SUBJECT]
    command += ["-w", folder / "work", "--mask", "automatic", "--nprocs", "2", *words]
    before, began = os.times(), time.perf_counter()
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if ": started" in line:
                passed = time.perf_counter() - began
                break
        else:
            raise RuntimeError(f"the command ended before its first step with {process.wait()}")
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"command to first step": (passed, used)}


def median_of(rows):
    """Median of every quantity over repeats."""
    return {name: tuple(statistics.median(row[name][i] for row in rows) for i in (0, 1)) for name in rows[0]}


def say(title, found):
    """One line per quantity."""
    for name, (passed, used) in found.items():
        asked = f"   asked < {ASKED[name]:g} s" if name in ASKED else ""
        print(f"{title:28} {name:24} {passed:7.2f} s passed {used:7.2f} s of processor{asked}", flush=True)


def main():
    """Make the dataset, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--participants", type=int, default=100)
    parser.add_argument("--images", type=int, default=10, help="per participant")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        make_dataset(place / "bids", args.participants, args.images)
        print(f"{args.participants} participants x {args.images} images, load {os.getloadavg()[0]:.1f}")
        time_index(place / "bids")  # loads the libraries
        say("without a database", median_of([time_index(place / "bids") for _ in range(args.repeats)]))
        say("database built", time_index(place / "bids", place / "db"))
        say("database reused", median_of([time_index(place / "bids", place / "db") for _ in range(args.repeats)]))
        rows = [time_command(place / "bids", place / f"run{i}") for i in range(args.repeats)]
        say("without a database", median_of(rows))
        words = ["--bids-database-dir", place / "db"]
        rows = [time_command(place / "bids", place / f"again{i}", *words) for i in range(args.repeats)]
        say("database reused", median_of(rows))


if __name__ == "__main__":
    main()
