import math

import pytest

from mrspec_prep.bids.output.derivatives import table_text
from mrspec_prep.workflows.running.measured_memory import StepMemory, measured_before, table_in_words


def table(steps, peaks, estimates, settings="abc"):
    n = len(steps)
    return {
        "step": [f"mrspec_prep_wf.sub_{i}_wf.series_0_dwi_wf.{step}" for i, step in enumerate(steps)],
        "settings": [settings] * n,
        "mem_peak_gb": peaks,
        "mem_reserved_gb": estimates,
        "mem_estimated_gb": estimates,
        "seconds": [1.0] * n,
    }


def test_the_largest_peak_over_its_estimate_counts(tmp_path):
    columns = table(["nnls", "nnls", "roi"], [0.5, 0.9, 0.2], [1.0, 1.0, 1.0])
    (tmp_path / "1_resources.tsv").write_text(table_text(columns))
    assert measured_before(tmp_path) == {"abc": {"nnls": 0.9, "roi": 0.2}}


def test_the_newest_table_wins_and_others_fill_in(tmp_path):
    (tmp_path / "1_resources.tsv").write_text(table_text(table(["nnls", "roi"], [0.5, 0.3], [1.0, 1.0])))
    (tmp_path / "2_resources.tsv").write_text(table_text(table(["nnls"], [0.7], [1.0])))
    (tmp_path / "3_resources.tsv").write_text(table_text(table(["nnls"], [0.1], [1.0], settings="other")))
    assert measured_before(tmp_path) == {"abc": {"nnls": 0.7, "roi": 0.3}, "other": {"nnls": 0.1}}


@pytest.mark.parametrize("text", ["", "step\tmem_peak_gb\na\t1\n", "\x00\xff", "step\tsettings\n"])
def test_a_table_of_another_kind_tells_nothing(tmp_path, text):
    (tmp_path / "1_resources.tsv").write_bytes(text.encode("latin-1"))
    assert measured_before(tmp_path) == {}


def test_steps_without_settings_or_estimate_tell_nothing(tmp_path):
    columns = table(["nnls", "fit"], [0.5, 0.5], [math.nan, 1.0])
    columns["settings"] = ["abc", None]
    (tmp_path / "1_resources.tsv").write_text(table_text(columns))
    assert measured_before(tmp_path) == {}


def test_what_is_set_aside_follows_what_was_measured_within_the_limit():
    memory = StepMemory(2.0, 3.0, {"nnls": 0.5, "roi": 0.01, "fit": 4.0})
    assert memory.of("nnls") == pytest.approx(1.2)
    assert memory.of("roi") == 0.2
    assert memory.of("fit") == 3.0
    assert memory.of("another") == 2.0


def test_the_table_shows_the_largest_of_every_kind_of_step():
    lines = table_in_words(table(["nnls", "nnls", "roi"], [0.5, 0.9, 0.2], [1.0, 2.0, 1.0]))
    assert [line.split() for line in lines[1:]] == [["nnls", "0.90", "2.00", "1.0"], ["roi", "0.20", "1.00", "1.0"]]
