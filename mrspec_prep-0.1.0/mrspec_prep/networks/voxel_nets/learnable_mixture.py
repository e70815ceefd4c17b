"""Gaussian mixture whose weights, means and precisions are trained: the prior over latents."""

import math

import torch

from mrspec_prep.networks.priors.mixture import Mixture


class LearnableMixture(torch.nn.Module):
    """Mixture over z = (u - location) / scale, each precision L L' with L lower triangular.

    Parameters
    ----------
    start : Mixture
        Over u.
    location, scale : (d,) arrays
    device : torch.device

    """

    def __init__(self, start: Mixture, location, scale, device):
        super().__init__()
        d = len(location)
        self.location, self.scale = location, scale
        self.rows, self.columns = torch.tril_indices(d, d, -1)
        for name, value in self.numbers_of(start).items():
            setattr(self, name, torch.nn.Parameter(value.to(device)))

    def numbers_of(self, mixture):
        """Trained numbers, by name, at which this is a ``Mixture`` over u."""
        covariances = torch.tensor(mixture.covariances / (self.scale[:, None] * self.scale))
        factors = torch.linalg.cholesky(torch.linalg.inv(covariances))
        values = {
            "logits": torch.tensor(mixture.weights).clamp(min=1e-6).log(),
            "means": torch.tensor((mixture.means - self.location) / self.scale),
            "log_diagonals": torch.diagonal(factors, dim1=-2, dim2=-1).log(),
            "below": factors[:, self.rows, self.columns],
        }
        return {name: value.float() for name, value in values.items()}

    @torch.no_grad()
    def become(self, mixture):
        """Take the numbers of a ``Mixture`` over u."""
        for name, value in self.numbers_of(mixture).items():
            getattr(self, name).copy_(value)

    def factors(self):
        """Lower factors L of the precisions, (K, d, d)."""
        factors = torch.diag_embed(self.log_diagonals.exp())
        factors[:, self.rows, self.columns] = self.below
        return factors

    def log_joint(self, z):
        """Log density of component and latent.

        Parameters
        ----------
        z : (..., d) tensor

        Returns
        -------
        (..., K) tensor

        """
        along = torch.einsum("kca,...kc->...ka", self.factors(), z[..., None, :] - self.means)
        constants = self.logits.log_softmax(0) + self.log_diagonals.sum(1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)
        return constants - 0.5 * (along**2).sum(dim=-1)

    def log_penalty(self, least, pseudo_count):
        """Penalty of ``mixture_prior.log_penalty``: voxels of covariance ``least`` (d,) in every component [nats]."""
        ratios = (self.factors() ** 2).sum(dim=2) * least
        logs = 2 * self.log_diagonals + least.log()
        return 0.5 * pseudo_count * (logs - ratios + 1).sum()

    def mixture(self) -> Mixture:
        """The mixture over u."""
        factors = self.factors().detach().double().cpu()
        covariances = torch.linalg.inv(factors @ factors.mT).numpy() * (self.scale[:, None] * self.scale)
        weights = self.logits.detach().double().softmax(0).cpu().numpy()
        return Mixture(weights, self.means.detach().double().cpu().numpy() * self.scale + self.location, covariances)
