import argparse

import pytest

from mrspec_prep.cli.parser import build_parser, memory_gb


@pytest.mark.parametrize(
    ("text", "gb"),
    [("8g", 8), ("1500m", 1.5), ("1.5G", 1.5), ("8000", 8), ("2GB", 2), ("1T", 1000), ("512 MiB", 0.512)],
)
def test_memory_is_read_in_every_usual_form(text, gb):
    assert memory_gb(text) == pytest.approx(gb)


@pytest.mark.parametrize("text", ["", "lots", "-3g", "0", "g", "nan"])
def test_memory_that_is_none_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="memory must look like"):
        memory_gb(text)


@pytest.mark.parametrize("flag", ["--participant-label", "--participant_label", "--subject-label"])
def test_participant_label_has_the_names_of_the_family(flag):
    args = build_parser().parse_args(["in", "out", "participant", flag, "01", "sub-02"])
    assert args.participant_label == ["01", "sub-02"]


@pytest.mark.parametrize("flag", ["--nprocs", "--nthreads", "--n-cpus"])
def test_processors_have_the_names_of_the_family(flag):
    assert build_parser().parse_args(["in", "out", "participant", flag, "3"]).nprocs == 3


def test_both_levels_at_once():
    assert build_parser().parse_args(["in", "out", "participant", "group"]).analysis_level == ["participant", "group"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["in", "out", "participant", "--nproc", "3"], "did you mean --nprocs"),
        (["in", "out", "participants"], "invalid choice"),
        (["in", "out", "participant", "--nprocs", "0"], "at least 1"),
        (["in", "out", "participant", "--bids-filter-file", "nowhere.json"], "no such file"),
        (["in", "out", "participant", "-d", "masks=nowhere"], "existing folder"),
        (["in"], "required"),
    ],
)
def test_a_usage_error_exits_with_2_and_says_what_would_do(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
