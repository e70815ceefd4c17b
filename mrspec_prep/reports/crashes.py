"""What failed in the newest run, as its crash files tell."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CrashNote:
    """A step that failed, as its log tells."""

    step: str
    cause: str
    text: str
    file: str


def collect_crashes(out_dir, subject):
    """Notes of the steps that failed in the newest run of a participant.

    Returns
    -------
    list of CrashNote

    """
    return newest_crashes(Path(out_dir) / f"sub-{subject}" / "log")


def newest_crashes(log):
    """Notes of the steps that failed in the newest of the run folders below ``log``."""
    runs = [folder for folder in log.glob("*") if folder.is_dir()] if log.is_dir() else []
    if not runs:
        return []
    newest = max(runs, key=lambda folder: (_changed(folder), folder.name))
    return [read_crash(path) for path in sorted(newest.glob("crash-*.txt"))]


def read_crash(path):
    """Step, cause and text of one crash file."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    match = re.match(r"Node: (\S+)", text)
    step = match[1].rpartition(".")[2] if match else "unknown step"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Died|Interrupt|Warning)\b.*?:", line)]
    cause = raised[-1] if raised else (lines[-1] if lines else "no cause was recorded")
    return CrashNote(step, cause, text, Path(path).name)


def _changed(folder):
    """Latest change of a run's own files [s]."""
    return max((file.stat().st_mtime for file in folder.iterdir() if file.is_file()), default=0.0)
