"""Which frames train, which judge: sets of frames whose noise is independent."""

from dataclasses import dataclass

import numpy as np

from mrspec_prep.networks.fingerprinting.projection import SPAN

HELD_OUT = 6  # one span in so many judges


@dataclass(frozen=True, eq=False)
class FrameSets:
    """Masks of frames; spans of 12 neighbours stay together.

    Attributes
    ----------
    halves : (n_splits, 2, n_frames) bool array
        Two halves of the frames that train, in ``n_splits`` ways: of two successive spans, one in each.
    training, judging : (n_frames,) bool array
        All that train; those never trained on.

    """

    halves: np.ndarray
    training: np.ndarray
    judging: np.ndarray


def make_frame_sets(n_frames, rank, n_splits, rng):
    """Draw the sets.

    Parameters
    ----------
    n_frames, rank, n_splits : int
    rng : numpy.random.Generator

    Returns
    -------
    FrameSets

    Raises
    ------
    ValueError
        Too few frames for every set to determine ``rank`` coefficients.

    """
    span_of = np.arange(n_frames) // SPAN
    n_spans = span_of[-1] + 1
    judging = np.zeros(n_spans, bool)
    judging[rng.integers(HELD_OUT) :: HELD_OUT] = True
    training = np.flatnonzero(~judging)
    if judging.sum() * SPAN < 2 * rank or len(training) < 4:
        least = SPAN * HELD_OUT * max(-(-2 * rank // SPAN) + 1, 2)
        raise ValueError(
            f"{n_frames} frames are too few to train on some and judge by others with {rank} coefficients:"
            f" {least} are needed, or method = dictionary"
        )
    halves = np.zeros((n_splits, 2, n_spans), bool)
    for split in halves:
        side = np.repeat(rng.integers(0, 2, len(training) // 2 + 1), 2)[: len(training)]
        side[1::2] = 1 - side[1::2]
        for half in (0, 1):
            split[half, training[side == half]] = True
    return FrameSets(halves[..., span_of], ~judging[span_of], judging[span_of])
