"""The command line, in the words of the fMRIPrep family."""

import argparse
import difflib
import re
import sys
from pathlib import Path

from mrspec_prep import __version__
from mrspec_prep.cli.habits import advice, with_hyphens
from mrspec_prep.cli.help import EXAMPLES, HelpFormatter

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
LEVELS = ("participant", "group")
DATASET_NAME = r"[A-Za-z0-9_.+-]+"  # as in BIDS URIs


class _Parser(argparse.ArgumentParser):
    """Takes underscores for hyphens, and says what to type instead of an unknown option."""

    def parse_known_args(self, args=None, namespace=None):
        """As of the base class."""
        words = with_hyphens(sys.argv[1:] if args is None else args, self._option_string_actions)
        for word in words[: words.index("--") if "--" in words else None]:
            if word.startswith("--") and word.partition("=")[0] not in self._option_string_actions:
                self.error(f"unrecognized arguments: {word}")  # before its value is taken for a folder or a level
        return super().parse_known_args(words, namespace)

    def error(self, message):
        """Exit with 2, the nearest option or level named."""
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        level = re.match(r"argument \{participant,group\}: invalid choice: '([^']*)'", message)
        if unknown and (hint := advice(unknown[1], self._option_string_actions)):
            message += f" ({hint})"
        elif level and (close := difflib.get_close_matches(level[1], LEVELS, n=1)):
            message += f" (did you mean {close[0]}?)"
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}\n")


