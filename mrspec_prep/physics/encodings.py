"""The acquisition as a table: one row per volume (an *encoding*)."""

from dataclasses import dataclass, fields, replace

import numpy as np

from mrspec_prep.physics.checks import real_array

AXES = ("bvalue", "echo_time", "inversion_time", "repetition_time")
COLUMNS = (*AXES, "inversion_efficiency")  # one number per volume each
UNIT_TOLERANCE = 0.05  # how far the length of a direction may be from 1
B0_CEILING = 50.0  # s/mm2: above this a volume is never called b=0
LOWEST_SHELL = 1.05  # of the lowest b: volumes up to here stand for b=0 where none is unweighted


@dataclass(frozen=True, eq=False)
class Encodings:
    """How each volume was encoded.

    Parameters
    ----------
    bvalue : (n_encodings,) array or None
        Diffusion weighting [s/mm2].
    echo_time, inversion_time, repetition_time : (n_encodings,) array or None
        TE, TI, TR [ms]; None where the sequence has none or it is unknown.
        A scalar is repeated.
    direction : (n_encodings, 3) array or None
        Unit gradient vectors, of length 1 within 5 %; zero rows for b=0.
    inversion_efficiency : (n_encodings,) array or None
        What the inversion pulse leaves is -e times the magnetisation before it, 0 <= e <= 1, unitless;
        None: 1. A scalar is repeated.

    Raises
    ------
    ValueError
        No axis given, not one number per volume, lengths differ, a value is negative, NaN, infinite or complex, an
        efficiency above 1, or a direction that is no unit vector.

    Examples
    --------
    Two echo times, each with three b-values:

    >>> from mrspec_prep.physics import Encodings
    >>> encodings = Encodings(bvalue=[0, 200, 800] * 2, echo_time=[78] * 3 + [114] * 3)
    >>> len(encodings), encodings.varying()
    (6, ('bvalue', 'echo_time'))
    >>> encodings.reference()  # the volumes with the most signal
    array([0])

    """

    bvalue: np.ndarray | None = None
    echo_time: np.ndarray | None = None
    inversion_time: np.ndarray | None = None
    repetition_time: np.ndarray | None = None
    direction: np.ndarray | None = None
    inversion_efficiency: np.ndarray | None = None

    def __post_init__(self):
        given = {name: getattr(self, name) for name in COLUMNS if getattr(self, name) is not None}
        if not set(given) & set(AXES):
            raise ValueError(f"Encodings needs at least one of {', '.join(AXES)}")
        if self.direction is not None:
            given["direction"] = self.direction
        given = {name: real_array(value, name) for name, value in given.items()}
        self._check_shapes(given)
        lengths = {name: len(value) for name, value in given.items() if np.ndim(value) > 0}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Encodings of different length: {lengths}; one value per volume is needed")
        n = next(iter(lengths.values()), 1)
        if not n:
            raise ValueError("Encodings need at least one volume, got none")
        for name, value in given.items():
            shape = (n, 3) if name == "direction" else (n,)
            array = np.array(np.broadcast_to(np.asarray(value, dtype=float), shape))
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{name} holds NaN or infinite values at volumes {np.argwhere(~np.isfinite(array))[:5, 0]}"
                )
            if name != "direction" and (array < 0).any():
                raise ValueError(f"{name} must be >= 0, got {array.min()} at volume {int(array.argmin())}")
            if name == "inversion_efficiency" and (array > 1).any():
                raise ValueError(f"inversion_efficiency must lie between 0 and 1, got {array.max()}")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.direction is not None:
            self._check_directions()

    @staticmethod
    def _check_shapes(given):
        """Raise where a column is not one number per volume, or a direction not three."""
        for name, values in given.items():
            if name != "direction" and values.ndim > 1:
                raise ValueError(f"{name} must be one number per volume, (n_encodings,), got shape {values.shape}")
            if name == "direction" and (values.ndim != 2 or values.shape[1] != 3):
                turned = ": transpose it" if values.ndim == 2 and values.shape[0] == 3 else ""
                raise ValueError(f"direction must be (n_encodings, 3), got shape {values.shape}{turned}")

    def _check_directions(self):
        """Raise where a direction is no unit vector; at b <= 50 s/mm2 it may be zero."""
        length = np.linalg.norm(self.direction, axis=1)
        weighted = np.zeros(len(self), bool) if self.bvalue is None else self.bvalue > B0_CEILING
        wrong = ~(np.abs(length - 1) <= UNIT_TOLERANCE) & (weighted | (length > 0))
        if wrong.any():
            volume = int(np.argmax(wrong))
            raise ValueError(
                f"direction of volume {volume} must be a unit vector (zero only at b=0), got "
                f"{self.direction[volume].tolist()} of length {length[volume]:.3g}: divide by the length; if it scales "
                "b, give the scaled b-values instead"
            )

    def __len__(self):
        return len(next(getattr(self, name) for name in AXES if getattr(self, name) is not None))

    @property
    def n_encodings(self):
        """Number of volumes."""
        return len(self)

    def __eq__(self, other):
        if not isinstance(other, Encodings):
            return NotImplemented
        return all(
            (mine is None and theirs is None)
            or (mine is not None and theirs is not None and np.array_equal(mine, theirs))
            for mine, theirs in ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        )

    def __hash__(self):
        return hash(tuple(None if (v := getattr(self, f.name)) is None else v.tobytes() for f in fields(self)))

    def take(self, index):
        """Encodings of a subset or reordering of the volumes (any numpy index)."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return Encodings(**{name: None if values is None else values[index] for name, values in given.items()})

    def from_first_echo(self):
        """The same volumes with TE counted from the shortest one and b from the lowest.

        A spectrum over the kernel of these holds what is left of each component at the shortest TE and lowest b:
        the signal it gives there, instead of its spins. For decays exp(-TE/T2) and exp(-b D), not for kurtosis.
        """
        offsets = {name: getattr(self, name) for name in ("bvalue", "echo_time")}
        return replace(self, **{name: values - values.min() for name, values in offsets.items() if values is not None})

    def varying(self, rtol=1e-3):
        """Names among bvalue, echo_time, inversion_time that take more than one value."""
        names = AXES[:3]
        return tuple(n for n in names if (v := getattr(self, n)) is not None and np.ptp(v) > rtol * max(v.max(), 1e-9))

    def is_b0(self):
        """(n_encodings,) bool: unweighted volumes.

        Zero, or the lowest value of the series where a scanner plays small crushers
        (b = 5 as in HCP); never above 50 s/mm2. All volumes where no b-value is known.
        """
        if self.bvalue is None:
            return np.ones(len(self), bool)
        return self.bvalue <= min(max(1.0, self.bvalue.min()), B0_CEILING)

    def groups(self):
        """Index of the distinct encoding of each volume, direction ignored.

        Returns
        -------
        inverse : (n_encodings,) int
            Group of each volume, in order of first appearance.
        first : (n_groups,) int
            First volume of each group.

        """
        table = np.stack([np.zeros(len(self)) if (v := getattr(self, n)) is None else v for n in AXES], axis=1)
        _, first, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return rank[inverse.ravel()], first[order]

    def reference(self):
        """Indices of the volumes with the most signal: b=0, else the lowest b, at the shortest TE (and longest TI)."""
        keep = self.is_b0()
        if self.bvalue is not None and not keep.any():
            keep = self.bvalue <= LOWEST_SHELL * self.bvalue.min()
        if self.echo_time is not None and keep.any():
            keep &= self.echo_time <= self.echo_time[keep].min() * 1.001
        if self.inversion_time is not None and keep.any():
            keep &= self.inversion_time >= self.inversion_time[keep].max() * 0.999
        return np.flatnonzero(keep)


def check_encodings(encodings):
    """Raise ValueError where something else than ``Encodings`` was given."""
    if not isinstance(encodings, Encodings):
        raise ValueError(
            f"encodings must be Encodings, as Encodings(bvalue=..., echo_time=...), got {type(encodings).__name__}"
        )
