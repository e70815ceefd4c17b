"""The joint fit of a group as a node: one set of spectra for all participants, with checkpoints."""

import logging
import re
import time
from contextlib import contextmanager
from pathlib import Path

from nipype.interfaces.base import BaseInterfaceInputSpec, TraitedSpec

from mrspec_prep import __version__
from mrspec_prep.bids.errors import InputError
from mrspec_prep.interfaces.base import File, SimpleInterface, save_arrays, traits, within_threads
from mrspec_prep.interfaces.group.checkpoints import Checkpoints, checkpoint_tag
from mrspec_prep.interfaces.group.dask_cluster import dask_executor
from mrspec_prep.interfaces.group.members import member_of, protocol_of, read_plan, save_result
from mrspec_prep.options import GroupOptions
from mrspec_prep.spectra.group import fit_group_map, select_group

LOGGER = logging.getLogger("mrspec_prep")
SECONDS_BETWEEN_WORDS = 15.0
#: settings that decide the fit; the others decide what is made of it
OF_THE_FIT = ("n_clusters", "criterion", "alpha", "scale", "proportions", "site_gains", "n_starts", "max_steps")
OF_THE_COMPONENTS = ("n_components", "alpha", "scale", "site_gains")


class FitGroupInputSpec(BaseInterfaceInputSpec):
    """Input of a node that fits all participants at once."""

    plan = File(exists=True, mandatory=True, desc="members, protocols and sites (JSON)")
    settings = traits.Dict(mandatory=True, desc="of section [group]: those that decide the fit")
    seed = traits.Int(0, usedefault=True, desc="of the starts")
    num_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads; changes no result")


class _FitGroupInputSpec(FitGroupInputSpec):
    checkpoint_dir = traits.Str(mandatory=True, nohash=True, desc="folder of the checkpoints")
    checkpoint_steps = traits.Int(10, usedefault=True, nohash=True, desc="steps between two checkpoints")
    dask = traits.Str("", usedefault=True, nohash=True, desc="workers, as --dask names them; changes no result")


class _FitGroupOutputSpec(TraitedSpec):
    fit = File(exists=True, desc="spectra, probabilities, proportions, gains of the chosen fit (npz)")
    selection = File(exists=True, desc="table over the number of clusters (npz)")


class FitGroup(SimpleInterface):
    """Canonical spectra of all participants, number of clusters chosen by AIC or BIC."""

    input_spec = _FitGroupInputSpec
    output_spec = _FitGroupOutputSpec

    def _run_interface(self, runtime):
        plan = read_plan(self.inputs.plan)
        settings = options_of(self.inputs.settings)
        members, protocols = group_of(plan)
        tag = checkpoint_tag(plan=plan, settings=self.inputs.settings, seed=self.inputs.seed, version=__version__)
        checkpoints = Checkpoints(self.inputs.checkpoint_dir, tag, self.inputs.checkpoint_steps)
        numbers = settings.candidates
        LOGGER.info(
            "group.fit: %s on %d voxels, %d thread(s)",
            f"{numbers[0]} clusters" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} clusters",
            sum(member.n_voxels for member in members),
            self.inputs.num_threads,
        )
        workers = dask_executor(self.inputs.dask, plan, members, settings.scale, tag)
        with naming_members(plan), within_threads(self.inputs.num_threads), workers as executor:
            selection = select_group(
                members,
                protocols,
                candidates=numbers,
                alpha=settings.alpha,
                criterion=settings.criterion,
                scale=settings.scale,
                proportions=settings.proportions,
                site_gains=settings.site_gains,
                seed=self.inputs.seed,
                n_starts=settings.n_starts,
                max_steps=settings.max_steps,
                executor=executor,
                on_step=Spoken(checkpoints),
                resume=resumed(checkpoints),
            )
        best = selection.fits[selection.best]
        LOGGER.info(
            "group.fit: %d clusters%s, %d steps",
            selection.best,
            f" have the least {settings.criterion.upper()}" if len(numbers) > 1 else "",
            best.n_steps,
        )
        if not best.converged:
            LOGGER.warning(
                "group.fit: still climbing after %d steps; --set group.max_steps=%d lets it go on",
                best.n_steps,
                2 * settings.max_steps,
            )
        out = Path(runtime.cwd)
        self._results["selection"] = save_arrays(out / "selection.npz", best=selection.best, **selection.table)
        self._results["fit"] = save_arrays(out / "fit.npz", **save_result(best))
        return runtime


class _FitGroupMapOutputSpec(TraitedSpec):
    fit = File(exists=True, desc="component spectra, mean weights of every participant (npz)")


class FitGroupMap(SimpleInterface):
    """Components that the voxels of all participants mix (joint continuous InSpect)."""

    input_spec = FitGroupInputSpec
    output_spec = _FitGroupMapOutputSpec

    def _run_interface(self, runtime):
        plan = read_plan(self.inputs.plan)
        settings = options_of(self.inputs.settings)
        members, protocols = group_of(plan)
        LOGGER.info("group.fit_components: %d components", settings.n_components)
        with naming_members(plan), within_threads(self.inputs.num_threads):
            found = fit_group_map(
                members,
                protocols,
                settings.n_components,
                alpha=settings.alpha,
                scale=settings.scale,
                site_gains=settings.site_gains,
                seed=self.inputs.seed,
                n_threads=self.inputs.num_threads,
            )
        self._results["fit"] = save_arrays(Path(runtime.cwd) / "fit.npz", **save_result(found))
        return runtime


def group_of(plan):
    """Members and protocols of a group, from their files."""
    members = [member_of(record, record["path"])[0] for record in plan["members"]]
    return members, [protocol_of(path, plan["protocols"][0]) for path in plan["protocols"]]


def options_of(settings):
    """GroupOptions of the settings of a node."""
    return GroupOptions(**{key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()})


def resumed(checkpoints):
    """States of the newest checkpoint, and a word that the fit goes on from there."""
    states = checkpoints.load()
    if states is not None:
        LOGGER.info("group.fit: going on from the checkpoint after step %d", checkpoints.n_steps)
    return states


class Spoken:
    """Hands states to the checkpoints and says now and then how far the fit is."""

    def __init__(self, checkpoints):
        self.checkpoints, self.said = checkpoints, time.monotonic()

    def __call__(self, states):
        """Take the states after a step."""
        self.checkpoints(states)
        if time.monotonic() - self.said > SECONDS_BETWEEN_WORDS:
            self.said = time.monotonic()
            n_climbing = sum(not bool(state["finished"]) for state in states)
            LOGGER.info(
                "group.fit: step %d, %d of %d numbers of clusters still climbing",
                self.checkpoints.n_steps,
                n_climbing,
                len(states),
            )


@contextmanager
def naming_members(plan):
    """Turn ``member 3: ...`` of the maths into an InputError that names the file of that member."""
    try:
        yield
    except ValueError as error:
        match = re.match(r"member (\d+):? (.*)", str(error))
        if match is None:
            raise
        path = plan["members"][int(match[1])]["path"]
        raise InputError(match[2], file=path, remedy="run this participant again, or leave it out") from error
