"""Derivatives: valid BIDS, readable, whole, and the same bytes every time."""

import gzip
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import h5py
import nibabel as nib
import numpy as np
import pytest
from bids import BIDSLayout

from mrspec_prep.bids import atomic
from mrspec_prep.bids.atomic import write_atomically, write_if_changed
from mrspec_prep.bids.output.catalogue import load_bibliography, load_catalogue, map_entry, model_entry
from mrspec_prep.bids.output.derivative_dataset import BIDSIGNORE, linked_datasets, parse_name, reference_path
from mrspec_prep.bids.output.derivatives import (
    bids_uri,
    encodings_table,
    output_path,
    pybids_config,
    read_json,
    read_map,
    read_table,
    sidecar_path,
    start_dataset,
    write_json,
    write_map,
    write_table,
)
from mrspec_prep.bids.output.spectra_files import (
    read_cluster_spectra,
    read_mean_spectrum,
    read_nnls_spectra,
    write_cluster_spectra,
    write_nnls_spectra,
)
from mrspec_prep.physics import Encodings, Grid
from mrspec_prep.physics.models import MODELS

METADATA = {"Sources": ["bids:raw:sub-01/dwi/sub-01_dwi.nii.gz"], "OptionsHash": "0123456789ab", "Seed": 0}
ENTITIES = {"subject": "01", "session": "a", "acquisition": None, "run": "02"}
GRID = Grid(diffusivity=np.geomspace(0.1, 10, 7), t2star=np.geomspace(5, 500, 6))


@pytest.fixture
def like(tmp_path):
    rng = np.random.default_rng(0)
    affine = np.array([[-2.0, 0.1, 0, 10], [0.1, 2.0, 0, -20], [0, 0, 3.0, 5], [0, 0, 0, 1]])
    image = nib.Nifti1Image(rng.integers(0, 1000, (5, 6, 4, 3)).astype(np.int16), affine)
    image.header.set_slope_inter(2.0, 1.0)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, 1)
    path = tmp_path / "raw" / "sub-01" / "dwi" / "sub-01_dwi.nii.gz"
    path.parent.mkdir(parents=True)
    nib.save(image, path)
    return path


@pytest.fixture
def roi():
    mask = np.zeros((5, 6, 4), bool)
    mask[1:4, 2:5, 1:3] = True
    return mask


def nnls_result(n_voxels, alpha=0.01):
    rng = np.random.default_rng(1)
    dual, basis = rng.normal(size=(n_voxels, 5)), rng.normal(size=(5, GRID.n_bins))
    spectra = np.maximum(dual @ basis, 0) / (alpha or 1)
    return SimpleNamespace(
        dual=dual if alpha else None,
        basis=basis if alpha else None,
        alpha=alpha,
        gap=np.full(n_voxels, 1e-10),
        converged=np.ones(n_voxels, bool),
        spectra=spectra,
    )


def dwimap(out, param="t2star", **more):
    names = {"model": "adc-t2star", "param": param, "desc": "nnls"} | more
    return output_path(out, ENTITIES, datatype="dwi", suffix="dwimap", extension=".nii.gz", **names)


def write_all(out, like, roi):
    """One of everything."""
    start_dataset(out, like.parents[2], {})
    n, rng = int(roi.sum()), np.random.default_rng(2)

    def path(suffix, extension=".nii.gz", datatype="dwi", **more):
        return output_path(out, ENTITIES, datatype=datatype, suffix=suffix, extension=extension, **more)

    write_map(path("mask", desc="roi"), np.ones(n), roi, like, key="roi", metadata=METADATA)
    write_map(path("dwimap", desc="noise"), rng.random(n), roi, like, key="noise", metadata=METADATA)
    write_map(
        reference_path(out, ENTITIES, datatype="dwi"),
        rng.random(roi.shape),
        roi,
        like,
        key="reference",
        metadata=METADATA,
    )
    write_map(dwimap(out), rng.random(n), roi, like, key="t2star", metadata=METADATA)
    region = METADATA | {"Region": "slow"}
    write_map(dwimap(out, "slow"), rng.random(n), roi, like, key="fraction", metadata=region)
    for suffix, key in (("T2map", "t2"), ("T2starmap", "t2star"), ("T1map", "t1"), ("S0map", "s0")):
        write_map(path(suffix, datatype="anat", desc="nnls"), rng.random(n), roi, like, key=key, metadata=METADATA)
    write_map(path("mask", desc="roi", datatype="anat"), np.ones(n), roi, like, key="roi", metadata=METADATA)
    write_map(path("dseg", seg="inspect"), rng.integers(1, 3, n), roi, like, key="dseg", metadata=METADATA)
    labels = METADATA | {"LabelMap": ["cluster1", "cluster2"]}
    write_map(path("probseg", seg="inspect"), rng.random((n, 2)), roi, like, key="probseg", metadata=labels)
    write_map(path("dseg", seg="inspect", datatype="anat"), np.ones(n), roi, like, key="dseg", metadata=METADATA)
    write_nnls_spectra(path("spectra", ".h5", model="adc-t2star", desc="nnls"), nnls_result(n), roi, GRID, METADATA)
    write_cluster_spectra(
        path("spectra", ".h5", model="adc-t2star", desc="inspect"),
        rng.random((2, GRID.n_bins)),
        GRID,
        weights=[0.6, 0.4],
        peaks=[[SimpleNamespace(position={"diffusivity": 1.0, "t2star": 50.0}, fraction=0.9)], []],
        metadata=METADATA,
    )
    write_table(path("axes", ".tsv", desc="encodings"), encodings_table(Encodings(bvalue=[0, 1000], echo_time=78)))
    write_table(path("selection", ".tsv", desc="inspect"), {"n_clusters": [2, 3], "bic": [1.5, np.nan]}, {"Chosen": 2})
    return out


