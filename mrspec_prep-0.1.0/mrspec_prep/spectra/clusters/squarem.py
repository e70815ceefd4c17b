"""Acceleration of EM by squared extrapolation (SQUAREM; Varadhan and Roland 2008)."""

import numpy as np

SMALLEST_PROB = 1e-12
LARGEST_STEP = 4.0  # bound of the first extrapolations; it grows while they succeed
GROWTH = 2.0


class Extrapolation:
    """Leap from three consecutive EM states, kept within a bound that grows with success.

    The caller takes the leap only where the likelihood is not below that of the second state.
    """

    def __init__(self, bound=LARGEST_STEP, last=0.0):
        self.bound = bound
        self.last = last  # length of the latest leap

    def leap(self, first, second, third, weights):
        """Parameters beyond ``third`` along the path of the three, or None where EM already moves as fast.

        Parameters
        ----------
        first, second, third : tuple of (probs, spectra, means)
            Of n_clusters, the last axis of probs; means are the spectra's compressed signals.
        weights : (n_clusters,) array
            Precision of the means: how much their distances count.

        Returns
        -------
        probs : (..., n_clusters) array
        spectra : (n_clusters, n_bins) array
            Not negative.

        """
        points = [_coordinates(state, weights) for state in (first, second, third)]
        change = points[1] - points[0]
        bend = points[2] - points[1] - change
        size = np.linalg.norm(bend)
        if size == 0.0:
            return None
        length = min(np.linalg.norm(change) / size, self.bound)
        if length <= 1.0:
            return None
        self.last = length
        log_probs = [np.log(np.maximum(state[0], SMALLEST_PROB)) for state in (first, second, third)]
        probs = np.exp(_extrapolated(*log_probs, length))
        spectra = np.maximum(_extrapolated(first[1], second[1], third[1], length), 0.0)
        return probs / probs.sum(axis=-1, keepdims=True), spectra

    def judge(self, success):
        """Widen the bound after a leap at the bound that succeeded, narrow it after a failure."""
        if not success:
            self.bound = max(self.bound / GROWTH, LARGEST_STEP / 2)
        elif self.last >= self.bound:
            self.bound *= GROWTH


def _coordinates(state, weights):
    """State as one vector in which distances are those of the likelihood, roughly."""
    probs, _, means = state
    return np.append(np.sqrt(weights)[:, None] * means, 2 * np.sqrt(weights.max() * probs))


def _extrapolated(first, second, third, length):
    """theta0 + 2 a (theta1 - theta0) + a2 (theta2 - 2 theta1 + theta0)."""
    change = second - first
    return first + 2 * length * change + length**2 * (third - second - change)
