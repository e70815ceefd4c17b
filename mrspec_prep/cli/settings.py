"""What a run was asked to do: from the command line, from a run file, or both."""

import json
import re
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mrspec_prep import __version__
from mrspec_prep.bids.cohort.files import MAIN
from mrspec_prep.bids.errors import InputError, read_text
from mrspec_prep.bids.input.preprocessed import OWN
from mrspec_prep.bids.json_files import read_json
from mrspec_prep.bids.names import NIFTI
from mrspec_prep.bids.output.derivative_dataset import RAW
from mrspec_prep.cli.parser import DATASET_NAME
from mrspec_prep.workflow_files import WORKFLOW_FOLDER, find_workflow

#: names of ``--derivatives`` that others have, in BIDS URIs, among the sites of a group, and in messages
RESERVED_NAMES = {RAW: "BIDS_DIR in the sources of results", OWN: "BIDS_DIR", MAIN: "OUT_DIR among the group's sites"}
RENAME = "give the folder another name: NAME=PATH"
RUN_FILE = "give sub-*/log/*/mrspec_prep.toml of a run"
#: coarse settings of ``--sloppy``; what the user sets by name wins
SLOPPY = ("inspect.n_clusters=[2, 4]", "inspect.n_starts=4", "inspect.max_steps=50")
SLOPPY += ("group.n_clusters=[2, 4]", "group.n_starts=4", "group.max_steps=50")


@dataclass(frozen=True)
class RunSettings:
    """Everything that decides a result, and where it goes; nothing about the machine."""

    bids_dir: str
    out_dir: str
    participant_label: list[str] = field(default_factory=list)
    session_label: list[str] = field(default_factory=list)
    filters: dict = field(default_factory=dict)
    derivatives: dict[str, str] = field(default_factory=dict)
    workflow: str = ""
    overrides: list[str] = field(default_factory=list)
    random_seed: int = 0
    device: str = "auto"

    def to_toml(self):
        """Table ``[run]`` of a run file."""
        values = {"version": __version__, **asdict(self)}
        filters = values.pop("filters")
        lines = ["[run]"] + [f"{key} = {_toml(value)}" for key, value in values.items()]
        return "\n".join([*lines, f"filters = {json.dumps(json.dumps(filters))}"]) + "\n"


def run_settings(args):
    """Settings of a command line; what it leaves out comes from ``--config-file``.

    Raises
    ------
    InputError
        The run file or the filter file does not hold.

    """
    overrides = list(SLOPPY) if args.sloppy else []
    overrides += args.overrides
    if args.mask:
        overrides.append(f"mask.source={json.dumps(_anywhere(args.mask))}")
    if args.noise:
        overrides.append(f"noise.method={json.dumps(_anywhere(args.noise))}")
    given = {
        "bids_dir": str(args.bids_dir.expanduser().absolute()),
        "out_dir": str(args.out_dir.expanduser().absolute()),
        "participant_label": list(args.participant_label),
        "session_label": [label.removeprefix("ses-") for label in args.session_label],
        "filters": read_json(args.bids_filter_file) if args.bids_filter_file else {},
        "derivatives": _named_once(args.derivatives),
        "workflow": _known_anywhere(args.workflow) if args.workflow else "",
        "overrides": overrides,
        "random_seed": args.random_seed,
        "device": args.device,
    }
    if args.config_file is None:
        return _checked(RunSettings(**given | {"random_seed": args.random_seed or 0}))
    earlier = read_run_file(args.config_file)
    merged = {
        key: value if value not in ("", [], {}, None) else earlier.get(key, value) for key, value in given.items()
    }
    merged["overrides"] = [*earlier.get("overrides", []), *overrides]
    if args.device == "auto":
        merged["device"] = earlier.get("device", "auto")
    return _checked(RunSettings(**merged | {"random_seed": merged["random_seed"] or 0}))


def _checked(settings):
    """Settings whose datasets have names of their own, which BIDS URIs may hold; else InputError."""
    for name, path in settings.derivatives.items():
        if not re.fullmatch(DATASET_NAME, name):
            raise InputError("a dataset's name holds letters, digits, _ . + - alone", value=name, remedy=RENAME)
        taken = RESERVED_NAMES.get(name)
        if taken and not (name == MAIN and Path(path).resolve() == Path(settings.out_dir).resolve()):
            problem = f"--derivatives: the name {name} is that of {taken}"
            raise InputError(problem, value=f"{name}={path}", remedy=RENAME)
    return settings


def _named_once(derivatives):
    """Folders by name; InputError where one name is given to two."""
    found = {}
    for name, path in derivatives:
        if found.setdefault(name, str(path)) != str(path):
            raise InputError(
                f"--derivatives has two folders of the name {name}",
                value=f"{found[name]} and {path}",
                remedy="give every folder a name of its own: NAME=PATH",
            )
    return found


def _known_anywhere(name_or_path):
    """Name of a workflow file that comes with the package, absolute path of another."""
    path = find_workflow(name_or_path)
    return path.stem if path.parent == WORKFLOW_FOLDER else str(path.absolute())


def _anywhere(text):
    """Absolute path of a NIfTI pattern, so that a run file means the same in every folder; other words as they are."""
    return str(Path(text).expanduser().absolute()) if text.endswith(NIFTI) else text


def read_run_file(path):
    """Table ``[run]`` of a ``mrspec_prep.toml``.

    Raises
    ------
    InputError
        Not such a file.

    """
    text = read_text(Path(path), "the run file")
    try:
        run = dict(tomllib.loads(text)["run"])
        run["filters"] = json.loads(run.get("filters", "{}"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError("no run file of mrspec_prep", file=path, value=error, remedy=RUN_FILE) from error
    known = {key: value for key, value in run.items() if key in RunSettings.__dataclass_fields__}
    for key, value in known.items():
        allowed, words = RUN_VALUES[key]
        if not allowed(value):
            raise InputError(f"run.{key} must be {words}", file=path, value=repr(value), remedy=RUN_FILE)
    return known


def _is_text(value):
    return isinstance(value, str) and "\0" not in value


def _are_texts(value):
    return isinstance(value, list) and all(map(_is_text, value))


#: what the values of a run file may be, also in words
RUN_VALUES = {
    **dict.fromkeys(("bids_dir", "out_dir", "workflow"), (_is_text, "text")),
    **dict.fromkeys(("participant_label", "session_label", "overrides"), (_are_texts, "a list of texts")),
    "filters": (lambda v: isinstance(v, dict), "a filter file's content as text"),
    "derivatives": (lambda v: isinstance(v, dict) and _are_texts(list(v.values())), "folders by name"),
    "random_seed": (lambda v: isinstance(v, int) and v is not True and 0 <= v < 10**9, "a number from 0 to 999999999"),
    "device": (lambda v: v in ("auto", "cpu", "cuda"), "auto, cpu or cuda"),
}


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {json.dumps(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)
