"""The shipped classifier: laws its answers keep, what it refuses, where it abstains."""

import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.networks import CompartmentClassifier
from mrspec_prep.networks.compartments import own_training
from mrspec_prep.networks.compartments.classifier import SHIPPED, NotCoveredError
from mrspec_prep.networks.compartments.paper_protocol import paper_protocol
from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.compartments.scores import calibration_error
from mrspec_prep.networks.compartments.simulation import simulate
from mrspec_prep.networks.weights import read_weights
from mrspec_prep.physics import Encodings, add_noise

DATA = Path(str(files("mrspec_prep") / "data"))
RECIPE = Recipe()
ECHOES = Encodings(echo_time=10.0 * np.arange(1, 33))
INVERSIONS = Encodings(inversion_time=np.geomspace(40, 4000, 12), repetition_time=6000.0)
UNSEEN = Encodings(
    inversion_time=np.repeat([80.0, 300.0, 900.0, 2500.0, 4000.0], 12),
    echo_time=np.tile(np.linspace(8, 200, 12), 5),
)


@pytest.mark.parametrize(
    ("protocol", "least"), [(paper_protocol(), 0.53), (UNSEEN, 0.49), (ECHOES, 0.36), (INVERSIONS, 0.36)]
)
@pytest.mark.parametrize("given", [False, True])
def test_right_as_often_as_it_says(protocol, least, given):
    drawn = simulate(RECIPE, protocol, 8000, np.random.default_rng(4))
    found = CompartmentClassifier.for_protocol(protocol).predict_proba(
        drawn.signals, drawn.noise_std if given else None
    )
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert np.mean(found.argmax(axis=1) + 1 == drawn.n_compartments) > least
    assert calibration_error(found, drawn.n_compartments) < 0.03


def test_scale_and_order_of_volumes_do_not_matter():
    drawn = simulate(RECIPE, UNSEEN, 50, np.random.default_rng(4))
    order = np.random.default_rng(0).permutation(len(UNSEEN))
    plain = CompartmentClassifier.for_protocol(UNSEEN).predict_proba(drawn.signals, drawn.noise_std)
    other = CompartmentClassifier.for_protocol(UNSEEN.take(order))
    found = other.predict_proba(700 * drawn.signals[:, order], 700 * drawn.noise_std)
    np.testing.assert_allclose(found, plain, atol=2e-3)


def test_a_time_scale_is_a_unit_of_time():
    drawn = simulate(RECIPE, ECHOES, 20, np.random.default_rng(4))
    plain = CompartmentClassifier.for_protocol(ECHOES).predict_proba(drawn.signals)
    rock = CompartmentClassifier.for_protocol(Encodings(echo_time=ECHOES.echo_time / 10), time_scale=0.1)
    np.testing.assert_allclose(rock.predict_proba(drawn.signals), plain, atol=1e-4)
    with pytest.raises(ValueError, match="time_scale"):
        CompartmentClassifier.for_protocol(ECHOES, time_scale=0.0)


def test_weights_are_small_plain_arrays_with_a_checksum(tmp_path):
    assert sum((DATA / f"{name}.npz").stat().st_size for name in SHIPPED.values()) < 2e6
    for name in SHIPPED.values():
        _, manifest = read_weights(DATA / f"{name}.npz")
        assert manifest["command"].startswith("python -m benchmarks.train_classifier")
        assert Recipe.from_dict(manifest["recipe"]).noise == "rms"
        for suffix in (".npz", ".toml"):
            shutil.copy(DATA / (name + suffix), tmp_path)
    path = tmp_path / "compartments_t2.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        read_weights(path)


def test_no_torch_where_nothing_is_trained():
    code = (
        "import sys, numpy as np; from mrspec_prep.networks import CompartmentClassifier as C\n"
        "from mrspec_prep.physics import Encodings\n"
        "c = C.for_protocol(Encodings(echo_time=10.0 * np.arange(1, 33)))\n"
        "c.predict_proba(np.exp(-np.arange(32.0) / 5)[None])\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (Encodings(echo_time=[10.0, 30, 60]), "3 encodings"),
        (Encodings(echo_time=np.linspace(1, 4, 20)), "worse than by any"),
        (
            Encodings(echo_time=np.tile([20.0, 60, 100], 8), bvalue=np.repeat(np.arange(8) * 300.0, 3)),
            "t2, diffusivity",
        ),
    ],
)
def test_a_protocol_that_is_not_covered_is_refused_in_words(protocol, words):
    with pytest.raises(NotCoveredError, match=words):
        CompartmentClassifier.for_protocol(protocol, train=False)


