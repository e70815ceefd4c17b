"""What the noise floor of magnitudes does to a fit that takes their noise for Gaussian."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.options import MAGNITUDES
from mrspec_prep.physics import kernel_matrix
from mrspec_prep.physics.magnitudes import expected_magnitude
from mrspec_prep.physics.models.prepare import volumes_of
from mrspec_prep.reports.collect import snr_map
from mrspec_prep.reports.facts import encodings_of
from mrspec_prep.reports.maps.values import inside
from mrspec_prep.reports.maps.words import by_model, trusted

WEAK = 3.0  # times the noise: magnitudes below are raised by more than 5 % of themselves


@dataclass(frozen=True)
class NoiseFloor:
    """The floor in a voxel of median signal-to-noise ratio.

    Parameters
    ----------
    snr : float
        Of the reference image, median.
    weak : float
        Share of the volumes whose magnitude lies below three times the noise.
    bias : float
        What the floor adds to a magnitude, mean over the volumes, as a share of the reference.

    """

    snr: float
    weak: float
    bias: float


def noise_floor(series, words):
    """The floor in magnitudes that were fitted as if their noise were Gaussian.

    Parameters
    ----------
    series : SeriesResults
    words : dict
        Content of ``data/report.toml``.

    Returns
    -------
    NoiseFloor or None
        None where the fit knows the floor, where signals hold their sign, and where it cannot be told.

    """
    snr = snr_map(series)
    if snr is None or not (snr > 0).any() or series.acquisition.get("Polarity") == "signed":
        return None
    try:
        encodings = encodings_of(series.columns, series.acquisition)
    except ValueError:  # a table that holds no protocol; the viewer says so
        return None
    predicted = _predicted(series, encodings, words) if encodings is not None else None
    if predicted is None:
        return None
    middle, (signals, reference) = float(np.median(snr[snr > 0])), predicted
    magnitudes = middle * np.abs(signals) / reference
    added = magnitudes - _without_floor(magnitudes)
    return NoiseFloor(middle, float((magnitudes < WEAK).mean()), float(added.mean()) / middle)


def _predicted(series, encodings, words):
    """Fitted signal of each volume and of the reference, any unit; None where no Gaussian fit can be told."""
    if series.mean_spectrum is not None:
        if series.acquisition.get("NoiseDistribution") in MAGNITUDES:
            return None
        signals = kernel_matrix(series.kernel, encodings, series.grid) @ series.mean_spectrum.spectra[0]
    else:
        found = _of_model(series, encodings, words)
        if found is None:
            return None
        encodings, signals = found
    reference = np.abs(signals[encodings.reference()]).mean()
    return (signals, reference) if reference > 0 else None


def _of_model(series, encodings, words):
    """Encodings and median signals of the first model's maps to be read first; None where they know the floor."""
    methods = next(iter(by_model(series).values()), None)
    if not methods or series.roi is None:
        return None
    roi = series.roi.data.astype(bool)
    best = trusted(methods, roi, words).method
    model = best.about_model
    if model is None or model.oriented or not model.magnitude or best.metadata.get("Distribution") != "gaussian":
        return None
    maps = {"s0": best.maps.get("m0")} | best.maps
    values = {name: inside(maps.get(name), roi) for name in model.names}
    if any(found is None for found in values.values()):
        return None
    kept = encodings.take(np.flatnonzero(volumes_of(model, encodings)))
    return kept, model.signal(kept, {name: np.array([np.nanmedian(found)]) for name, found in values.items()})[0]


def _without_floor(magnitudes):
    """Signals whose expected magnitudes with Rician noise of one are these; 0 where noise alone has as much."""
    signals = np.concatenate([np.linspace(0, 4, 401), np.geomspace(4.1, 40, 60)])
    expected = expected_magnitude(signals, 1.0)
    return np.where(magnitudes < expected[-1], np.interp(magnitudes, expected, signals), magnitudes)
