"""Every table of the engine, one after the other: ``python -m benchmarks [--data DATA_DIR] [--figures FOLDER]``.

Each benchmark is a command of its own (``python -m benchmarks.<name>``) and says what it measures in its
docstring. Run it on a quiet machine; ratios hold on a busy one, times do not.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def commands(figures, data):
    """Benchmarks in order, with their arguments."""
    yield "nnls", ["--peers"]
    yield "em", []
    yield "alpha", []
    yield "figure1", ["--figure", str(figures / "figure1.png"), "--table", str(figures / "figure1.tsv")]
    yield "figure1", ["--noise", "rician", "--likelihood", "rician"]
    yield "figure1_spatial", ["--table", str(figures / "figure1_spatial.tsv")]
    yield "sharing", []
    yield "inspect_map", ["--seeds", "5"]
    yield "coverage", []
    yield "noise_models", []
    yield "group_input", []
    yield "maps", []
    yield "any_protocol", ["--dedicated", "600"]
    yield "any_protocol", ["--magnitudes"]
    yield "classifier", []
    yield "scaling", [str(figures / "scaling.png")]
    if data is not None:
        yield "real_data", [str(data)]
        yield "classifier_real", [str(data)]


def main():
    """Run them all; the exit code is that of the worst."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the data of others, for real_data")
    parser.add_argument("--figures", type=Path, default=Path("benchmark_figures"))
    args = parser.parse_args()
    args.figures.mkdir(parents=True, exist_ok=True)
    worst = 0
    for name, words in commands(args.figures, args.data):
        print(f"\n=== python -m benchmarks.{name} {' '.join(words)}", flush=True)
        start = time.perf_counter()
        ended = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *words], env=os.environ | ONE_THREAD)
        print(f"--- {time.perf_counter() - start:.0f} s, exit code {ended.returncode}", flush=True)
        worst = max(worst, abs(ended.returncode))
    return worst


if __name__ == "__main__":
    sys.exit(main())