def test_validator_finds_no_error(tmp_path, like, roi):
    out = write_all(tmp_path / "out", like, roi)
    write_atomically(out / "sub-01.html", "<html></html>")
    write_atomically(out / "sub-01" / "figures" / "sub-01_spectra.svg", "<svg/>")
    write_atomically(out / "sub-01" / "log" / "run1" / "mrspec_prep.toml", "")
    write_atomically(out / "logs" / "CITATION.md", "text")
    command = [str(Path(sys.executable).with_name("bids-validator-deno")), str(out), "--format", "json"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=100)
    issues = json.loads(answer.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_bidsignore_is_the_one_of_the_contract(tmp_path, like):
    start_dataset(tmp_path / "out", like.parents[2], {})
    lines = (tmp_path / "out" / ".bidsignore").read_text().splitlines()
    assert tuple(lines) == BIDSIGNORE
    assert not any(line.endswith("/") for line in lines)
    assert not [*(tmp_path / "out").glob("seg-*")]  # names of labels come with the labels


def test_pybids_reads_it_with_our_config(tmp_path, like, roi):
    out = write_all(tmp_path / "out", like, roi)
    layout = BIDSLayout(out, validate=False, is_derivative=True, config=["bids", "derivatives", pybids_config()])
    found = layout.get(param="t2star", suffix="dwimap", extension=".nii.gz")
    assert [Path(file.path) for file in found] == [dwimap(out)]
    assert found[0].get_metadata()["Units"] == "s"
    assert set(layout.get_entities()) >= {"param"}


def test_map_takes_geometry_and_type(tmp_path, like, roi):
    path = write_map(dwimap(tmp_path), np.full(roi.sum(), 60.0), roi, like, key="t2star", metadata=METADATA)
    image, source = nib.load(path), nib.load(like)
    assert image.get_data_dtype() == np.float32
    assert np.array_equal(image.affine, source.affine)
    assert image.header["sform_code"] == source.header["sform_code"] == 1
    assert image.header["qform_code"] == source.header["qform_code"]
    assert image.header.get_xyzt_units() == source.header.get_xyzt_units()
    assert np.isnan(image.dataobj.slope) or image.dataobj.slope == 1


def test_references_are_named_or_left_out_and_never_empty(tmp_path, like, roi):
    out, n = tmp_path / "out", int(roi.sum())
    start_dataset(out, like.parents[2], {})
    references = {}
    for key in ("residual", "reference", "roi"):
        path = write_map(
            dwimap(out, key), np.ones(roi.shape if key == "reference" else n), roi, like, key=key, metadata=METADATA
        )
        references[key] = read_json(sidecar_path(path)).get("EstimationReference", "left out")
    assert references["residual"] and all("doi:" in one for one in references["residual"])
    assert references["reference"] == references["roi"] == "left out"


def test_milliseconds_become_seconds_and_come_back(tmp_path, like, roi):
    path = write_map(dwimap(tmp_path), np.full(roi.sum(), 60.0), roi, like, key="t2star", metadata=METADATA)
    stored = nib.load(path).get_fdata()
    assert np.allclose(stored[roi], 0.06, rtol=1e-6)
    assert not stored[~roi].any()
    assert np.allclose(read_map(path).data[roi], 60.0, rtol=1e-6)


def test_order_of_voxels_is_that_of_argwhere(tmp_path, like, roi):
    values = np.arange(roi.sum(), dtype=float)
    path = write_map(dwimap(tmp_path, "s0"), values, roi, like, key="s0", metadata=METADATA)
    data = read_map(path).data
    assert np.array_equal(data[tuple(np.argwhere(roi).T)], values)


def test_missing_values_are_zero_and_counted(tmp_path, like, roi):
    values = np.ones(roi.sum())
    values[[0, 3]] = np.nan, np.inf
    path = write_map(dwimap(tmp_path), values, roi, like, key="t2star", metadata=METADATA)
    assert read_json(sidecar_path(path))["VoxelsWithoutValue"] == 2
    assert np.count_nonzero(read_map(path).data) == roi.sum() - 2


def test_sidecar_is_complete(tmp_path, like, roi):
    path = write_map(dwimap(tmp_path), np.ones(roi.sum()), roi, like, key="t2star", metadata=METADATA)
    wanted = "Units Description EstimationAlgorithm EstimationReference Sources SkullStripped SoftwareVersion"
    assert set(read_json(sidecar_path(path))) >= {*wanted.split(), "OptionsHash", "Device", "Seed"}


@pytest.mark.parametrize("lost", ["Sources", "OptionsHash", "Seed"])
def test_incomplete_metadata_is_refused(tmp_path, like, roi, lost):
    metadata = {key: value for key, value in METADATA.items() if key != lost}
    with pytest.raises(ValueError, match=lost):
        write_map(dwimap(tmp_path), np.ones(roi.sum()), roi, like, key="t2star", metadata=metadata)
    assert not dwimap(tmp_path).exists()


def test_wrong_number_of_voxels_or_grid_is_refused(tmp_path, like, roi):
    with pytest.raises(ValueError, match="values for a region"):
        write_map(dwimap(tmp_path), np.ones(3), roi, like, key="t2star", metadata=METADATA)
    with pytest.raises(ValueError, match="shape"):
        write_map(dwimap(tmp_path), np.ones(8), np.ones((2, 2, 2), bool), like, key="t2star", metadata=METADATA)
    with pytest.raises(ValueError, match="unknown map"):
        write_map(dwimap(tmp_path), np.ones(roi.sum()), roi, like, key="nonsense", metadata=METADATA)


def test_same_content_gives_the_same_bytes(tmp_path, like, roi):
    first, second = write_all(tmp_path / "a" / "out", like, roi), write_all(tmp_path / "b" / "out", like, roi)
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) > 40
    for name in files:
        if name.name != "dataset_description.json":  # holds the relative way to the input, which differs here
            assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_gzip_holds_no_time_and_no_name(tmp_path, like, roi):
    path = write_map(dwimap(tmp_path), np.ones(roi.sum()), roi, like, key="t2star", metadata=METADATA)
    head = path.read_bytes()[:10]
    assert head[:2] == b"\x1f\x8b" and head[3] == 0 and head[4:8] == b"\0\0\0\0"
    assert gzip.decompress(path.read_bytes())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "x.txt", "old")

    def no_space(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.txt"]


def test_leftovers_of_a_killed_run_are_removed_and_what_is_being_written_stays(tmp_path):
    host = atomic.socket.gethostname()
    mine, foreign = (tmp_path / f".x.txt.{name}+7+ab{atomic.PARTIAL}" for name in (host, "other"))
    mine.write_text("half")
    foreign.write_text("of another host whose locks may not be seen from here")
    os.utime(foreign, (time.time() - atomic.HOUR / 2,) * 2)
    living, stream = atomic._open_temporary(tmp_path / "y.txt")
    with stream:
        write_atomically(tmp_path / "x.txt", "whole")
        assert not mine.exists() and living.exists() and foreign.exists()
    os.utime(foreign, (time.time() - 2 * atomic.HOUR,) * 2)
    write_atomically(tmp_path / "z.txt", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.txt", "z.txt"]


def test_jobs_of_one_name_and_number_in_containers_write_one_file_at_the_same_time(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.os, "getpid", lambda: 7)
    monkeypatch.setattr(atomic, "_sync_folder", lambda folder: None)
    contents = [str(n) * 20_000 for n in range(8)]

    def write(content):
        for _ in range(25):
            write_atomically(tmp_path / "dataset_description.json", content)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, contents))
    assert [path.name for path in tmp_path.iterdir()] == ["dataset_description.json"]
    assert (tmp_path / "dataset_description.json").read_text() in contents


