"""What pybids, with the configuration that we ship, knows of every file that we name."""

import json
from pathlib import Path

import pytest
from bids import BIDSLayout

from mrspec_prep.bids.output.derivatives import output_path, parse_name, pybids_config, start_dataset
from mrspec_prep.bids.output.group_files import template_file

#: suffix -> entities with which it is written
NAMES = {
    "T2starmap": {"desc": "lsq"},
    "T1map": {"desc": "scancnn"},
    "T2map": {"desc": "lsqstd"},
    "S0map": {"desc": "lsq"},
    "M0map": {"desc": "dictionary"},
    "MWFmap": {"desc": "nnls"},
    "dwimap": {"model": "adc-t2star", "param": "fast+long", "desc": "nnls"},
    "dseg": {"seg": "inspect"},
    "probseg": {"seg": "ncomp"},
    "mask": {"desc": "roi"},
}
SERIES = {"subject": "01+a", "session": "x+y", "acquisition": "te078+b", "reconstruction": "norm", "direction": "AP"}
SERIES |= {"ceagent": "gd", "space": "ACPC", "run": "1"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Empty files of all names, once with few and once with many entities; the index and the paths."""
    out = tmp_path_factory.mktemp("names") / "out"
    start_dataset(out, out.parent / "bids")
    paths = [template_file(out, "adc-t2star")]
    for suffix, more in NAMES.items():
        datatype = "anat" if suffix[0].isupper() else "dwi"
        for series in ({"subject": "02"}, SERIES):
            paths.append(output_path(out, series, datatype=datatype, suffix=suffix, extension=".nii.gz", **more))
    for suffix, extension in (("spectra", ".h5"), ("axes", ".tsv"), ("selection", ".tsv"), ("history", ".tsv")):
        paths.append(output_path(out, SERIES, datatype="dwi", suffix=suffix, extension=extension, desc="inspect"))
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.with_name(path.name.partition(".")[0] + ".json").write_text("{}")
    config = ["bids", "derivatives", pybids_config()]
    return BIDSLayout(out, validate=False, is_derivative=True, config=config), paths


def test_every_file_is_there_with_all_its_entities(dataset):
    layout, paths = dataset
    assert len(paths) == 25
    for path in paths:
        known = {key: str(value) for key, value in layout.get_file(str(path)).get_entities().items()}
        expected = parse_name(path)
        if path.name.startswith("tpl-"):
            assert expected.pop("datatype") == "tpl-group"  # lies at the top of the template's folder
        assert known == expected, path.name


@pytest.mark.parametrize("suffix", NAMES)
def test_maps_are_found_by_what_they_are(dataset, suffix):
    layout, _ = dataset
    wanted = {{"seg": "segmentation"}.get(key, key): value.replace("-", "") for key, value in NAMES[suffix].items()}
    found = layout.get(suffix=suffix, extension=".nii.gz", **wanted)
    assert [file.entities["subject"] for file in found] == ["01+a", "02"]
    (one,) = layout.get(
        suffix=suffix, extension=".nii.gz", subject="01+a", session="x+y", acquisition="te078+b", **wanted
    )
    assert one.entities["space"] == "ACPC"


def test_the_configuration_in_the_dataset_is_the_one_of_the_package(dataset):
    layout, _ = dataset
    ours = json.loads((Path(layout.root) / "logs" / "pybids_config.json").read_text(encoding="utf-8"))
    assert ours == json.loads(Path(pybids_config()).read_text(encoding="utf-8"))
