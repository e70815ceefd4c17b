"""Coordinates in which tissue is described by Gaussians: the parameters without bounds, S0 and times as logarithms."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.networks.fitting.links import coordinate_of, value_of
from mrspec_prep.networks.priors.mixture import marginal_std

_nodes, _weights = np.polynomial.hermite_e.hermegauss(15)
NODES = _nodes, _weights / _weights.sum()  # of the standard normal distribution
UNSEEN = 1e-3  # information about a direction [1/rad2] below which there is none: 30 rad
SMALLEST = 1e-6  # of the median S0: below, a voxel's S0 counts as this


@dataclass(frozen=True, eq=False)
class Errors:
    """What the signals say about each voxel's coordinates u, as a Gaussian that may be flat.

    The log-likelihood is about -u'A u / 2 + h'u.

    Attributes
    ----------
    precision : (n_voxels, d, d) array
        A.
    potential : (n_voxels, d) array
        h; where A can be inverted, the most likely u is A^-1 h, also beyond a bound.
    best : (n_voxels, d) array
        Coordinates of the least-squares fit, within bounds.

    """

    precision: np.ndarray
    potential: np.ndarray
    best: np.ndarray


class Coordinates:
    """Coordinates u of a model's parameters, those of the direction left out.

    Linear: u is the parameter, and values of u beyond a bound stand for the bound. Log: u = log x.
    Logit: u = log(p / (1 - p)) of the place p between the bounds.

    Parameters
    ----------
    model : Model

    """

    def __init__(self, model):
        self.model = model
        self.parameters = tuple(p for p in model.parameters if not p.name.startswith("direction_"))
        self.names = tuple(p.name for p in self.parameters)
        self.n = len(self.parameters)

    def values(self, u):
        """Parameters, within bounds, at coordinates u (..., d)."""
        x = np.empty_like(u)
        for d, p in enumerate(self.parameters):
            x[..., d] = value_of(p, u[..., d])
        return x

    def at(self, x):
        """Coordinates u and slopes dx/du of parameters x (n, d)."""
        u, slopes = np.empty(x.shape), np.ones(x.shape)
        for d, p in enumerate(self.parameters):
            positive = x[:, d][x[:, d] > 0]
            least = SMALLEST * np.median(positive) if len(positive) else 1.0
            u[:, d], slopes[:, d] = coordinate_of(p, x[:, d], least)
        return u, slopes

    def errors(self, fit) -> Errors:
        """Gaussian likelihood of each voxel's u from a least-squares fit.

        A bound that holds a parameter cuts the likelihood off; its slope there says where it would have
        its maximum. The direction is integrated out.
        """
        u, slopes = self.at(fit.values[:, : self.n])
        information, slope = fit.information[:, : self.n, : self.n], fit.slope[:, : self.n]
        if self.model.oriented:
            inverse = inverse_across(fit.information[:, self.n :, self.n :], fit.values[:, self.n :])
            across = fit.information[:, : self.n, self.n :] @ inverse
            information = information - across @ fit.information[:, self.n :, : self.n]
        precision = slopes[:, :, None] * information * slopes[:, None, :]
        precision = 0.5 * (precision + precision.transpose(0, 2, 1))
        return Errors(precision, np.einsum("nij,nj->ni", precision, u) + slopes * slope, u)

    def posterior_moments(self, found):
        """Mean and standard deviation of the parameters where the posterior of u is a Gaussian mixture.

        Parameters
        ----------
        found : Posterior

        Returns
        -------
        mean, std : (n_voxels, d) arrays
            Of the parameters, not of their coordinates; by Gauss-Hermite quadrature.

        """
        first, second = 0.0, 0.0
        for k in range(found.probs.shape[1]):
            prob, spread = found.probs[:, [k]], marginal_std(found.factors[:, k])
            for node, weight in zip(*NODES, strict=True):
                x = self.values(found.means[:, k] + node * spread)
                first = first + weight * prob * x
                second = second + weight * prob * x**2
        return first, np.sqrt(np.maximum(second - first**2, 0.0))


def inverse_across(information, direction):
    """Inverse of the direction's information across it; zero along it, and where nothing tells of it.

    Parameters
    ----------
    information : (n_voxels, 3, 3) array
    direction : (n_voxels, 3) array
        Unit vectors.

    Returns
    -------
    (n_voxels, 3, 3) array

    """
    size = np.trace(information, axis1=1, axis2=2)[:, None, None]
    seen = size > UNSEEN
    size = np.where(seen, size, 1.0)
    along = direction[:, :, None] * direction[:, None, :]
    full = np.linalg.inv(information / size + along + 1e-6 * np.eye(3))
    return np.where(seen, (full - along / (1 + 1e-6)) / size, 0.0)
