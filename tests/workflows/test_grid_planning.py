"""Axis values by hand: from ``--set`` or a file to the grid of the spectra; contradictions are refused in words."""

from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.cohort.checks import to_type
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.interfaces.base import grid_of
from mrspec_prep.options import OptionsError, load_options
from mrspec_prep.physics import Grid
from mrspec_prep.physics.hashes import protocol_hash
from mrspec_prep.workflows.planning.participant import plan_participant

ZEBRA = Path(__file__).parents[2] / "bids_examples" / "zebra_t2star-adc"
T2STAR, D = "t2star=[10, 40, 160]", "diffusivity=[0.1, 0.5, 2.5, 9]"


def plan(*overrides, **options):
    (series,) = plan_participant(open_layout(ZEBRA, ["01"]), "01", overrides=list(overrides), **options).series
    return series


def test_values_by_hand_replace_what_the_packaged_file_says_of_their_axes():
    one = plan(f"kernel.grid={{{T2STAR}}}", "kernel.points=[7, 9]")
    assert one.grid.t2star.tolist() == [10, 40, 160] and len(one.grid.diffusivity) == 7
    both = plan(f"kernel.grid={{{T2STAR}, {D}}}")
    assert both.grid.shape == (4, 3)
    assert both.options.kernel.points == ()
    same = plan(f"kernel.grid.{T2STAR}", f"kernel.grid.{D}")
    assert same.kernel_settings == both.kernel_settings and same.key == both.key
    np.testing.assert_array_equal(grid_of(both.series, both.kernel_settings).diffusivity, [0.1, 0.5, 2.5, 9])
    other = plan(f"kernel.grid={{{T2STAR}, diffusivity=[0.1, 0.5, 2.5, 8]}}")
    assert other.key != both.key and other.options.hash() != both.options.hash()
    hashes = {protocol_hash(one.kernel_settings, one.series.encodings) for one in (one, both, other)}
    assert len(hashes) == 1  # the grid has a hash of its own


def test_settings_that_were_written_are_read_again(tmp_path):
    both = plan(f"kernel.grid={{{T2STAR}, {D}}}", "nnls.regions={a={t2star=[0, 40]}}")
    written = tmp_path / "mine.toml"
    written.write_text(both.options.to_toml())
    assert "[kernel.grid]\n" in written.read_text()
    again = plan(workflow=written)
    assert again.options == both.options and again.grid.shape == (4, 3)


def test_bounds_of_a_file_give_way_and_those_beside_the_values_do_not(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text("[kernel]\nt2star = [5.0, 500.0]\ndiffusivity = [0.1, 10.0]\n")
    kernel = load_options(mine, [f"kernel.grid.{T2STAR}"]).kernel
    assert kernel.bounds == {"diffusivity": (0.1, 10.0)}
    for overrides in (
        ["kernel.t2star=[5, 500]", f"kernel.grid.{T2STAR}"],
        [f"kernel.grid.{T2STAR}", "kernel.t2star=[5, 500]"],
    ):
        with pytest.raises(OptionsError, match=r"kernel.grid.t2star gives the values .* leave one out"):
            load_options(mine, overrides)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("kernel.grid={t2sta=[10, 20]}", "not t2sta; did you mean t2star"),
        ("kernel.grid={t2=[10]}", "kernel.grid.t2 must be a list of at least 2 rising numbers, got \\[10\\]"),
        ("kernel.grid={t2=[20, 10]}", "at least 2 rising numbers"),
        ("kernel.grid={t2=[10, 10]}", "at least 2 rising numbers"),
        ("kernel.grid={t2=[0, 10]}", "must hold numbers > 0, got 0"),
        ("kernel.grid={t2=[10, inf]}", "rising numbers"),
        ("kernel.grid={t2=['a', 'b']}", "rising numbers"),
        ("kernel.grid={t2=10}", "rising numbers, got 10"),
        ("kernel.grid=[10, 20]", "must be a table of axis"),
        ("kernel.gird={t2=[10, 20]}", "did you mean grid"),
        ("nnls.regions={a={t2sta=[0, 40]}}", "got 't2sta'; did you mean t2star"),
        ("kernel.spacing=lin", "did you mean linear"),
    ],
)
def test_what_is_no_grid_is_refused_in_words(override, words):
    with pytest.raises(OptionsError, match=words) as error:
        load_options(None, [override])
    assert str(error.value).startswith(f"--set {override}: ")


def test_what_the_kernel_has_no_use_for_is_refused_and_its_origin_named(tmp_path):
    with pytest.raises(InputError, match="kernel.grid names the axis t2, and kernel adc-t2star has") as error:
        plan("kernel.grid={t2=[10, 20]}")
    assert "did you mean t2star" in str(error.value) and "--set kernel.grid={t2=[10, 20]}" in str(error.value)
    for key in ("points=[4, 3]", "spacing=linear"):
        with pytest.raises(InputError, match="leave kernel.(points|spacing) or kernel.grid out"):
            plan(f"kernel.grid={{{T2STAR}, {D}}}", f"kernel.{key}")
    with pytest.raises(InputError, match=r"kernel adc-t2star has 2 axes and kernel.points has 1 number\b") as error:
        plan("kernel.points=[10]")
    assert "--set kernel.points=[10]" in str(error.value) and ".toml" not in str(error.value)
    mine = tmp_path / "mine.toml"
    mine.write_text("[kernel]\npoints = [10]\n")
    with pytest.raises(InputError, match=r"mine\.toml"):
        plan(workflow=mine)


def test_the_group_level_says_how_to_type_a_grid_by_hand():
    assert to_type(Grid(t2=[10, 20, 50])) == "--set 'kernel.grid.t2=[10,20,50]'"
    mixed = to_type(Grid(diffusivity=np.geomspace(0.1, 10, 5), t2=[10, 20, 50]))
    assert mixed == "--set 'kernel.diffusivity=[0.1,10]' --set 'kernel.grid.t2=[10,20,50]' --set 'kernel.points=[5,3]'"
