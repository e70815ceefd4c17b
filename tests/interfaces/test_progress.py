"""What is said while a long step works."""

import logging

import pytest

from mrspec_prep.interfaces import progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    logger = logging.getLogger("mrspec_prep")
    monkeypatch.setattr(logger, "propagate", True)
    return now


def test_time_left_is_that_of_the_stage_under_way(clock, caplog):
    caplog.set_level(logging.INFO, logger="mrspec_prep")
    spoken = progress.SpokenProgress("maps")
    for step in range(1, 5):
        clock[0] += 6
        spoken(step, 4)
    for step in range(0, 1000, 100):
        clock[0] += 3
        spoken(step, 1000)
    spoken.done("10 voxels")
    lines = [record.getMessage() for record in caplog.records]
    assert "50 %, about 12 s left" in lines[0]
    assert "10 %, about 27 s left" in lines[1]
    assert lines[-1] == "maps: 10 voxels in 54 s"
    assert len(lines) == 5


def test_what_is_under_way_is_said_at_most_every_ten_seconds(clock, caplog):
    caplog.set_level(logging.INFO, logger="mrspec_prep")
    spoken = progress.SpokenProgress("clusters")
    for step in range(9):
        clock[0] += 4
        spoken.words(f"step {step}")
    assert caplog.messages == [f"clusters: step {step}, after {4 * step + 4} s" for step in (2, 5, 8)]
