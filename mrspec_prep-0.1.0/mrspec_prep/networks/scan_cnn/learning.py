"""Method ``scan-cnn``: a network learns from one scan, stops by itself, and its maps come with errors and risk."""

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

import mrspec_prep
from mrspec_prep.networks.device import device_of
from mrspec_prep.networks.problem import chosen_settings
from mrspec_prep.networks.scan_cnn.decays import synthesise
from mrspec_prep.networks.scan_cnn.estimates import estimate_scan
from mrspec_prep.networks.scan_cnn.network import new_network
from mrspec_prep.networks.scan_cnn.paper_network import PaperNetwork
from mrspec_prep.networks.scan_cnn.recorrupted import misfit, misfit_of_noise
from mrspec_prep.networks.scan_cnn.settings import PRESETS
from mrspec_prep.networks.scan_cnn.slices import Pieces, keep_aside, slices_of
from mrspec_prep.networks.scan_cnn.structural import structural_similarity
from mrspec_prep.networks.voxel_nets.randomness import Randomness
from mrspec_prep.networks.weights import read_weights

WEIGHTS = Path(mrspec_prep.__file__).parent / "data" / "scan_cnn.npz"
AVERAGE, CLIP, RISE = 0.01, 1.0, 0.1  # of the weights' running average; gradients; share of the cycle that rises
LOOKS, LOOKED_AT = 2, 12  # noise draws and slices with voxels kept aside


def fit_network(scan, seed=0, device="auto", settings=None, on_step=None):
    """Maps of a scan by a network that learns from it (``fit.fit_scan_cnn``).

    Parameters
    ----------
    scan : Scan
    seed : int
    device : str
    settings : None, str or dict
    on_step : callable, optional

    Returns
    -------
    ScanMaps

    """
    settings, base = chosen_settings("scan-cnn", PRESETS, settings)
    device = device_of(device)
    slices = slices_of(scan, device)
    network = first_network(settings, len(scan.echo_times), seed).to(device)
    learning = Learning(network, slices, settings, seed)
    history = learning.run(on_step)
    return estimate_scan(
        network,
        scan,
        settings,
        strength=settings.strength if learning.best_step and settings.loss == "recorrupted" else 0.0,
        seed=seed,
        device=device,
        history=history,
        about=asdict(settings) | {"base": base, "best_step": learning.best_step, "distribution": scan.distribution},
    )


def first_network(settings, n_echoes, seed):
    """Network before it has seen the scan."""
    if settings.network == "paper":
        return PaperNetwork(n_echoes, Randomness(seed, torch.device("cpu")))
    network = new_network(seed)
    if settings.start == "shipped":
        arrays, _ = read_weights(WEIGHTS)
        network.load_state_dict({name: torch.from_numpy(values) for name, values in arrays.items()})
    return network


class Learning:
    """A network that learns from slices: Adam, one cycle, running average of the weights, the best of which is kept.

    Parameters
    ----------
    network : module with ``estimate``
        Holds the best weights after ``run``.
    slices : Slices
    settings : ScanCNNSettings
    seed : int

    """

    def __init__(self, network, slices, settings, seed):
        self.network, self.slices, self.settings = network, slices, settings
        rng, device = np.random.default_rng(seed), slices.images.device
        watched = settings.loss == "recorrupted" and settings.n_steps > 0
        self.aside = keep_aside(slices.mask, settings.aside, rng) if watched else None
        learned = slices.mask if self.aside is None else slices.mask & ~self.aside
        self.pieces = Pieces(slices.images, learned.float(), settings.piece, rng)
        self.noise = torch.Generator(device).manual_seed(seed)
        self.shown = self._aside_slices()
        self.best, self.best_step, self.least, self.average = None, 0, math.inf, None

    def run(self, on_step=None):
        """Learn; what was watched, by name."""
        settings, history = self.settings, {"step": [], "loss": [], "aside": []}
        optimiser = torch.optim.Adam(self.network.parameters(), settings.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.learning_rate, total_steps=max(settings.n_steps, 2), pct_start=RISE
        )
        self.average = self._weights()
        self._look(0, [], history)
        recent, since = [], 0
        for step in range(1, settings.n_steps + 1):
            loss = self._loss()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
            optimiser.step()
            schedule.step()
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, max(AVERAGE, 1 / (step + 1)))
            recent.append(float(loss.detach()))
            if step % settings.every == 0 or step == settings.n_steps:
                since = 0 if self._look(step, recent, history) else since + 1
                recent = []
                if on_step is not None:
                    on_step(step, settings.n_steps)
                if since >= settings.patience and self.aside is not None:
                    break
        self.network.load_state_dict(self.best)
        return history

    def _loss(self):
        images, weights = self.pieces.draw(self.settings.n_pieces)
        protocol = self.slices.protocol
        if self.settings.loss == "ssim":
            found = self.network.estimate(images, protocol)
            return 1 - structural_similarity(
                synthesise(found.log_rate, found.amplitude, protocol.times(images)), images
            )
        return misfit(self.network, images, weights, protocol, self.settings.strength, self._draw(images.shape))

    def _draw(self, shape):
        return torch.randn(shape, generator=self.noise, device=self.slices.images.device)

    def _aside_slices(self):
        """Images, weights and noise that say how well voxels kept aside are told; always the same."""
        if self.aside is None:
            return None
        chosen = self.aside.flatten(1).sum(1).argsort(descending=True, stable=True)[:LOOKED_AT]
        images = self.slices.images[chosen]
        return images, self.aside[chosen].float(), [self._draw(images.shape) for _ in range(LOOKS)]

    @torch.no_grad()
    def _look(self, step, recent, history):
        """Whether the averaged weights are the best so far; without voxels aside the last ones are."""
        value, current = math.nan, self._weights()
        if self.shown is not None:
            self.network.load_state_dict(self.average)
            images, weights, draws = self.shown
            given = (self.slices.protocol, self.settings.strength)
            found = [
                float(misfit(self.network, image[None], weight[None], *given, noise[None]) * weight.sum())
                for noises in draws
                for image, weight, noise in zip(images, weights, noises, strict=True)
                if weight.any()
            ]
            value = sum(found) / LOOKS / float(weights.sum()) - misfit_of_noise(self.settings.strength)
            self.network.load_state_dict(current)
        if recent:
            loss = float(np.mean(recent))
            if not math.isfinite(loss):
                raise ValueError(f"the training diverged before step {step}: another seed, or a lower learning_rate")
        history["step"].append(step)
        history["loss"].append(float(np.mean(recent)) if recent else math.nan)
        history["aside"].append(value)
        better = not value >= self.least
        if better:
            self.best = {name: tensor.clone() for name, tensor in self.average.items()}
            self.best_step, self.least = step, value if math.isfinite(value) else math.inf
        return better

    def _weights(self):
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}
