"""Train the any-protocol network on fresh signals of random protocols, simulated in coefficients (torch)."""

import time
from dataclasses import asdict, dataclass

import numpy as np
import torch

from mrspec_prep.networks.compartments.any_network import AnyProtocolNetwork
from mrspec_prep.networks.compartments.any_protocol import N_FEATURES, UNKNOWN_LEVEL, ProtocolMap, tissue_basis
from mrspec_prep.networks.compartments.merged_network import TYPICAL_LEVEL, relative_information
from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.compartments.simulation import draw_fractions, draw_tissue

#: noise levels (sigma over the RMS of the signal) that are trained for where sigma is given
KNOWN_RANGE = (0.004, 0.2)


@dataclass(frozen=True)
class Training:
    """Settings of a training.

    Parameters
    ----------
    n_steps, n_protocols, n_signals : int
        Steps; protocols per step; signals of each.
    rate : float
        Largest step of AdamW; rises over the first 5 % of the steps, falls to 0 as a cosine.
    decay : float
        Weight decay.
    averaging : float
        Of the weights that are kept: exponential moving average.
    known : float
        Part of the protocols whose noise level is told.
    seed : int

    """

    n_steps: int
    n_protocols: int = 16
    n_signals: int = 192
    rate: float = 3e-3
    decay: float = 1e-3
    averaging: float = 0.999
    known: float = 0.5
    seed: int = 0


class Pool:
    """Protocols ready to be simulated, as tensors; ValueError for noise that is not a part of the signal's RMS."""

    def __init__(self, maps: list[ProtocolMap], recipe: Recipe):
        if recipe.noise != "rms" or recipe.noise_steps:
            raise ValueError(
                "signals are simulated in coefficients here: a recipe needs noise = rms and noise_steps = 0 "
                f"(uniform), got {recipe.noise} and {recipe.noise_steps}; simulation.simulate knows the others"
            )
        self.recipe, self.axes = recipe, maps[0].basis.axes
        n_functions = maps[0].basis.n_functions
        strength = np.zeros((len(maps), n_functions), np.float32)
        rotate = np.zeros((len(maps), n_functions, n_functions), np.float32)
        for i, mapping in enumerate(maps):
            strength[i, : len(mapping.strength)] = mapping.strength
            rotate[i, :, : len(mapping.strength)] = mapping.rotate
        self.strength, self.rotate = torch.from_numpy(strength), torch.from_numpy(rotate)
        self.n_encodings = torch.tensor([float(m.n_encodings) for m in maps])
        self.n_strong = torch.tensor([m.n_strong for m in maps])
        self.information = torch.tensor([relative_information(m) for m in maps], dtype=torch.float32)
        told = [np.stack([m.describe(known) for m in maps]) for known in (False, True)]
        self.description = torch.from_numpy(np.stack(told, axis=1).astype(np.float32))
        basis = tissue_basis(self.axes, recipe)
        sizes = [len(recipe.values(axis)) for axis in self.axes]
        every = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1).reshape(-1, len(sizes))
        indices = dict(zip(self.axes, every.T, strict=True))
        self.tissue = torch.from_numpy(basis.whitened_tissue(indices).astype(np.float32))
        self.sizes = sizes

    def __len__(self):
        return len(self.strength)

    def draw(self, chosen, known, n, rng):
        """Features, levels, classes and descriptions of n signals of each chosen protocol.

        Parameters
        ----------
        chosen, known : (n_protocols,) int and bool arrays
            Which protocols; whether the noise level is told.
        n : int
        rng : numpy.random.Generator

        Returns
        -------
        features : (n_protocols, n, n_features) tensor
        levels : (n_protocols, n) tensor
            Logarithm of the noise level over ``TYPICAL_LEVEL``.
        classes : (n_protocols, n) tensor
            n_compartments - 1.
        descriptions : (n_protocols, n_description) tensor

        """
        shape = (len(chosen), n)
        coefficients, classes = self._tissue(shape, rng)
        strength, rotate = self.strength[chosen], self.rotate[chosen]
        n_encodings = self.n_encodings[chosen][:, None]
        signals = torch.bmm(coefficients, rotate) * strength[:, None]
        n_functions = strength.shape[1]
        ranks = torch.arange(n_functions)
        level = torch.from_numpy(self._levels(known, n, rng))
        power = signals.square().sum(-1)
        variance = level.square() * power / n_encodings
        noise = torch.randn(signals.shape) * (ranks < n_encodings)[:, None]
        signals = signals + variance.sqrt()[..., None] * noise
        left = (n_encodings - n_functions).clamp(min=0).expand(shape)
        rest = torch.where(left > 0, 2 * torch._standard_gamma(left.clamp(min=1) / 2), torch.zeros(())) * variance
        total = signals.square().sum(-1) + rest
        signals = signals / total.sqrt()[..., None]
        strong = ranks < self.n_strong[chosen][:, None]
        found = 1 - (signals.square() * strong[:, None]).sum(-1)
        n_left = n_encodings - self.n_strong[chosen][:, None]
        guess = (found.clamp(min=0) * n_encodings / n_left.clamp(min=1)).sqrt().clamp(*self.recipe.noise_range)
        guess = torch.where(n_left > 0, guess, torch.full((), UNKNOWN_LEVEL))
        told = torch.from_numpy(known)[:, None]
        level = torch.where(told, (variance * n_encodings / total).sqrt(), guess)
        gain = strength[:, None] / (strength.square()[:, None] + (level.square() / n_encodings)[..., None])
        features = torch.bmm(signals * gain, rotate[:, : N_FEATURES[len(self.axes)]].transpose(1, 2))
        description = self.description[chosen, torch.from_numpy(known).long()]
        return features, torch.log(level / TYPICAL_LEVEL), classes, description

    def _tissue(self, shape, rng):
        recipe, n = self.recipe, int(np.prod(shape))
        classes = rng.integers(1, recipe.n_classes + 1, n)
        fractions = torch.from_numpy(draw_fractions(classes, recipe, rng).astype(np.float32))
        indices = draw_tissue(self.axes, (n, recipe.n_classes), recipe, rng)
        flat = np.ravel_multi_index([indices[axis] for axis in self.axes], self.sizes)
        held = torch.from_numpy(flat)
        mixed = torch.nn.functional.embedding_bag(held, self.tissue, per_sample_weights=fractions, mode="sum")
        return mixed.reshape(*shape, -1), torch.from_numpy(classes - 1).reshape(shape)

    def _levels(self, known, n, rng):
        usual = rng.uniform(*self.recipe.noise_range, (len(known), n))
        wide = np.exp(rng.uniform(*np.log(KNOWN_RANGE), (len(known), n)))
        take = known[:, None] & (rng.random((len(known), n)) < 0.7)
        return np.where(take, wide, usual).astype(np.float32)


