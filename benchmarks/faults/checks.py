"""What must hold after every run: whole files, no process left, words that agree with the code and the pages."""

import gzip
import html
import json
import os
import time

import h5py
import nibabel as nib
import psutil

from mrspec_prep.reports.crashes import collect_crashes

GRACE = 10  # s for processes to be gone
LAST_LINES = {0: "Finished without errors", 1: "FAILED", 2: "Nothing was computed"}
LAST_LINES |= dict.fromkeys((130, 143), "Interrupted")


def check_whole(this):
    """Note every file of OUT_DIR that is not whole."""
    for path in sorted(this.out.rglob("*")) if this.out.is_dir() else []:
        if not path.is_file() or "log" in path.parts or "logs" in path.parts:
            continue
        try:
            if path.name.endswith(".nii.gz"):
                gzip.decompress(path.read_bytes())
                nib.load(path).get_fdata()
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".h5":
                h5py.File(path).close()
            elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
                raise ValueError("no end")
        except (OSError, ValueError, EOFError) as error:
            this.wrong.append(f"{path.name} is not whole: {error}")


def check_no_process(this):
    """Note processes of the round's sessions that are left."""
    end = time.monotonic() + GRACE
    while left := [process for process in psutil.process_iter() if _is_of(process, this.sessions)]:
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    for process in left:
        this.wrong.append(f"process left: {process.pid}")
        process.kill()


def _is_of(process, sessions):
    try:
        return os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def check_words(this, code, name="fault"):
    """Note where what a run said does not agree with its code."""
    lines = this.said(name)
    last = lines[-1] if lines else ""
    if any("Traceback" in line for line in lines):
        this.wrong.append("a traceback")
    if code in LAST_LINES and LAST_LINES[code] not in last and not (code == 2 and "error:" in last):
        this.wrong.append(f"code {code}, last line: {last}")
    if code in (1, 2) and not any("Remedy" in line for line in lines):
        this.wrong.append(f"code {code} without a remedy: {last}")


def check_pages(this, code):
    """Note failed participants whose page does not tell, and finished ones that are called failed."""
    if code not in (0, 1):
        return
    last = this.said()[-1]
    for subject in ("01", "02"):
        page, record = this.out / f"sub-{subject}.html", this.out / f"sub-{subject}" / "log" / "finished.json"
        done = record.is_file() and json.loads(record.read_text())["key"] is not None
        notes = collect_crashes(this.out, subject)
        unread = done and [note.step for note in notes] == ["input"]  # finished, and now its files cannot be read
        if done == (f"sub-{subject}" in last) and not unread:
            this.wrong.append(f"sub-{subject} is {'done' if done else 'not done'}, last line: {last}")
        if page.is_file() and notes and (unread or not done) and html.escape(notes[0].step) not in page.read_text():
            this.wrong.append(f"the page of sub-{subject} does not tell of {notes[0].step}")