def test_unchanged_files_are_not_touched(tmp_path):
    path = write_if_changed(tmp_path / "x", "same")
    before = path.stat().st_ino
    write_if_changed(path, "same")
    assert path.stat().st_ino == before
    write_if_changed(path, "other")
    assert path.read_text() == "other"


def test_names_are_those_of_the_contract(tmp_path):
    path = dwimap(tmp_path)
    assert path.relative_to(tmp_path).as_posix() == (
        "sub-01/ses-a/dwi/sub-01_ses-a_run-02_model-adct2star_param-t2star_desc-nnls_dwimap.nii.gz"
    )
    assert parse_name(path)["param"] == "t2star" and parse_name(path)["model"] == "adct2star"
    with pytest.raises(ValueError, match="no derivative is named"):
        output_path(tmp_path, ENTITIES, datatype="dwi", suffix="bold", extension=".nii.gz")
    with pytest.raises(ValueError, match="no derivative is named"):
        output_path(tmp_path, {"subject": "01", "echo": "1"}, datatype="dwi", suffix="mask", extension=".nii.gz")


def test_table_round_trip(tmp_path):
    columns = {"n": [1, 2], "x": [0.1, None], "ok": [True, False], "text": ["a b", "c\td"]}
    write_table(tmp_path / "t_selection.tsv", columns, {"Chosen": np.int64(3)})
    back, metadata = read_table(tmp_path / "t_selection.tsv")
    assert metadata["Chosen"] == 3
    assert back["n"].tolist() == [1, 2] and back["x"][0] == 0.1 and np.isnan(back["x"][1])
    assert back["ok"].dtype == bool and back["text"].tolist() == ["a b", "c d"]
    with pytest.raises(ValueError, match="different length"):
        write_table(tmp_path / "u.tsv", {"a": [1], "b": []})


