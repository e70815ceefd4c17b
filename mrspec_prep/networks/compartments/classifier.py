"""How many compartments a signal holds: trained weights, for any protocol; no torch unless a training is asked for."""

from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
from scipy.special import chdtri

from mrspec_prep.networks.compartments.any_protocol import ProtocolMap, protocol_map
from mrspec_prep.networks.compartments.coverage import outside
from mrspec_prep.networks.compartments.magnitude_signals import signed_draws
from mrspec_prep.networks.compartments.merged_network import BLOCK, merge
from mrspec_prep.networks.compartments.recipe import Recipe
from mrspec_prep.networks.compartments.simulation import weighted_axes
from mrspec_prep.networks.weights import read_weights
from mrspec_prep.physics import Encodings
from mrspec_prep.physics.checks import noise_of_voxels, real_array
from mrspec_prep.physics.encodings import check_encodings

#: tissue axes that shipped weights exist for, and their names in the package's data
SHIPPED = {("t1", "t2"): "compartments_t1-t2", ("t2",): "compartments_t2", ("t1",): "compartments_t1"}
ABSTAIN_BELOW = 0.5  # largest probability below which a signal is left undecided
SLACK = 1.15  # factor by which a noise level may exceed the trained range
BY_CHANCE = 1e-6  # probability that noise alone makes the residual too large
N_DRAWS = 8  # of signed signals for magnitudes
HIDDEN = 1e-12  # part of the signals' power below which a direction counts as noise alone, also for the fastest decays
SIGMA_ERROR = 1.3  # factor by which a given sigma may be too small
#: reasons for abstaining, by code
REASONS = (
    "decided",
    "no class is likely enough",
    "more noise than trained for",
    "not a sum of such decays",
)


class NotCoveredError(ValueError):
    """No weights cover the protocol."""


@dataclass(frozen=True, eq=False)
class Classification:
    """Decision for every signal.

    Attributes
    ----------
    probabilities : (n_voxels, 4) array
        Of 1 to 4 compartments, under the law of the training.
    n_compartments : (n_voxels,) int array
        The likeliest number; 0 where the classifier abstains.
    reason : (n_voxels,) int array
        Index into ``REASONS``.
    noise_level : (n_voxels,) array
        Sigma over the RMS of the signal, as given or as the signal tells.

    """

    probabilities: np.ndarray
    n_compartments: np.ndarray
    reason: np.ndarray
    noise_level: np.ndarray

    @property
    def abstained(self):
        """(n_voxels,) bool."""
        return self.reason > 0


