"""Variational autoencoder over tissue: mixture prior and encoder trained together, importance-weighted posteriors.

The bound is that of importance-weighted autoencoders (Burda et al. 2016), log 1/S sum_s p(S | z_s) p(z_s) / q(z_s | S),
measured sigma in the likelihood and no weight on its divergence. The prior climbs it; the encoder is drawn towards the
weighted draws (reweighted wake-sleep, Bornschein and Bengio 2015), which needs no slope through the choice of a
component. Few draws a step bend the prior towards what they were drawn from; so EM steps over more draws from the
trained encoder, which climb the same bound, finish it. At the end each voxel's posterior is that of weighted draws
from its encoder and the prior.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from mrspec_prep.networks.device import device_of
from mrspec_prep.networks.fitting.least_squares import least_squares
from mrspec_prep.networks.priors.importance import Sampler, summarise
from mrspec_prep.networks.priors.learned_prior import (
    LEAST_WIDTH,
    PSEUDO_COUNT,
    draw_all,
    em_round,
    named_posterior,
    part_of,
)
from mrspec_prep.networks.priors.mixture import Posterior
from mrspec_prep.networks.priors.mixture_prior import (
    learning_voxels,
    least_covariance,
    random_start,
)
from mrspec_prep.networks.problem import PositiveSettings
from mrspec_prep.networks.result import MapsResult
from mrspec_prep.networks.risk import risk_of
from mrspec_prep.networks.voxel_nets.collapse import collapsed_parameters, marked
from mrspec_prep.networks.voxel_nets.learnable_mixture import LearnableMixture
from mrspec_prep.networks.voxel_nets.randomness import Randomness
from mrspec_prep.networks.voxel_nets.residual_encoder import ResidualEncoder
from mrspec_prep.networks.voxel_nets.signal_likelihood import costs
from mrspec_prep.networks.voxel_nets.tissue_decoder import TissueDecoder
from mrspec_prep.networks.voxel_nets.training import descend

PRIOR_SHARE = 0.25  # of draws that come from the prior: they see what the encoder misses
WIDTHS = (1.2, 3.0)  # of the draws over the encoder's standard deviations
WIDE_SHARE = 0.2
CHUNK = 8192  # voxels encoded at once
TOLERANCE = 1e-5  # gain of log evidence per voxel below which EM ends [nats]
WORST = 1e6  # cost of signals beyond all numbers [nats]


@dataclass(frozen=True)
class AmortisedSettings(PositiveSettings):
    """Settings of the variational autoencoders of this package.

    Attributes
    ----------
    n_components : int
        Gaussians of the prior, which starts wide around voxels far from each other.
    width, n_layers : int
        Of the encoder's network.
    n_learning : int
        At most this many voxels, drawn at random, are trained on.
    n_steps, batch_size : int
        Steps of Adam, voxels in each.
    n_draws : int
        Importance samples per voxel of a step.
    learning_rate, prior_rate : float
        Largest rates of the one-cycle schedule: of the encoder, of the prior.
    clip : float
        Largest norm of a step's gradient.
    n_rounds, n_em_steps, n_em_draws : int
        Of the EM that finishes the prior: times draws are made, steps over them at most, draws per voxel.
    n_final_draws : int
        Importance samples per voxel of the maps.

    """

    n_components: int = 8
    width: int = 64
    n_layers: int = 2
    n_learning: int = 10_000
    n_steps: int = 800
    batch_size: int = 256
    n_draws: int = 16
    learning_rate: float = 3e-3
    prior_rate: float = 2e-2
    clip: float = 5.0
    n_rounds: int = 4
    n_em_steps: int = 30
    n_em_draws: int = 64
    n_final_draws: int = 512


class TissueVAE:
    """Prior, encoder and decoder of one scan.

    Parameters
    ----------
    problem : Problem
    fit : LeastSquares
    sampler : Sampler
        Of the same voxels; its coordinates and errors are used.
    settings : AmortisedSettings
    seed : int
    device : torch.device

    """

    def __init__(self, problem, fit, sampler, settings, seed, device):
        self.problem, self.settings, self.device = problem, settings, device
        self.randomness, rng = Randomness(seed, device), np.random.default_rng(seed)
        self.decoder = TissueDecoder(problem, fit, sampler.coordinates, sampler.errors, device)
        start = random_start(sampler.errors, settings.n_components, rng)
        self.prior = LearnableMixture(start, self.decoder.location, self.decoder.scale, device)
        shape = settings.n_components, settings.width, settings.n_layers
        self.encoder = ResidualEncoder(sampler.errors, problem.noise_std, self.decoder, *shape, self.randomness)
        self.encoder.to(device)
        self.learning = torch.tensor(learning_voxels(problem.n_voxels, settings.n_learning, rng), device=device)
        least = np.diag(least_covariance(sampler.errors, LEAST_WIDTH))  # infinite where never seen
        least = np.minimum(least, self.decoder.scale**2)
        self.least_variances, self.least = least, self.decoder.tensor(least / self.decoder.scale**2)

    def bound(self, voxels):
        """Importance-weighted bound of a batch.

        Returns
        -------
        prior_loss, encoder_loss : tensors
            To be descended by the prior and by the encoder.
        parts : dict of str to float
            Means over voxels [nats]: ``loss``, minus the bound; ``reconstruction``, expected cost; ``kl``, of the
            posterior from the prior; ``kl_clusters``, of q(c | S) from the prior's weights.

        """
        encoded = self.encoder(voxels, self.prior)
        z = self.draw(encoded)
        joint = self.prior.log_joint(z)
        log_prior, log_encoder = joint.logsumexp(dim=2), encoded.log_joint(z)[0].logsumexp(dim=2)
        with torch.no_grad():
            predicted = self.decoder.predicted(z, voxels)
            cost = costs(predicted, self.decoder.signals[voxels], self.decoder.n_averages, self.problem.distribution)
            cost = cost.nan_to_num(WORST).clamp(max=WORST)
            logs = log_prior - cost - self.log_proposal(encoded, z, log_prior)
            weights = logs.softmax(dim=1)
            loss = math.log(logs.shape[1]) - logs.logsumexp(dim=1)
            reconstruction = (weights * cost).sum(dim=1)
            responsible = (weights[..., None] * joint.softmax(dim=2)).sum(dim=1)
            surprise = responsible * (responsible.clamp(min=1e-20).log() - self.prior.logits.log_softmax(0))
            means = {"loss": loss, "reconstruction": reconstruction, "kl": loss - reconstruction}
            means["kl_clusters"] = surprise.sum(dim=1)
        penalty = self.prior.log_penalty(self.least, PSEUDO_COUNT) / len(self.learning)
        prior_loss = -(weights * log_prior).sum(dim=1).mean() - penalty
        encoder_loss = -(weights * log_encoder).sum(dim=1).mean()
        return prior_loss, encoder_loss, {name: values.mean() for name, values in means.items()}

    @torch.no_grad()
    def draw(self, encoded):
        """Latents (n, n_draws, d) from the widened encoder and the prior, stratified over components."""
        n, s, d = len(encoded.means), self.settings.n_draws, encoded.means.shape[-1]
        shares = torch.cat(
            [
                (1 - PRIOR_SHARE) * encoded.log_probs.exp(),
                PRIOR_SHARE * self.prior.logits.softmax(0).expand(n, -1),
            ],
            dim=1,
        )
        means = torch.cat([encoded.means, self.prior.means.expand_as(encoded.means)], dim=1)
        factors = torch.cat([encoded.factors, self.prior.factors().expand_as(encoded.factors)], dim=1)
        place = (torch.arange(s, device=self.device) + self.randomness.uniform(n, 1)) / s
        chosen = torch.searchsorted(shares.cumsum(dim=1), place).clamp(max=shares.shape[1] - 1)
        spread = torch.linalg.inv(factors).mT
        wide = (self.randomness.uniform(n, s) < WIDE_SHARE).float()
        width = WIDTHS[0] + (WIDTHS[1] - WIDTHS[0]) * wide
        width = torch.where(chosen < self.settings.n_components, width, torch.ones_like(width))
        along = width[..., None] * self.randomness.normal(n, s, d)
        each = torch.arange(n, device=self.device)[:, None]
        return means[each, chosen] + torch.einsum("nsij,nsj->nsi", spread[each, chosen], along)

    def log_proposal(self, encoded, z, log_prior):
        """Log density (n, s) of the draws."""
        logs, squares = encoded.log_joint(z)
        d = z.shape[-1]
        parts = [
            math.log(share) - d * math.log(width) + (logs + 0.5 * squares * (1 - 1 / width**2)).logsumexp(dim=2)
            for share, width in zip((1 - WIDE_SHARE, WIDE_SHARE), WIDTHS, strict=True)
        ]
        ours = torch.logaddexp(*parts) + math.log(1 - PRIOR_SHARE)
        return torch.logaddexp(ours, log_prior + math.log(PRIOR_SHARE))

    def loss(self, voxels, progress):
        """Sum of both losses of a batch: they share no slope. And the bound's parts."""
        prior_loss, encoder_loss, parts = self.bound(voxels)
        return prior_loss + encoder_loss, parts

    def train(self, on_step=None):
        """Train prior and encoder; returns what was watched, by epoch."""
        given = self.settings
        groups = [
            {"params": list(self.encoder.parameters()), "lr": given.learning_rate},
            {"params": list(self.prior.parameters()), "lr": given.prior_rate},
        ]
        return descend(
            self.loss,
            groups,
            self.learning,
            n_steps=given.n_steps,
            batch_size=given.batch_size,
            one_cycle=True,
            clip=given.clip,
            randomness=self.randomness,
            on_step=on_step,
        )

    @torch.no_grad()
    def encode(self, rows=None):
        """``Encoded`` of all voxels as arrays: probabilities, means and factors over z."""
        parts = [
            self.encoder(v, self.prior) for v in torch.arange(self.problem.n_voxels, device=self.device).split(CHUNK)
        ]
        return [
            torch.cat([getattr(part, name) for part in parts]).double().cpu().numpy()
            for name in ("log_probs", "means", "factors")
        ]