def test_encodings_are_stored_in_seconds():
    columns = encodings_table(Encodings(bvalue=[0, 500], echo_time=[78, 114]), ["a.nii.gz"], [[0, 0], [0, 1]])
    assert np.allclose(columns["TE"], [0.078, 0.114]) and columns["TI"] == [None, None]
    assert columns["b"] == [0, 500] and columns["file"] == ["a.nii.gz"] * 2 and columns["volume"] == [0, 1]


@pytest.mark.parametrize("alpha", [0.01, 0.0])
def test_nnls_spectra_regenerate(tmp_path, roi, alpha):
    result = nnls_result(int(roi.sum()), alpha)
    path = write_nnls_spectra(tmp_path / "x_desc-nnls_spectra.h5", result, roi, GRID, METADATA)
    back = read_nnls_spectra(path)
    assert np.array_equal(back.spectra(), result.spectra)
    assert np.allclose(back.spectra([2, 0]), result.spectra[[2, 0]], rtol=1e-12)
    assert np.array_equal(back.voxels, np.argwhere(roi)) and back.shape == roi.shape
    assert np.allclose(back.grid.t2star, GRID.t2star, rtol=1e-12)
    mean = read_mean_spectrum(path)
    assert np.allclose(mean.spectra[0], result.spectra.mean(axis=0), rtol=1e-6)


def test_stored_gaps_are_never_below_the_certified_ones(tmp_path, roi):
    result = nnls_result(int(roi.sum()))
    result.gap = 10 ** np.random.default_rng(5).uniform(-20, -9, len(result.gap))
    path = write_nnls_spectra(tmp_path / "x_desc-nnls_spectra.h5", result, roi, GRID, METADATA)
    with h5py.File(path) as file:
        stored = file["gap"][()]
    assert stored.dtype == np.float32 and (stored >= result.gap).all()
    assert np.allclose(stored, result.gap, rtol=2e-7, atol=0)


def test_spectra_with_an_alpha_per_voxel_regenerate(tmp_path, roi):
    result = nnls_result(int(roi.sum()))
    result.alpha = np.geomspace(1e-4, 1, len(result.gap))
    spectra = np.maximum(result.dual @ result.basis, 0) / result.alpha[:, None]
    path = write_nnls_spectra(tmp_path / "x_desc-nnls_spectra.h5", result, roi, GRID, METADATA)
    back = read_nnls_spectra(path)
    assert np.allclose(back.spectra(), spectra, rtol=1e-12, atol=0)
    assert np.allclose(back.spectra([2, 0]), spectra[[2, 0]], rtol=1e-12, atol=0)
    assert np.allclose(back.spectra(3), spectra[3], rtol=1e-12, atol=0)
    assert np.allclose(read_mean_spectrum(path).spectra[0], spectra.mean(axis=0), rtol=1e-6)
    assert "alpha[:, None]" in back.metadata["Formula"] and "Alpha" not in back.metadata


