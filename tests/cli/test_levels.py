import signal

import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.cli import run as command
from mrspec_prep.interfaces.interrupts import interrupt


@pytest.fixture
def levels(monkeypatch, tmp_path):
    """Run both levels with given endings; what each level was asked is recorded."""
    (tmp_path / "bids").mkdir()

    def run(participants, group, *words):
        ran = []

        def level(name, ending):
            def end(*_):
                ran.append(name)
                if isinstance(ending, Exception):
                    raise ending
                return ending

            return end

        monkeypatch.setattr(command, "run_participants", level("participant", participants))
        monkeypatch.setattr(command, "run_group", level("group", group))
        words = words or ("participant", "group")
        return command.run([str(tmp_path / "bids"), str(tmp_path / "out"), *words]), ran

    return run


@pytest.mark.parametrize("step", ["_check_words", "check_links", "start_logging"])
def test_a_signal_before_the_levels_ends_the_run_as_any_other(levels, monkeypatch, step, caplog):
    def struck(*_, **more):
        interrupt(signal.SIGTERM)

    monkeypatch.setattr(command, step, struck)
    monkeypatch.setattr(command.LOGGER, "propagate", True)
    monkeypatch.setattr(command, "_kill_children", lambda: None)  # those of other tests go on
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert levels((0, []), 0) == (143, [])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert "Interrupted. To go on" in caplog.text


@pytest.mark.parametrize(
    ("participants", "group", "code", "ran"),
    [
        ((0, []), 0, 0, ["participant", "group"]),
        ((1, ["02", "04"]), 0, 1, ["participant", "group"]),
        ((0, []), 1, 1, ["participant", "group"]),
        ((2, ["01"]), 0, 2, ["participant"]),
        ((0, []), InputError("no participant has results"), 1, ["participant", "group"]),
    ],
)
def test_the_group_runs_over_the_rest_and_the_worse_ending_counts(levels, capsys, participants, group, code, ran):
    assert levels(participants, group) == (code, ran)
    said = capsys.readouterr().err.splitlines()
    if participants[0] == 1:
        assert said[-1].endswith("FAILED at the participant level: sub-02, sub-04")
    if isinstance(group, InputError):
        assert said[-1].endswith("FAILED: the group level was not run: no participant has results")


def test_order_of_the_words_does_not_matter_and_one_level_runs_alone(levels):
    assert levels((0, []), 0, "group", "participant") == (0, ["participant", "group"])
    assert levels((0, []), 0, "group") == (0, ["group"])
    assert levels((0, []), InputError("nobody"), "group")[0] == 2
    assert levels((0, []), 0, "participant") == (0, ["participant"])


def test_workers_of_the_group_are_refused_before_anything_runs_where_they_cannot_serve(levels, monkeypatch, capsys):
    assert levels((0, []), 0, "participant", "--dask", "local:2") == (2, [])
    assert "--dask serves the group level" in capsys.readouterr().err
    monkeypatch.setattr("mrspec_prep.interfaces.group.dask_cluster.find_spec", lambda name: None)
    assert levels((0, []), 0, "participant", "group", "--dask", "local:2") == (2, [])
    assert 'pip install "mrspec_prep[hpc]"' in capsys.readouterr().err
