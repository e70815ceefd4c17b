from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.workflows.planning.participant import kernel_for, plan_participant, restrict_to_kernel

EXAMPLES = Path(__file__).parents[2] / "bids_examples"
ZEBRA = EXAMPLES / "zebra_t2star-adc"
T1T2 = EXAMPLES / "t1-t2_mese"


def plan_of(dataset, **options):
    subject = sorted(path.name for path in dataset.glob("sub-*"))[0].removeprefix("sub-")
    return plan_participant(open_layout(dataset, [subject]), subject, **options)


@pytest.mark.parametrize(
    ("dataset", "kernel", "workflow"),
    [("zebra_t2star-adc", "adc-t2star", "t2star-adc_inspect"), ("t1-t2_mese", "t1-t2", "t1-t2_inspect")],
)
def test_the_workflow_follows_what_varies(dataset, kernel, workflow):
    (series,) = plan_of(EXAMPLES / dataset).series
    assert (series.kernel, series.workflow) == (kernel, workflow)
    assert "vary" in series.why


def test_a_kernel_that_the_data_cannot_support_is_refused_with_a_remedy():
    with pytest.raises(InputError, match="inversion time to vary.*Remedy: choose a workflow"):
        plan_of(ZEBRA, overrides=["kernel.name=t1-adc"])


def test_an_unknown_kernel_is_refused_by_name():
    with pytest.raises(InputError, match="t3-adc.*did you mean t1-adc"):
        plan_of(ZEBRA, overrides=["kernel.name=t3-adc"])


def test_a_contrast_that_is_no_axis_is_held_at_its_most_sensitive_value():
    (full,) = plan_of(ZEBRA).series
    (reduced,) = plan_of(ZEBRA, overrides=["kernel.name=adc"]).series
    encodings = reduced.series.encodings
    assert np.all(encodings.echo_time == full.series.encodings.echo_time.min())
    assert len(reduced.series.volumes) == len(encodings) < len(full.series.encodings)
    assert any("no axis" in note for note in reduced.series.notes)


def test_restricting_by_two_contrasts_keeps_volumes_and_encodings_together():
    (plan,) = plan_of(ZEBRA).series
    series = restrict_to_kernel(plan.series, "adc")
    rows = {
        tuple(row): (b, te)
        for row, b, te in zip(
            plan.series.volumes.tolist(), plan.series.encodings.bvalue, plan.series.encodings.echo_time, strict=True
        )
    }
    for row, b, te in zip(series.volumes.tolist(), series.encodings.bvalue, series.encodings.echo_time, strict=True):
        assert rows[tuple(row)] == (b, te)


def test_the_key_changes_with_settings_seed_and_nothing_else():
    first, again = plan_of(ZEBRA), plan_of(ZEBRA)
    assert first.key == again.key
    assert plan_of(ZEBRA, seed=1).key != first.key
    assert plan_of(ZEBRA, overrides=["nnls.alpha=0.02"]).key != first.key


def test_every_default_kernel_exists():
    (plan,) = plan_of(ZEBRA).series
    assert kernel_for(plan.series) == plan.kernel


def test_derivative_masks_are_demanded_when_asked_for():
    with pytest.raises(InputError, match="no derivative mask.*Remedy: pass --derivatives"):
        plan_of(ZEBRA, overrides=["mask.source=derivative"])


def test_points_must_match_the_axes():
    with pytest.raises(InputError, match="give kernel.points 2 numbers"):
        plan_of(ZEBRA, overrides=["kernel.points=[10]"])


def test_a_noise_level_from_few_repeats_is_not_taken_for_known():
    (plan,) = plan_of(ZEBRA).series
    assert plan.options.noise.distribution == "student-t"
    for override in ("noise.method=residual", "noise.method=3.5", "inspect.mode=paper", "noise.distribution=gaussian"):
        (plan,) = plan_of(ZEBRA, overrides=[override]).series
        assert plan.options.noise.distribution == "gaussian", override
    (echoes,) = plan_of(T1T2).series
    assert echoes.options.noise.distribution == "gaussian"
