"""Participants whose grids differ: refused before computing where the group is asked for, told where it is not."""

import shlex

import numpy as np
import pytest

from mrspec_prep.bids.cohort.checks import covering
from mrspec_prep.cli import participants
from mrspec_prep.cli import run as command
from mrspec_prep.physics import Grid
from tests.bids.conftest import TinyDataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Three participants with b-values up to 1000, 1000 and 2000 s/mm2."""
    tiny = TinyDataset(tmp_path_factory.mktemp("tiny") / "bids")
    rng = np.random.default_rng(0)
    for label, most in (("01", 1000), ("02", 1000), ("03", 2000)):
        bval = [0, 0, 0, 0, *np.linspace(0.1, 1, 7) * most]
        decay = 1000 * np.exp(-np.array(bval) * 1e-3) * np.ones((5, 5, 3, 1))
        data = decay + rng.normal(scale=10, size=decay.shape)
        tiny.image(f"sub-{label}/dwi/sub-{label}_dwi", data=data, bval=bval, sidecar={"EchoTime": 0.08})
    return tiny.root


@pytest.fixture
def asked(dataset, tmp_path, monkeypatch, capsys):
    """Run a command line up to computing: its code, the participants that would be computed, what was said."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        computed = []
        monkeypatch.setattr(
            participants, "compute", lambda _a, _s, _r, plans, *_: (computed.extend(plans), (0, []))[1]
        )
        if "--dry-run" not in words:
            monkeypatch.setattr(command, "run_group", lambda *_: 0)
        code = command.run([str(word) for word in (dataset, tmp_path / "out", *words)])
        return code, [plan.subject for plan in computed], capsys.readouterr().err

    return run


def test_several_grids_are_refused_before_computing_and_the_remedy_may_be_pasted(asked):
    for more in ((), ("--dry-run",)):
        code, computed, said = asked("participant", "group", *more)
        assert (code, computed) == (2, [])
        assert "sub-01, sub-02; " in said and "Nothing was computed" in said
    typed = shlex.split(said.partition("with one grid: ")[2].splitlines()[0])
    assert typed[0] == "--set" and "'" not in "".join(typed)
    code, computed, said = asked("participant", "group", *typed)
    assert (code, computed) == (0, ["01", "02", "03"]) and "one grid" not in said


def test_participants_alone_are_computed_and_the_group_to_come_is_told(asked):
    code, computed, said = asked("participant")
    assert (code, computed) == (0, ["01", "02", "03"])
    assert "note: a group level over these participants would refuse them" in said and "with one grid: --set '" in said
    assert "would refuse" not in asked("participant", "--participant-label", "01", "02")[2]


def test_a_preview_of_both_levels_does_not_fail_for_want_of_results(asked):
    code, _, said = asked("participant", "group", "--dry-run", "--participant-label", "01", "02")
    assert code == 0 and "FAILED" not in said
    assert "The group is planned once participants are finished" in said


def test_the_grid_of_the_remedy_covers_those_of_all():
    short = Grid(diffusivity=np.geomspace(0.125, 1000, 40), t2=np.geomspace(12, 800, 50), kurtosis=np.linspace(0, 3, 5))
    long = Grid(diffusivity=np.geomspace(0.15, 1000, 30), t2=np.geomspace(15, 900, 50), kurtosis=np.linspace(0, 3, 5))
    for given in ([short, long], [long, short]):
        found = covering(given)
        assert found.shape == (40, 50, 5)
        assert found.diffusivity[[0, -1]] == pytest.approx([0.125, 1000])
        assert found.t2[[0, -1]] == pytest.approx([12, 900])
        assert found.kurtosis.tolist() == short.kurtosis.tolist()
