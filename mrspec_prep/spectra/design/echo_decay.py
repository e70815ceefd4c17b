"""Whether unweighted signals fall with echo time as they must: scans scaled to one intensity do not.

Transverse relaxation only takes signal away, so that S(TE) = S0 exp(-TE/T2) falls in every voxel, in free water by
exp(-(TE2 - TE1)/T2) with T2 of some 2 s. Scans that were scaled to one mean intensity of the whole image have on
average no decay, and where tissues differ in T2 the long ones rise with echo time, which nothing physical does.
"""

from dataclasses import dataclass

import numpy as np

SHORTEST_SPAN = 10.0  # ms between echo times below which a drift of gain could pass for either
FEWEST_VOXELS = 50
LONGEST_T2 = 1000.0  # ms: the mean of an image with tissue in it falls faster
RISE = 0.1  # of a signal that is no drift of gain
N_SIGMA = 3.0
#: of the voxels; a brain at TE 60 and 91 ms had 3 to 5 % (pulsating fluid), and 18 to 21 % once it was scaled
RISING_SHARE = 0.08


@dataclass(frozen=True)
class EchoDecay:
    """Mean unweighted signal of an image at its shortest and longest echo time, and the voxels in which it rises.

    Parameters
    ----------
    echo_times : tuple of float
        Shortest and longest [ms].
    means : tuple of float
        Mean signal of the whole image at each [signal units].
    apparent_t2 : float
        Of these means [ms]; infinite where they do not fall.
    rising : float
        Share of the object's voxels whose signal rises by more than noise and gain explain; NaN where nothing is
        repeated.
    n_voxels : int
        Of the object.

    """

    echo_times: tuple[float, float]
    means: tuple[float, float]
    apparent_t2: float
    rising: float
    n_voxels: int

    @property
    def is_flat(self):
        """Whether the mean falls less than that of any image with tissue in it."""
        return self.apparent_t2 > LONGEST_T2

    @property
    def rises(self):
        """Whether the signal rises in more voxels than chance and pulsation explain."""
        return bool(self.rising > RISING_SHARE)  # NaN compares false

    @property
    def is_impossible(self):
        """Whether signals rise as a whole: no relaxation and no fluid does that."""
        return self.rises and not np.isfinite(self.apparent_t2)

    @property
    def in_words(self):
        """The figures, in one phrase."""
        (first, last), (high, low) = self.echo_times, self.means
        t2 = f"apparent T2 {self.apparent_t2:.0f} ms" if np.isfinite(self.apparent_t2) else "no decay at all"
        rising = f", rising in {100 * self.rising:.0f} % of {self.n_voxels} voxels" if np.isfinite(self.rising) else ""
        return f"mean b=0 signal {high:.4g} at TE {first:g} ms and {low:.4g} at TE {last:g} ms: {t2}{rising}"


def echo_decay(signals, echo_time, is_object):
    """How unweighted signals change from the shortest to the longest echo time.

    Parameters
    ----------
    signals : (n_voxels, n_volumes) array
        All voxels of unweighted volumes, without inversion.
    echo_time : (n_volumes,) array
        [ms]
    is_object : (n_voxels,) bool array
        Voxels that are not air.

    Returns
    -------
    EchoDecay or None
        None where the echo times are too close or the voxels too few to tell.

    """
    signals = np.asarray(signals, float)
    finite = np.isfinite(signals).all(axis=1)
    levels, level = np.unique(np.round(echo_time, 2), return_inverse=True)
    if levels[-1] - levels[0] < SHORTEST_SPAN or (finite & is_object).sum() < FEWEST_VOXELS:
        return None
    high, low = (float(signals[finite][:, level == number].mean()) for number in (0, len(levels) - 1))
    signals = signals[finite & is_object]
    first, last = signals[:, level == 0], signals[:, level == len(levels) - 1]
    early, late = first.mean(axis=1), last.mean(axis=1)
    t2 = (levels[-1] - levels[0]) / np.log(high / low) if high > low > 0 else np.inf
    noise = _noise_std(signals, level)
    error = noise * np.sqrt(1 / first.shape[1] + 1 / last.shape[1])
    rising = float(np.mean(late - early > np.maximum(N_SIGMA * error, RISE * early))) if np.isfinite(noise) else np.nan
    return EchoDecay((float(levels[0]), float(levels[-1])), (high, low), float(t2), rising, len(signals))


def _noise_std(signals, level):
    """Root mean square over voxels of the spread of repeats; NaN where nothing is repeated."""
    squares, degrees = 0.0, 0
    for own in np.unique(level):
        repeats = signals[:, level == own]
        if repeats.shape[1] > 1:
            squares += np.var(repeats, axis=1, ddof=1).mean() * (repeats.shape[1] - 1)
            degrees += repeats.shape[1] - 1
    return float(np.sqrt(squares / degrees)) if degrees else np.nan


def first_echo_deficit(signals, echo_times):
    """By how much the first of several spin echoes lies below the second, as a share; 0 where it does not.

    Relaxation only takes signal away. A first echo below the second holds no stimulated echoes, which every later one
    does where refocusing pulses miss 180 degrees; the short components of T2 spectra suffer most.

    Parameters
    ----------
    signals : (n_voxels, n_encodings) array
    echo_times : (n_encodings,) array
        [ms]

    Returns
    -------
    float
        1 - mean of the first / mean of the second, over the voxels.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.spectra.design.echo_decay import first_echo_deficit
    >>> round(first_echo_deficit(np.array([[90.0, 100.0, 80.0]]), np.array([10.0, 20.0, 30.0])), 3)
    0.1

    """
    times = np.unique(echo_times)
    if len(times) < 2 or not len(signals):
        return 0.0
    first, second = (float(np.mean(signals[:, echo_times == time])) for time in times[:2])
    return max(0.0, 1 - first / second) if second > 0 else 0.0
