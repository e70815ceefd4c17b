"""Laws of the networks: tissue is learned, a seed gives its maps, settings are checked, collapse is said."""

import numpy as np
import pytest
import torch

from mrspec_prep.networks import fit_maps
from mrspec_prep.networks.fitting.least_squares import least_squares
from mrspec_prep.networks.maps import make_problem
from mrspec_prep.networks.problem import chosen_settings
from mrspec_prep.networks.risk import risk_of
from mrspec_prep.networks.voxel_nets.collapse import collapsed_parameters, marked
from mrspec_prep.networks.voxel_nets.methods import PRESETS
from mrspec_prep.networks.voxel_nets.published import PublishedNetwork
from mrspec_prep.networks.voxel_nets.randomness import Randomness
from mrspec_prep.networks.voxel_nets.training import descend
from mrspec_prep.physics import Encodings, add_noise
from mrspec_prep.physics.models import MODELS

TABLE = Encodings(bvalue=np.linspace(0, 2500, 11))
SIGMA = 1 / 20
FEW = {"n_components": 3, "n_steps": 150, "batch_size": 128, "n_draws": 8, "n_rounds": 1, "n_final_draws": 128}
SHORT = {
    "selfsup": {"n_epochs": 2},
    "vae": FEW | {"n_components": 1, "n_steps": 40},
    "gmm-vae": FEW | {"n_steps": 40},
}
PUBLISHED = {"base": "paper", "n_epochs": 2, "n_latent": 8, "n_draws": 4}


def simulated(n, seed=0, amplitude=1.0):
    """Voxels of two tissues with Rician noise, and their parameters."""
    rng = np.random.default_rng(seed)
    tissue = rng.integers(0, 2, n)
    x = np.array([[1.0, 1.5], [1.5, 1.0]])[tissue] + 0.12 * rng.standard_normal((n, 2))
    truth = {"s0": np.full(n, amplitude), "diffusivity": x[:, 0], "kurtosis": x[:, 1]}
    return truth, tissue, add_noise(MODELS["msdki"].signal(TABLE, truth), SIGMA * amplitude, rng, "rician")


@pytest.mark.long
def test_the_mixture_vae_beats_least_squares_and_knows_its_errors():
    truth, tissue, signals = simulated(1200)
    steps = []
    settings = FEW | {"n_steps": 300}
    found = fit_maps(signals, TABLE, "msdki", "gmm-vae", SIGMA, settings=settings, on_step=lambda *s: steps.append(s))
    plain = fit_maps(signals, TABLE, "msdki", "lsq", SIGMA)
    for key in ("diffusivity", "kurtosis"):
        off, theirs = found.maps[key] - truth[key], plain.maps[key] - truth[key]
        for t in (0, 1):
            assert (off[tissue == t] ** 2).mean() < 0.7 * (theirs[tissue == t] ** 2).mean()
        assert abs(np.mean(np.abs(off) < found.std[key]) - 0.68) < 0.08
    np.testing.assert_allclose(found.cluster_probs.sum(axis=1), 1, rtol=1e-5)
    assert found.latent.shape == (1200, 3)
    assert found.history["loss"][-1] < found.history["loss"][0]
    assert {"reconstruction", "kl", "kl_clusters", "learning_rate", "log_evidence"} <= set(found.history)
    assert found.history["collapsed"] == []
    assert 0.3 < np.median(found.risk) < 1.2
    assert (300, 300) in steps
    assert steps[-1] == (1200, 1200)
    assert found.settings["distribution"] == "rician"


