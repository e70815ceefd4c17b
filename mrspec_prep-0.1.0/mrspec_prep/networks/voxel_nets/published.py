"""Networks of the paper (Xu et al. 2024) on a scan: training, maps, and what is left to choose."""

from dataclasses import dataclass

import numpy as np
import torch

from mrspec_prep.networks.device import device_of
from mrspec_prep.networks.fitting.least_squares import least_squares, valid_voxels
from mrspec_prep.networks.priors.quantiles import named_quantiles
from mrspec_prep.networks.result import LEVELS, MapsResult
from mrspec_prep.networks.risk import risk_of
from mrspec_prep.networks.voxel_nets.collapse import collapsed_parameters, marked
from mrspec_prep.networks.voxel_nets.outputs import Outputs
from mrspec_prep.networks.voxel_nets.perceptrons import ACTIVATIONS, MixtureVAE, UnivariateVAE, Voxelwise
from mrspec_prep.networks.voxel_nets.randomness import Randomness
from mrspec_prep.networks.voxel_nets.signal_likelihood import costs
from mrspec_prep.networks.voxel_nets.training import descend, steps_of

ARCHITECTURES = {"selfsup": Voxelwise, "vae": UnivariateVAE, "gmm-vae": MixtureVAE}
CHOICES = {
    "activation": tuple(ACTIVATIONS),
    "bounds": ("clamp", "sigmoid"),
    "amplitude": ("normalised", "fitted"),
    "likelihood": ("mse", "measured"),
    "schedule": ("constant", "one-cycle"),
}
CHUNK = 4096  # voxels decoded at once
LARGEST = 1e6  # signal over the reference while training: a kurtosis that blows up leaves the others their slopes


