"""Bars on a terminal, plain lines in a job's log."""

import io
import logging
from types import SimpleNamespace

import pytest
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline import engine as pe

from mrspec_prep.cli.progress import Progress, steps_of
from mrspec_prep.workflows.participant import participant_workflow_name, subject_of


class Terminal(io.StringIO):
    def isatty(self):
        return True


def node(name, subject="01", merged=False):
    place = f"mrspec_prep_wf.sub_{subject}_wf.{name}"
    return SimpleNamespace(fullname=place, name=name.rpartition(".")[2], run_without_submitting=merged)


@pytest.fixture
def lines(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mrspec_prep"), "propagate", True)
    caplog.set_level(logging.INFO, logger="mrspec_prep")
    return lambda: [record.getMessage() for record in caplog.records]


STEPS = ["series_0_dwi_wf.roi", "series_0_dwi_wf.noise", "report"]


def run(progress):
    for name in STEPS:
        progress(node(name), "start")
        progress(node(name), "end")
    progress.close()


def test_a_job_log_has_a_plain_line_per_step_and_no_bar(lines):
    stream = io.StringIO()
    progress = Progress({"01": 3}, stream)
    run(progress)
    assert lines()[:2] == ["sub_01.series_0_dwi.roi: started", "sub_01.series_0_dwi.roi: done"]
    assert len(lines()) == 6
    assert stream.getvalue() == ""
    assert progress.subjects_done == {"01"}


def test_a_terminal_has_a_bar_with_steps_elapsed_and_left(lines):
    stream = Terminal()
    progress = Progress({"01": 3}, stream)
    run(progress)
    drawn = stream.getvalue().split("\r")
    assert any("sub-01" in bar and "1/3 steps" in bar and "left" in bar for bar in drawn)
    assert any("noise" in bar for bar in drawn)
    assert "3/3 steps" in drawn[-1]
    assert lines() == []  # they go to the log file
    assert progress.subjects_done == {"01"}


def test_steps_that_are_known_already_count_and_a_failure_is_said(lines):
    stream = Terminal()
    progress = Progress({"01": 3}, stream)
    progress(node(STEPS[0]), "end")
    progress(node(STEPS[0]), "end")
    progress(node(STEPS[1]), "start")
    progress(node(STEPS[1]), "exception")
    progress.close()
    assert "1/3 steps" in stream.getvalue()
    assert "FAILED" in stream.getvalue()
    assert lines() == ["sub_01.series_0_dwi.noise: FAILED"]


def test_a_participant_is_shown_by_its_own_label(lines):
    name = pe.Workflow(participant_workflow_name("01+a")).name
    assert subject_of(name) == "01+a"
    progress = Progress({"01+a": 1}, io.StringIO())
    report = SimpleNamespace(fullname=f"mrspec_prep_wf.{name}.report", name="report", run_without_submitting=False)
    progress(report, "end")
    assert progress.subjects_done == {"01+a"}
    progress(SimpleNamespace(fullname=f"mrspec_prep_wf.{name}.series_0_dwi_wf.roi", name="roi"), "start")
    assert lines() == ["sub_01+a.series_0_dwi.roi: started"]


def test_steps_are_counted_by_participant():
    workflow = pe.Workflow("mrspec_prep_wf")
    for subject, names in (("1", "ab"), ("11", "abc")):
        part = pe.Workflow(f"sub_{subject}_wf")
        part.add_nodes([pe.Node(IdentityInterface(["x"]), name) for name in names])
        workflow.add_nodes([part])
    assert steps_of(workflow, ["1", "11"]) == {"1": 2, "11": 3}
