"""The classifier as a node: what noise the signals get, weights trained on request, what cannot be kept."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.series import Series
from mrspec_prep.interfaces.compartments import FitClassifier
from mrspec_prep.networks.compartments import own_training
from mrspec_prep.options import ClassifierOptions
from mrspec_prep.physics import Encodings, add_noise

SHAPE, SIGMA = (4, 3, 2), 0.01
ECHOES = np.linspace(10.0, 300, 16)
TOO_SHORT = np.linspace(0.01, 0.05, 16)  # ms: nothing decays


def fit(folder, echo_times=ECHOES, options=None, distribution="auto", sign=1.0):
    """Notes and arrays of the node on single decays."""
    folder.mkdir(exist_ok=True)
    encodings = Encodings(echo_time=echo_times)
    volumes = np.stack([np.zeros(16, int), np.arange(16)], axis=1)
    series = Series("01", None, "anat", "MESE", {}, (Path("a.nii.gz"),), volumes, encodings, "joined", (), "t2")
    clean = np.broadcast_to(np.exp(-encodings.echo_time / 60), (np.prod(SHAPE), 16))
    signals = add_noise(clean, SIGMA, np.random.default_rng(0), "rician") * sign
    arrays = {"signals": signals, "measured": signals, "roi": np.ones(SHAPE, bool), "noise": np.full(len(clean), SIGMA)}
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    (folder / "noise.json").write_text(json.dumps({"method": "0.01", "degrees_of_freedom": None}))
    (folder / "series.json").write_text(json.dumps(series.to_json()))
    files = {name: str(folder / f"{name}.npy") for name in arrays}
    node = FitClassifier(
        series=str(folder / "series.json"),
        **files,
        noise_notes=str(folder / "noise.json"),
        settings=asdict(options or ClassifierOptions(wanted=True)),
        distribution=distribution,
        seed=0,
    )
    outputs = node.run(cwd=str(folder)).outputs
    return json.loads(Path(outputs.notes).read_text()), dict(np.load(outputs.found))


def test_signals_that_may_be_magnitudes_are_taken_for_such(tmp_path):
    assert fit(tmp_path)[0]["Distribution"] == "rician"
    assert fit(tmp_path, sign=-1.0)[0]["Distribution"] == "gaussian"
    assert fit(tmp_path, distribution="gaussian")[0]["Distribution"] == "gaussian"
    told = ClassifierOptions(wanted=True, noise_level="signal")
    notes, _ = fit(tmp_path, options=told)
    assert notes["Distribution"] == "gaussian" and notes["NoiseLevelFrom"] == "signal"


def test_neighbours_are_counted(tmp_path):
    notes, found = fit(tmp_path, options=ClassifierOptions(wanted=True, pooling="neighbours"))
    assert 5 < notes["PooledVoxels"] <= 24 and notes["Pooling"] == "neighbours"
    assert np.mean(found["n_compartments"] == 1) > 0.9


def test_a_protocol_that_is_not_covered_is_refused_or_trained_for_once(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="classifier.train=true"):
        fit(tmp_path, TOO_SHORT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(own_training, "trained_weights", partial(own_training.trained_weights, n_steps=20))
    options = ClassifierOptions(wanted=True, train=True)
    notes, found = fit(tmp_path, TOO_SHORT, options)
    (kept,) = (tmp_path / "cache").rglob("*.npz")
    assert notes["Weights"] == kept.name and "TrainedNats" not in notes
    monkeypatch.setattr(own_training, "train_for", None)  # a second time nothing is trained
    assert fit(tmp_path, TOO_SHORT, options)[0]["WeightsSHA256"] == notes["WeightsSHA256"]
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, atol=1e-5)


def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(own_training, "trained_weights", partial(own_training.trained_weights, n_steps=2))
    with pytest.raises(InputError, match="XDG_CACHE_HOME"):
        fit(tmp_path / "run", TOO_SHORT, ClassifierOptions(wanted=True, train=True))
