"""Input of the group level: the compressed signals of all participants, collected and checked before any computing."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from mrspec_prep.bids.cohort.checks import (
    check_kernel,
    check_participants_once,
    check_same_grid,
    check_same_version,
    check_something_found,
    one_series_each,
)
from mrspec_prep.bids.cohort.files import (
    MAIN,
    files_of,
    mapped_only,
    maps_only,
    output_folders,
    participants_in,
    passes,
    unfinished,
)
from mrspec_prep.bids.cohort.participants import join_participants, read_participants
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.names import natural_key
from mrspec_prep.bids.output.compressed import CompressedHeader, CompressedProtocol, read_header, read_protocol
from mrspec_prep.bids.output.compressed_checks import FormatError, NoiseError, check_sigma, fault_of_values
from mrspec_prep.physics import Grid

MAPS_ONLY = (
    "its last run gave parameter maps or numbers of compartments and no spectra, which the group is fitted to: run the "
    "participant level with --set nnls.wanted=true, or with a workflow of spectra"
)


@dataclass(frozen=True, eq=False)
class CohortMember:
    """One series of one participant and session that takes part.

    Attributes
    ----------
    subject : str
        Label without ``sub-``.
    session : str or None
    site, protocol : int
        Positions in ``Cohort.sites`` and ``Cohort.protocols``.
    root : Path
        Output directory that it comes from.
    entities : dict
        Of its file name, long names.
    header : CompressedHeader
        ``read_compressed(header.path)`` gives the signals.

    """

    subject: str
    session: str | None
    site: int
    protocol: int
    root: Path
    entities: dict
    header: CompressedHeader


@dataclass(frozen=True)
class Exclusion:
    """A participant, or a session of one, that does not take part, and why."""

    subject: str
    session: str | None
    site: str
    cause: str
    file: Path | None = None


@dataclass(frozen=True)
class Site:
    """Where participants were measured; ``own_gain``: its gain can be told from its participants' tissue."""

    name: str
    n_participants: int
    own_gain: bool


@dataclass(frozen=True, eq=False)
class Cohort:
    """Everything that the group level works on.

    Attributes
    ----------
    members : tuple of CohortMember
        In natural order of participant and session.
    exclusions : tuple of Exclusion
    sites : tuple of Site
    protocols : tuple of CompressedProtocol
        Each once, in order of first appearance.
    kernel : str
    grid : Grid
        ms, um2/ms; that of all members.
    participants : dict of str to dict
        Joined ``participants.tsv``: label -> column -> text or None.
    columns : tuple of str
        Of ``participants``.
    warnings : tuple of str
        What may change how results are read.
    notes : tuple of str
        What else the user should know.

    """

    members: tuple[CohortMember, ...]
    exclusions: tuple[Exclusion, ...]
    sites: tuple[Site, ...]
    protocols: tuple[CompressedProtocol, ...]
    kernel: str
    grid: Grid
    participants: dict
    columns: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def n_voxels(self):
        """Voxels of all members."""
        return sum(member.header.n_voxels for member in self.members)