@dataclass(frozen=True, eq=False)
class CompartmentClassifier:
    """Classifier of the number of compartments for one protocol; made by ``for_protocol``.

    Attributes
    ----------
    protocol : Encodings
        Times in units of the law of the tissue, divided by ``time_scale`` [ms].
    mapping : ProtocolMap
    weights : dict of str to array
    manifest : dict
        Training command, seed, recipe, figures and covered range of the weights.
    source : str
        Where the weights come from, in words.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.networks import CompartmentClassifier
    >>> from mrspec_prep.physics import Encodings, add_noise, simulate_signals
    >>> protocol = Encodings(echo_time=np.arange(8.0, 264.0, 8.0))  # ms
    >>> signals = simulate_signals("t2", protocol, {"t2": [[80.0, 80.0], [20.0, 200.0]]})
    >>> signals = add_noise(signals, 0.002, np.random.default_rng(0))
    >>> chances = CompartmentClassifier.for_protocol(protocol).predict_proba(signals, noise_std=0.002)
    >>> chances.shape, (chances[:, 0] > 0.5).tolist()  # one compartment?
    ((2, 4), [True, False])

    """

    protocol: Encodings
    mapping: ProtocolMap
    weights: dict
    manifest: dict
    source: str
    _merged: dict = field(default_factory=dict, repr=False)

    @classmethod
    def for_protocol(cls, protocol: Encodings, *, time_scale=1.0, train=True, cache=None, seed=0, on_step=None):
        """Load the weights that cover a protocol; train for it where none of the shipped ones do.

        Parameters
        ----------
        protocol : Encodings
            Inversion times, echo times or both vary; b-values only where ``train`` is left on.
        time_scale : float
            Factor of the T1 and T2 that tissue may have: 1 is the recipe's (T1 50 to 5000 ms, T2 5 to 500 ms), .1
            suits rocks. Signals depend on TE/T2, TI/T1 and TR/T1 alone, so that the same weights serve.
        train : bool
            Train for this protocol (minutes, needs torch) where the shipped weights do not cover it,
            or take the weights of an earlier such training from the cache. False: refuse it instead.
        cache : path, optional
            Folder for trained weights; default: ``mrspec_prep`` in the user's cache of the platform.
        seed : int
            Of the training.
        on_step : callable, optional
            Called as ``on_step(step, loss)`` while training.

        Returns
        -------
        CompartmentClassifier

        Raises
        ------
        NotCoveredError
            The protocol is outside the range of the shipped weights and ``train`` is False.
        ValueError
            The protocol weights nothing, a scale that is not positive, or weights whose checksum is wrong.

        """
        check_encodings(protocol)
        if not 0 < time_scale < np.inf:
            raise ValueError(f"time_scale must be > 0, got {time_scale}")
        protocol, axes = scaled(protocol, 1 / time_scale), weighted_axes(protocol)
        reason = f"no weights are shipped for protocols that weight {', '.join(axes)}"
        if axes in SHIPPED:
            arrays, manifest = shipped_weights(SHIPPED[axes])
            mapping = protocol_map(protocol, Recipe.from_dict(manifest["recipe"]))
            reason = outside(mapping, manifest["range"])
            if not reason:
                return cls(protocol, mapping, arrays, manifest, f"shipped with the package: {SHIPPED[axes]}")
        if not train:
            raise NotCoveredError(
                f"the protocol is outside what the shipped weights were trained for: {reason}. Train for it "
                "with train=True (a few minutes; cached), or select other volumes"
            )
        from mrspec_prep.networks.compartments.own_training import trained_weights

        arrays, manifest, path = trained_weights(protocol, cache, seed, on_step)
        mapping = protocol_map(protocol, Recipe.from_dict(manifest["recipe"]))
        return cls(protocol, mapping, arrays, manifest, f"trained for this protocol: {path}")

    def predict_proba(self, signals, noise_std=None, *, magnitudes=False, seed=0):
        """Probability of 1, 2, 3 and 4 compartments.

        Parameters
        ----------
        signals : (n_voxels, n_encodings) array
            Any scale; inversion recovery with its sign (``spectra.restore_polarity`` for magnitudes).
        noise_std : float or (n_voxels,) array, optional
            Sigma of one volume [signal units]. Default: what the signal itself tells, within 1 to 5 % of its RMS.
            A smaller level than trained for is read as the smallest.
        magnitudes : bool
            The signals are magnitudes of complex noise: the answer is the mean over signed signals that they may come
            from (``magnitude_signals``). Needs ``noise_std``.
        seed : int
            Of these draws.

        Returns
        -------
        (n_voxels, 4) float32 array
            Rows sum to 1.

        Raises
        ------
        ValueError
            Wrong shape, signals that are zero, NaN or infinite, sigma not positive; magnitudes without sigma or
            negative ones.

        """
        signals, sigma = self._checked(signals, noise_std, magnitudes)
        if not magnitudes:
            return self._run(signals, sigma)[0]
        return self._answer_magnitudes(signals, sigma, seed)[0]

    def classify(self, signals, noise_std=None, *, magnitudes=False, seed=0, abstain_below=ABSTAIN_BELOW):
        """Decide, or abstain and say why.

        Parameters
        ----------
        signals, noise_std, magnitudes, seed
            See ``predict_proba``.
        abstain_below : float
            A voxel is left undecided where its largest probability is smaller; 0 decides wherever the noise level
            and the misfit allow.

        Returns
        -------
        Classification

        """
        signals, sigma = self._checked(signals, noise_std, magnitudes)
        if magnitudes:
            probabilities, level, misfit = self._answer_magnitudes(signals, sigma, seed)
        else:
            probabilities, level, misfit = self.answer(signals, sigma)
        return self.decide(probabilities, level, misfit, abstain_below, noise_known=sigma is not None)

    def answer(self, signals, sigma=None):
        """Probabilities, noise levels and misfit of signed signals; no checks, see ``predict_proba``."""
        probabilities, level = self._run(signals, sigma)
        return probabilities, level, 0.0 if sigma is None else misfit_ratio(signals, sigma, self.mapping)

    def decide(self, probabilities, level, misfit, abstain_below=ABSTAIN_BELOW, *, noise_known=True):
        """Classification of signals by what is known of each: probabilities, noise level, misfit.

        Raises
        ------
        ValueError
            ``abstain_below`` is no probability.

        """
        if not 0 <= abstain_below <= 1:
            raise ValueError(f"abstain_below must lie between 0 and 1, got {abstain_below}")
        reason = np.where(probabilities.max(axis=1) < abstain_below, 1, 0)
        reason[level > self.manifest["levels"]["given" if noise_known else "estimated"][1] * SLACK] = 2
        reason[np.broadcast_to(misfit > 1, len(reason))] = 3
        number = np.where(reason > 0, 0, probabilities.argmax(axis=1) + 1)
        return Classification(probabilities, number, reason, level)

    def network(self, noise_known=False):
        """Weights merged for the protocol, ready to run."""
        if noise_known not in self._merged:
            levels = tuple(self.manifest["levels"]["given" if noise_known else "estimated"])
            self._merged[noise_known] = merge(self.weights, self.mapping, noise_known, levels)
        return self._merged[noise_known]

    def _answer_magnitudes(self, signals, sigma, seed):
        """Probabilities, noise levels and misfit, means over signed signals; a block of voxels at a time."""
        positive, n = self.protocol.inversion_time is None, len(signals)
        probabilities, level, misfit = np.zeros((n, self.n_classes), np.float32), np.zeros(n), np.zeros(n)
        for start in range(0, n, BLOCK):
            rows, rng = slice(start, start + BLOCK), np.random.default_rng([seed, start])
            for drawn in signed_draws(signals[rows], sigma[rows], self.mapping, positive, N_DRAWS, rng):
                for total, part in zip((probabilities, level, misfit), self.answer(drawn, sigma[rows]), strict=True):
                    total[rows] += part / N_DRAWS
        return probabilities, level, misfit

    @property
    def n_classes(self):
        """Largest number of compartments that is told apart."""
        return self.manifest["recipe"]["n_classes"]

    def _run(self, signals, sigma):
        """Probabilities and noise levels."""
        network = self.network(sigma is not None)
        if sigma is None:
            return network.probabilities(signals)
        rms = np.sqrt(np.einsum("ij,ij->i", signals, signals) / signals.shape[1])
        return network.probabilities(signals, (sigma / rms).astype(np.float32))

    def _checked(self, signals, noise_std, magnitudes):
        signals = np.ascontiguousarray(real_array(signals, "signals"))  # single precision: strides would change sums
        signals = signals if signals.dtype.kind == "f" else signals.astype(float)
        if signals.ndim != 2 or signals.shape[1] != len(self.protocol):
            raise ValueError(
                f"signals must be (n_voxels, {len(self.protocol)}) as the protocol, got shape {signals.shape}"
            )
        if magnitudes and self.protocol.inversion_time is None and (signals < 0).any():
            raise ValueError(f"magnitudes must be >= 0, got {signals.min()}")
        wrong = ~np.isfinite(signals).all(axis=1) | ~signals.any(axis=1)
        if wrong.any():
            raise ValueError(f"{int(wrong.sum())} signals are zero, NaN or infinite: mask those voxels out")
        if noise_std is None:
            if magnitudes:
                raise ValueError("magnitudes need noise_std: without it their floor reads as a slow compartment")
            return signals, None
        return signals, noise_of_voxels(noise_std, len(signals))


def misfit_ratio(signals, sigma, mapping: ProtocolMap):
    """(n,) residual sum of squares over the largest that noise explains, of a sigma 1.3 times as large at most."""
    told = int(np.sum(mapping.strength**2 > HIDDEN))
    n_left = mapping.n_encodings - told  # not n_left of the map: signals of the fastest decays are small and elsewhere
    if n_left <= 0:
        return np.zeros(len(signals))
    inside = signals @ mapping.project[:, :told]
    rest = np.sum(np.square(signals), axis=1) - np.sum(np.square(inside), axis=1)
    return rest / (SIGMA_ERROR * sigma) ** 2 / chdtri(n_left, BY_CHANCE)


def scaled(protocol: Encodings, factor):
    """The protocol with all its times multiplied."""
    names = ("echo_time", "inversion_time", "repetition_time")
    times = {name: getattr(protocol, name) for name in names}
    return replace(protocol, **{name: value * factor for name, value in times.items() if value is not None})


def shipped_weights(name):
    """Arrays and manifest of weights in the package's data, checksum verified."""
    return read_weights(Path(str(files("mrspec_prep") / "data" / f"{name}.npz")))
