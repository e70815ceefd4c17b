"""Decoder of the latent space of tissue: z to bounded parameters, and the signal model as its last layer."""

import numpy as np
import torch

from mrspec_prep.networks.priors.coordinates import inverse_across

LEAST_SCALE = 1e-4  # of a coordinate: tissue more alike is scaled as this


class TissueDecoder:
    """u = location + scale z, the link of each parameter, the signal model.

    The direction of an oriented model follows the others as least squares has it.

    Parameters
    ----------
    problem : Problem
    fit : LeastSquares
    coordinates : Coordinates
    errors : Errors
    device : torch.device

    """

    def __init__(self, problem, fit, coordinates, errors, device):
        self.problem, self.coordinates, self.device = problem, coordinates, device
        self.location = np.median(errors.best, axis=0)
        spread = np.percentile(errors.best, 84, axis=0) - np.percentile(errors.best, 16, axis=0)
        self.scale = np.maximum(spread / 2, LEAST_SCALE)
        self.location_t, self.scale_t = self.tensor(self.location), self.tensor(self.scale)
        self.n_averages = self.tensor(problem.n_averages)
        self.signals = self.tensor(problem.signals / problem.noise_std[:, None])
        self.noise_std = self.tensor(problem.noise_std)
        if problem.model.oriented:
            n = coordinates.n
            direction, information = fit.values[:, n:], fit.information[:, n:]
            response = -inverse_across(information[:, :, n:], direction) @ information[:, :, :n]
            self.response, self.direction = self.tensor(response), self.tensor(direction)
            self.best = self.tensor(fit.values[:, :n])

    def tensor(self, values):
        """Array as a tensor of single precision on the device."""
        return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32, device=self.device)

    def values(self, z):
        """Parameters (..., d), within bounds, at latents z; as ``Coordinates.values``."""
        u, columns = self.location_t + self.scale_t * z, []
        for d, p in enumerate(self.coordinates.parameters):
            if p.link == "linear":
                columns.append(u[..., d].clamp(p.low, p.high))
            elif p.link == "log":
                low = None if p.low <= 0 else float(np.log(p.low))
                high = None if np.isinf(p.high) else float(np.log(p.high))
                columns.append(_clamped(u[..., d], low, high).exp())
            else:
                columns.append(p.low + (p.high - p.low) * torch.sigmoid(u[..., d]))
        return torch.stack(columns, dim=-1)

    def predicted(self, z, voxels):
        """Signals over sigma (n, s, n_encodings) of latents z (n, s, d) of voxels (n,)."""
        x = self.values(z)
        named = {name: x[..., d] for d, name in enumerate(self.coordinates.names)}
        model = self.problem.model
        if model.oriented:
            moved = torch.einsum("nij,nsj->nsi", self.response[voxels], x - self.best[voxels, None])
            turned = self.direction[voxels, None] + moved.clamp(-1, 1)
            named |= {name: turned[..., a] for a, name in enumerate(model.names[-3:])}
        named["s0"] = named["s0"] / self.noise_std[voxels, None]
        return model.signal(self.problem.encodings, named)


def _clamped(x, low, high):
    return x if low is None and high is None else x.clamp(low, high)
