"""The derivative dataset as a whole: its top files, the names in it, and where its inputs lie."""

import json
import os
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote, unquote

from bids.layout.writing import build_path

from mrspec_prep import __version__
from mrspec_prep.bids.atomic import write_if_changed
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.json_files import read_json
from mrspec_prep.bids.locks import dataset_lock
from mrspec_prep.bids.output.catalogue import cluster_color, data_text, load_catalogue

BIDS_VERSION = "1.10.0"
RAW = "raw"  # name of BIDS_DIR in ``DatasetLinks`` and BIDS URIs
NCOMP = "ncomp"  # segmentation by the number of compartments, and its section of ``maps.toml``
BIDSIGNORE = (
    "*.html",
    "logs",
    "log",
    "figures",
    "*_dwimap.*",
    "*_spectra.*",
    "*_axes.*",
    "*_selection.*",
    "*_history.*",
    "group_*",
)
FIGURES = "figures"  # folder of the pictures of a report and of the images behind them
SHORT_ENTITIES = {
    "tpl": "template",
    "sub": "subject",
    "ses": "session",
    "acq": "acquisition",
    "ce": "ceagent",
    "rec": "reconstruction",
    "dir": "direction",
    "run": "run",
    "space": "space",
    "seg": "segmentation",
    "model": "model",
    "param": "param",
    "desc": "desc",
}
README = """mrspec_prep derivatives
=======================

Spectra, tissue clusters and parameter maps estimated by mrspec_prep from multi-contrast microstructure MRI.
Open sub-*.html for a report on each participant.

Names
-----
The suffix `dwimap` with the entities `model` and `param` follows the draft of BIDS extension proposal 16 (diffusion
derivatives). The suffixes `spectra`, `axes`, `selection` and `history` are our own. All of these are listed in
`.bidsignore`.

Units are those of BIDS: relaxation times in s, diffusivities in mm2/s, b-values in s/mm2.
Voxels outside the region of interest (`desc-roi_mask`) hold 0.

Spectra in HDF5
---------------
`*_desc-nnls_spectra.h5` holds coefficients of each voxel of the region (`dual`, each column with the bits that matter,
so that it compresses well) and one `basis` for all: the spectrum is max(dual @ basis, 0) / alpha, on the grid whose
axes are in the group `axes` (bins in C order).
`*_desc-inspect_spectra.h5` holds the spectra of the clusters themselves; `tpl-group/` those of the whole group under
the name of a template, the same files as `group_desc-inspect_spectra.*`.
`*_desc-compressed_spectra.h5` holds what the group level reads: signals of the region, S @ projection[projection_row]
(single precision, signal units), the noise sigma, the energy `outside` that this leaves out, the region as packed bits
of its bounding box, and the encodings (b in s/mm2, times in ms).

To read this dataset with PyBIDS, add `logs/pybids_config.json`, which knows the entity `param`:

    config = ["bids", "derivatives", "logs/pybids_config.json"]
    BIDSLayout(".", is_derivative=True, validate=False, config=config)
"""


def start_dataset(out_dir, bids_dir, derivatives=None):
    """Write the files at the top of the derivative dataset.

    Repeating it changes nothing; jobs may do it at the same time, and the links of all are kept.

    Parameters
    ----------
    out_dir, bids_dir : path
    derivatives : dict of str to path, optional
        Other inputs by name, as given with ``--derivatives``.

    """
    out_dir = Path(out_dir)
    catalogue = load_catalogue()
    labels = "".join(f"desc-{name}\t{text}\n" for name, text in catalogue["descriptions"].items())
    write_if_changed(out_dir / ".bidsignore", "\n".join(BIDSIGNORE) + "\n")
    write_if_changed(out_dir / "README", README)
    write_if_changed(out_dir / "descriptions.tsv", "desc_id\tdescription\n" + labels)
    write_if_changed(out_dir / "logs" / "pybids_config.json", data_text("bids_config.json"))
    with dataset_lock(out_dir):
        _add_links(out_dir, {RAW: bids_dir, **(derivatives or {})})


def _add_links(out_dir, sources):
    """Write ``dataset_description.json`` with the links that it has and these; to be called with the dataset held."""
    links = _earlier_links(out_dir) | {name: _relative(path, out_dir) for name, path in sources.items()}
    description = {
        "Name": "mrspec_prep: spectra, tissue clusters and parameter maps",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "mrspec_prep", "Version": __version__}],
        "SourceDatasets": [{"URL": link} for link in links.values()],
        "DatasetLinks": links,
    }
    write_if_changed(out_dir / "dataset_description.json", json.dumps(description, indent=2, ensure_ascii=False) + "\n")


