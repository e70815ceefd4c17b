"""The methods text holds what ran, nothing else, and every citation exists."""

import tomllib

import pytest

from mrspec_prep.bids.output.catalogue import data_text, load_bibliography
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.methods import cited_keys, compose, methods_facts, numbered, reference_in_words


@pytest.fixture
def words():
    return tomllib.loads(data_text("report.toml"))


def text_of(series, words, **settings):
    return compose(methods_facts(series, words), words, **settings)


def test_every_citation_of_every_sentence_exists(words):
    for sentence in words["methods"]["sentences"]:
        assert set(cited_keys(sentence["text"])) <= set(load_bibliography()), sentence["text"]


def test_every_reference_can_be_said():
    for key in load_bibliography():
        text, doi = reference_in_words(key)
        assert text.endswith(".") and "{" not in text and "\\" not in text
        assert doi is None or doi.startswith("10.")


def test_text_tells_what_ran(participant, words):
    series = collect_series(participant(shape=(14, 16, 1)), "01")[0]
    text = text_of(series, words)
    assert "exp(−bD) exp(−TE/T2*)" in text and "α = 0.01" in text and "5 degrees of freedom" in text
    assert "among 2 to 10 by the Bayesian information criterion" in text
    assert "MP-PCA" not in text and "Akaike" not in text and "inversion" not in text
    assert "{" not in text and "None" not in text


@pytest.mark.parametrize(
    ("facts", "said", "unsaid"),
    [
        (
            {"AlphaRule": "discrepancy", "AlphaScope": "voxel", "AlphaUnmet": 3, "AlphaMedian": 0.04,
             "AlphaTenthToNinetieth": [0.01, 0.2]},
            ("discrepancy principle", "median 0.04", "0.01 to 0.2", "In 3 of "),
            ("with α =", "whole image", "L-curve"),
        ),
        (
            {"AlphaRule": "lcurve", "AlphaScope": "image", "AlphaUnmet": 0, "Alpha": 0.07},
            ("L-curve", "with α = 0.07", "whole image"),
            ("Each voxel has its own", "no solution", "discrepancy"),
        ),
    ],
)  # fmt: skip
def test_text_tells_how_alpha_was_chosen(participant, words, facts, said, unsaid):
    series = collect_series(participant(shape=(14, 16, 1)), "01")[0]
    del series.mean_spectrum.metadata["Alpha"]
    series.mean_spectrum.metadata.update(facts)
    text = text_of(series, words)
    assert all(part in text for part in said) and not any(part in text for part in unsaid)
    assert text.count("non-negative least squares") == 1 and "{" not in text and "None" not in text


def test_text_leaves_out_what_did_not_run(participant, words):
    series = collect_series(participant(shape=(14, 16, 1), steps=()), "01")[0]
    text = text_of(series, words)
    assert "InSpect" not in text and "least squares" not in text


def test_dataset_text_holds_nothing_of_one_participant(participant, words):
    series = collect_series(participant(shape=(14, 16, 1)), "01")[0]
    own, shared = text_of(series, words), text_of(series, words, own=False)
    assert "region of interest held" in own and "region of interest held" not in shared
    assert "InSpect" in shared


def test_short_repetition_time_is_in_the_equation(participant, words):
    series = collect_series(participant(kernel="t1-t2-adc", shape=(14, 16, 1), steps=("nnls",)), "01")[0]
    assert "1 − 2 exp(−TI/T1) + exp(−TR/T1)" in text_of(series, words)


def test_citations_are_numbered_in_order():
    text = "One [@a]. Two [@b; @a]. Three [@c]."
    assert cited_keys(text) == ["a", "b", "c"]
    assert numbered(text) == "One [1]. Two [2, 1]. Three [3]."


def test_text_tells_of_neighbours_only_where_they_counted(participant, words):
    series = collect_series(participant(shape=(14, 16, 1)), "01")[0]
    plain = text_of(series, words)
    assert "Potts" not in plain and "neighbours" not in plain
    series.cluster_spectra.metadata.update(SpatialPrior="potts", SpatialWeight=0.734)
    series.mean_spectrum.metadata["SpatialWeight"] = 1.0
    text = text_of(series, words)
    assert "Potts prior" in text and "0.73 nats per neighbour" in text
    assert "26 neighbours, with weight 1 divided by" in text and "given its neighbours' responsibilities" in text