class EncoderSampler(Sampler):
    """Draws of a problem's voxels from a trained encoder.

    Parameters
    ----------
    problem, fit, n_draws, seed
        As of ``Sampler``.

    """

    encoded = None

    def use(self, vae, voxels=None):
        """Draw from this encoder from now on; voxels: those of the encoder's scan that this problem has."""
        log_probs, means, factors = vae.encode(voxels)
        location, scale = vae.decoder.location, vae.decoder.scale
        self.encoded = np.exp(log_probs), means * scale + location, factors / scale[:, None]

    def proposal(self, mixture, rows):
        """Posterior that the draws start from, as the encoder has it."""
        return Posterior(*(values[rows] for values in self.encoded), 0.0)


def finish_prior(vae, problem, fit, settings, seed):
    """EM over draws from the encoder, for the prior; returns the log evidence per voxel before each step."""
    voxels, trace = vae.learning.cpu().numpy(), []
    part, part_fit = part_of(problem, fit, voxels)
    sampler = EncoderSampler(part, part_fit, settings.n_em_draws, seed + 1)
    mixture, least = vae.prior.mixture(), np.diag(vae.least_variances)
    for _ in range(settings.n_rounds):
        sampler.use(vae, voxels)
        draws = draw_all(sampler, mixture)
        mixture, steps = em_round(*draws, mixture, least, settings.n_em_steps, TOLERANCE)
        trace += steps
        vae.prior.become(mixture)
    return trace


