"""Coverage-guided fuzzing of everything a stranger can hand to mrspec_prep.

usage: python -m benchmarks.fuzz --target NAME [--minutes 30] [--folder fuzz] [--seed 1]

Needs ``atheris`` (libFuzzer for Python; not a dependency of the project: ``pip install atheris``). A target is a kind
of file (``benchmarks.fuzz_targets``). Inputs that reach new lines of the package or of the readers below it are kept in
FOLDER/NAME/corpus and changed further. Whatever ends otherwise than in a result or a refusal in words (InputError), or
takes more than 20 s or 2 GB beyond the start, is written to FOLDER/NAME/findings, once per place in the code, and the
search goes on. Ends with the number of inputs tried, and with exit code 1 where something was found.
"""

import argparse
import hashlib
import logging
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

MORE_MEMORY = 2 << 30  # bytes beyond what the imports take
WATCHED = ("mrspec_prep", "nibabel")  # packages whose lines guide the search
SLOW = 20  # s for one input


def place_of(error):
    """Kind of an error and where it was raised: the innermost line of the package, and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "mrspec_prep" in frame.filename and "fuzz" not in frame.filename]
    shown = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in [*ours[-1:], *frames[-1:]]]
    return f"{type(error).__name__} {' '.join(shown)}"


class Findings:
    """Inputs that ended badly, one per place."""

    def __init__(self, folder):
        self.folder, self.places = folder, {}
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, data, place, words):
        """Keep an input unless one of the same place is there."""
        self.places[place] = self.places.get(place, 0) + 1
        if self.places[place] == 1:
            name = hashlib.sha256(place.encode()).hexdigest()[:10]
            (self.folder / name).write_bytes(data)
            (self.folder / f"{name}.txt").write_text(f"{place}\n\n{words}\n")
            print(f"FINDING {place}: {words.strip().splitlines()[-1][:200]}", flush=True)


def main():
    """Fuzz one target for the time given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--folder", type=Path, default=Path("fuzz"))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    import atheris

    with atheris.instrument_imports(include=list(WATCHED), enable_loader_override=False):
        from benchmarks import fuzz_targets

    if args.target not in fuzz_targets.TARGETS:
        parser.error(f"targets: {', '.join(fuzz_targets.TARGETS)}")
    scratch = Path(tempfile.mkdtemp(prefix="fuzz_"))
    target = fuzz_targets.TARGETS[args.target](scratch)
    folder = args.folder / args.target
    corpus, findings = folder / "corpus", Findings(folder / "findings")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    warnings.simplefilter("ignore")
    logging.disable()
    began, tried = time.monotonic(), [0]

    def one(data):
        start = time.monotonic()
        if start - began > 60 * args.minutes:
            minutes = (start - began) / 60
            print(f"{args.target}: {tried[0]} inputs in {minutes:.1f} min, {len(findings.places)} findings", flush=True)
            os._exit(1 if findings.places else 0)  # libFuzzer knows no other end
        tried[0] += 1
        try:
            target.read(data)
        except fuzz_targets.EXPECTED:
            pass
        except Exception as error:  # noqa: BLE001 - every kind is a finding
            findings(data, place_of(error), "".join(traceback.format_exception(error)))
        if time.monotonic() - start > SLOW:
            findings(data, "slow", f"{time.monotonic() - start:.0f} s")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY, used + MORE_MEMORY))
    words = [sys.argv[0], str(corpus), f"-seed={args.seed}", "-max_len=20000", "-rss_limit_mb=0", "-timeout=120"]
    atheris.Setup([*words, "-print_final_stats=0", "-verbosity=0"], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
