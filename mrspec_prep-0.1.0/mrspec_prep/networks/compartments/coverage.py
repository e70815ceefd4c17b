"""Which protocols a network was trained for: what they tell of the tissue lies where its training protocols lay."""

import numpy as np

from mrspec_prep.networks.compartments.any_protocol import N_DESCRIBED, ProtocolMap

LEVEL = 0.02  # noise level at which protocols are compared
OUTERMOST = 0.001  # part of the training protocols left outside at either end of each number
MARGIN = 0.05  # beyond that, in units of log10 of a standard deviation
MISFIT = 0.004  # of the signal's RMS, that the functions may leave out


def certainty(mapping: ProtocolMap):
    """(n,) log10 of the posterior standard deviations of the leading coefficients at a noise level of 2 %."""
    n = N_DESCRIBED[len(mapping.basis.axes)]
    return 0.5 * np.log10(np.diagonal(mapping.spread(LEVEL))[:n])


def training_range(maps):
    """Range of the training protocols, as plain lists for a manifest."""
    sure, ends = np.stack([certainty(mapping) for mapping in maps]), (OUTERMOST, 1 - OUTERMOST)
    low, high = np.quantile(sure, ends, axis=0)
    information = np.quantile([mapping.information(LEVEL) for mapping in maps], ends)
    sizes = [mapping.n_encodings for mapping in maps]
    return {
        "n_encodings": [min(sizes), max(sizes)],
        "information": [round(float(value), 3) for value in information],
        "certainty_low": [round(float(value), 4) for value in low],
        "certainty_high": [round(float(value), 4) for value in high],
    }


def outside(mapping: ProtocolMap, covered: dict):
    """Why a protocol is not covered, in words; empty where it is.

    Parameters
    ----------
    mapping : ProtocolMap
    covered : dict
        Of ``training_range``.

    """
    reasons = []
    low, high = covered["n_encodings"]
    if not low <= mapping.n_encodings <= high:
        reasons.append(f"it has {mapping.n_encodings} encodings, trained for are {low} to {high}")
    low, high = covered["information"]
    told = mapping.information(LEVEL)
    if not low * 0.98 <= told <= high * 1.02:
        reasons.append(f"at 2 % noise it tells {told:.1f} nats of the tissue, trained for are {low:.1f} to {high:.1f}")
    sure = certainty(mapping)
    below = sure < np.array(covered["certainty_low"]) - MARGIN
    above = sure > np.array(covered["certainty_high"]) + MARGIN
    if below.any() or above.any():
        reasons.append(
            f"{int(below.sum())} of the {len(sure)} leading numbers of the tissue are measured better and "
            f"{int(above.sum())} worse than by any training protocol"
        )
    if mapping.misfit > MISFIT:
        reasons.append(
            f"its signals differ by {mapping.misfit:.1%} of their RMS from decays and recoveries with the trained "
            f"range of TE, TI and b (at most {MISFIT:.1%})"
        )
    return "; ".join(reasons)
