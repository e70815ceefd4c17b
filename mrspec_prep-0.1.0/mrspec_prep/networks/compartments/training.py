"""Training of classifiers of compartments, as published and as it should be (torch)."""

import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.compartments.simulation import simulate
from mrspec_prep.physics import Encodings

BLOCK = 65_536  # signals simulated at a time


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Parameters
    ----------
    n_steps : int
        Steps of the optimiser.
    batch : int
        Signals per step.
    rate : float
        Learning rate, at its highest.
    optimiser : str
        ``adamw`` with one cycle (a tenth of the steps up, then half a cosine down to zero) or ``sgd`` with momentum
        .9 and a rate that falls in five equal steps towards a hundredth, the paper's.
    weight_decay : float
        Of AdamW.
    n_signals : int
        Size of a fixed training set, drawn once and shuffled every epoch (the paper: 700,000); 0: fresh signals in
        every step.

    """

    n_steps: int
    batch: int = 1024
    rate: float = 2e-3
    optimiser: str = "adamw"
    weight_decay: float = 1e-4
    n_signals: int = 0

    def __post_init__(self):
        if self.optimiser not in ("adamw", "sgd"):
            raise ValueError(f"optimiser must be adamw or sgd, got {self.optimiser!r}")
        for name, least in (("n_steps", 1), ("batch", 1), ("n_signals", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")


#: the paper's: 700,000 signals, SGD from 1 to .01 (for ``PaperCNN(as_published=True)``)
PUBLISHED = Training(n_steps=1, batch=10_000, rate=1.0, optimiser="sgd", n_signals=700_000)
FAIR = Training(n_steps=1, batch=512, rate=8e-3, weight_decay=0.0)
OURS = Training(n_steps=1, batch=1024, rate=2e-3)


@dataclass
class History:
    """What a training took.

    Attributes
    ----------
    loss : list of float
        Mean cross-entropy of each hundredth of the steps.
    cpu_seconds : float
        Process time, simulation included.
    n_signals : int
        Signals seen.

    """

    loss: list = field(default_factory=list)
    cpu_seconds: float = 0.0
    n_signals: int = 0


def train(network, recipe: Recipe, protocol: Encodings, training: Training, rng) -> History:
    """Train a network in place by cross-entropy, so that its probabilities are those of the classes.

    Parameters
    ----------
    network : torch module
        (n, n_encodings) -> (n, n_classes).
    recipe : Recipe
    protocol : Encodings
    training : Training
    rng : numpy.random.Generator
        Signals and their order; dropout follows torch's own seed.

    Returns
    -------
    History

    """
    start = time.process_time()
    history = History(n_signals=training.n_steps * training.batch)
    optimiser, schedule = _optimiser(network, training)
    batches = _batches(recipe, protocol, training, rng)
    network.train()
    every, losses = max(1, training.n_steps // 100), []
    for step in range(training.n_steps):
        signals, classes = next(batches)
        loss = cross_entropy(network(signals), classes)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if (step + 1) % every == 0:
            history.loss.append(float(np.mean(losses)))
            losses = []
    network.eval()
    history.cpu_seconds = time.process_time() - start
    return history


def within(cpu_seconds, make_network, recipe, protocol, training: Training, rng) -> Training:
    """The same training with the steps that fit in a budget of process time, measured on a network to discard."""
    few = 40 if training.n_signals == 0 else 8
    trial = replace(training, n_steps=few, n_signals=min(training.n_signals, 2 * BLOCK))
    train(make_network(), recipe, protocol, replace(trial, n_steps=4), rng)  # warm-up
    taken = train(make_network(), recipe, protocol, trial, rng).cpu_seconds
    if training.n_signals == 0:  # the trial simulated a whole block for its few steps
        used = few * training.batch
        begin = time.process_time()
        simulate(recipe, protocol, BLOCK, rng)
        block = time.process_time() - begin
        taken += block * (used / BLOCK - int(np.ceil(used / BLOCK)))
    return replace(training, n_steps=max(1, int(cpu_seconds / taken * few)))


def predict(network, signals, batch=16_384):
    """(n, n_classes) probabilities of signals (n, n_encodings) of unit 2-norm."""
    network.eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(signals), batch):
            part = network(torch.as_tensor(np.asarray(signals[start : start + batch], np.float32)))
            found.append(part if getattr(network, "as_published", False) else part.softmax(dim=1))
    return torch.cat(found).double().numpy()


def _optimiser(network, training):
    n = training.n_steps
    if training.optimiser == "sgd":
        optimiser = torch.optim.SGD(network.parameters(), lr=training.rate, momentum=0.9)
        return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.01 ** (int(5 * step / n) / 5))
    optimiser = torch.optim.AdamW(network.parameters(), lr=training.rate, weight_decay=training.weight_decay)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: one_cycle(step / n))


def one_cycle(progress):
    """Learning rate over its highest at a progress of 0 to 1."""
    if progress < 0.1:
        return 0.05 + 0.95 * progress / 0.1
    return 0.5 * (1 + np.cos(np.pi * (progress - 0.1) / 0.9))


def _batches(recipe, protocol, training, rng):
    """Yield (signals, classes from 0) without end."""
    size = training.n_signals or BLOCK
    fixed = None
    while True:
        if fixed is None or training.n_signals == 0:
            drawn = simulate(recipe, protocol, max(size, training.batch), rng)
            fixed = torch.as_tensor(drawn.signals), torch.as_tensor(drawn.n_compartments - 1)
        signals, classes = fixed
        order = torch.as_tensor(rng.permutation(len(classes))) if training.n_signals else torch.arange(len(classes))
        for start in range(0, len(classes) - training.batch + 1, training.batch):
            rows = order[start : start + training.batch]
            yield signals[rows], classes[rows]
