"""Parameter maps in the report: methods side by side, honest words, gaps that are no errors."""

import re
import tomllib
from html.parser import HTMLParser

import numpy as np
import pytest

from mrspec_prep.bids.catalogue import data_text, load_catalogue
from mrspec_prep.bids.derivatives import MapFile
from mrspec_prep.physics.models import MODELS
from mrspec_prep.reports import maps_figures, maps_plots
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.maps_collect import METHODS, MethodMaps, _to_world
from mrspec_prep.reports.maps_numbers import agreement, collapsed, doubts
from mrspec_prep.reports.maps_words import by_model, trusted
from mrspec_prep.reports.methods import cited_keys, compose, methods_facts, reference_in_words
from mrspec_prep.reports.mosaic import choose_view
from mrspec_prep.reports.remark import CAUTION, GOOD, PROBLEM
from mrspec_prep.reports.subject import build_subject_report
from mrspec_prep.reports.verdict import judge
from tests.reports.maps_study import ERROR, add_maps, wish

SHAPE = (20, 22, 4)
OFF = {"nnls": {"wanted": False}, "inspect": {"wanted": False}}
WORDS = tomllib.loads(data_text("report.toml"))


@pytest.fixture(scope="module")
def mapped(tmp_path_factory, write, head):
    """Function: model and settings of the phantom -> output folder, once per call with equal arguments."""
    done = {}

    def give(model="msdki", methods=("lsq", "learnedprior"), **told):
        key = repr((model, methods, sorted(told.items())))
        if key not in done:
            base = tmp_path_factory.mktemp("mapped")
            kernel, datatype = ("t2", "anat") if model == "t2" else ("adc-t2star", "dwi")
            out = write(base / "out", base / "raw", kernel=kernel, shape=SHAPE, steps=())
            add_maps(out, head(SHAPE), model, methods, **told)
            wish(out, datatype=datatype, **OFF, maps={"model": model, "methods": list(methods)})
            done[key] = out
        return done[key]

    return give


@pytest.fixture(scope="module")
def said(mapped):
    """Function: settings of the phantom -> verdict, its text, and the series; ``change`` edits the series first."""

    def give(change=None, **settings):
        (series,) = collect_series(mapped(**settings), "01")
        if change:
            change(series)
        found = judge(series, WORDS)
        return found, " ".join(remark.text for remark in found.remarks), series

    return give


class Text(HTMLParser):
    """Visible text and the tags that were opened."""

    def __init__(self):
        super().__init__()
        self.text, self.tags = "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


# -- the page ---------------------------------------------------------------------------------------------------


def test_a_report_without_spectra_is_whole(mapped):
    out = mapped(methods=tuple(ERROR))
    page = re.sub(r"(?s)<script.*?</script>|<style>.*?</style>", "", build_subject_report(out, "01").read_text())
    assert "No step failed and nothing is missing." in page and "analysis is incomplete" not in page
    assert "<h2>Spectra</h2>" not in page and "Tissue clusters" not in page
    assert WORDS["sections"]["identifiability"] not in page and "spectrum" not in page
    assert "of the 95\u202f% interval in single voxels" in page and "<td>K</td>" in page
    for section in ("modelmaps", "modeltrust", "modelprior"):
        assert f"<h2>{WORDS['sections'][section]}</h2>" in page
    figures = {path.stem.removeprefix("sub-01_dwi_msdki-") for path in (out / "sub-01/figures").glob("*msdki*")}
    assert figures == {"diffusivity", "kurtosis", "s0", "histograms", "residual", "risk", "components", "latent",
                       "learning"}  # fmt: skip


def test_maps_beside_spectra_are_one_report(participant, head):
    out = participant(shape=(14, 16, 2))
    add_maps(out, head((14, 16, 2)), methods=("lsq",))
    page = build_subject_report(out, "01").read_text()
    assert "<h2>Spectra</h2>" in page and f"<h2>{WORDS['sections']['modelmaps']}</h2>" in page
    assert "T2*-D spectrum, mean signal diffusion kurtosis maps" in page
    order = [page.index(f"<h2>{WORDS['sections'][name]}</h2>") for name in ("spectra", "modelmaps", "residuals")]
    assert order == sorted(order)


def test_a_report_without_maps_says_nothing_of_them(participant):
    page = build_subject_report(participant(shape=(14, 16, 1), steps=()), "01").read_text()
    assert not any(WORDS["sections"][name] in page for name in ("modelmaps", "modeltrust", "modelprior"))


