"""What encodes the volumes of preprocessed images, and what their preprocessing did to them."""

import json
import tomllib

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.grouping import KEYS, NEEDED, Described, describe_image, read_weighting
from mrspec_prep.bids.input.preprocessed import OWN
from mrspec_prep.bids.input.provenance import (
    BVALUE_TOLERANCE,
    CONCATENATED,
    RERUN,
    Origin,
    RawScans,
    find_confounds,
    numbers_of,
    read_confounds,
    trace_volumes,
)
from mrspec_prep.bids.input.sidecars import Sidecars
from mrspec_prep.bids.names import split_name
from mrspec_prep.bids.nifti import read_grid

DENOISERS = ("DWIDenoise", "DWIDenoise2", "Patch2Self")  # beginnings of QSIPrep's columns of confounds
BIASED = "DWIBiasCorrect"


def describe_preprocessed(preprocessed, raw_roots):
    """Every preprocessed image with what encodes its volumes, and where these come from.

    Parameters
    ----------
    preprocessed : Preprocessed
    raw_roots : sequence of Path
        Datasets that may hold the raw images.

    Returns
    -------
    described : list of Described
    origins : dict of Path to Origin
    notes : list of str

    Raises
    ------
    InputError
        A volume cannot be traced back, or the decay with echo time was scaled away.

    """
    sidecars, raw = Sidecars(preprocessed.root), RawScans(raw_roots)
    described, origins, notes = [], {}, [*preprocessed.notes]
    for path in preprocessed.images:
        image, origins[path], columns = _describe(path, preprocessed.root, sidecars, raw)
        _check_settings(preprocessed.root, image, origins[path])
        described.append(image)
        notes += _words(preprocessed, image, origins[path], columns)
    return described, origins, list(dict.fromkeys(notes))


def _describe(path, root, sidecars, raw):
    name, grid, metadata = split_name(path), read_grid(path), sidecars.metadata(path)
    confounds = find_confounds(path) if name.datatype == "dwi" else None
    columns = read_confounds(confounds, grid.n_volumes) if confounds else {}
    if "original_file" not in columns:
        return _describe_by_sidecar(path, root, sidecars, metadata, confounds), Origin(), columns
    table, origin, metadata = trace_volumes(path, metadata, confounds, columns, raw)
    read_weighting(path, sidecars, table, grid.n_volumes)
    recorded = numbers_of(columns, "bval", confounds)
    if not np.allclose(recorded, table.bvalue, **BVALUE_TOLERANCE):
        volume = int(np.argmax(np.abs(recorded - table.bvalue)))
        raise InputError(
            "the b-values of the preprocessed image are not those of its confounds table",
            file=(sidecars.find(path, ".bval") or [path])[-1],
            value=f"volume {volume}: {table.bvalue[volume]:g} and {recorded[volume]:g} s/mm2",
            remedy="run the preprocessing again: which volume comes from which raw file cannot be told",
        )
    return Described(path, name, grid, metadata, table), origin, columns


def _describe_by_sidecar(path, root, sidecars, metadata, confounds):
    """Image whose sidecar tells the times; what QSIPrep made is not read so: it joins scans of several times."""
    qsiprep = "ScanGrouping" in metadata.values or "qsiprep" in makers_of(root)
    if qsiprep and split_name(path).datatype == "dwi":
        raise InputError(
            "QSIPrep's table of confounds is missing, which tells the raw file of each volume"
            if confounds is None
            else "QSIPrep's table of confounds lacks the column original_file",
            file=confounds or path,
            remedy="copy *_desc-confounds_timeseries.tsv (*_confounds.tsv of older versions) beside the image; where "
            "QSIPrep wrote none (--distortion-group-merge concat), run it again with --distortion-group-merge none",
        )
    image = describe_image(path, sidecars)
    if image.table.echo_time is None:
        raise InputError(
            "EchoTime is not known of this preprocessed image, in which scans of several echo times may be joined",
            file=metadata.where(KEYS[NEEDED.get(image.name.suffix, "echo_time")]),
            remedy="add EchoTime in seconds to its sidecar: one number, or one per volume",
        )
    return image


