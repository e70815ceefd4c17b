"""Where least squares starts: the best of a grid of parameters, S0 fitted, for every voxel."""

from itertools import product

import numpy as np

N_DIRECTIONS = 48


def hemisphere(n_directions):
    """(n_directions, 3) unit vectors spread over half a sphere (golden spiral)."""
    index = np.arange(n_directions) + 0.5
    z = 1 - index / n_directions
    angle = np.pi * (1 + 5**0.5) * index
    planar = np.sqrt(1 - z**2)
    return np.stack([planar * np.cos(angle), planar * np.sin(angle), z], axis=1)


def candidates(model):
    """(n_candidates, n_parameters) values to start from, S0 = 1."""
    grid = [(1.0, *values) for values in product(*(parameter.starts for parameter in model.tissue))]
    if not model.oriented:
        return np.array(grid)
    return np.array([(*values, *direction) for values in grid for direction in hemisphere(N_DIRECTIONS)])


class Starts:
    """Candidates of a problem and their signals, matched to voxels.

    Parameters
    ----------
    problem : Problem

    """

    def __init__(self, problem):
        model = problem.model
        self.values = candidates(model)
        named = dict(zip(model.names, self.values.T, strict=True))
        shapes = model.signal(problem.encodings, named)
        self.root = np.sqrt(problem.n_averages)
        weighted = shapes * self.root
        self.norms = np.maximum(np.linalg.norm(weighted, axis=1), 1e-300)
        self.atoms = np.ascontiguousarray((weighted / self.norms[:, None]).T)

    def match(self, signals):
        """Best candidate of each voxel, its S0 by linear least squares (never negative).

        Parameters
        ----------
        signals : (n, n_encodings) array

        Returns
        -------
        (n, n_parameters) array

        """
        scores = (signals * self.root) @ self.atoms
        best = scores.argmax(axis=1)
        values = self.values[best].copy()
        values[:, 0] = np.maximum(scores[np.arange(len(best)), best] / self.norms[best], 0.0)
        return values