def fit_amortised(problem, method, seed, device, settings, on_step=None):
    """Maps, posteriors and training history of the autoencoder of this package (``fit_maps``).

    On a graphics card prior and encoder are trained there; draws of the maps are weighed by the processor's threads.
    ``on_step`` counts steps of the training, then voxels.
    """
    device = torch.device(device_of(device))
    fit = least_squares(problem)
    sampler = EncoderSampler(problem, fit, settings.n_final_draws, seed)
    vae = TissueVAE(problem, fit, sampler, settings, seed, device)
    history = vae.train(on_step)
    history["log_evidence"] = finish_prior(vae, problem, fit, settings, seed)
    sampler.use(vae)
    found = summarise(sampler, vae.prior.mixture(), on_step)
    fields = named_posterior(problem, fit, found)
    probs, means = sampler.encoded[:2]
    latent = (np.einsum("nk,nkd->nd", probs, means) - vae.decoder.location) / vae.decoder.scale
    values = np.stack([fields["maps"][name] for name in problem.model.names], axis=1)
    collapsed = collapsed_parameters(problem, fit, values)
    history["effective_draws"] = [float(np.median(found.effective))]
    return MapsResult(
        **fields,
        latent=latent,
        risk=risk_of(problem, fit, values),
        history=marked(history, collapsed, method),
        device=device.type,
        seed=seed,
        settings=dict(vars(settings), collapsed=collapsed),
    )
