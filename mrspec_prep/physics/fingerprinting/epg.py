"""Signal of tissue under a fingerprinting schedule: extended phase graphs of unbalanced SSFP (FISP)."""

import numpy as np

from mrspec_prep.compiled import compiled, compiled_within
from mrspec_prep.threads import for_blocks

TOLERANCE = 1e-9  # of the equilibrium magnetisation: states that can no longer contribute more are not followed
BLOCK = 64  # tissues of one task


def simulate_fisp(schedule, t1, t2, b1=1.0):
    """Signal of tissues in every frame, per unit of M0.

    Configuration states F+_k, F-_k, Z_k (Hennig 1991; Weigel 2015, doi:10.1002/jmri.24619). Excitations are about
    one axis, so all states are real. Per frame, with c, s cosine and sine of half the flip angle a, and S = sin a::

        F+ <- c2 F+ - s2 F- + S Z;   F- <- -s2 F+ + c2 F- + S Z;   Z <- -S (F+ + F-) / 2 + cos(a) Z
        signal = F+_0 exp(-TE/T2)
        F <- F exp(-TR/T2);   Z_k <- Z_k exp(-TR/T1), Z_0 <- Z_0 + 1 - exp(-TR/T1)
        F+_k <- F+_(k-1), F-_k <- F-_(k+1), F+_0 <- F-_0

    An inversion leaves -e Z, spoils F and relaxes for TI. The magnetisation is 1 before the first frame. States
    are dropped only where they can no longer reach the signal, or by no more than 1e-9.

    Parameters
    ----------
    schedule : Schedule
    t1, t2 : float or (n_tissues,) array
        [ms], > 0; broadcast.
    b1 : float or (n_tissues,) array
        Flip angle over the nominal one, >= 0, unitless; inversion pulses are adiabatic and do not feel it.

    Returns
    -------
    (n_tissues, n_frames) array
        Signed, unitless; one row where all are numbers.

    Raises
    ------
    ValueError
        A time not finite or not > 0, b1 negative, shapes that do not match.

    """
    t1, t2, b1 = _tissues(t1, t2, b1)
    signals = np.empty((len(t1), len(schedule)))
    columns = (np.deg2rad(schedule.flip_angle), schedule.repetition_time, schedule.echo_time, schedule.inversion_time)

    def block(start, stop):
        rows = slice(start, stop)
        efficiency = schedule.inversion_efficiency
        _simulate(*columns, efficiency, t1[rows], t2[rows], b1[rows], TOLERANCE, signals[rows])

    for_blocks(len(t1), BLOCK, block)
    return signals


def _tissues(*values):
    try:
        columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, dtype=float)) for v in values))
    except ValueError as error:
        raise ValueError(
            f"t1, t2 and b1 need one value per tissue, got shapes {[np.shape(v) for v in values]}"
        ) from error
    columns = [np.ascontiguousarray(column) for column in columns]
    if columns[0].ndim != 1:
        raise ValueError(f"t1, t2 and b1 have one axis, tissues, got shape {columns[0].shape}")
    for name, column in zip(("t1", "t2"), columns, strict=False):
        wrong = ~(np.isfinite(column) & (column > 0))
        if wrong.any():
            raise ValueError(f"{name} must be finite and > 0 ms, got {column[wrong][:3]}: leave those tissues out")
    if not (np.isfinite(columns[2]).all() and (columns[2] >= 0).all()):
        raise ValueError(f"b1 must be finite and >= 0 (1: nominal flip angle), got {columns[2].min()}")
    return columns


@compiled
def _simulate(flip, tr, te, ti, efficiency, t1, t2, b1, tolerance, signals):
    """Fill ``signals`` (n_tissues, n_frames), one tissue after the other."""
    n_frames = len(flip)
    size = n_frames // 2 + 3
    shortest = tr.min()
    states = np.empty((2, 3, size))
    for i in range(len(t1)):
        # a state of order k was transverse for k TRs and needs k more to be seen: no more than exp(-2 k TR/T2) is left
        reach = min(size - 2, int(-np.log(tolerance) * t2[i] / (2 * shortest)) + 1)
        states[:] = 0.0
        states[0, 2, 0] = 1.0
        now = 0
        for n in range(n_frames):
            order = min(n, n_frames - 1 - n, reach)  # highest order in use that can still reach the signal
            if not np.isnan(ti[n]):
                _invert(states[now], min(n, reach + 1), efficiency, np.exp(-ti[n] / t1[i]))
            angle = flip[n] * b1[i]
            e1, e2 = np.exp(-tr[n] / t1[i]), np.exp(-tr[n] / t2[i])
            signals[i, n] = np.exp(-te[n] / t2[i]) * _repetition(states[now], states[1 - now], order, angle, e1, e2)
            now = 1 - now


@compiled_within
def _invert(states, order, efficiency, e1):
    """Inversion, spoiling and relaxation, in place; e1 = exp(-TI/T1)."""
    for k in range(order + 1):
        states[0, k] = 0.0
        states[1, k] = 0.0
        states[2, k] *= -efficiency * e1
    states[2, 0] += 1 - e1


@compiled_within
def _repetition(before, after, order, angle, e1, e2):
    """One TR from ``before`` to ``after``; the signal at the excitation."""
    half_cos2, half_sin2 = 0.5 * (1 + np.cos(angle)), 0.5 * (1 - np.cos(angle))
    sine, cosine = np.sin(angle), np.cos(angle)
    plus, minus, along = before[0], before[1], before[2]
    seen = cosine * plus[0] + sine * along[0]
    after[0, 0] = e2 * (half_cos2 * minus[1] - half_sin2 * plus[1] + sine * along[1])
    after[1, 0] = after[0, 0]
    for k in range(order + 1):  # F+ moves up
        after[0, k + 1] = e2 * (half_cos2 * plus[k] - half_sin2 * minus[k] + sine * along[k])
    for k in range(1, order + 1):  # F- moves down
        after[1, k] = e2 * (half_cos2 * minus[k + 1] - half_sin2 * plus[k + 1] + sine * along[k + 1])
    for k in range(order + 1):
        after[2, k] = e1 * (cosine * along[k] - 0.5 * sine * (plus[k] + minus[k]))
    after[2, 0] += 1 - e1
    after[1, order + 1] = 0.0
    after[2, order + 1] = 0.0
    return seen
