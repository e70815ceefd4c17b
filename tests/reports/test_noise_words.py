"""What the report says of the noise model."""

import tomllib
from types import SimpleNamespace

import pytest

from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.methods import compose, methods_facts
from mrspec_prep.reports.sections import Pen, _noise_is_vague, _selection

LAWS = {
    "rician": {"noise": {"NoiseDistribution": "rician"}, "words": "magnitudes with Rician noise"},
    "nc-chi": {"noise": {"NoiseDistribution": "nc-chi", "NoiseCoils": 8}, "words": "sums of squares of 8 channels"},
    "student-t": {"noise": {"NoiseDistribution": "student-t"}, "words": "Student-t likelihood"},
}


@pytest.fixture(scope="module")
def words():
    return tomllib.loads(data_text("report.toml"))


@pytest.fixture
def series(participant):
    return collect_series(participant(shape=(14, 16, 1)), "01")[0]


@pytest.mark.parametrize("law", [None, *LAWS])
def test_methods_name_the_noise_that_was_assumed_and_no_other(series, words, law):
    series.noise.metadata.update(LAWS[law]["noise"] if law else {})
    text = compose(methods_facts(series, words), words)
    for name, facts in LAWS.items():
        assert (facts["words"] in text) == (name == law)
    assert ("majorise-minimise" in text) == (law in ("rician", "nc-chi"))


@pytest.mark.parametrize(("law", "said"), [("gaussian", "was restored voxel by voxel"), ("rician", "was latent")])
def test_the_sign_of_inversion_recovery_is_told_as_it_was_found(series, words, law, said):
    series.acquisition.update(Polarity="magnitude", NoiseDistribution=law)
    text = compose(methods_facts(series, words), words)
    assert [phrase in text for phrase in ("was restored voxel by voxel", "was latent")].count(True) == 1
    assert said in text


def test_a_vague_noise_level_is_said_where_clusters_are_counted(series, words, tmp_path):
    blocks = _selection(series, words, Pen(tmp_path, "01", "dwi"))
    texts = [block["text"] for block in blocks if block["kind"] == "paragraph"]
    assert any("5 degrees of freedom only" in text and "student-t" in text for text in texts)


@pytest.mark.parametrize(
    ("metadata", "vague"),
    [
        ({"DegreesOfFreedom": 5}, True),
        ({"DegreesOfFreedom": 5, "NoiseDistribution": "gaussian"}, True),
        ({"DegreesOfFreedom": 5, "NoiseDistribution": "student-t"}, False),
        ({"DegreesOfFreedom": 300, "NoiseDistribution": "gaussian"}, False),
        ({"DegreesOfFreedom": None}, False),
    ],
)
def test_only_few_degrees_of_freedom_of_gaussian_noise_are_vague(metadata, vague):
    series = SimpleNamespace(noise=SimpleNamespace(metadata=metadata), selection_facts={})
    assert _noise_is_vague(series) == vague
    series.selection_facts["NoiseShared"] = {"Sigma": 3.0}
    assert not _noise_is_vague(series)


def test_a_noise_level_that_the_voxels_share_is_told(series, words):
    assert "drawn towards what all voxels share" not in compose(methods_facts(series, words), words)
    series.selection_facts["NoiseShared"] = {"Sigma": 3.0}
    assert "drawn towards what all voxels share" in compose(methods_facts(series, words), words)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"InversionEfficiency": 1.0}, ""),
        ({"InversionEfficiency": 0.8}, "taken to be e = 0.8"),
        (
            {
                "InversionEfficiency": 0.8,
                "InversionEfficiencyEstimate": 0.8,
                "InversionEfficiencyInterval": [0.7, 0.9],
            },
            "e = 0.800 (95 % interval 0.700 to 0.900)",
        ),
        (
            {
                "InversionEfficiency": 1.0,
                "InversionEfficiencyEstimate": 0.97,
                "InversionEfficiencyInterval": [0.9, 1.0],
            },
            "did not exclude",
        ),
    ],
)
def test_the_inversion_efficiency_is_told_where_it_is_not_taken_for_granted(series, words, facts, said):
    series.acquisition.update(facts)
    text = compose(methods_facts(series, words), words)
    assert said in text
    assert ("nversion" in text) == bool(said)