@pytest.mark.filterwarnings("ignore:.*collapsed")  # hardly trained
@pytest.mark.parametrize("method", ["selfsup", "vae", "gmm-vae"])
@pytest.mark.parametrize("paper", [False, True])
def test_a_seed_gives_its_maps_whatever_torch_drew_before(method, paper):
    _, _, signals = simulated(200)
    settings = (PUBLISHED if paper else {}) | (SHORT[method] if not paper else {})
    runs = []
    for before, seed in ((1, 5), (2, 5), (2, 6)):
        torch.manual_seed(before)
        state = torch.get_rng_state()
        runs.append(fit_maps(signals, TABLE, "msdki", method, SIGMA, seed=seed, device="cpu", settings=settings))
        assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(runs[0].maps["kurtosis"], runs[1].maps["kurtosis"])
    assert (runs[0].maps["kurtosis"] != runs[2].maps["kurtosis"]).any()
    assert runs[0].settings["base"] == ("paper" if paper else "ours")
    assert (runs[0].device, runs[0].seed) == ("cpu", 5)
    assert (runs[0].std is None) == (method == "selfsup")
    assert runs[0].risk.shape == (200,)


@pytest.mark.filterwarnings("ignore:.*collapsed")  # hardly trained
@pytest.mark.parametrize("method", ["selfsup", "vae", "gmm-vae"])
def test_the_unit_of_the_signal_does_not_matter(method):
    _, _, signals = simulated(150)
    runs = [
        fit_maps(unit * signals, TABLE, "msdki", method, unit * SIGMA, settings=SHORT[method]) for unit in (1.0, 512.0)
    ]
    np.testing.assert_allclose(runs[1].maps["s0"], 512 * runs[0].maps["s0"], rtol=1e-3)
    np.testing.assert_allclose(runs[1].maps["diffusivity"], runs[0].maps["diffusivity"], rtol=2e-3)


def test_paper_networks_have_the_published_shapes():
    problem, _ = make_problem(simulated(20)[2], TABLE, "msdki", SIGMA)
    n, cpu = len(problem.encodings), torch.device("cpu")
    layers = {}
    for method in ("selfsup", "vae", "gmm-vae"):
        network = PublishedNetwork(problem, method, PRESETS[method]["paper"], 0, cpu).network
        layers[method] = [
            (layer.in_features, layer.out_features) for layer in network.modules() if isinstance(layer, torch.nn.Linear)
        ]
    assert layers["selfsup"] == [(n, n)] * 3 + [(n, 2)]
    assert layers["vae"] == [(n, n)] * 3 + [(n, 256), (256, 256), (256, 256), (256, 2)]
    first, second = [(n, n)] * 3 + [(n, 4)], [(n + 4, n), (n, n), (n, n), (n, 256)]
    assert layers["gmm-vae"] == [*first, *second, (256, 256), (256, 256), (256, 2)]
    temperatures = [
        PublishedNetwork(problem, "gmm-vae", PRESETS["gmm-vae"]["paper"], 0, cpu).temperature(t) for t in (0, 1)
    ]
    np.testing.assert_allclose(temperatures, [1.0, 0.3])


