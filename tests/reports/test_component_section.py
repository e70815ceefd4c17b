"""Continuous InSpect in the report: there when it ran, silent when it did not, frank about uniqueness."""

import tomllib

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.bids.output.derivatives import output_path, read_map, write_map
from mrspec_prep.bids.output.spectra_files import read_cluster_spectra, write_component_spectra
from mrspec_prep.physics import Encodings, default_grid
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.component_section import component_blocks
from mrspec_prep.reports.methods import compose, methods_facts
from mrspec_prep.reports.subject import build_subject_report
from mrspec_prep.reports.verdict import judge
from mrspec_prep.spectra import Peak

TITLE = "Components and their weights (continuous InSpect)"
SAID = "A sentence about uniqueness."
WORDS = tomllib.loads(data_text("report.toml"))


def add_components(out, encodings, unique):
    """Weights and spectra of two components beside a participant's other results."""
    roi_file = out / "sub-01/dwi/sub-01_desc-roi_mask.nii.gz"
    roi = nib.load(roi_file).get_fdata() > 0
    first = np.random.default_rng(0).uniform(0, 1, roi.sum())
    about = {"Kernel": "adc-t2star", "Alpha": 0.01, "Scale": "profiled", "Starts": 6, "Unique": unique}
    about |= {"Statements": [SAID], "Sources": [], "OptionsHash": "0", "Seed": 0}

    def path(suffix, extension, **more):
        return output_path(out, {"subject": "01"}, datatype="dwi", suffix=suffix, extension=extension, **more)

    for j, weights in enumerate((first, 1 - first)):
        name = f"component{j + 1}"
        target = path("dwimap", ".nii.gz", model="inspectmap", param=name)
        write_map(target, weights, roi, roi_file, key="component", metadata=about | {"Component": name})
    target = path("dwimap", ".nii.gz", model="inspectmap", param="residual")
    write_map(target, 1 + 0.1 * first, roi, roi_file, key="mixture", metadata=about)
    grid = default_grid(("diffusivity", "t2star"), encodings, points=(12, 12))
    spectra = np.zeros((2, 144))
    spectra[0, 30] = spectra[1, 100] = 2.0
    target = path("spectra", ".h5", model="adc-t2star", desc="inspectmap")
    write_component_spectra(
        target, spectra, grid, alternatives=np.stack([spectra, 0.5 * spectra]), weights=[0.5, 0.5],
        weight_spread=[0.01, 0.2], signal_spread=[0.0, 0.1],
        peaks=[[Peak({"diffusivity": 2.0, "t2star": 60.0}, 1.0)], []],
        ranges=[{"diffusivity": (1.5, 2.5), "t2star": (50.0, 70.0)}, {}], metadata=about,
    )  # fmt: skip
    return target


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, write, placenta_encodings):
    base = tmp_path_factory.mktemp("mixed")
    out = write(base / "out", base / "raw", shape=(20, 22, 2), steps=("nnls",))
    return out, add_components(out, placenta_encodings, unique=False)


@pytest.fixture(scope="module")
def placenta_encodings():
    return Encodings(bvalue=np.tile([0, 50, 800], 3), echo_time=np.repeat([78, 114, 222], 3))


def test_section_holds_spectra_weights_and_what_is_not_known(mixed):
    out, _ = mixed
    page = build_subject_report(out, "01").read_text()
    assert f"<h2>{TITLE}</h2>" in page and SAID in page
    for figure in ("components", "component_weights", "mixture"):
        assert (out / f"sub-01/figures/sub-01_dwi_{figure}.svg").is_file()
    assert "50 to 70 ms" in page and "0.200" in page


def test_verdict_warns_only_where_components_are_open(mixed):
    (series,) = collect_series(mixed[0], "01")
    for unique in (True, False):
        series.component_spectra.metadata["Unique"] = unique
        remarks = [remark.text for remark in judge(series, WORDS).remarks]
        assert (WORDS["verdict"]["components_open"] in remarks) is not unique


def test_methods_text_names_what_ran(mixed):
    out, _ = mixed
    (series,) = collect_series(out, "01")
    text = compose(methods_facts(series, WORDS), WORDS)
    assert "mixture of 2 component spectra" in text and "@slator2021inspect" in text


def test_spectra_and_ranges_come_back_in_the_units_of_the_package(mixed):
    _, target = mixed
    found = read_cluster_spectra(target)
    assert found.clusters[0]["main_peak_range"]["t2star"] == pytest.approx([50, 70])
    assert found.clusters[0]["peaks"][0]["diffusivity"] == pytest.approx(2)
    table = np.loadtxt(target.with_suffix(".tsv"), skiprows=1)
    assert table.shape == (288, 6)
    assert (table[:, 4] <= table[:, 3]).all() and (table[:, 3] <= table[:, 5]).all()


def test_weights_come_back_and_sum_to_one(mixed):
    out, _ = mixed
    maps = [read_map(out / f"sub-01/dwi/sub-01_model-inspectmap_param-component{j}_dwimap.nii.gz") for j in (1, 2)]
    inside = nib.load(out / "sub-01/dwi/sub-01_desc-roi_mask.nii.gz").get_fdata() > 0
    np.testing.assert_allclose(sum(found.data for found in maps)[inside], 1, atol=1e-6)
    assert "component1" in maps[0].metadata["Description"]


def test_without_it_there_is_no_section_and_it_is_missed_only_where_asked_for(tmp_path, write):
    out = write(tmp_path / "out", tmp_path / "raw", shape=(20, 22, 2), steps=("nnls",))
    (series,) = collect_series(out, "01")
    assert not list(component_blocks(series, WORDS, None)) and "inspect_map" not in series.missing_steps()
    series.acquisition["Settings"] = {"inspect_map": {"n_components": 2}}
    assert "inspect_map" in series.missing_steps()


def test_components_that_do_not_match_are_refused(tmp_path, placenta_encodings):
    grid = default_grid(("diffusivity", "t2star"), placenta_encodings, points=(4, 4))
    with pytest.raises(ValueError, match="do not match"):
        write_component_spectra(
            tmp_path / "x.h5", np.ones((2, 16)), grid, alternatives=np.ones((1, 2, 16)), weights=[1.0],
            weight_spread=[0, 0], signal_spread=[0, 0], peaks=[[], []], ranges=[{}, {}], metadata={},
        )  # fmt: skip