@dataclass(frozen=True)
class PublishedSettings:
    """Settings of the paper's networks; the defaults are ``settings="paper"``.

    The paper prints the architecture, the loss, the simulation; learning rate, epochs, batches, widths, the weight
    of the divergences and the clamps are those of the authors' code. Unlike that code: the prior is the mixture that
    the paper prints, with weights, means and variances learned (the code: one standard normal); divergences have the
    sign of the bound; noise of the latents is not shrunken before it is added; fractions are those of the model
    table and cut off at their bounds; a direction is v / |v|; maps are those of the mean latent, not of one draw.

    Attributes
    ----------
    width : int
        Of hidden layers; 0: the number of encodings.
    n_layers : int
    activation : str
        ``relu``, ``prelu`` or ``silu``.
    n_latent, n_components : int
    bounds, amplitude : str
        As of ``Outputs``.
    likelihood : str
        ``mse``: mean squared error of normalised signals. ``measured``: the likelihood of the problem, with sigma.
    kl_weight : float
        Weight of both divergences (with ``likelihood = measured`` and 1, the bound is a true one).
    warm_up : float
        Share of the training in which that weight is zero.
    temperature : tuple of float
        Of the Gumbel softmax, first and last; it falls geometrically.
    n_epochs, batch_size : int
    learning_rate : float
        Of Adam.
    schedule : str
        ``constant`` or ``one-cycle``.
    clip : float
        Largest norm of a gradient; 0: as it comes.
    n_draws : int
        Draws of each voxel's latent from which standard deviations and intervals are taken.

    """

    width: int = 0
    n_layers: int = 3
    activation: str = "relu"
    n_latent: int = 256
    n_components: int = 4
    bounds: str = "clamp"
    amplitude: str = "normalised"
    likelihood: str = "mse"
    kl_weight: float = 1e-3
    warm_up: float = 0.1
    temperature: tuple[float, float] = (1.0, 0.3)
    n_epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: str = "constant"
    clip: float = 0.0
    n_draws: int = 64

    def __post_init__(self):
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name in ("n_layers", "n_latent", "n_components", "n_epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if self.n_draws < 2:
            raise ValueError(f"n_draws must be >= 2, got {self.n_draws}")
        for name in ("width", "kl_weight", "warm_up", "clip"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        if len(self.temperature) != 2 or not min(self.temperature) > 0:
            raise ValueError(f"temperature must be two numbers > 0, got {self.temperature}")


class PublishedNetwork:
    """A network of the paper, trained on the voxels of one scan.

    Parameters
    ----------
    problem : Problem
    method : str
        Key of ``ARCHITECTURES``.
    settings : PublishedSettings
    seed : int
    device : torch.device

    """

    def __init__(self, problem, method, settings, seed, device):
        self.problem, self.settings, self.device = problem, settings, device
        self.randomness = Randomness(seed, device)
        self.outputs = Outputs(problem, settings.bounds, settings.amplitude, device)
        self.network = ARCHITECTURES[method](len(problem.encodings), self.outputs.n, settings, self.randomness)

    def temperature(self, progress):
        """Temperature of the Gumbel softmax."""
        first, last = self.settings.temperature
        return first * (last / first) ** progress

    def loss(self, voxels, progress):
        """Loss of a batch, and its parts (means over voxels)."""
        signals = self.outputs.signals[voxels]
        numbers, divergences = self.network(signals, self.temperature(progress), self.randomness)
        predicted = self.outputs.predicted(self.outputs.parameters(numbers))[0].clamp(-LARGEST, LARGEST)
        if self.settings.likelihood == "mse":
            reconstruction = ((predicted - signals) ** 2).mean()
        else:
            sigma = self.outputs.noise_std[voxels, None]
            given = signals / sigma, self.outputs.n_averages, self.problem.distribution
            reconstruction = costs((predicted / sigma)[:, None], *given).mean()
        parts = {name: values.mean() for name, values in divergences.items()}
        weight = 0.0 if progress < self.settings.warm_up else self.settings.kl_weight
        loss = reconstruction + weight * sum(parts.values())
        parts = {"loss": loss, "reconstruction": reconstruction, **parts}
        if "kl_clusters" in parts:
            parts["temperature"] = torch.tensor(self.temperature(progress))
        return loss, {name: value.detach() for name, value in parts.items()}

    def train(self, on_step=None):
        """Train; returns what was watched, by epoch."""
        given, n = self.settings, self.problem.n_voxels
        return descend(
            self.loss,
            [{"params": list(self.network.parameters()), "lr": given.learning_rate}],
            torch.arange(n, device=self.device),
            n_steps=steps_of(n, given.batch_size, given.n_epochs),
            batch_size=given.batch_size,
            one_cycle=given.schedule == "one-cycle",
            clip=given.clip,
            randomness=self.randomness,
            on_step=on_step,
        )

    @torch.no_grad()
    def maps(self):
        """Maps of all voxels, a list of arrays; all but the first None for networks without latents or clusters.

        Parameters (n_voxels, n_parameters), their standard deviations, their quantiles (n_voxels, n_parameters, 4),
        latents and cluster probabilities.
        """
        chunks = torch.arange(self.problem.n_voxels, device=self.device).split(CHUNK)
        columns = zip(*(self._maps_of(voxels) for voxels in chunks), strict=True)
        return [None if part[0] is None else torch.cat(part).double().cpu().numpy() for part in columns]

    def _maps_of(self, voxels):
        signals, network, probs = self.outputs.signals[voxels], self.network, None
        if isinstance(network, Voxelwise):
            return self.outputs.values(network.encoder(signals), voxels), None, None, None, None
        if isinstance(network, MixtureVAE):
            probs = network.first(signals).softmax(dim=1)
            mean, log_variance = network.latent(signals, probs)
        else:
            mean, log_variance = network.latent(signals)
        values, spread = self.outputs.values(network.decoder(mean), voxels), (0.5 * log_variance).exp()
        draws = torch.stack(
            [
                self.outputs.values(network.decoder(mean + spread * self.randomness.normal(*mean.shape)), voxels)
                for _ in range(self.settings.n_draws)
            ]
        )
        quantiles = torch.quantile(draws, torch.tensor(LEVELS, device=self.device), dim=0).permute(1, 2, 0)
        return values, draws.std(dim=0), quantiles, mean, probs


def fit_published(problem, method, seed, device, settings, on_step=None):
    """Maps of a network of the paper (``fit_maps``)."""
    device, fit = torch.device(device_of(device)), least_squares(problem)
    network = PublishedNetwork(problem, method, settings, seed, device)
    history = network.train(on_step)
    values, std, quantiles, latent, probs = network.maps()
    n = 1 + len(problem.model.tissue)
    collapsed = collapsed_parameters(problem, fit, values)
    return MapsResult(
        problem.named(values),
        None if std is None else problem.named(std),
        np.isfinite(values).all(axis=1),
        valid_voxels(problem, values),
        problem.noise_std,
        intervals=None if quantiles is None else named_quantiles(problem.model.names, quantiles[:, :n]),
        latent=latent,
        cluster_probs=probs,
        risk=risk_of(problem, fit, values),
        history=marked(history, collapsed, method),
        device=device.type,
        seed=seed,
        settings=dict(vars(settings), collapsed=collapsed),
    )
