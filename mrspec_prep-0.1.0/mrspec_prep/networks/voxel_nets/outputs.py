"""Numbers of a network to parameters within bounds, and from there to signals."""

import math

import numpy as np
import torch

#: the authors' code clamps narrower than the model's bounds; parameters it does not clamp are not named
PUBLISHED_CLAMPS = {
    "diffusivity": (0.01, 3.0),
    "kurtosis": (0.01, 2.0),
    "stick_diffusivity": (0.001, 3.0),
    "ball_diffusivity": (0.001, 3.0),
}
MARGIN = 0.1  # of the distance between bounds: a network starts no closer to one
LEAST_SHAPE = 1e-3  # of the reference volumes' signal over S0


class Outputs:
    """Parameters and signals from the last layer of a network.

    Parameters
    ----------
    problem : Problem
    bounds : str
        ``sigmoid``: between the model's bounds, on a logarithmic scale where the parameter has one; zero is the
        middle one of the values that least squares starts from.
        ``clamp``: softplus, then cut off at the bounds (``PUBLISHED_CLAMPS`` where named), where slopes vanish.
    amplitude : str
        ``fitted``: S0 is a number of the network. ``normalised``: signals over those of the reference volumes
        (b = 0, shortest TE), as the paper's models are; S0 follows from these.
    device : torch.device

    """

    def __init__(self, problem, bounds, amplitude, device):
        self.problem, self.bounds, self.amplitude, self.device = problem, bounds, amplitude, device
        model = problem.model
        self.tissue = model.tissue
        self.fitted = amplitude == "fitted"
        self.n = len(model.names) - (0 if self.fitted else 1)
        chosen = problem.encodings.reference()
        references = chosen if len(chosen) else np.arange(len(problem.encodings))
        self.reference = torch.as_tensor(references, device=device)
        weights = problem.n_averages[references] / problem.n_averages[references].sum()
        self.weights = self.tensor(weights)
        means = problem.signals[:, references] @ weights
        least = max(1e-3 * float(np.median(np.abs(means))), 1e-30)
        self.references = self.tensor(np.maximum(means, least))
        self.signals = self.tensor(problem.signals) / self.references[:, None]
        self.noise_std = self.tensor(problem.noise_std) / self.references
        self.n_averages = self.tensor(problem.n_averages)

    def tensor(self, values):
        """Array as a tensor of single precision on the device."""
        return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32, device=self.device)

    def parameters(self, numbers):
        """Parameters by name, S0 over the reference signal, from numbers (..., n)."""
        columns = iter(numbers.unbind(dim=-1))
        named = {"s0": next(columns).clamp(-5, 5).exp()} if self.fitted else {}
        named |= {p.name: self.within(p, next(columns)) for p in self.tissue}
        if self.problem.model.oriented:
            v = torch.stack(list(columns), dim=-1)
            v = v / (v.square().sum(dim=-1, keepdim=True) + 1e-12).sqrt()
            named |= {name: v[..., a] for a, name in enumerate(self.problem.model.names[-3:])}
        return named

    def within(self, parameter, number):
        """One parameter."""
        low, high = parameter.low, parameter.high
        if self.bounds == "sigmoid":
            middle = float(np.median(parameter.starts))
            if parameter.link == "log" and low > 0:
                return (math.log(low) + _between(number, math.log(middle / low), math.log(high / low))).exp()
            return low + _between(number, middle - low, high - low)
        low, high = PUBLISHED_CLAMPS.get(parameter.name, (low, high))
        unit = 1.0 if parameter.link == "linear" else float(np.exp(np.mean(np.log(parameter.starts))))
        return (unit * torch.nn.functional.softplus(number)).clamp(low, high)

    def predicted(self, named):
        """Signals over the reference (..., n_encodings), and S0 over it."""
        model = self.problem.model
        if self.fitted:
            return model.signal(self.problem.encodings, named), named["s0"]
        like = next(iter(named.values()))
        shape = model.signal(self.problem.encodings, {**named, "s0": torch.ones_like(like)})
        first = (shape[..., self.reference] * self.weights).sum(dim=-1).clamp(min=LEAST_SHAPE)
        return shape / first[..., None], 1 / first

    def values(self, numbers, voxels):
        """(..., n_parameters) parameters in the order of the model's names, from numbers (n, ..., n)."""
        named = self.parameters(numbers)
        s0 = self.predicted(named)[1] * self.references[voxels].view(-1, *[1] * (numbers.dim() - 2))
        return torch.stack([s0 if name == "s0" else named[name] for name in self.problem.model.names], dim=-1)


def _between(number, middle, span):
    """Number to (0, span), zero to ``middle``."""
    place = min(max(middle / span, MARGIN), 1 - MARGIN)
    return span * torch.sigmoid(number + math.log(place / (1 - place)))
