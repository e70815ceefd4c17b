"""What a report says of parameter maps: numbers, whom to read first, warnings, methods text."""

import tomllib

import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.bids.output.derivatives import MapFile
from mrspec_prep.physics.models import MODELS
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.maps import figures as maps_figures
from mrspec_prep.reports.maps.collect import METHODS, MethodMaps
from mrspec_prep.reports.maps.values import agreement, collapsed, doubts
from mrspec_prep.reports.maps.words import by_model, trusted
from mrspec_prep.reports.methods import cited_keys, compose, methods_facts, reference_in_words
from mrspec_prep.reports.remark import CAUTION, GOOD, PROBLEM
from mrspec_prep.reports.verdict import judge
from tests.reports.maps_study import ERROR

WORDS = tomllib.loads(data_text("report.toml"))


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


@pytest.mark.parametrize(("factor", "words"), [
    (1.0, "hardly differ"), (2.0, "The learned prior states a standard deviation of D that is 200 % of that of least"),
])  # fmt: skip
def test_methods_that_know_no_more_than_least_squares_are_not_praised(said, factor, words):
    def told(series):
        method, reference = (series.methods["msdki", name] for name in ("learnedprior", "lsq"))
        method.std = {
            name: MapFile(factor * found.data, found.affine, found.metadata, found.key)
            for name, found in reference.std.items()
        }

    _, text, _ = said(change=told)
    assert words in text.replace("\u202f", " ").replace("\u00a0", " ") and "Read the learned prior" not in text


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


def test_maps_without_least_squares_depart_from_something_that_is_named(said):
    _, text, _ = said(methods=("vae", "gmmvae"))
    assert "It departs from what the signal of each voxel says on its own by" in text and "from  by" not in text


@pytest.mark.parametrize(("law", "level"), [("gaussian", PROBLEM), ("rician", CAUTION)])
def test_maps_that_took_the_noise_floor_for_signal_are_a_problem(said, law, level):
    def noisy(series):
        series.noise.data[:] = 400.0

    found, text, _ = said(noisy, model="t2", methods=("lsq",), Distribution=law)
    assert found.level == level and ("--set noise.distribution=rician" in text) == (law == "gaussian")