def test_a_protocol_that_weights_nothing_is_refused():
    with pytest.raises(ValueError, match="none of inversion time"):
        CompartmentClassifier.for_protocol(Encodings(echo_time=np.full(20, 30.0)))


@pytest.mark.long
def test_trained_on_request_once(tmp_path, monkeypatch):
    protocol = Encodings(echo_time=np.tile(np.linspace(20, 120, 6), 5), bvalue=np.repeat(np.arange(5) * 600.0, 6))
    monkeypatch.setattr(own_training.trained_weights, "__defaults__", (None, 0, None, 60, None))
    steps = []
    trained = CompartmentClassifier.for_protocol(protocol, cache=tmp_path, on_step=lambda *s: steps.append(s))
    drawn = simulate(RECIPE, protocol, 2000, np.random.default_rng(4))
    found = trained.predict_proba(drawn.signals, drawn.noise_std)
    assert np.mean(found.argmax(axis=1) + 1 == drawn.n_compartments) > 0.3
    assert "trained for this protocol" in trained.source
    monkeypatch.setattr(own_training, "train_for", None)  # would fail if called
    again = CompartmentClassifier.for_protocol(protocol, train=True, cache=tmp_path)
    np.testing.assert_array_equal(again.predict_proba(drawn.signals, drawn.noise_std), found)


def test_it_abstains_where_it_cannot_know_and_says_why():
    classifier = CompartmentClassifier.for_protocol(ECHOES)
    drawn = simulate(RECIPE, ECHOES, 2000, np.random.default_rng(4))
    found = classifier.classify(drawn.signals, drawn.noise_std, abstain_below=0.6)
    unsure = found.probabilities.max(axis=1) < 0.6
    assert np.array_equal(found.abstained, unsure) and 0.2 < unsure.mean() < 0.99
    assert set(found.n_compartments[unsure]) == {0}
    kept = ~unsure
    right = found.n_compartments == drawn.n_compartments
    assert right[kept].mean() > 0.6 - 0.05
    assert (classifier.classify(drawn.signals, 10 * drawn.noise_std[0]).reason == 2).all()
    square = np.where(np.arange(32) % 2, 1.0, 2.0)[None]
    assert classifier.classify(square, 0.02).reason == 3
    noise = np.random.default_rng(0).standard_normal((5, 32))
    assert (classifier.classify(noise).reason == 2).all()


def test_the_floor_of_magnitudes_is_no_compartment():
    rng = np.random.default_rng(1)
    clean = np.exp(-ECHOES.echo_time / rng.choice([20.0, 30.0, 40.0], (2000, 1)))
    signals = add_noise(clean, 0.01, rng, "rician")
    classifier = CompartmentClassifier.for_protocol(ECHOES)
    naive = classifier.predict_proba(signals, 0.01)[:, 0].mean()
    found = classifier.predict_proba(signals, 0.01, magnitudes=True)[:, 0]
    signed = classifier.predict_proba(clean + 0.01 * rng.standard_normal(clean.shape), 0.01)[:, 0]
    assert found.mean() > naive + 0.1 and found.mean() > signed.mean() - 0.06
    short = add_noise(np.exp(-ECHOES.echo_time / 5)[None], 0.01, rng, "rician")
    assert classifier.classify(short, 0.01, magnitudes=True).n_compartments == 0


@pytest.mark.parametrize(
    ("signals", "sigma", "magnitudes", "words"),
    [
        (np.ones((2, 31)), None, False, "32"),
        (np.zeros((2, 32)), None, False, "2 signals are zero"),
        (np.full((2, 32), np.nan), None, False, "NaN"),
        (np.ones((2, 32)), 0.0, False, "> 0"),
        (np.ones((2, 32)), None, True, "need noise_std"),
        (-np.ones((2, 32)), 0.01, True, ">= 0"),
    ],
)
def test_wrong_input_is_refused(signals, sigma, magnitudes, words):
    with pytest.raises(ValueError, match=words):
        CompartmentClassifier.for_protocol(ECHOES).predict_proba(signals, sigma, magnitudes=magnitudes)