def _earlier_links(out_dir):
    """Links of earlier runs, which their derivatives still name as sources."""
    path = out_dir / "dataset_description.json"
    if not path.is_file():
        return {}
    links = read_json(path).get("DatasetLinks", {})
    if not isinstance(links, dict):
        remedy = "correct it, or remove it and run the participant level, which writes it again"
        raise InputError("DatasetLinks must map names to places", file=path, value=links, remedy=remedy)
    return {str(name): str(link) for name, link in links.items()}


def name_labels(out_dir, segmentation):
    """Write ``seg-<segmentation>_dseg.tsv``, names and colours of the labels; repeating it changes nothing."""
    if segmentation == NCOMP:
        labels = load_catalogue()[NCOMP]["labels"]
        rows = "".join(f"{label['index']}\t{label['name']}\t{label['color']}\n" for label in labels)
        write_if_changed(Path(out_dir) / f"seg-{segmentation}_dseg.tsv", "index\tname\tcolor\n" + rows)
        return
    kind = "component" if segmentation not in ("inspect", "group") else "cluster"
    colors = range(len(load_catalogue()["cluster_colors"]))
    rows = "".join(f"{index + 1}\t{kind}{index + 1}\t{cluster_color(index)}\n" for index in colors)
    write_if_changed(Path(out_dir) / f"seg-{segmentation}_dseg.tsv", "index\tname\tcolor\n" + rows)


@cache
def pybids_config():
    """Path of the pybids configuration of our derivatives (adds the entity ``param``)."""
    return str(files("mrspec_prep").joinpath("data", "bids_config.json"))


@cache
def _path_patterns():
    return json.loads(data_text("bids_config.json"))["default_path_patterns"]


def output_path(out_dir, entities, *, datatype, suffix, extension, **more):
    """Where a derivative of one series belongs.

    Parameters
    ----------
    out_dir : path
    entities : dict
        Of the series, long pybids names: subject, session, acquisition, ...
    datatype, suffix, extension : str
        ``dwi`` or ``anat``; for example ``dwimap``; with the leading dot.
    **more
        Further entities: model, param, desc, seg, space. What BIDS does not allow in
        a label is left out: model ``adc-t2star`` is written ``model-adct2star``.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        An entity, suffix or extension that our names do not have.

    """
    wanted = {SHORT_ENTITIES.get(name, name): value for name, value in {**entities, **more}.items()}
    wanted = {name: str(value).replace("-", "").replace("_", "") for name, value in wanted.items() if value is not None}
    wanted |= {"datatype": datatype, "suffix": suffix, "extension": extension}
    built = build_path(wanted, _path_patterns(), strict=True)
    if built is None:
        raise ValueError(f"no derivative is named from {wanted}; see data/bids_config.json")
    return Path(out_dir) / built


def reference_path(out_dir, entities, *, datatype, extension=".nii.gz"):
    """Where the image behind the maps of one series belongs: by the figures, for it covers the whole field of view.

    Parameters
    ----------
    out_dir : path
    entities : dict
        Of the series, long pybids names.
    datatype, extension : str
        ``dwi`` or ``anat``, of the series; with the leading dot.

    Returns
    -------
    Path

    """
    return output_path(
        out_dir, entities, datatype=FIGURES, suffix=f"{datatype}ref", extension=extension, desc="reference"
    )


def parse_name(path):
    """Entities of a derivative's file name: long names, with suffix, extension and the datatype of the series."""
    path = Path(path)
    stem, _, extension = path.name.partition(".")
    parts = stem.split("_")
    found = {}
    for part in parts[:-1]:
        short, _, value = part.partition("-")
        found[SHORT_ENTITIES.get(short, short)] = value
    folder = path.parent.name
    datatype = parts[-1].removesuffix("ref") if folder == FIGURES else folder
    return found | {"suffix": parts[-1], "extension": f".{extension}", "datatype": datatype}


def is_group_file(path):
    """Whether a file in a participant's folder was written by the group level, going by its name."""
    entities = parse_name(path)
    return entities.get("segmentation") == "group" or entities.get("model") in ("group", "groupmap")


def linked_datasets(out_dir):
    """Roots of the inputs of a derivative dataset by the names of its ``DatasetLinks``; web addresses are left out."""
    out_dir = Path(out_dir).resolve()
    links = _earlier_links(out_dir)
    return {name: out_dir / unquote(link) for name, link in links.items() if "://" not in link}


def known_datasets(out_dir, bids_dir):
    """Roots by the names of BIDS URIs: the linked ones, ``raw`` for BIDS_DIR, ``""`` for the derivatives themselves."""
    return linked_datasets(out_dir) | {RAW: bids_dir, "": out_dir}


def _relative(path, out_dir):
    """Path relative to the dataset, so that both may move together; web addresses stay."""
    if "://" in str(path):
        return str(path)
    return quote(Path(os.path.relpath(Path(path).resolve(), Path(out_dir).resolve())).as_posix())
