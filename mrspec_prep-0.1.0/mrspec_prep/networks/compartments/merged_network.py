"""The any-protocol network without torch: weights merged for one protocol, then plain matrix products."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.networks.compartments.any_protocol import N_FEATURES, ProtocolMap, noise_levels

BLOCK = 2048  # signals at a time: hidden values stay in the processor's cache
SCALE_STEP = 0.5  # how far a description may change the scale of an output: at most by a factor exp(.5)
UNTOLD = 1e-3  # signal-to-noise ratio, squared, of directions that are not looked at
TYPICAL_LEVEL = 0.02  # unit of noise levels in logarithms


@dataclass(frozen=True, eq=False)
class MergedNetwork:
    """Network for one protocol.

    Attributes
    ----------
    mapping : ProtocolMap
    layers : tuple of (matrix, bias)
        (n_in, n_out) and (n_out,) arrays; the first takes the projected signals, times their gains, and the level.
    temperature : (5,) array
        The logits are divided by exp of this polynomial in the logarithm of the level.
    level_range : (float, float)
        Noise levels are clipped to it.

    """

    mapping: ProtocolMap
    layers: tuple
    temperature: np.ndarray
    level_range: tuple

    def probabilities(self, signals, levels=None):
        """Probability of every class.

        Parameters
        ----------
        signals : (n, n_encodings) array
            Any scale; not zero.
        levels : (n,) array, optional
            Sigma over the RMS of the signal; default: told by the signal itself.

        Returns
        -------
        probabilities : (n, n_classes) float32 array
        levels : (n,) float32 array
            Noise levels, given or told by the signal, before they are clipped to the range.

        """
        n_classes = self.layers[-1][0].shape[1]
        result, used = np.empty((len(signals), n_classes), np.float32), np.empty(len(signals), np.float32)
        project = self.mapping.project.astype(np.float32)
        for start in range(0, len(signals), BLOCK):
            block = slice(start, start + BLOCK)
            values = np.asarray(signals[block], np.float32)
            norm = np.sqrt(np.einsum("ij,ij->i", values, values))
            projected = (values @ project) / norm[:, None]
            used[block] = noise_levels(projected, self.mapping) if levels is None else levels[block]
            result[block] = self._softmax(projected, np.clip(used[block], *self.level_range))
        return result, used

    def _softmax(self, projected, levels):
        strength = self.mapping.strength.astype(np.float32)
        gain = strength / (strength**2 + (levels**2 / self.mapping.n_encodings)[:, None])
        logarithm = np.log(levels / TYPICAL_LEVEL)
        (first, bias), *middle, (last, last_bias) = self.layers
        values = (projected * gain) @ first[:-1]
        values += logarithm[:, None] * first[-1]
        values += bias
        for (into, into_bias), (out, out_bias) in zip(middle[::2], middle[1::2], strict=True):
            hidden = np.maximum(values, 0) @ into
            hidden += into_bias
            np.maximum(hidden, 0, out=hidden)
            values += hidden @ out
            values += out_bias
        logits = np.maximum(values, 0) @ last + last_bias
        logits *= np.exp(-np.polynomial.polynomial.polyval(logarithm, self.temperature)).astype(np.float32)[:, None]
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        return logits / logits.sum(axis=1, keepdims=True)


def relative_information(mapping: ProtocolMap):
    """Logarithm of what a protocol tells at a typical noise level, over 20 nats."""
    return float(np.log(mapping.information(TYPICAL_LEVEL) / 20))


def merge(weights, mapping: ProtocolMap, noise_known, level_range) -> MergedNetwork:
    """Weights of an ``AnyProtocolNetwork``, merged for one protocol.

    Parameters
    ----------
    weights : dict of str to array
        State of the network, and ``temperature`` (2, 7): noise level estimated, given (``calibration``).
    mapping : ProtocolMap
    noise_known : bool
        Whether the noise level is given with the signals.
    level_range : (float, float)

    """
    weights = {name: np.asarray(value, np.float32) for name, value in weights.items()}
    embedded = mapping.describe(noise_known).astype(np.float32)
    for layer in ("embed.0", "embed.2"):
        embedded = weights[f"{layer}.weight"] @ embedded + weights[f"{layer}.bias"]
        embedded = embedded / (1 + np.exp(-embedded))
    n_layers = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
    layers = [_mixed(weights, f"layers.{i}", embedded) for i in range(n_layers)]
    matrix, bias = layers[0]
    temperature = weights["temperature"][int(noise_known)].copy()
    temperature[:2] += relative_information(mapping) * temperature[5:]
    temperature = temperature[:5]
    told = mapping.strength**2 * mapping.n_encodings / level_range[0] ** 2  # signal to noise, at best
    mapping = mapping.leading(max(mapping.n_strong, int(np.sum(told > UNTOLD))))
    turned = mapping.rotate[: N_FEATURES[len(mapping.basis.axes)]].T.astype(np.float32) @ matrix[:-1]
    layers[0] = np.concatenate([turned, matrix[-1:]]), bias
    return MergedNetwork(mapping, tuple(layers), temperature, level_range)


def _mixed(weights, name, embedded):
    """Matrix and bias of one layer (``MixedLinear``)."""
    stack, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    answer = weights[f"{name}.mixing.weight"] @ embedded + weights[f"{name}.mixing.bias"]
    mixing, scale, shift = np.split(answer, [len(stack) - 1, len(stack) - 1 + len(bias)])
    matrix = stack[0] + np.tensordot(mixing, stack[1:], axes=1)
    return np.ascontiguousarray(matrix * np.exp(SCALE_STEP * np.tanh(scale))), bias + shift
