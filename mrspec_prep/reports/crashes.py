"""What failed in the newest run, as its crash files tell."""

import re
from dataclasses import dataclass
from pathlib import Path

SPACE = "make space for OUT_DIR and the work directory, then type the same command again"
MEMORY = (
    "give more memory (--mem and the job's own limit) or fewer processes (--nprocs), then type the same command again"
)
WRITABLE = "make OUT_DIR and the work directory writable, or give others, then type the same command again"
DISK = "check the disk and its connection, then type the same command again"
AGAIN = "an intermediate result is damaged: type the same command again, which finds and computes it anew"
#: what a cause says -> what the user can do about it; the first that fits
REMEDIES = {
    r"No space left on device|Disk quota exceeded|File too large": SPACE,
    r"MemoryError|[Cc]annot allocate memory|can't allocate memory|[Uu]nable to allocate|out of memory": MEMORY,
    r"Read-only file system|Permission denied": WRITABLE,
    r"EOF: reading array|cannot reshape array|BadZipFile|UnpicklingError|truncated|Ran out of input|JSONDecodeError|"
    r"Compressed file ended|while decompressing|allow_pickle|CRC check failed": AGAIN,
    r"Input/output error|Stale file handle|Remote I/O error": DISK,
}
RAISED = re.compile(r"[\w.]*(Error|Exception|Died|Interrupt|Warning|BadZipFile)(\b.*?:.*)?")


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
    match = re.match(r"Node: (\S+)", text) or re.match(r"crash-[\d-]+-[^-]+-(\w+)-", Path(path).name)
    step = match[1].rpartition(".")[2] if match else "unknown step"
    return CrashNote(step, cause_of(text), text, Path(path).name)


def cause_of(text):
    """Last exception of a traceback, as ``Kind: message``, with a remedy where the machine is the cause."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = [line for line in lines if RAISED.fullmatch(line)]
    cause = raised[-1] if raised else (lines[-1] if lines else "no cause was recorded: is the disk full?")
    kind, separator, message = cause.partition(":")
    return with_remedy(f"{kind.rpartition('.')[2]}{separator}{message}")


def with_remedy(cause):
    """A cause, and what to do where the machine and not the input is at fault and the cause does not say."""
    fitting = [remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, cause)]
    return f"{cause}. Remedy: {fitting[0]}" if fitting and "Remedy" not in cause else cause


def _changed(folder):
    """Latest change of a run's own files [s]."""
    return max((file.stat().st_mtime for file in folder.iterdir() if file.is_file()), default=0.0)