@pytest.mark.filterwarnings("ignore:.*collapsed")  # hardly trained
@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_its_networks(name):
    rng, model = np.random.default_rng(6), MODELS[name]
    direction = rng.standard_normal((16, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    axes = {
        "bvalue": np.tile([0.0, 300, 1000, 2500], 4),
        "echo_time": np.repeat([40.0, 60, 80, 120], 4),
        "inversion_time": np.linspace(50, 4000, 16),
    }
    table = Encodings(**{k: v for k, v in axes.items() if k in model.needs}, direction=direction)
    x = [rng.uniform(min(p.starts), max(p.starts), 40) for p in model.tissue]
    named = {"s0": np.full(40, 10.0)} | {p.name: values for p, values in zip(model.tissue, x, strict=True)}
    if model.oriented:
        named |= dict(zip(model.names[-3:], rng.standard_normal((3, 40)), strict=True))
    signals = add_noise(model.signal(table, named), 0.2, rng, "rician" if model.magnitude else "gaussian")
    tiny = FEW | {"n_components": 2, "n_steps": 4, "n_em_steps": 2, "n_em_draws": 16, "n_final_draws": 16}
    small = {"n_epochs": 1, "n_latent": 4, "n_draws": 2}
    for method, settings in (("gmm-vae", tiny), ("gmm-vae", small | {"base": "paper"}), ("selfsup", {"n_epochs": 1})):
        found = fit_maps(signals, table, name, method, 0.2, settings=settings)
        for parameter in model.parameters:
            values = found.maps[parameter.name]
            assert np.isfinite(values).all()
            assert (values >= parameter.low - 1e-6).all()
            assert (values <= parameter.high + 1e-6).all()
        assert np.isfinite(found.risk).all()
        if model.oriented:
            np.testing.assert_allclose(sum(found.maps[key] ** 2 for key in model.names[-3:]), 1, rtol=1e-5)


def test_unknown_settings_are_refused():
    assert chosen_settings("vae", PRESETS["vae"], "paper")[0].bounds == "clamp"
    assert chosen_settings("vae", PRESETS["vae"], {"base": "paper", "bounds": "sigmoid"})[0].bounds == "sigmoid"
    for given, words in (
        ("theirs", "settings of vae are ours or paper"),
        ({"n_clusters": 2}, "settings must be among n_components"),
        ({"n_steps": 0}, "n_steps must be > 0"),
        ({"base": "paper", "bounds": "none"}, "bounds must be one of clamp, sigmoid"),
        ({"base": "paper", "temperature": (1.0, 0.0)}, "temperature must be two numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            chosen_settings("vae", PRESETS["vae"], given)


def test_a_flat_map_is_called_collapsed_only_where_tissue_differs():
    _, _, signals = simulated(300)
    problem, _ = make_problem(signals, TABLE, "msdki", SIGMA)
    fit = least_squares(problem)
    flat = fit.values.copy()
    assert collapsed_parameters(problem, fit, fit.values) == []
    flat[:, 1] = flat[:, 1].mean()
    assert collapsed_parameters(problem, fit, flat) == ["diffusivity"]
    with pytest.warns(RuntimeWarning, match="vae collapsed: diffusivity"):
        assert marked({}, ["diffusivity"], "vae")["collapsed"] == ["diffusivity"]


def test_risk_is_one_at_the_truth_and_grows_beyond_noise():
    truth, _, signals = simulated(2000)
    problem, _ = make_problem(signals, TABLE, "msdki", SIGMA, "rician")
    fit = least_squares(problem)
    at = np.stack([truth[name] for name in problem.model.names], axis=1)
    assert abs(np.mean(risk_of(problem, fit, at) ** 2) - 1) < 0.08
    np.testing.assert_allclose(risk_of(problem, fit, fit.values), 0, atol=1e-5)
    assert np.median(risk_of(problem, fit, at * [1.0, 2.0, 1.0])) > 3


def test_parameters_where_the_signal_blows_up_leave_finite_slopes():
    problem, _ = make_problem(simulated(20)[2], TABLE, "msdki", 0.05, "rician")
    network = PublishedNetwork(
        problem, "selfsup", chosen_settings("selfsup", PRESETS["selfsup"], None)[0], 0, torch.device("cpu")
    )
    last = list(network.network.parameters())[-1]
    with torch.no_grad():
        last.fill_(20.0)  # largest D and K: the model's signal rises to 1e28
    loss, _ = network.loss(torch.arange(20), 0.5)
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(p.grad).all() for p in network.network.parameters())


def test_a_diverged_training_is_an_error():
    weight = torch.nn.Parameter(torch.zeros(1))
    given = {"n_steps": 3, "batch_size": 2, "one_cycle": False, "clip": 0.0}
    with pytest.raises(ValueError, match="diverged"):
        descend(
            lambda batch, progress: (weight.sum() * torch.inf, {"loss": torch.tensor(torch.nan)}),
            [{"params": [weight], "lr": 1.0}],
            torch.arange(4),
            randomness=Randomness(0, torch.device("cpu")),
            **given,
        )