def test_one_method_in_one_slice_of_relaxometry(mapped):
    out = mapped(model="t2", methods=("lsq",))
    page = build_subject_report(out, "01").read_text()
    assert "T2 decay maps" in page and "Only least squares ran" in page
    assert (out / "sub-01/figures/sub-01_anat_t2-t2.svg").is_file()
    assert "Signal at no weighting and T2" not in page and "T2 of the T2 decay model" in page


def test_directions_are_drawn_where_the_model_has_them(mapped):
    out = mapped(model="ball-stick")
    page = build_subject_report(out, "01").read_text()
    assert (out / "sub-01/figures/sub-01_dwi_ballstick-direction.svg").is_file()
    assert "One stick per voxel" in page and "where the stick fraction is below 0.1" in page


def test_words_of_files_are_escaped(mapped, tmp_path):
    hostile = "<script>alert(1)</script>"
    (series,) = collect_series(mapped(), "01")
    plain, parser = Text(), Text()
    plain.feed(build_subject_report(mapped(), "01").read_text())
    parser.feed(build_subject_report(mapped(Description=hostile), "01").read_text())
    assert series.methods and hostile in parser.text and parser.tags == plain.tags


@pytest.mark.parametrize(
    "lost",
    [("*std_*", "*risk*", "*history*", "*kurtosis*"), ("*seg-*", "*desc-lsq_dwimap*"), ("*.json",)],
)
def test_missing_files_are_gaps(tmp_path, write, head, lost):
    out = write(tmp_path / "out", tmp_path / "raw", shape=(14, 16, 2), steps=())
    add_maps(out, head((14, 16, 2)), methods=("lsq", "gmmvae"))
    wish(out, **OFF, maps={"model": "msdki", "methods": ["lsq"]})
    found = {path for pattern in lost for path in (out / "sub-01/dwi").glob(pattern)}
    gone = [path for path in found if "axes" not in path.name and "desc-roi" not in path.name]
    assert len(gone) >= len(lost)
    for path in gone:
        path.unlink()
    page = build_subject_report(out, "01").read_text()
    assert WORDS["sections"]["modelmaps"] in page and "cannot be read" not in page


def test_a_broken_map_is_said_and_stops_nothing(tmp_path, write, head):
    out = write(tmp_path / "out", tmp_path / "raw", shape=(14, 16, 2), steps=())
    add_maps(out, head((14, 16, 2)), methods=("lsq",))
    name = "sub-01_model-msdki_param-kurtosis_desc-lsq_dwimap.nii.gz"
    (out / "sub-01/dwi" / name).write_bytes(b"half")
    page = build_subject_report(out, "01").read_text()
    assert f"{name} cannot be read" in page and "msdki-diffusivity.svg" in page


def test_a_method_that_was_asked_for_and_is_not_there_is_missed(mapped):
    (series,) = collect_series(mapped(), "01")
    assert series.missing_steps() == []
    series.acquisition["Settings"]["maps"]["methods"].append("gmm-vae")
    assert series.missing_steps() == ["maps"]


# -- reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["msdki", "ball-stick", "t2"])
def test_every_file_finds_its_place(mapped, model):
    (series,) = collect_series(mapped(model=model, methods=("lsq", "learnedprior", "gmmvae")), "01")
    assert list(series.methods) == [(model, "lsq"), (model, "learnedprior"), (model, "gmmvae")]
    names = {p.name for p in (*MODELS[model].tissue, MODELS[model].parameters[0])}
    for method in series.methods.values():
        assert (
            set(method.maps) == set(method.std) == set(method.low) == set(method.high) == names
            and method.order[-1] == "s0"
        )
    network = series.methods[model, "gmmvae"]
    assert {"risk", "latent", "residual", "dseg", "probseg"} <= set(network.extras)
    assert network.extras["latent"].data.shape == (*SHAPE, 3) and len(network.history["loss"]) == 200
    assert ("direction" in network.extras) is (model == "ball-stick")
    assert not series.parameters and not series.fractions


