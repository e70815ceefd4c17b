"""The command line, in the words of the fMRIPrep family."""

import argparse
import difflib
import re
import sys
from pathlib import Path

from mrspec_prep import __version__

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default only where there is one to show."""

    def _get_help_string(self, action):
        return action.help if action.default in (None, False, 0, []) else super()._get_help_string(action)


class _Parser(argparse.ArgumentParser):
    """Suggests the nearest option where an unknown one was typed."""

    def error(self, message):
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown:
            options = [o for action in self._actions for o in action.option_strings]
            close = difflib.get_close_matches(unknown[1].partition("=")[0], options, n=1, cutoff=0.5)
            message += f" (did you mean {close[0]}?)" if close else ""
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
    if not name or not Path(path).expanduser().is_dir():
        raise argparse.ArgumentTypeError(f"needs NAME=PATH of an existing folder, got {text!r}")
    return name, Path(path).expanduser().resolve()


def build_parser():
    """Parser of the whole command line."""
    parser = _Parser(
        prog="mrspec_prep",
        description="Spectra of relaxation and diffusivity, maps of the tissue types they reveal, and a report, "
        "from a BIDS dataset in which b-value, echo time and inversion time vary.",
        epilog="Exit codes: 0 all done; 1 something failed; 2 usage or input error found before computing; "
        "130/143 interrupted.",
        formatter_class=_Formatter,
        allow_abbrev=False,
        argument_default=None,
    )
    parser.add_argument("bids_dir", type=Path, help="root of the BIDS dataset")
    parser.add_argument("out_dir", type=Path, help="folder of the derivatives; made where absent")
    parser.add_argument("analysis_level", nargs="+", choices=("participant", "group"), help="what to run")
    _add_selection(parser.add_argument_group("which data"))
    _add_science(parser.add_argument_group("how they are analysed"))
    _add_machine(parser.add_argument_group("how it runs"))
    _add_other(parser.add_argument_group("other"))
    return parser


def _add_selection(group):
    group.add_argument(
        "--participant-label", "--participant_label", "--subject-label", nargs="+", metavar="LABEL", default=[],
        help="participants, with or without sub-",
    )  # fmt: skip
    group.add_argument(
        "--session-label", "--session-id", "--session_label", nargs="+", metavar="LABEL", default=[],
        help="sessions, with or without ses-",
    )  # fmt: skip
    group.add_argument(
        "--bids-filter-file", type=_existing_file, metavar="FILE",
        help='JSON of entity filters per suffix, e.g. {"dwi": {"run": ["1", "2"]}}; null = absent, "*" = any',
    )  # fmt: skip
    group.add_argument(
        "-d", "--derivatives", nargs="+", type=_derivative, action="extend", metavar="NAME=PATH", default=[],
        help="datasets with masks of these data; for the group level, results of other sites",
    )  # fmt: skip
    group.add_argument(
        "--skip-bids-validation", "--skip_bids_validation", action="store_true",
        help="do without a dataset_description.json",
    )  # fmt: skip
    group.add_argument("--bids-database-dir", type=Path, metavar="DIR", help="keep the pybids index here and reuse it")


def _add_science(group):
    group.add_argument(
        "--workflow", metavar="NAME_OR_FILE", help="a TOML of workflows/, by name or path; default: by what varies"
    )
    group.add_argument(
        "--set", action="append", metavar="SECTION.KEY=VALUE", default=[], dest="overrides",
        help="override one value of the workflow file; repeatable",
    )  # fmt: skip
    group.add_argument(
        "--mask", metavar="SOURCE", help="derivative, automatic, or a NIfTI pattern with {subject} and {session}"
    )
    group.add_argument(
        "--noise", metavar="METHOD", help="b0-repeats, residual, mppca, neighbours, a NIfTI pattern, or a number"
    )
    group.add_argument(
        "--random-seed", type=_seed, metavar="N", help="0 to 999999999; same seed: same maps (default: 0)"
    )
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="for networks")


def _add_machine(group):
    group.add_argument(
        "--nprocs", "--nthreads", "--n-cpus", "--n_cpus", type=_positive, metavar="N",
        help="processors in all; default: what the job was given",
    )  # fmt: skip
    group.add_argument("--omp-nthreads", type=_positive, metavar="N", help="threads of one step")
    group.add_argument(
        "--mem", "--mem-mb", "--mem_mb", type=memory_gb, metavar="SIZE", dest="mem_gb",
        help="memory in all: 8g, 1500m; a bare number is MB",
    )  # fmt: skip
    group.add_argument("-w", "--work-dir", type=Path, default=Path("work"), metavar="DIR", help="intermediate results")
    group.add_argument("--clean-workdir", action="store_true", help="empty the work directory first")
    group.add_argument(
        "--use-plugin",
        "--nipype-plugin-file",
        type=_existing_file,
        metavar="FILE",
        help="Nipype plugin settings (YAML)",
    )
    group.add_argument(
        "--dask",
        metavar="ADDRESS_OR_YAML",
        help="workers of the group's fit: address of a scheduler, a YAML that names a cluster, or local:N",
    )
    group.add_argument("--resource-monitor", action="store_true", help="record the memory of every step")
    group.add_argument("--stop-on-first-crash", action="store_true", help="end at the first failure")


def _add_other(group):
    group.add_argument("--dry-run", action="store_true", help="acquisition preview; nothing is computed")
    group.add_argument("--reports-only", action="store_true", help="build the reports again from finished derivatives")
    group.add_argument(
        "--boilerplate-only", "--boilerplate_only", action="store_true", help="write the methods text only"
    )
    group.add_argument("--write-graph", action="store_true", help="draw the Nipype graph into the logs folder")
    group.add_argument(
        "--config-file", type=_existing_file, metavar="FILE", help="a mrspec_prep.toml of an earlier run"
    )
    group.add_argument("--sloppy", action="store_true", help="coarse and fast, for trying out only")
    group.add_argument("-v", "--verbose", action="count", default=0, help="more words; twice for Nipype's own")
    group.add_argument("--notrack", action="store_true", help="accepted; nothing is ever tracked")
    group.add_argument("--version", action="version", version=f"mrspec_prep {__version__}")
