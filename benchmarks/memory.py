"""Peak memory of voxelwise spectra beyond the signals themselves.

usage: python -m benchmarks.memory [--voxels 1000000]

Placenta protocol, 2500 bins, all cores. A block of simulated voxels is repeated until the number asked
for is reached, so that the simulation itself takes no room.
"""

import argparse
import resource
import time

import numpy as np

from benchmarks.scaling import problem
from mrspec_prep.spectra import fit_nnls

BLOCK = 2000


def peak_gb():
    """Largest resident size of this process so far [GB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxels", type=int, default=1_000_000)
    args = parser.parse_args()
    block, kernel = problem(BLOCK)
    fit_nnls(block[:64].astype(np.float32), kernel)
    signals = np.empty((args.voxels, kernel.shape[0]), np.float32)
    for start in range(0, args.voxels, BLOCK):
        signals[start : start + BLOCK] = block[: args.voxels - start]
    before = peak_gb()
    start = time.perf_counter()
    result = fit_nnls(signals, kernel)
    seconds, after = time.perf_counter() - start, peak_gb()
    print(f"{args.voxels} voxels x {kernel.shape[0]} encodings, {kernel.shape[1]} bins: {seconds:.0f} s")
    print(f"signals {signals.nbytes / 1e9:.2f} GB; peak before the fit {before:.2f} GB, with it {after:.2f} GB")
    print(f"beyond the signals: {after - before:.2f} GB; certified {result.converged.mean():.4f} of the voxels")


if __name__ == "__main__":
    main()