def makers_of(root):
    """Programs that a dataset says made it, in lower case."""
    try:
        content = json.loads((root / "dataset_description.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return []  # no description, or none that can be read: nothing is said
    if not isinstance(content, dict):
        return []
    listed = content.get("GeneratedBy") if isinstance(content.get("GeneratedBy"), list) else []
    makers = [*listed, content.get("PipelineDescription")]
    return [str(maker.get("Name", "")).lower() for maker in makers if isinstance(maker, dict)]


def qsiprep_settings(root, subject):
    """Table ``[workflow]`` of the newest ``qsiprep.toml`` of a participant; empty where there is none."""
    files = sorted(root.glob(f"sub-{subject}/log/*/qsiprep.toml"), key=lambda path: path.parent.name)
    for path in reversed(files):
        try:
            return tomllib.loads(path.read_text(encoding="utf-8")).get("workflow", {})
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            continue  # an unreadable log says nothing, and an older one may
    return {}


def _check_settings(root, image, origin):
    """Raise InputError where the log alone tells that scans of several times were scaled to one b=0 intensity."""
    times = image.table.echo_time
    if origin.b0_scaling != "unknown" or times is None or np.ptp(times) <= 1e-3 * times.max():
        return
    settings = qsiprep_settings(root, image.name.entities.get("subject"))
    if len(set(origin.raw)) > 1 and settings.get("no_b0_harmonization") is False:
        raise InputError(
            "QSIPrep scaled all scans to one b=0 intensity, which takes the decay with echo time away",
            file=image.path,
            value="qsiprep.toml: no_b0_harmonization = false",
            remedy=RERUN + CONCATENATED,
        )


def _words(preprocessed, image, origin, columns):
    """What the user should know of one preprocessed image."""
    settings = qsiprep_settings(preprocessed.root, image.name.entities.get("subject"))
    notes = []
    if origin.b0_scaling == "one-time":
        notes.append(
            f"{image.path.name}: its scans were scaled to one b=0 intensity; they share echo and inversion times."
        )
    denoised = [name for name in DENOISERS if f"{name}_change" in columns]
    denoised = denoised or [m for m in [settings.get("denoise_method")] if isinstance(m, str) and m != "none"]
    if denoised:
        notes.append(
            f"Noise was removed by {denoised[0]} beforehand: sigma from repeats is what is left of it, and is shared "
            "between volumes, so that fits are less certain than they say."
        )
    if f"{BIASED}_change" in columns:
        notes.append(
            "Every scan was divided by a bias field of its own before scans were joined: the decay with echo time is "
            "off where these fields differ (QSIPrep's --b1-biascorrect-stage none avoids it)."
        )
    return notes


def joined_words(preprocessed, described, origins):
    """Notes on all images of a participant together."""
    scans = {name for origin in origins.values() for name in origin.raw}
    n_volumes = sum(image.grid.n_volumes for image in described)
    traced = f"; their {n_volumes} volumes were traced back to {len(scans)} raw scan(s)" if scans else ""
    place = "BIDS_DIR" if preprocessed.name == OWN else f"the derivatives {preprocessed.name}"
    notes = [f"Preprocessed images are read, from {place}{traced}."]
    settings = qsiprep_settings(preprocessed.root, described[0].name.entities.get("subject"))
    times = [image.table.echo_time for image in described if image.table.echo_time is not None]
    apart = len(times) > 1 and np.ptp([t.mean() for t in times]) > 1e-3 * np.max([t.mean() for t in times])
    if apart and settings.get("b1_biascorrect_stage") == "final":
        notes.append(
            "QSIPrep divided each of these images by a bias field of its own: the decay with echo time is off where "
            "the fields differ. Its --b1-biascorrect-stage none avoids that."
        )
    return notes