def test_directions_turn_from_the_image_to_the_world():
    for flip in (1, -1):
        affine = np.diag([flip * 2.0, 2.0, 3.0, 1.0])
        file = MapFile(np.array([[[[0.6, 0.8, 0.0]]]]), affine, {}, None)
        np.testing.assert_allclose(_to_world(file).data[0, 0, 0], [-0.6, 0.8, 0.0])
    swapped = np.array([[0, 2.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
    file = MapFile(np.array([[[[1.0, 0, 0]]]]), swapped, {}, None)
    assert abs(_to_world(file).data[0, 0, 0, 1]) == pytest.approx(1)


# -- numbers ----------------------------------------------------------------------------------------------------


def method_of(values, std=None, name="lsq", **about):
    """Maps of one parameter, diffusivity."""

    def wrap(data):
        return MapFile(np.asarray(data, float)[:, None, None], np.eye(4), about, None)

    found = MethodMaps(name, "msdki", maps={"diffusivity": wrap(values)})
    if std is not None:
        found.std["diffusivity"] = wrap(np.full(len(values), std))
    return found


def test_agreement_is_what_its_words_say():
    roi, rng = np.ones((4000, 1, 1), bool), np.random.default_rng(0)
    truth = rng.normal(1, 0.3, 4000)
    first, second = (truth + rng.normal(0, 0.1, 4000) for _ in range(2))
    found = agreement(method_of(first + 0.02, 0.1), method_of(second, 0.1), "diffusivity", roi)
    assert found.difference == pytest.approx(0.02, abs=0.006) and found.ratio == pytest.approx(1)
    assert found.correlation == pytest.approx(0.09 / 0.10, abs=0.02)
    assert found.beyond == pytest.approx(0.047, abs=0.012)
    assert agreement(method_of(first), method_of(second), "diffusivity", roi).beyond is None
    assert np.isnan(agreement(method_of(np.ones(9)), method_of(np.ones(9)), "diffusivity", roi[:9]).correlation)


def test_voxels_at_bounds_are_counted_at_the_right_end():
    parameter = MODELS["msdki"].tissue[0]
    values = np.full(100, 1.0)
    values[:7], values[7:10] = parameter.low, parameter.high
    about = {"NVoxels": 100, "NVoxelsConverged": 98, "NVoxelsValid": 60}
    found = doubts(method_of(values, **about), np.ones((100, 1, 1), bool), 3.0)
    assert found.at_bounds == {("diffusivity", parameter.low): 0.07, ("diffusivity", parameter.high): 0.03}
    assert found.worst_bound == (("diffusivity", parameter.low), 0.07)
    assert found.not_converged == pytest.approx(0.02) and found.outside == pytest.approx(0.4)
    assert found.at_risk is None


# -- words ------------------------------------------------------------------------------------------------------


def test_the_verdict_says_what_was_mapped_and_whom_to_read(said):
    found, text, _ = said(methods=tuple(ERROR))
    assert found.level == GOOD and "{" not in text
    assert text.startswith("Diffusivity and kurtosis of the mean signal diffusion kurtosis model were mapped in")
    assert (
        "from 103 of 130 volumes by least squares" in text
        and "Read the autoencoder with a Gaussian mixture first" in text
    )
    assert "55\u202f% of that of least squares" in text
    assert "Kurtosis is not identifiable in free water" in text and "explains the signal" in text


def test_priors_learned_from_few_voxels_are_warned_of(mapped):
    def few(methods, limit):
        (series,) = collect_series(mapped(methods=methods), "01")
        words = {**WORDS, "maps": {**WORDS["maps"], "limits": {**WORDS["maps"]["limits"], "few_voxels": limit}}}
        return "voxels taught the priors" in " ".join(remark.text for remark in judge(series, words).remarks)

    assert few(("lsq", "learnedprior"), 1000) and not few(("lsq", "learnedprior"), 100)
    assert not few(("lsq",), 1000)


def test_networks_as_published_come_last(said):
    def paper(series):
        for found in series.methods["msdki", "gmmvae"].maps.values():
            found.metadata["MethodSettings"] = {"base": "paper"}

    _, text, _ = said(change=paper, methods=("lsq", "gmmvae"))
    assert "Read least squares first" in text


@pytest.mark.parametrize(("risk", "level"), [(1.0, GOOD), (6.0, CAUTION)])
def test_a_method_at_risk_is_passed_over(said, risk, level):
    found, text, series = said(risk=risk)
    assert found.level == level
    best = trusted(by_model(series)["msdki"], series.roi.data > 0, WORDS)
    assert best.method.method == ("lsq" if risk > 3 else "learnedprior")
    assert ("would come first but disagrees" in text) is (risk > 3)
    assert ("Read least squares instead" in text) is (risk > 3)


def test_a_collapsed_method_is_named_and_never_read_first(said):
    def flat(series):
        series.methods["msdki", "learnedprior"].maps["kurtosis"].data[:] = 0.8

    found, text, series = said(change=flat, methods=("lsq", "lsqgmm", "learnedprior"))
    assert found.level == CAUTION and "The learned prior collapsed: its map of K" in text
    assert "Read least squares with a mixture prior first" in text
    roi = series.roi.data > 0
    methods = by_model(series)["msdki"]
    assert [collapsed(method, methods[0], roi) for method in methods] == [[], [], ["kurtosis"]]


def test_methods_that_know_no_more_than_least_squares_are_not_praised(said):
    def equal(series):
        method = series.methods["msdki", "learnedprior"]
        method.std = series.methods["msdki", "lsq"].std

    _, text, _ = said(change=equal)
    assert "hardly differ" in text and "Read the learned prior" not in text


@pytest.mark.parametrize(("residual", "level", "words"), [
    (1.0, GOOD, "explains the signal"), (1.8, CAUTION, "does not describe"), (0.4, CAUTION, "overestimated"),
    (5.0, PROBLEM, "does not describe"),
])  # fmt: skip
def test_the_residual_is_judged_by_the_limits(said, residual, level, words):
    def scaled(series):
        series.methods["msdki", "learnedprior"].extras["residual"].data[:] = residual

    found, text, _ = said(change=scaled)
    assert found.level == level and words in text


@pytest.mark.parametrize(("about", "words"), [
    ({"NVoxelsConverged": 0}, "The learned prior did not settle in 100"),
    ({"NVoxelsValid": 0}, "the largest b-value exceeds 3/(DK)"),
])  # fmt: skip
def test_doubtful_voxels_are_warnings(said, about, words):
    found, text, _ = said(**about)
    assert found.level == CAUTION and words in text
    assert words not in said()[1]


def test_a_fit_without_residuals_is_no_test(said):
    found, text, _ = said(NEncodings=3)
    assert found.level == CAUTION and "nothing tests it" in text and "explains the signal" not in text
    assert "nothing tests it" not in said(NEncodings=4)[1]


def test_noise_of_clusters_is_not_spoken_of_without_clusters(mapped):
    (series,) = collect_series(mapped(), "01")
    for law, words in (("student-t", "Student-t"), ("rician", "Voxelwise spectra")):
        series.noise.metadata["NoiseDistribution"] = law
        assert words not in compose(methods_facts(series, WORDS), WORDS)
    assert "koay2006" in compose(methods_facts(series, WORDS), WORDS)


def test_a_map_at_its_bound_is_called_a_limit(said):
    def bound(series):
        series.methods["msdki", "learnedprior"].maps["kurtosis"].data[10:] = MODELS["msdki"].tissue[1].high

    found, text, _ = said(change=bound)
    assert found.level == CAUTION and "lies at the end of its range (3) in " in text


def test_published_settings_are_for_comparison(said):
    def paper(series):
        series.acquisition["Settings"]["maps"]["settings"] = "paper"

    found, text, _ = said(change=paper)
    assert found.level == CAUTION and "settings of the paper" in text


@pytest.mark.parametrize("model", ["msdki", "ball-stick", "t2"])
def test_methods_text_names_what_ran_and_no_more(mapped, model):
    (series,) = collect_series(mapped(model=model, methods=("lsq", "learnedprior", "gmmvae")), "01")
    text = compose(methods_facts(series, WORDS), WORDS)
    keys = cited_keys(text)
    assert {"marquardt1963", "dempster1977", "xu2024", "gudbjartsson1995"} <= set(keys)
    assert {"msdki": "henriques2019", "ball-stick": "behrens2003", "t2": "carr1954"}[model] in keys
    assert "bovy2011" not in keys and "barbieri2020" not in keys and "lawson1974" not in keys
    assert ("powder mean" in text) is (model == "msdki")
    for key in keys:
        assert reference_in_words(key)


def test_every_method_and_rule_has_its_words():
    assert set(WORDS["maps"]["methods"]) == set(WORDS["maps"]["trust"]) == set(METHODS)
    for rule in WORDS["maps"]["unknown"]:
        names = {p.name for p in MODELS[rule["model"]].parameters} | {"direction"}
        assert {rule["parameter"], rule["given"]} <= names and ("above" in rule) != ("below" in rule)
        assert rule["text"].format(share="x")
    assert set(WORDS["maps"]["models"]) <= set(MODELS)
    assert len(WORDS["maps"]["risk"]["steps"]) == len(maps_figures.RISK_COLORS)
    assert WORDS["maps"]["limits"]["risk"] in maps_figures.RISK_EDGES


# -- figures ----------------------------------------------------------------------------------------------------


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