def test_cluster_spectra_round_trip(tmp_path):
    spectra = np.random.default_rng(3).random((2, GRID.n_bins))
    peaks = [[{"diffusivity": 1.0, "t2star": 50.0, "fraction": 0.9}], []]
    path = tmp_path / "x_desc-inspect_spectra.h5"
    write_cluster_spectra(path, spectra, GRID, weights=[0.6, 0.4], peaks=peaks, metadata=METADATA)
    back = read_cluster_spectra(path)
    assert np.array_equal(back.spectra, spectra)
    assert back.clusters[0]["peaks"][0] == pytest.approx({"diffusivity": 1.0, "t2star": 50.0, "fraction": 0.9})
    assert read_json(sidecar_path(path))["Clusters"][0]["peaks"][0]["t2star"] == pytest.approx(0.05)
    table, _ = read_table(path.with_suffix(".tsv"))
    assert set(table) == {"cluster", "diffusivity", "t2star", "amplitude"}
    assert np.allclose(table["amplitude"], spectra.ravel(), rtol=1e-8)
    assert table["t2star"].max() == pytest.approx(0.5)
    with pytest.raises(ValueError, match="do not match"):
        write_cluster_spectra(path, spectra, GRID, weights=[1.0], peaks=peaks, metadata=METADATA)


def test_inputs_are_found_again_by_their_links(tmp_path):
    masks = tmp_path / "all masks"
    start_dataset(tmp_path / "out", tmp_path / "bids", {"masks": masks, "atlas": "https://example.org/atlas"})
    found = linked_datasets(tmp_path / "out")
    assert set(found) == {"raw", "masks"}
    assert bids_uri(masks / "sub-01/dwi/sub-01_mask.nii.gz", found) == "bids:masks:sub-01/dwi/sub-01_mask.nii.gz"
    assert linked_datasets(tmp_path / "nowhere") == {}


def test_sources_are_bids_uris(tmp_path, like):
    roots = {"raw": like.parents[2], "": tmp_path / "out"}
    assert bids_uri(like, roots) == "bids:raw:sub-01/dwi/sub-01_dwi.nii.gz"
    assert bids_uri(tmp_path / "out" / "sub-01" / "x.nii.gz", roots) == "bids::sub-01/x.nii.gz"
    assert bids_uri(tmp_path / "elsewhere.nii.gz", roots) == "elsewhere.nii.gz"


def test_numbers_json_does_not_have_become_null(tmp_path):
    write_json(tmp_path / "x.json", {"a": np.nan, "b": np.arange(2), "c": np.float32(0.5), "d": Path("x/y")})
    assert read_json(tmp_path / "x.json") == {"a": None, "b": [0, 1], "c": 0.5, "d": "x/y"}


def test_catalogue_is_complete():
    bibliography = load_bibliography()
    for key in load_catalogue()["maps"]:
        entry = map_entry(key)
        wanted = {"title", "symbol", "unit", "disk_unit", "factor", "description", "algorithm", "colormap", "range"}
        assert wanted <= set(entry), key
        assert set(entry["references"]).union(*entry.get("papers", {}).values()) <= set(bibliography), key
    for key, entry in bibliography.items():
        assert {"title", "author"} <= set(entry), key


def test_every_model_and_its_parameters_are_in_the_catalogue_with_their_units():
    units = {"um2/ms": ("µm²/ms", "mm^2/s", 1e-3), "ms": ("ms", "s", 1e-3), "1": ("", "arbitrary", 1)}
    units["signal"] = ("a.u.", "arbitrary", 1)
    for name, model in MODELS.items():
        entry = model_entry(name)
        assert entry["title"] and entry["equation"] and set(entry["references"]) <= set(load_bibliography()), name
        for parameter in [p for p in model.parameters if not p.name.startswith("direction_")]:
            found = map_entry(f"model-{parameter.name}")
            assert (found["unit"], found["disk_unit"], found["factor"]) == units[parameter.unit], parameter.name


def test_every_method_of_parameter_maps_is_in_the_catalogue():
    for name, entry in load_catalogue()["methods"].items():
        assert {"title", "algorithm", "std", "interval"} <= set(entry), name
        assert set(entry["references"]) <= set(load_bibliography()), name
        kinds = {"std": entry["std"], "low": entry["interval"], "high": entry["interval"]}
        given = {f"{name}{kind}" for kind, text in kinds.items() if not text.startswith("None")}
        assert {name, *given} <= set(load_catalogue()["descriptions"]), name


def test_links_of_earlier_runs_stay(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        start_dataset(tmp_path / "out", tmp_path / "raw", {name: tmp_path / name})
    links = json.loads((tmp_path / "out" / "dataset_description.json").read_text())["DatasetLinks"]
    assert set(links) == {"raw", "first", "second"}
