"""Figures of parameter maps: colour bars with units, scales, clouds and learning curves."""

import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import load_catalogue
from mrspec_prep.reports.maps import figures as maps_figures
from mrspec_prep.reports.maps import plots as maps_plots
from mrspec_prep.reports.mosaic import choose_view


@pytest.fixture
def region():
    roi = np.zeros((16, 18, 5), bool)
    roi[3:13, 3:15] = True
    return roi, np.random.default_rng(0).lognormal(size=roi.shape)


@pytest.mark.parametrize("n", [1, 2, 6])
@pytest.mark.parametrize("key", ["model-diffusivity", "model-s0"])
def test_maps_and_their_spread_have_colour_bars_with_units(region, n, key):
    roi, values = region
    entry, view = load_catalogue()["maps"][key], maps_figures.side_by_side(roi, np.eye(4), n)
    figure = maps_figures.methods_figure.__wrapped__(["a"] * n, [values] * n, [values] * (n - 1) + [None], roi, view,
                                                     entry)  # fmt: skip
    bars = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    wanted = f"{entry['symbol']} [{entry['unit']}]"
    assert bars == [wanted, f"std of {wanted}"][: 1 if n == 1 else 2]
    norms = {(image.norm.vmin, image.norm.vmax) for axes in figure.axes for image in axes.images}
    assert len(norms) <= 2 * len(bars)


def test_slices_fit_their_columns(region):
    roi, _ = region
    views = [maps_figures.side_by_side(roi, np.eye(4), n) for n in (1, 2, 3, 6)]
    counts = [len(view.slices) for view in views]
    assert counts[1:] == sorted(counts[1:], reverse=True) and counts[-1] == 1
    assert views[-1].slices == (2,)  # in the middle
    assert choose_view(roi, np.eye(4), 2).slices == (1, 3)


def test_curves_have_axes_with_units_and_clouds_their_components(region):
    entry = load_catalogue()["maps"]["model-diffusivity"]
    values = np.random.default_rng(0).normal(1, 0.2, 500)
    figure = maps_plots.histograms_figure.__wrapped__([(entry, [values, None])], ["a", "b"], ["k", "r"])
    assert figure.axes[0].get_xlabel() == "D [µm²/ms]" and figure.axes[0].get_ylabel() == "voxels [%]"
    points = np.random.default_rng(0).normal(size=(500, 2))
    labels = np.repeat([1, 2], 250)
    clouds = [
        maps_plots.Cloud("one", points, ("x [u]", "y"), labels),
        maps_plots.Cloud("two", points, ("p", "q"), None),
    ]
    axes = maps_plots.clouds_figure.__wrapped__(clouds).axes
    assert [a.get_xlabel() for a in axes] == ["x [u]", "p"] and axes[0].get_xlim() == axes[1].get_xlim()
    assert len(axes[0].patches) == 8 and {text.get_text() for text in axes[0].texts} == {"1", "2"}


def test_ellipses_have_the_size_of_gaussian_points():
    points = np.random.default_rng(1).normal(size=(20000, 2)) * [2.0, 0.5]
    cloud = maps_plots.Cloud("one", points, ("x", "y"), np.ones(len(points), int))
    one = maps_plots.clouds_figure.__wrapped__([cloud]).axes[0].patches[1]
    assert sorted((one.width, one.height)) == pytest.approx([1.0, 4.0], rel=0.04)


@pytest.mark.parametrize(("values", "scale"), [(np.geomspace(1000, 1, 50), "log"), (np.linspace(2, 1, 50), "linear"),
                                               (np.linspace(-5, 40, 50), "linear")])  # fmt: skip
def test_learning_curves_are_logarithmic_where_it_helps(values, scale):
    history = {"step": np.arange(1.0, 51), "loss": values}
    axes = maps_plots.learning_figure.__wrapped__({"net": history}, ["k"]).axes[0]
    assert axes.get_yscale() == scale and axes.get_xlabel() == "step"
    assert axes.get_title() == "net" and axes.get_ylabel() == "loss"


def test_criteria_stand_against_what_was_tried_and_gaps_are_left_out():
    history = {"step": np.arange(1.0, 7), "n_components": np.array([1, 2, 4, *[np.nan] * 3]),
               "bic": np.array([9.0, 5, 6, *[np.nan] * 3]), "log_evidence": 1e6 + np.arange(6.0),
               "draws": np.array([7.0, *[np.nan] * 5]), "learning_rate": np.ones(6)}  # fmt: skip
    first, second = maps_plots.learning_figure.__wrapped__({"m": history}, ["k"]).axes
    assert first.get_xlabel() == "number of components" and list(first.lines[0].get_xdata()) == [1, 2, 4]
    assert "less its last" in second.get_ylabel() and second.lines[0].get_ydata()[-1] == 0


def test_principal_axes_keep_what_varies_most():
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(500, 4)) * [0.1, 5, 0.1, 2]
    points = maps_plots.principal(latent)
    assert points.std(axis=0) == pytest.approx([latent[:, 1].std(), latent[:, 3].std()], rel=0.01)
    assert maps_plots.principal(latent[:, :2]) is not None and maps_plots.principal(latent[:, :2]).shape == (500, 2)
