"""Every noise distribution from the workflow file to the nodes that use it."""

import json
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.interfaces.inspect_em import FitInspect
from mrspec_prep.options import Options, OptionsError
from mrspec_prep.workflows.planning.participant import plan_participant
from mrspec_prep.workflows.spectral import init_spectral_wf

ZEBRA = Path(__file__).parents[2] / "bids_examples" / "zebra_t2star-adc"


def graph(tmp_path, *overrides):
    (plan,) = plan_participant(open_layout(ZEBRA, ["01"]), "01", overrides=list(overrides)).series
    series = tmp_path / "series.json"
    series.write_text(json.dumps(plan.series.to_json()))
    return init_spectral_wf(plan, series, saving={}, name="series")


def sources(workflow, label):
    """Where each input of a node comes from, {input: node}."""
    return {
        target: origin.name
        for origin, node, data in workflow._graph.edges(data=True)
        for _, target in data["connect"]
        if node.name == label
    }


@pytest.mark.parametrize("law", [("rician", 1), ("nc-chi", 8)])
def test_magnitudes_reach_spectra_as_real_signals_and_inspect_as_they_are(tmp_path, law):
    workflow = graph(tmp_path, f"noise.distribution={law[0]}", f"noise.n_coils={law[1]}")
    assert sources(workflow, "nnls")["signals"] == "real_signals"
    assert sources(workflow, "nnls")["residual_signals"] == "real_signals"
    assert sources(workflow, "inspect_em")["signals"] == "signals"
    assert sources(workflow, "save_compressed")["signals"] == "real_signals"
    assert workflow.get_node("save_compressed").inputs.stand_ins
    for label in ("noise", "real_signals", "inspect_em"):
        inputs = workflow.get_node(label).inputs
        assert (inputs.distribution, inputs.n_coils) == law


@pytest.mark.parametrize("distribution", ["gaussian", "student-t"])
def test_other_noise_leaves_signals_alone(tmp_path, distribution):
    workflow = graph(tmp_path, f"noise.distribution={distribution}")
    assert "real_signals" not in workflow.list_node_names()
    assert sources(workflow, "nnls")["signals"] == "signals"
    assert sources(workflow, "save_compressed")["signals"] == "signals"
    assert not workflow.get_node("save_compressed").inputs.stand_ins
    assert workflow.get_node("inspect_em").inputs.distribution == distribution


def inspect_node(tmp_path, notes):
    path = tmp_path / "noise.json"
    path.write_text(json.dumps(notes))
    return FitInspect(distribution="student-t", noise_notes=str(path))


def test_student_t_takes_the_degrees_of_freedom_of_the_noise(tmp_path):
    node = inspect_node(tmp_path, {"method": "b0-repeats", "degrees_of_freedom": 20.0})
    assert node._noise_model().degrees_of_freedom == 20


@pytest.mark.parametrize("degrees", [None, np.inf])
def test_student_t_without_degrees_of_freedom_is_refused_with_a_remedy(tmp_path, degrees):
    node = inspect_node(tmp_path, {"method": "mppca", "degrees_of_freedom": degrees})
    with pytest.raises(InputError, match="how uncertain the noise level is.*mppca.*Remedy: --noise b0-repeats"):
        node._noise_model()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"noise": {"distribution": "poisson"}}, "noise.distribution must be one of"),
        ({"noise": {"distribution": "nc-chi", "n_coils": 0}}, "noise.n_coils must be a whole number >= 1"),
        ({"noise": {"distribution": "nc-chi", "n_coils": 65}}, "noise.n_coils must be <= 64"),
        ({"noise": {"distribution": "rician", "n_coils": 2}}, "needs noise.distribution = nc-chi"),
        ({"noise": {"distribution": "rician"}, "inspect": {"mode": "paper"}}, "needs inspect.mode = exact"),
        ({"noise": {"distribution": "rician"}, "kernel": {"polarity": "signed"}}, "signed signals are gaussian"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, words):
    with pytest.raises(OptionsError, match=words):
        Options.from_dict(settings)