def collect_cohort(
    out_dir, derivatives=None, *, bids_dir=None, participants=(), sessions=(), filters=None, kernel="auto", select=None
):
    """Collect and check the input of the group level; signals are looked at, not kept.

    Parameters
    ----------
    out_dir : path
        Its own participants are of the site ``main``, or of what their participants.tsv says under ``site``.
    derivatives : dict of str to path, optional
        Output directories of other sites by name; what is none is noted and passed over.
    bids_dir : path, optional
        Whose participants.tsv is joined, before those beside the outputs.
    participants, sessions : sequence of str, optional
        Labels to take, with or without ``sub-`` and ``ses-``; all by default.
    filters : dict, optional
        Content of a BIDS filter file.
    kernel : str
        Kernel to take, or ``auto`` where all have the same.
    select : mrspec_prep.options.SelectOptions, optional
        Datatype and suffix of the series to take.

    Returns
    -------
    Cohort

    Raises
    ------
    InputError
        Something that concerns more than one participant, or that no participant run leaves: nothing found,
        labels that do not exist, a participant in two folders, mixed or other versions, grids, kernels,
        several series of a participant, no noise level.

    """
    derivatives = {name: Path(path) for name, path in (derivatives or {}).items()}
    folders, notes = output_folders(out_dir, derivatives)
    tables = [(root, read_participants(root)) for root in _roots_of_tables(bids_dir, folders)]
    rows, columns, warnings = join_participants(tables)
    wanted = _wanted(folders, participants)
    taken = _Taken(filters or {}, select, [str(label).removeprefix("ses-") for label in sessions])
    found, exclusions = [], []
    for folder in folders:
        for subject in (label for label in participants_in(folder) if label in wanted):
            cause = unfinished(folder, subject)
            if cause is not None:
                exclusions.append(Exclusion(subject, None, _site_of(folder, subject, rows), cause))
                continue
            more, causes = _read_participant(folder, subject, taken)
            found += more
            exclusions += [
                Exclusion(subject, session, _site_of(folder, subject, rows), *why) for session, *why in causes
            ]
    taken.check_sessions(Path(out_dir))
    check_something_found(folders, Path(out_dir), found, exclusions, taken.left_out)
    check_participants_once(found)
    check_same_version(found)
    kernel = check_kernel(found, kernel)
    found, others = one_series_each(found, kernel)
    exclusions += [Exclusion(f.subject, f.session, _site_of(f.folder, f.subject, rows), why) for f, why in others]
    grid = check_same_grid(found)
    for _, header in found:
        check_sigma(header)
    members, sites, protocols = _assemble(found, grid, rows)
    notes += [f"{n} series were left out by {how}." for how, n in taken.left_out.items()]
    notes += _never_run(rows, folders, participants) + _unknown(rows, members)
    return Cohort(
        members, tuple(sorted(exclusions, key=lambda e: natural_key(e.subject))), sites, protocols, kernel, grid,
        rows, columns, (*warnings, *_lone_sites(sites)), tuple(notes),
    )  # fmt: skip


class _Taken:
    """Which series the user asked for, and how many were left out by what."""

    def __init__(self, filters, select, sessions):
        self.filters, self.select, self.sessions = filters, select, sessions
        self.left_out, self.known_sessions = Counter(), set()

    def by_name(self, file):
        """Whether a file passes what its name alone decides."""
        self.known_sessions.add(file.session)
        if self.sessions and file.session not in self.sessions:
            self.left_out["--session-label"] += 1
            return False
        return True

    def by_content(self, file, header):
        """Whether a file passes what needs the kind of its images."""
        about = {"datatype": file.entities["datatype"], "suffix": header.about.get("Suffix")}
        if self.select and any(getattr(self.select, key) not in ("auto", value) for key, value in about.items()):
            self.left_out["[select]"] += 1
            return False
        if not passes(file, header, self.filters):
            self.left_out["--bids-filter-file"] += 1
            return False
        return True

    def check_sessions(self, where):
        """Raise InputError where a session that was asked for does not exist among files that do."""
        known = sorted((s for s in self.known_sessions if s), key=natural_key)
        missing = [label for label in self.sessions if label not in known]
        if missing and self.known_sessions:
            raise InputError(
                f"no session {', '.join(missing)} among the outputs",
                file=where,
                remedy=f"choose from: {', '.join(known)}" if known else "leave --session-label out: there are none",
            )


def _roots_of_tables(bids_dir, folders):
    roots = [Path(bids_dir)] if bids_dir is not None else []
    return list(dict.fromkeys([*roots, *(folder.root for folder in folders)]))


