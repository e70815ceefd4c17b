"""What the scanner does in each frame of a fingerprinting series."""

from dataclasses import dataclass, fields

import numpy as np

LARGEST_FLIP = 180.0  # degrees


@dataclass(frozen=True, eq=False)
class Schedule:
    """One excitation per frame, all of one phase; the gradients of a TR dephase every voxel by whole cycles (FISP).

    Parameters
    ----------
    flip_angle : (n_frames,) array
        [degrees], 0 to 180.
    repetition_time : float or (n_frames,) array
        From this excitation to the next [ms].
    echo_time : float or (n_frames,) array
        From the excitation to the signal [ms], at most the repetition time.
    inversion_time : float, (n_frames,) array or None
        From an inversion pulse to the excitation [ms]: before the first frame if a number; as an array, before every
        frame that holds a number, NaN elsewhere. None: no inversion.
    inversion_efficiency : float
        e, 0 to 1: the pulse leaves -e times the magnetisation before it.

    Raises
    ------
    ValueError
        Lengths differ, no frame, a value not finite or out of its range.

    Examples
    --------
    >>> from mrspec_prep.physics import Schedule
    >>> schedule = Schedule(flip_angle=[10, 40, 70], repetition_time=12.0, echo_time=2.0, inversion_time=20.0)
    >>> len(schedule), schedule.duration  # ms
    (3, 56.0)

    """

    flip_angle: np.ndarray
    repetition_time: np.ndarray
    echo_time: np.ndarray
    inversion_time: np.ndarray | None = None
    inversion_efficiency: float = 1.0

    def __post_init__(self):
        n = self._length()
        for name in ("flip_angle", "repetition_time", "echo_time"):
            values = np.array(np.broadcast_to(np.asarray(getattr(self, name), dtype=float), (n,)))
            _refuse(f"{name} must be finite", values, ~np.isfinite(values), "fill in the table")
            object.__setattr__(self, name, values)
        object.__setattr__(self, "inversion_time", self._inversions(n))
        object.__setattr__(self, "inversion_efficiency", float(self.inversion_efficiency))
        self._check()
        for field in fields(self)[:4]:
            getattr(self, field.name).setflags(write=False)

    def _length(self):
        given = {f.name: np.shape(v) for f in fields(self)[:4] if (v := getattr(self, f.name)) is not None}
        deep = {name: shape for name, shape in given.items() if len(shape) > 1}
        if deep:
            raise ValueError(f"each column of a schedule has one value per frame, got shapes {deep}")
        lengths = {name: shape[0] for name, shape in given.items() if shape}
        if "flip_angle" not in lengths:
            raise ValueError("flip_angle needs one value per frame, got a single number")
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different length: {lengths}; one value per frame is needed")
        if not lengths["flip_angle"]:
            raise ValueError("a schedule needs at least one frame, got none")
        return lengths["flip_angle"]

    def _inversions(self, n):
        inversions = np.full(n, np.nan)
        if self.inversion_time is None:
            return inversions
        given = np.asarray(self.inversion_time, dtype=float)
        if given.ndim == 0:
            inversions[0] = given
        else:
            inversions[:] = given
        wrong = (inversions < 0) | np.isinf(inversions)
        _refuse("inversion_time must be >= 0 [ms] or NaN", inversions, wrong, "NaN where there is no inversion")
        return inversions

    def _check(self):
        flip, tr, te = self.flip_angle, self.repetition_time, self.echo_time
        remedy = "give degrees, for twice the angle use b1 of the simulation"
        _refuse(f"flip_angle must lie in 0..{LARGEST_FLIP:g} degrees", flip, (flip < 0) | (flip > LARGEST_FLIP), remedy)
        if not (flip > 0).any():
            raise ValueError("flip_angle is 0 in every frame: there is no signal; give degrees")
        if flip.max() < np.pi and len(flip) > 1:
            raise ValueError(f"flip_angle is at most {flip.max():.3g} degrees, likely radians: give degrees")
        _refuse("repetition_time must be > 0 ms", tr, tr <= 0, "give ms")
        wrong = (te < 0) | (te > tr)
        _refuse("echo_time must lie between 0 and the repetition time [ms]", te, wrong, "both in ms, TE <= TR")
        if not 0 <= self.inversion_efficiency <= 1:
            raise ValueError(f"inversion_efficiency must lie between 0 and 1, got {self.inversion_efficiency}")

    def __len__(self):
        return len(self.flip_angle)

    @property
    def duration(self):
        """Length of the scan of one slice [ms]."""
        return float(self.repetition_time.sum() + np.nansum(self.inversion_time))

    def _key(self):
        columns = (getattr(self, field.name).tobytes() for field in fields(self)[:4])
        return (*columns, self.inversion_efficiency)

    def __eq__(self, other):
        return self._key() == other._key() if isinstance(other, Schedule) else NotImplemented

    def __hash__(self):
        return hash(self._key())


def _refuse(rule, values, wrong, remedy):
    """Raise where a column breaks a rule: the first frame, its value, the remedy."""
    if wrong.any():
        frame = int(np.argmax(wrong))
        raise ValueError(f"{rule}; frame {frame} has {values[frame]:g} ({int(wrong.sum())} frames in all): {remedy}")
