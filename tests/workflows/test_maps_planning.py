"""Which model a protocol gets, what it is refused, and what noise its signals are taken to have."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.networks import METHODS
from mrspec_prep.options import load_options
from mrspec_prep.physics import Encodings
from mrspec_prep.physics.models import MODELS
from mrspec_prep.workflows.planning.maps import check_map_names, model_for, with_maps
from mrspec_prep.workflows.planning.participant import plan_participant
from mrspec_prep.workflows.spectral import init_spectral_wf

ZEBRA = Path(__file__).parents[2] / "bids_examples" / "zebra_t2star-adc"
B, TE, TI = np.array([0.0, 500, 1000, 2000]), np.array([10.0, 20, 40, 80]), np.array([50.0, 500, 1500, 3000])


@pytest.fixture(scope="module")
def series():
    (plan,) = plan_participant(open_layout(ZEBRA, ["01"]), "01").series
    return plan.series


def with_encodings(series, **axes):
    return replace(series, encodings=Encodings(**axes))


@pytest.mark.parametrize(
    ("axes", "decay", "model"),
    [
        ({"bvalue": B}, "t2", "msdki"),
        ({"bvalue": B[:2]}, "t2", "adc"),
        ({"bvalue": np.array([0.0, 4000, 6000])}, "t2", "adc"),
        ({"echo_time": TE}, "t2star", "t2star"),
        ({"bvalue": B, "echo_time": TE}, "t2", "adc-t2"),
        ({"inversion_time": TI}, "t2", "ir-t1"),
    ],
)
def test_the_model_follows_what_varies(series, axes, decay, model):
    assert model_for(replace(with_encodings(series, **axes), decay=decay)) == model


def test_contrasts_without_a_model_are_refused_with_those_there_are(series):
    two = with_encodings(series, inversion_time=np.repeat(TI, 4), echo_time=np.tile(TE, 4))
    with pytest.raises(InputError, match="no model.*TE 10, 20, 40, 80 ms; TI 50.*maps.model=NAME .*t2"):
        model_for(two)


def test_one_shell_is_refused_kurtosis_and_told_what_it_can_carry(series):
    options = load_options(None, ["maps.model=msdki"])
    with pytest.raises(InputError, match="3 free parameters.*got 2.*found b 0, 1000 s/mm2.*maps.model=NAME .adc"):
        with_maps(options, with_encodings(series, bvalue=np.array([0.0, 0, 1000, 1000])))


@pytest.mark.parametrize(
    ("noise", "maps", "found"),
    [("auto", "auto", "auto"), ("rician", "auto", "rician"), ("gaussian", "auto", "gaussian"),
     ("gaussian", "rician", "rician"), ("student-t", "auto", "auto")],
)  # fmt: skip
def test_noise_of_the_maps_follows_that_of_the_section_noise(series, noise, maps, found):
    overrides = ["maps.model=auto", f"noise.distribution={noise}", f"maps.distribution={maps}"]
    options = with_maps(load_options(None, overrides), series)
    assert (options.maps.distribution, options.maps.model) == (found, "adc-t2star")


def test_signed_signals_are_not_rician(series):
    options = load_options(None, ["maps.model=ir-t1-signed", "maps.distribution=rician"])
    with pytest.raises(InputError, match="signed signals.*maps.model=ir-t1"):
        with_maps(options, with_encodings(series, inversion_time=TI))


def test_a_model_that_was_chosen_is_said():
    (plan,) = plan_participant(open_layout(ZEBRA, ["01"]), "01", overrides=["maps.model=auto"]).series
    assert plan.options.maps.model == "adc-t2star"
    assert any(
        "echo time" in note and "the model of the parameter maps is adc-t2star" in note for note in plan.series.notes
    )


def test_every_method_and_model_passes_by_its_name():
    for model in MODELS:
        methods = "[" + ",".join(f'"{method}"' for method in METHODS) + "]"
        check_map_names(load_options(None, [f"maps.model={model}", f"maps.methods={methods}"]).maps)


def test_another_device_is_another_result(series):
    layout = open_layout(ZEBRA, ["01"])
    plans = [plan_participant(layout, "01", overrides=["maps.model=auto"], device=d) for d in ("cpu", "auto", "cpu")]
    first, other, same = (plan.key for plan in plans)
    assert first == same != other


def nodes(folder, *overrides):
    (plan,) = plan_participant(open_layout(ZEBRA, ["01"]), "01", overrides=["maps.model=auto", *overrides]).series
    (folder / "series.json").write_text("{}")
    workflow = init_spectral_wf(plan, folder / "series.json", saving={}, name="series")
    feeds = {(node.name, target): (origin.name, source) for origin, node, data in workflow._graph.edges(data=True)
             for source, target in data["connect"]}  # fmt: skip
    return set(workflow.list_node_names()), feeds


def test_maps_alone_compute_no_spectra(tmp_path):
    names, _ = nodes(tmp_path, "nnls.wanted=false", "inspect.wanted=false", "noise.distribution=rician")
    assert names == {"roi", "signals", "noise", "save_acquisition", "maps_lsq", "save_maps_lsq", "maps_learnedprior",
                     "save_maps_learnedprior"}  # fmt: skip


def test_maps_beside_spectra_get_the_signals_as_measured(tmp_path):
    names, feeds = nodes(tmp_path, "noise.distribution=rician", 'maps.methods=["lsq-gmm"]')
    assert {"nnls", "inspect_em", "save_compressed", "real_signals", "maps_lsqgmm"} <= names
    assert feeds["maps_lsqgmm", "signals"] == ("signals", "measured")
    assert feeds["maps_lsqgmm", "noise_notes"] == ("noise", "notes")


@pytest.mark.parametrize(
    ("key", "left"), [("nnls", {"inspect_em", "save_inspect"}), ("inspect", {"nnls", "save_nnls"})]
)
def test_spectra_or_clusters_may_be_left_out_each_alone(tmp_path, key, left):
    names, _ = nodes(tmp_path, f"{key}.wanted=false")
    assert left | {"save_compressed"} <= names
    assert not names & ({"nnls", "save_nnls", "inspect_em", "save_inspect"} - left)