def _wanted(folders, participants):
    """Labels to read; InputError where one that was asked for is nowhere."""
    valid = sorted({label for folder in folders for label in participants_in(folder)}, key=natural_key)
    labels = [str(label).removeprefix("sub-") for label in participants]
    missing = [label for label in dict.fromkeys(labels) if label not in valid]
    if missing:
        raise InputError(
            f"no participant {', '.join(missing)} among the outputs",
            file=folders[0].root if folders else None,
            remedy=f"choose from: {', '.join(valid)}" if valid else "run the participant level first",
        )
    return set(labels or valid)


def _read_participant(folder, subject, taken):
    """Files of a participant with their headers, and what is wrong with the others.

    Returns
    -------
    found : list of (CompressedFile, CompressedHeader)
    causes : list of (session or None, cause, path or None)

    """
    try:
        files = files_of(folder, subject)
    except InputError as error:
        return [], [(None, str(error), error.file)]
    if not files and mapped_only(folder, subject):
        return [], []
    if not files and maps_only(folder, subject):
        return [], [(None, MAPS_ONLY, None)]
    if not files:
        return [], [(None, "it has no compressed signals: run the participant level again with this version", None)]
    found, causes = [], []
    for file in filter(taken.by_name, files):
        try:
            header = read_header(file.path)
        except (FormatError, NoiseError):
            raise
        except InputError as error:
            causes.append((file.session, str(error), file.path))
            continue
        if not taken.by_content(file, header):
            continue
        if header.n_voxels == 0:
            causes.append((file.session, "its region of interest holds no voxel", file.path))
        elif fault := fault_of_values(header):
            causes.append((file.session, f"its {fault}", file.path))
        else:
            found.append((file, header))
    return found, causes


def _site_of(folder, subject, rows):
    """Name of a participant's site: that of its folder; in OUT_DIR what participants.tsv says under ``site``."""
    if folder.site != MAIN:
        return folder.site
    return rows.get(subject, {}).get("site") or folder.site


def _assemble(found, grid, rows):
    """Members with their sites and protocols, in natural order of participant and session."""
    found = sorted(found, key=lambda pair: (natural_key(pair[0].subject), natural_key(pair[0].session or "")))
    names, hashes, protocols, members = {}, {}, [], []
    people = {}
    for file, header in found:
        site = _site_of(file.folder, file.subject, rows)
        people.setdefault(site, set()).add(file.subject)
        if header.protocol_hash not in hashes:
            hashes[header.protocol_hash] = len(protocols)
            protocols.append(replace(read_protocol(header.path), grid=grid))
        position = names.setdefault(site, len(names))
        header = replace(header, grid=grid)
        members.append(CohortMember(
            file.subject, file.session, position, hashes[header.protocol_hash], file.folder.root, file.entities, header
        ))  # fmt: skip
    sites = tuple(Site(name, len(people[name]), len(people[name]) > 1) for name in names)
    return tuple(members), sites, tuple(protocols)


def _lone_sites(sites):
    """Warnings on sites whose gain cannot be told from the tissue of their only participant."""
    if len(sites) == 1:
        return ()
    return tuple(
        f"Site {site.name} has one participant: a gain of the site cannot be told from this participant's tissue, and "
        "differences between this participant and others may be those of the scanner."
        for site in sites
        if not site.own_gain
    )


def _unknown(rows, members):
    """Note on members of whom the tables, where there are any, say nothing."""
    unknown = list(dict.fromkeys(member.subject for member in members if member.subject not in rows))
    if not rows or not unknown:
        return []
    return [f"participants.tsv does not name {_some(unknown)}: no comparison by its columns holds them."]


def _some(labels):
    """The first ten participants by name, and how many more there are."""
    more = f" and {len(labels) - 10} more" if len(labels) > 10 else ""
    return ", ".join(f"sub-{label}" for label in labels[:10]) + more


def _never_run(rows, folders, participants):
    """Note on participants of the tables that have no outputs, where all were asked for."""
    there = {label for folder in folders for label in participants_in(folder)}
    missing = sorted(set(rows) - there, key=natural_key)
    if participants or not missing:
        return []
    return [f"participants.tsv names participants without any outputs: {_some(missing)}."]