class Trainer:
    """A training that can be stopped and taken up again."""

    def __init__(self, pool: Pool, settings: Training, **sizes):
        torch.manual_seed(settings.seed)
        self.pool, self.settings = pool, settings
        sizes = {"n_features": N_FEATURES[len(pool.axes)], "n_description": pool.description.shape[-1]} | sizes
        self.network = AnyProtocolNetwork(**sizes)
        self.average = AnyProtocolNetwork(**self.network.sizes)
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(self.network.parameters(), weight_decay=settings.decay, betas=(0.9, 0.99))
        self.step, self.history, self.seconds = 0, [], 0.0

    def start_from(self, arrays):
        """Begin with the weights of another training of a network of the same sizes."""
        state = {name: torch.from_numpy(arrays[name]) for name in self.network.state_dict()}
        self.network.load_state_dict(state)
        self.average.load_state_dict(state)

    def run(self, until=None, on_step=None):
        """Take steps up to ``until`` (default: all), calling ``on_step(step, mean loss)`` every 100."""
        start, losses = time.process_time(), []
        while self.step < min(until or self.settings.n_steps, self.settings.n_steps):
            losses.append(self._one_step())
            if self.step % 100 == 0:
                self.history.append((self.step, float(np.mean(losses))))
                losses = []
                if on_step is not None:
                    on_step(*self.history[-1])
        self.seconds += time.process_time() - start
        return self.average

    def _one_step(self):
        s, rng = self.settings, np.random.default_rng([self.settings.seed, self.step])
        torch.manual_seed(s.seed * 1_000_003 + self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = s.rate * float(schedule((self.step + 1) / s.n_steps))
        chosen = rng.integers(0, len(self.pool), s.n_protocols)
        known = rng.random(s.n_protocols) < s.known
        with torch.no_grad():
            features, levels, classes, descriptions = self.pool.draw(chosen, known, s.n_signals, rng)
        logits = self.network(features, levels, descriptions)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), classes.flatten())
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        keep = min(s.averaging, self.step / (self.step + 10))
        with torch.no_grad():
            for mean, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(new, 1 - keep)
        return float(loss.detach())

    def save(self, path):
        """Write a checkpoint."""
        state = {
            "settings": asdict(self.settings),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": {"step": self.step, "history": self.history, "seconds": self.seconds},
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path):
        """Take up a checkpoint; ValueError if it was trained with other settings."""
        state = torch.load(path, weights_only=True)
        if state["settings"] != asdict(self.settings):
            raise ValueError(f"{path} holds a training with {state['settings']}, not {asdict(self.settings)}")
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["progress"]["step"], state["progress"]["seconds"]
        self.history = [tuple(point) for point in state["progress"]["history"]]


def schedule(progress):
    """Part of the largest rate: a rise over the first 5 %, then a cosine to 0."""
    rise = 0.05
    return progress / rise if progress < rise else 0.5 * (1 + np.cos(np.pi * (progress - rise) / (1 - rise)))
