import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.cli.messages import say_plans, start_logging, summarise
from mrspec_prep.workflows.running.execution import Failure


@pytest.fixture
def logged(tmp_path):
    path = start_logging(tmp_path, "run")
    yield lambda: path.read_text()
    for handler in list(logging.getLogger("mrspec_prep").handlers):
        logging.getLogger("mrspec_prep").removeHandler(handler)
        handler.close()


def test_every_participant_without_results_is_listed_with_its_cause_and_the_last_line_names_it(logged, tmp_path):
    plans = [SimpleNamespace(subject="01"), SimpleNamespace(subject="02")]
    refused = {"03": InputError("EchoTime is missing", file="a.json", remedy="add it")}
    failures = [Failure("02", "roi", "InputError: m.nii: the mask is empty", Path("crash.txt"), True)]
    for subject in ("01", "02"):
        (tmp_path / f"sub-{subject}.html").write_text("page")
    summarise(plans, refused, failures, tmp_path)
    text = logged()
    assert "sub-03 was not processed: a.json: EchoTime is missing. Remedy: add it" in text
    assert "sub-02 failed in step roi: m.nii: the mask is empty" in text
    for subject, there in (("01", True), ("02", True), ("03", False)):
        assert (f"Report: {tmp_path}/sub-{subject}.html" in text) == there
    assert text.splitlines()[-1].endswith("FAILED: sub-02, sub-03 (1 participant(s) done)")


def test_the_workflow_of_every_series_is_said_and_its_notes_are_warnings(logged):
    series = SimpleNamespace(session="a", datatype="dwi", notes=("x_echo-1_dwi.nii.gz: no BIDS name",))
    planned = SimpleNamespace(series=series, workflow="adc_inspect", why="only b varies")
    say_plans([SimpleNamespace(subject="01", series=[planned])])
    said, warned = logged().splitlines()
    assert said.endswith("INFO sub-01 ses-a, dwi: workflow adc_inspect (only b varies)")
    assert warned.endswith("WARNING sub-01 ses-a, dwi: note: x_echo-1_dwi.nii.gz: no BIDS name")
