"""Figures: valid SVG, images inside as PNG, the same bytes, odd data no obstacle."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import load_catalogue, map_entry
from mrspec_prep.physics import Grid
from mrspec_prep.reports.figures import cluster_figure, map_figure, outline_figure, strips_figure
from mrspec_prep.reports.mosaic import choose_view
from mrspec_prep.reports.spectrum_figures import protocol_figure, selection_figure, spectra_figure
from mrspec_prep.reports.style import color_range

SVG = "{http://www.w3.org/2000/svg}"


def images(svg):
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    found = list(root.iter(f"{SVG}image"))
    for image in found:
        assert image.get("{http://www.w3.org/1999/xlink}href").startswith("data:image/png;base64,")
    return found


@pytest.fixture(params=[(10, 12, 1), (10, 12, 7)])
def region(request):
    roi = np.zeros(request.param, bool)
    roi[2:8, 3:10] = True
    return roi, choose_view(roi, np.eye(4))


def test_pictures_of_maps_hold_images_not_paths(region):
    roi, view = region
    rng = np.random.default_rng(0)
    values = rng.random(roi.shape)
    labels = np.where(roi, rng.integers(1, 4, roi.shape), 0)
    colors = ["#0072B2", "#E69F00", "#009E73"]
    assert images(outline_figure(values, roi, view))
    assert images(cluster_figure(labels, values, view, colors, ["a", "b\nc", "d"]))
    assert images(cluster_figure(labels, None, view, colors, ["a", "b", "c"]))
    assert len(images(strips_figure([values] * 3, roi, view, ["a", "b", "c"], colors, "gray", "p"))) >= 3


@pytest.mark.parametrize("key", [k for k, entry in load_catalogue()["maps"].items() if entry["colormap"] != "clusters"])
def test_every_map_of_the_catalogue_can_be_drawn(region, key):
    roi, view = region
    values = np.random.default_rng(0).lognormal(size=roi.shape)
    assert images(map_figure(values, roi, view, map_entry(key)))


@pytest.mark.parametrize("value", [0.0, 1.0, 57.0, 1e-12])
@pytest.mark.parametrize("rule", ["percentile", "zero", "one", "log", [0, 1]])
def test_constant_maps_have_a_colour_range(value, rule):
    norm = color_range(np.full(9, value), rule)
    assert norm.vmin < norm.vmax


def test_empty_and_unbounded_values_have_a_colour_range():
    assert color_range(np.array([]), "zero").vmax > 0
    assert np.isfinite(color_range(np.array([np.nan, np.inf, 1.0, 2.0]), "percentile").vmax)


def test_the_colour_of_one_is_white_for_residuals():
    norm = color_range(np.array([0.9, 1.0, 1.1, 4.0]), "one")
    assert norm(1.0) == 0.5


@pytest.mark.parametrize("shape", [(9,), (7, 6), (5, 4, 3), (1,)])
def test_spectra_of_any_dimension(shape):
    names = ("diffusivity", "t2", "t1")[: len(shape)]
    grid = Grid(**{name: np.geomspace(1, 50, n) for name, n in zip(names, shape, strict=True)})
    spectra = np.random.default_rng(0).random((3, grid.n_bins))
    spectra[2] = 0  # a dead cluster
    peaks = [[{**dict.fromkeys(names, 7.0), "fraction": 0.5}], [], []]
    svg = spectra_figure(spectra, grid, ["a", "b", "c"], ["#0072B2", "#E69F00", "#009E73"], peaks)
    assert bool(images(svg)) == (len(shape) > 1)


def test_linear_grids_are_drawn_linear():
    grid = Grid(t2=np.linspace(10, 100, 10))
    assert images(spectra_figure(np.ones((1, 10)), grid, ["a"], ["#0072B2"], [[]])) == []


def test_selection_with_gaps_and_protocols_of_one_contrast():
    table = {"n_clusters": np.arange(2.0, 5), "bic": np.array([3.0, np.nan, 1.0]), "log_likelihood": np.zeros(3)}
    assert "<svg" in selection_figure(table, 4, "bic")
    assert "<svg" in protocol_figure({"TE": np.array([0.01, 0.02, 0.02])})


def test_equal_data_give_equal_bytes(region):
    roi, view = region
    values = np.random.default_rng(0).random(roi.shape)
    assert map_figure(values, roi, view, map_entry("t2")) == map_figure(values, roi, view, map_entry("t2"))
