"""What the group level will do, decided before anything is computed: who is in it, and with which settings."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from mrspec_prep import __version__
from mrspec_prep.bids.cohort.checks import check_kernel, check_same_grid
from mrspec_prep.bids.cohort.collect import Cohort, collect_cohort
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.output.group_files import group_file, template_file
from mrspec_prep.bids.output.spectra_files import ClusterSpectra, read_cluster_spectra
from mrspec_prep.options import Options, load_options
from mrspec_prep.physics import Grid
from mrspec_prep.physics.hashes import grid_hash

COMPARED = "group"  # column of participants.tsv that is compared where the user names none
NOT_OF_THE_SERIES = ("datatype", "suffix", "extension", "model", "desc")
NO_WORKFLOW = "group_inspect"  # whose settings are the defaults


@dataclass(frozen=True, eq=False)
class GroupPlan:
    """Everything that will be done at the group level."""

    cohort: Cohort
    options: Options
    workflow: str  #: name of the workflow file
    seed: int
    compare: str  #: column of participants.tsv whose groups are compared; empty: none

    atlas: ClusterSpectra | None = None  #: spectra that are kept, where ``group.frozen`` names them

    @property
    def spoilt(self):
        """Those left out although results of theirs are there."""
        return [left for left in self.cohort.exclusions if left.file is not None or "participant run" in left.cause]

    @property
    def in_words(self):
        """Who is in the group, in one line."""
        cohort = self.cohort
        counts = {
            "participant": len({member.subject for member in cohort.members}),
            "series": len(cohort.members),
            "voxel": cohort.n_voxels,
            "site": len(cohort.sites),
            "protocol": len(cohort.protocols),
        }
        return ", ".join(f"{n} {what}{'s' * (n != 1 and what != 'series')}" for what, n in counts.items())

    def to_json(self):
        """What the fit depends on, as plain values: members in order, protocols, sites."""
        cohort = self.cohort
        first = {}
        for member in cohort.members:
            first.setdefault(member.protocol, str(member.header.path))
        return {
            "kernel": cohort.kernel,
            "members": [_record(member, cohort.sites) for member in cohort.members],
            "protocols": [first[number] for number in range(len(cohort.protocols))],
            "sites": [site.name for site in cohort.sites],
        }

    def people_json(self):
        """What the tables say beside the fit, as plain values."""
        people = self.cohort.participants
        return {
            "software_version": f"mrspec_prep {__version__}",
            "compare": self.compare,
            "columns": list(self.cohort.columns),
            "rows": [people.get(member.subject, {}) for member in self.cohort.members],
            "left_out": [
                {
                    "subject": left.subject,
                    "session": left.session,
                    "path": str(left.file) if left.file else None,
                    "site_name": left.site,
                    "cause": left.cause,
                    "people": people.get(left.subject, {}),
                }
                for left in self.cohort.exclusions
            ],
        }

    @property
    def key(self):
        """Changes when any result of the group could."""
        settings = [self.options.group_hash(), self.seed, self.workflow, __version__, _fingerprint(self.frozen)]
        parts = [self.to_json(), self.people_json(), settings]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def frozen(self):
        """Path of the spectra that are kept, or None."""
        return Path(self.options.group.frozen) if self.options.group.frozen else None


def plan_group(settings, workflow=None):
    """Plan of the group level.

    Parameters
    ----------
    settings : RunSettings
    workflow : Path, optional
        Workflow file; default: the program's own settings.

    Returns
    -------
    GroupPlan

    Raises
    ------
    InputError
        Nobody can take part, or what concerns them all: other versions, grids, kernels; too few voxels; a column
        that does not exist; spectra to keep that are of another kernel or grid.
    OptionsError
        A workflow file or override does not hold.

    """
    options = load_options(workflow, settings.overrides)
    cohort = collect_cohort(
        settings.out_dir,
        settings.derivatives,
        bids_dir=settings.bids_dir,
        participants=settings.participant_label,
        sessions=settings.session_label,
        filters=settings.filters,
        kernel=options.kernel.name,
        select=options.select,
    )
    atlas = None
    if options.group.frozen:
        path = Path(options.group.frozen).expanduser().absolute()
        options = replace(options, group=replace(options.group, frozen=str(path)))
        atlas = read_atlas(path, cohort)
        _check_apart(path, settings.out_dir, cohort.kernel)
    elif max(options.group.candidates) > cohort.n_voxels:
        raise InputError(
            f"{max(options.group.candidates)} clusters need as many voxels",
            value=f"{cohort.n_voxels} voxels in all",
            remedy=f"--set group.n_clusters={min(cohort.n_voxels, 2)}",
        )
    options = replace(options, kernel=replace(options.kernel, name=cohort.kernel))
    name = workflow.stem if workflow else NO_WORKFLOW
    return GroupPlan(cohort, options, name, settings.random_seed, _compared(options.group.compare, cohort), atlas)


def check_group_to_come(plans):
    """Refuse participants who, once they are finished, could not be one group.

    Parameters
    ----------
    plans : sequence of ParticipantPlan

    Raises
    ------
    InputError
        Spectra of several kernels while the settings name none, or on several grids.

    """
    found = _to_come(plans)
    if not found:
        return
    wanted = {one.options.kernel.name for plan in plans for one in plan.series if one.options.wants_spectra}
    kernel = check_kernel(found, wanted.pop() if len(wanted) == 1 else "auto")
    check_same_grid([pair for pair in found if pair[1].kernel == kernel])


def different_grids(plans):
    """Why participants could not be one group, for each kernel whose spectra would lie on different grids."""
    found, refusals = _to_come(plans), []
    for kernel in dict.fromkeys(header.kernel for _, header in found):
        try:
            check_same_grid([pair for pair in found if pair[1].kernel == kernel])
        except InputError as error:
            refusals.append(error)
    return refusals


@dataclass(frozen=True)
class _ToCome:
    """What the group level will find of a series: whose it is, or the header of its compressed signals."""

    subject: str = ""
    session: str | None = None
    kernel: str = ""
    grid: Grid | None = None
    grid_hash: str = ""


def _to_come(plans):
    """Pairs as ``collect_cohort`` makes them, of the series whose spectra are wanted."""
    found = []
    for plan in plans:
        for one in (one for one in plan.series if one.options.wants_spectra):
            grid = one.grid
            header = _ToCome(kernel=one.kernel, grid=grid, grid_hash=grid_hash(grid))
            found.append((_ToCome(plan.subject, one.series.session), header))
    return found


def read_atlas(path, cohort):
    """Spectra that are kept as they are.

    Raises
    ------
    InputError
        No file of cluster spectra, or one of another kernel or grid.

    """
    remedy = "give the group_desc-inspect_spectra.h5 of a group, with the .json beside it"
    try:
        atlas = read_cluster_spectra(path)
    except (OSError, KeyError, ValueError) as error:
        found = " ".join(str(error).split()) if path.is_file() else "no such file"
        raise InputError("no cluster spectra can be read here", file=path, value=found, remedy=remedy) from error
    kernel = atlas.metadata.get("Kernel")
    if kernel != cohort.kernel:
        raise InputError(f"the participants have the kernel {cohort.kernel}", file=path, value=kernel, remedy=remedy)
    if grid_hash(atlas.grid) != grid_hash(cohort.grid):
        raise InputError(
            "the spectra are on another grid than those of the participants",
            file=path,
            value=f"{in_words(atlas.grid)}, the participants {in_words(cohort.grid)}",
            remedy="run the participant level with kernel.points and the bounds of every axis as in this atlas",
        )
    return atlas


def _check_apart(path, out_dir, kernel):
    """Raise InputError where the spectra to keep are files that this very run writes."""
    written = (group_file(out_dir, "spectra", ".h5", desc="inspect"), template_file(out_dir, kernel))
    if path.resolve() in {own.resolve() for own in written}:
        raise InputError(
            "these spectra would be written over: they are of the group in OUT_DIR",
            file=path,
            remedy="copy them, with the .json beside them, and name the copy in group.frozen",
        )


def in_words(grid):
    """Axes of a grid: number of points and ends, in the units of the package."""
    axes = zip(grid.names, grid.axes, strict=True)
    return ", ".join(f"{name} {axis[0]:.4g} to {axis[-1]:.4g} in {len(axis)} points" for name, axis in axes)


def _compared(asked, cohort):
    """Column of participants.tsv whose groups are compared; empty where there is none to compare."""
    if asked and asked not in cohort.columns:
        raise InputError(
            "participants.tsv has no such column",
            value=f"group.compare = {asked}",
            remedy=f"choose from: {', '.join(cohort.columns)}" if cohort.columns else "add a participants.tsv",
        )
    return asked or (COMPARED if COMPARED in cohort.columns else "")


def _record(member, sites):
    """One member as plain values, with what tells whether its file has changed."""
    path = member.header.path
    about = path.stat()
    return {
        "subject": member.subject,
        "session": member.session,
        "entities": {k: v for k, v in member.entities.items() if k not in NOT_OF_THE_SERIES},
        "datatype": member.entities["datatype"],
        "root": str(member.root),
        "path": str(path),
        "n_voxels": member.header.n_voxels,
        "site": member.site,
        "site_name": sites[member.site].name,
        "protocol": member.protocol,
        "fingerprint": [about.st_size, about.st_mtime_ns],
    }


def _fingerprint(path):
    """Hash of a file, or None."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path else None
