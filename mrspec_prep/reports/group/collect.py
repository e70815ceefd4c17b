"""What the group run left on disk, read into one object; a missing file is a gap, not an error."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mrspec_prep.bids.names import LABEL
from mrspec_prep.bids.output.derivative_dataset import linked_datasets, reference_path
from mrspec_prep.bids.output.derivatives import parse_name, read_map, read_table
from mrspec_prep.bids.output.group_files import PER_CLUSTER, numbered_columns
from mrspec_prep.bids.output.spectra_files import ClusterSpectra, read_cluster_spectra
from mrspec_prep.bids.uris import path_of_uri
from mrspec_prep.reports.cluster_words import color_of
from mrspec_prep.reports.collect import NAME_ENTITIES, UNREADABLE
from mrspec_prep.reports.crashes import newest_crashes
from mrspec_prep.reports.facts import known_contrasts
from mrspec_prep.reports.resolution import two_valued

FILES = {
    "participants": "group_participants.tsv",
    "spectra": "group_desc-inspect_spectra.h5",
    "selection": "group_desc-inspect_selection.tsv",
    "comparison": "group_comparison.tsv",
    "components": "group_desc-inspectmap_spectra.h5",
}
OWN_COLUMNS = {
    "participant_id", "session", "series", "site", "protocol", "included", "cause", "n_voxels", "sigma", "gain",
    "log_likelihood", "main_cluster", "snr", "residual", "certainty", "unexplained",
}  # fmt: skip


def participants_columns(table):
    """Names of the columns that stem from ``participants.tsv``, in their order."""
    return [n for n in table if n not in OWN_COLUMNS and not PER_CLUSTER.fullmatch(n)]


@dataclass(eq=False)
class GroupResults:
    """Everything finished about a group.

    Parameters
    ----------
    out_dir : Path
    table : dict of str to array
        ``group_participants.tsv``, one row per scan, those left out last.
    about : dict
        Its sidecar.
    spectra : ClusterSpectra or None
    selection, selection_facts : dict
        Table of the numbers of clusters tried, and its sidecar.
    comparison, comparison_facts : dict
        Table of the tests, and its sidecar.
    components : ClusterSpectra or None
        Of continuous InSpect.
    crashes : list of CrashNote
    unreadable : list of (str, str)
        File and what is wrong with it.

    """

    out_dir: Path
    table: dict = field(default_factory=dict)
    about: dict = field(default_factory=dict)
    spectra: ClusterSpectra | None = None
    selection: dict = field(default_factory=dict)
    selection_facts: dict = field(default_factory=dict)
    comparison: dict = field(default_factory=dict)
    comparison_facts: dict = field(default_factory=dict)
    components: ClusterSpectra | None = None
    crashes: list = field(default_factory=list)
    unreadable: list = field(default_factory=list)

    @property
    def included(self):
        """(n_rows,) bool: scans that took part."""
        return np.asarray(self.table.get("included", []), dtype=bool)

    @property
    def proportions(self):
        """(n_included, M) cluster proportions of the scans that took part."""
        names = numbered_columns(self.table, "proportion")
        return np.array([self.table[name][self.included] for name in names]).T if names else np.zeros((0, 0))

    @property
    def clusters(self):
        """Weight, colour and peaks of each cluster; empty where there are none."""
        return self.spectra.clusters if self.spectra else []

    @property
    def colors(self):
        """Colour of each cluster, also where its spectrum is missing."""
        n = max(len(self.clusters), self.proportions.shape[1])
        clusters = [*self.clusters, *({} for _ in range(n - len(self.clusters)))]
        return [color_of(cluster, index) for index, cluster in enumerate(clusters)]

    @property
    def grid(self):
        """Grid of the spectra, or None."""
        return self.spectra.grid if self.spectra else None

    def column(self, name):
        """(n_included,) values of a column, or None where it is missing or holds nothing."""
        values = self.table.get(name)
        if values is None:
            return None
        values = values[self.included]
        known = np.isfinite(values) if values.dtype.kind == "f" else values != "n/a"
        return values if known.any() else None

    @property
    def sites(self):
        """Names of the sites of included scans, in order of appearance."""
        values = self.column("site")
        return [] if values is None else list(dict.fromkeys(str(value) for value in values))

    @property
    def gains(self):
        """Gain of each site where gains were fitted and say something; else empty."""
        found = (self.spectra.metadata.get("Gains") or {}) if self.spectra else {}
        fitted = {site: float(gain) for site, gain in found.items() if isinstance(gain, int | float)}
        return fitted if len(fitted) > 1 and any(gain != 1 for gain in fitted.values()) else {}

    @property
    def n_participants(self):
        """Participants with at least one scan included."""
        values = self.column("participant_id")
        return 0 if values is None else len(set(values))

    @property
    def contrasts(self):
        """Values of each contrast over all protocols, b-values of one shell as one: b [s/mm2], TE, TI [ms]."""
        found = {}
        for protocol in self.about.get("Protocols", []):
            for name in ("b", "TE", "TI"):
                found.setdefault(name, []).extend(protocol.get(name) or [])
        known = known_contrasts({name: np.array(values, float) for name, values in found.items()})
        return {name: np.unique(values) for name, values in known.items()}

    @property
    def unresolved(self):
        """Axes of the spectra along which the protocols tell a mean only: two values of their contrast in all."""
        counts = {name: len(values) for name, values in self.contrasts.items()}
        return two_valued(self.grid.names, counts) if self.grid else []

    def tests(self, column):
        """Facts and rows of the tests against one column, or (None, {})."""
        facts = next((f for f in self.comparison_facts.get("Comparisons", []) if f["Column"] == column), None)
        if facts is None or "column" not in self.comparison:
            return None, {}
        chosen = self.comparison["column"] == column
        return facts, {name: values[chosen] for name, values in self.comparison.items()}

    @property
    def compared(self):
        """Name of the column that groups are compared by, or None."""
        name = self.about.get("CompareColumn")
        return name if name in self.table else None

    def groups(self):
        """(n_included,) group of each scan as text, and the groups in order; one nameless group where none is known."""
        values = self.column(self.compared) if self.compared else None
        facts, _ = self.tests(self.compared) if self.compared else (None, {})
        if values is None or (facts is not None and facts["Kind"] == "number"):
            return np.full(int(self.included.sum()), ""), [""]
        texts = np.array(["n/a" if str(v) == "nan" else f"{v:g}" if isinstance(v, float) else str(v) for v in values])
        levels = list(facts["Levels"]) if facts else []
        return texts, [*levels, *(t for t in dict.fromkeys(texts) if t not in levels)]

    def names(self):
        """Short name of each scan that took part: participant, and session where there are several."""
        who, sessions = self.column("participant_id"), self.column("session")
        if who is None:
            return []
        texts = [str(name).removeprefix("sub-") for name in who]
        if sessions is None:
            return texts
        return [t if texts.count(t) == 1 else f"{t} {s}" for t, s in zip(texts, sessions, strict=True)]


def collect_group(out_dir):
    """Read the group's files.

    Parameters
    ----------
    out_dir : path

    Returns
    -------
    GroupResults

    """
    found = GroupResults(Path(out_dir))
    readers = {
        "participants": lambda path: _set(found, ("table", "about"), _participants(path)),
        "spectra": lambda path: _set(found, ("spectra",), (read_cluster_spectra(path),)),
        "selection": lambda path: _set(found, ("selection", "selection_facts"), read_table(path)),
        "comparison": lambda path: _set(found, ("comparison", "comparison_facts"), read_table(path)),
        "components": lambda path: _set(found, ("components",), (read_cluster_spectra(path),)),
    }
    for name, read in readers.items():
        path = found.out_dir / FILES[name]
        if not path.is_file():
            continue
        try:
            read(path)
        except (*UNREADABLE, IndexError) as error:
            found.unreadable.append((path.name, str(error).replace(f"{path.parent}/", "") or type(error).__name__))
    found.crashes = newest_crashes(found.out_dir / "logs" / "group")
    return found


@dataclass(frozen=True, eq=False)
class ClusterMap:
    """Cluster map of one scan, its axes to the right, front and up.

    Parameters
    ----------
    labels : MapFile
        1 to M, 0 outside.
    reference : (x, y, z) array or None
        Reference image on the same grid.
    path : Path
        Of the labels.
    signals : Path or None
        Of the compressed signals that were fitted.

    """

    labels: object
    reference: np.ndarray | None
    path: Path
    signals: Path | None


def read_cluster_map(out_dir, participant, series):
    """Cluster map of one scan and the reference image beside its source.

    Parameters
    ----------
    out_dir : path
    participant : str
        ``sub-<label>``.
    series : str
        File name of its compressed signals, which bears its entities.

    Returns
    -------
    ClusterMap or None
        None where no map was written.

    Raises
    ------
    OSError
        The map cannot be read.

    """
    out_dir = Path(out_dir)
    wanted = _identity(parse_name(series))
    if not LABEL.fullmatch(participant.removeprefix("sub-")):
        return None
    for path in sorted((out_dir / participant).glob("**/*_seg-group_dseg.nii.gz")):
        if _identity(parse_name(path)) == wanted:
            labels = read_map(path)
            reference = _reference(out_dir, labels.metadata)
            source = next((found for found in _sources(out_dir, labels.metadata) if found.is_file()), None)
            same = None if reference is None else _same_grid(reference, labels)
            return ClusterMap(labels.canonical(), same, path, source)
    return None


def _identity(entities):
    return tuple(entities.get(name) for name in ("subject", "session", *NAME_ENTITIES))


def _reference(out_dir, metadata):
    """Image behind the maps of the series that a cluster map was made from, or None."""
    for source in _sources(out_dir, metadata):
        entities = parse_name(source)
        own = {name: entities.get(name) for name in ("subject", "session", *NAME_ENTITIES)}
        root = next((folder.parent for folder in source.parents if folder.name == f"sub-{own['subject']}"), None)
        if root is None or entities["datatype"] not in ("dwi", "anat"):
            continue
        path = reference_path(root, own, datatype=entities["datatype"])
        if path.is_file():
            return read_map(path)
    return None


def _sources(out_dir, metadata):
    """Derivatives that a cluster map was made from, in datasets that are known."""
    roots, sources = {"": out_dir, **linked_datasets(out_dir)}, metadata.get("Sources")
    paths = (path_of_uri(source, roots) for source in sources) if isinstance(sources, list) else ()
    return [path for path in paths if path is not None and "_desc-" in path.name]


def _same_grid(reference, labels):
    """Array of the reference where it lies on the grid of the labels, else None."""
    same = reference.data.shape[:3] == labels.data.shape[:3] and np.allclose(reference.affine, labels.affine, atol=1e-3)
    return reference.canonical().data if same else None


def _participants(path):
    """Table of the participants and its sidecar; ValueError where it is none."""
    table, about = read_table(path)
    missing = [name for name in ("participant_id", "site", "included") if name not in table]
    if missing:
        raise ValueError(f"no column {', '.join(missing)}")
    return table, about


def _set(found, names, values):
    for name, value in zip(names, values, strict=True):
        setattr(found, name, value)
