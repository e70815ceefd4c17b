"""Climbs of several EM states at once, one pass over the data for all of them.

A climb is a small state machine: plain EM steps and, in between, leaps along its path (SQUAREM) that are undone
where they would lower the likelihood. All climbs that have not ended share each pass, and each takes the same path
as it would alone. A climb can be written down after any pass and goes on from there as if never interrupted.
"""

from dataclasses import dataclass, field

import numpy as np

from mrspec_prep.spectra.clusters.squarem import Extrapolation

TOLERANCE = 1e-7  # nats per voxel gained by a step at which EM stops


@dataclass(eq=False)
class Climb:
    """One EM state on its way up.

    Attributes
    ----------
    state : object
        Parameters; every attribute is an array.
    trace : list of float
        Penalised log-likelihood of the states kept; never falls where the M-step is exact.
    converged : bool
    finished : bool
        Converged, or out of steps.
    n_passes : int
        E-steps done.
    kept : dict of str to array, or None
        Arrays of the state to fall back to while a leap is on trial.
    recent : list of (probs, spectra, means)
        Up to two consecutive states since the last leap.
    leaps : Extrapolation

    """

    state: object
    trace: list = field(default_factory=list)
    converged: bool = False
    finished: bool = False
    n_passes: int = 0
    kept: dict | None = None
    recent: list = field(default_factory=list)
    leaps: Extrapolation = field(default_factory=Extrapolation)

    def advance(self, steps, log_likelihood, sums, max_steps, tolerance):
        """Judge the state by its E-step and move it, in place; ``tolerance`` in nats."""
        on_trial, last = self.kept is not None, self.n_passes == max_steps
        self.n_passes += 1
        value = float(log_likelihood + steps.log_prior(self.state))
        if on_trial:
            risen = value >= self.trace[-1]
            self.leaps.judge(risen)
            if not risen:
                _fill(self.state, self.kept)
                self.kept, self.finished = None, last
                return
        self.kept = None
        self.trace.append(value)
        if not on_trial and len(self.trace) > 1:
            self.converged = abs(self.trace[-1] - self.trace[-2]) < tolerance
        self.finished = self.converged or last
        if not self.finished:
            self._move(steps, sums)

    def _move(self, steps, sums):
        """M-step and, from every second state on, a leap."""
        if not steps.accelerated:
            steps.maximise(self.state, sums)
            return
        self.recent.append(_place(self.state))
        weights = steps.maximise(self.state, sums)
        if len(self.recent) < 2:
            return
        leap = self.leaps.leap(*self.recent, (self.state.probs, self.state.spectra, self.state.means), weights)
        self.recent = []
        if leap is not None:
            self.kept = {name: values.copy() for name, values in vars(self.state).items()}
            _fill(self.state, {"probs": leap[0], "spectra": leap[1]})
            steps.refresh(self.state)

    def export(self):
        """Everything of the climb as a dict of arrays; they change with the next step, copy what must stay."""
        values = {
            "trace": np.array(self.trace), "converged": np.array(self.converged), "finished": np.array(self.finished),
            "n_passes": np.array(self.n_passes), "leaps": np.array([self.leaps.bound, self.leaps.last]),
        }  # fmt: skip
        values.update({f"state/{name}": array for name, array in vars(self.state).items()})
        values.update({f"kept/{name}": array for name, array in (self.kept or {}).items()})
        for i, place in enumerate(self.recent):
            values.update({f"recent/{i}/{name}": a for name, a in zip(PLACE, place, strict=True)})
        return values

    @classmethod
    def resumed(cls, state, values):
        """Climb of an ``export``; the arrays are copied into ``state``, which is of the right kind.

        Raises
        ------
        ValueError
            The export is that of a state of another kind or size.

        """
        parts = {"state": {}, "kept": {}, "0": {}, "1": {}}
        for key, array in values.items():
            *group, name = key.split("/")
            if group:
                parts[group[-1]][name] = np.array(array)
        shapes = {name: np.shape(array) for name, array in vars(state).items()}
        found = {name: array.shape for name, array in parts["state"].items()}
        if shapes != found:
            raise ValueError(f"a climb to resume holds {found}, the fit needs {shapes}: was it of other settings?")
        _fill(state, parts["state"])
        recent = [tuple(parts[i][name] for name in PLACE) for i in "01" if parts[i]]
        leaps = Extrapolation(*(float(value) for value in values["leaps"]))
        trace = [float(value) for value in values["trace"]]
        flags = bool(values["converged"]), bool(values["finished"]), int(values["n_passes"])
        return cls(state, trace, *flags, parts["kept"] or None, recent, leaps)


PLACE = ("probs", "spectra", "means")  # what a leap looks at


def _place(state):
    """Copies of what a leap looks at."""
    return tuple(getattr(state, name).copy() for name in PLACE)


def _fill(state, arrays):
    """Give a state other arrays."""
    for name, values in arrays.items():
        setattr(state, name, values)


def climb(steps, states, max_steps, tolerance=TOLERANCE, on_step=None, resume=None):
    """EM from several states, in place, each until a step gains less than the tolerance.

    Parameters
    ----------
    steps : object
        What EM does to a state. A state is any object whose attributes (``vars``) are all arrays, among them
        ``probs`` (..., n_clusters), ``spectra`` (n_clusters, n_bins) and ``means`` (n_clusters, n_ranks).

        - ``n_voxels`` : int. The tolerance counts per voxel.
        - ``accelerated`` : bool. Whether to leap; only where M-steps never lower the likelihood.
        - ``expect(states)`` : one pass over the data. A list over the states, which may differ in their number of
          clusters, of (log-likelihood, sums); what a state gets must not depend on which others are there.
          ``sums`` are handed on to ``maximise`` unseen.
        - ``maximise(state, sums)`` : M-step in place, ``means`` included. Returns the clusters' weights
          (n_clusters,), the precision of their means, by which a leap measures distances.
        - ``log_prior(state)`` : float, added to the log-likelihood.
        - ``refresh(state)`` : after a leap has replaced ``probs`` and ``spectra``, brings everything that follows
          from them (``means``) up to date. Other arrays (gains, duals) stay those of the last M-step.

        With ``accelerated`` false, ``log_prior`` and ``maximise`` are all that is asked beside ``expect``.
    states : list of object
        Changed in place.
    max_steps : int
        M-steps at most; a leap that fails costs one.
    tolerance : float
        Gain at which a climb has converged [nats per voxel].
    on_step : callable, optional
        Called after every pass with a list of dicts of arrays, one for each state, from which ``resume`` goes on.
        The arrays are valid until it returns.
    resume : list of dict, optional
        As ``on_step`` got them. Fills ``states``, which give kind and shapes only; the results are bit for bit those
        of a run without interruption.

    Returns
    -------
    list of Climb
        With ``state``, ``trace`` and ``converged``.

    Raises
    ------
    ValueError
        ``resume`` does not fit the states.

    """
    if resume is None:
        climbs = [Climb(state) for state in states]
    elif len(resume) != len(states):
        raise ValueError(f"{len(resume)} climbs to resume, {len(states)} states")
    else:
        climbs = [Climb.resumed(state, values) for state, values in zip(states, resume, strict=True)]
    while under_way := [one for one in climbs if not one.finished]:
        found = steps.expect([one.state for one in under_way])
        for one, (log_likelihood, sums) in zip(under_way, found, strict=True):
            one.advance(steps, log_likelihood, sums, max_steps, tolerance * steps.n_voxels)
        if on_step is not None:
            on_step([one.export() for one in climbs])
    return climbs