def memory_gb(text):
    """Gigabytes of ``8g``, ``1500m``, ``1.5G``; a bare number is megabytes, as in fMRIPrep."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmgtKMGT]?)[iI]?[bB]?\s*", text)
    if not match or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"memory must look like 8g, 1500m, 1.5G or 8000 (MB), got {text!r}")
    scale = {"k": 1e-6, "m": 1e-3, "g": 1.0, "t": 1e3, "": 1e-3}[match[2].lower()]
    return float(match[1]) * scale


def _positive(text):
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _seed(text):
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 999999999, got {text!r}")
    return int(text)


def _existing_file(text):
    path = Path(text).expanduser()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"no such file: {text}")
    return path.resolve()


def _derivative(text):
    name, separator, path = text.partition("=")
    if not separator:
        name, path = Path(text).name, text
    if not path or not Path(path).expanduser().is_dir():
        raise argparse.ArgumentTypeError(f"needs NAME=PATH of an existing folder, got {text!r}")
    if not re.fullmatch(DATASET_NAME, name):
        raise argparse.ArgumentTypeError(f"a name holds letters, digits, _ . + - alone: NAME=PATH, got {text!r}")
    return name, Path(path).expanduser().resolve()


def build_parser():
    """Parser of the whole command line."""
    parser = _Parser(
        prog="mrspec_prep",
        usage="mrspec_prep BIDS_DIR OUT_DIR {participant,group} [options]",
        description="Spectra of relaxation and diffusivity, maps of the tissue types they reveal, and a report,\n"
        "from a BIDS dataset in which b-value, echo time and inversion time vary.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("bids_dir", type=Path, metavar="BIDS_DIR", help="root of the BIDS dataset")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="folder of the derivatives; made where absent")
    parser.add_argument(
        "analysis_level", nargs="+", choices=LEVELS, metavar="{participant,group}",
        help="what to run; both may be named",
    )  # fmt: skip
    _add_selection(parser.add_argument_group("which data"))
    _add_science(parser.add_argument_group("how they are analysed"))
    _add_machine(parser.add_argument_group("how it runs"))
    _add_parts(parser.add_argument_group("parts of a run"))
    _add_other(parser.add_argument_group("other"))
    return parser


def _add_selection(group):
    group.add_argument(
        "--participant-label", "--subject-label", nargs="+", metavar="LABEL", default=[],
        help="participants, with or without sub- (default: all)",
    )  # fmt: skip
    group.add_argument(
        "--session-label", "--session-id", nargs="+", metavar="LABEL", default=[],
        help="sessions, with or without ses- (default: all)",
    )  # fmt: skip
    group.add_argument(
        "--bids-filter-file", type=_existing_file, metavar="FILE",
        help='JSON of entity filters per suffix, e.g. {"dwi": {"run": ["1", "2"]}}; null is absent, "*" is any '
        "(default: no filter)",
    )  # fmt: skip
    group.add_argument(
        "-d", "--derivatives", nargs="+", type=_derivative, action="extend", metavar="NAME=PATH", default=[],
        help="preprocessed images (QSIPrep's, or any desc-preproc) to read instead of raw ones, or masks; at the group "
        "level, results of other sites; repeatable (default: none)",
    )  # fmt: skip
    group.add_argument(
        "--skip-bids-validation", action="store_true",
        help="do without a dataset_description.json (default: it must be there)",
    )  # fmt: skip
    group.add_argument(
        "--bids-database-dir", type=Path, metavar="DIR",
        help="keep the index of BIDS_DIR here and reuse it (default: index the participants asked for, every time)",
    )  # fmt: skip


def _add_science(group):
    group.add_argument(
        "--workflow", metavar="NAME_OR_FILE", help="a TOML of workflows/, by name or path (default: by what varies)"
    )
    group.add_argument(
        "--set", action="append", metavar="SECTION.KEY=VALUE", default=[], dest="overrides",
        help="override one value of the workflow file; repeatable (default: none)",
    )  # fmt: skip
    group.add_argument(
        "--mask", metavar="SOURCE",
        help="derivative, automatic, or a NIfTI pattern with {subject} and {session} (default: a derivative mask where "
        "one is given, else automatic)",
    )  # fmt: skip
    group.add_argument(
        "--noise", metavar="METHOD",
        help="b0-repeats, residual, mppca, neighbours, a NIfTI pattern, or a number (default: b0-repeats from 4 "
        "repeats on, else residual)",
    )  # fmt: skip
    group.add_argument(
        "--random-seed", type=_seed, metavar="N", help="0 to 999999999; same seed: same maps (default: 0)"
    )
    group.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto",
        help="for networks; recorded beside each map (default: auto, cuda where there is one)",
    )  # fmt: skip
    group.add_argument("--sloppy", action="store_true", help="coarse and fast, for trying out only (default: no)")


def _add_machine(group):
    group.add_argument(
        "--nprocs", "--nthreads", "--n-cpus", type=_positive, metavar="N",
        help="processors in all (default: what Slurm, the cgroup or the machine gives)",
    )  # fmt: skip
    group.add_argument(
        "--omp-nthreads", type=_positive, metavar="N", help="threads of one step (default: --nprocs, at most 8)"
    )
    group.add_argument(
        "--mem", "--mem-mb", type=memory_gb, metavar="SIZE", dest="mem_gb",
        help="memory in all: 8g, 1500m; a bare number is MB (default: nine tenths of what Slurm, the cgroup or the "
        "machine gives)",
    )  # fmt: skip
    group.add_argument(
        "-w", "--work-dir", type=Path, default=Path("work"), metavar="DIR",
        help="intermediate results; an interrupted run goes on from there (default: work)",
    )  # fmt: skip
    group.add_argument("--clean-workdir", action="store_true", help="empty the work directory first (default: no)")
    group.add_argument(
        "--use-plugin", "--nipype-plugin-file", type=_existing_file, metavar="FILE",
        help="Nipype plugin and its settings (YAML) (default: MultiProc with --nprocs and --mem)",
    )  # fmt: skip
    group.add_argument(
        "--dask", metavar="ADDRESS_OR_YAML",
        help="workers of the group's fit: address of a scheduler, a YAML that names a cluster, or local:N "
        "(default: none)",
    )  # fmt: skip
    group.add_argument(
        "--resource-monitor", action="store_true",
        help="record the memory of every step, which the next run then sets aside (default: no)",
    )  # fmt: skip
    group.add_argument(
        "--stop-on-first-crash", action="store_true",
        help="end at the first failure (default: the other participants go on)",
    )  # fmt: skip


def _add_parts(group):
    group.add_argument("--dry-run", action="store_true", help="acquisition preview; nothing is computed")
    group.add_argument("--reports-only", action="store_true", help="build the reports again from finished derivatives")
    group.add_argument("--boilerplate-only", "--boilerplate", action="store_true", help="write the methods text only")
    group.add_argument("--write-graph", action="store_true", help="draw the Nipype graph into OUT_DIR/logs as well")
    group.add_argument(
        "--config-file", type=_existing_file, metavar="FILE",
        help="a mrspec_prep.toml of an earlier run, which runs the same again; options given beside it win "
        "(default: none)",
    )  # fmt: skip


def _add_other(group):
    group.add_argument("-v", "--verbose", action="count", default=0, help="more words; twice for Nipype's own")
    group.add_argument("--notrack", action="store_true", help="accepted; nothing is ever tracked")
    group.add_argument("--version", action="version", version=f"mrspec_prep {__version__}")
