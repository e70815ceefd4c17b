"""Parameter maps on a page: whole with spectra and without, files in their places, gaps that are no errors."""

import re
import tomllib
from html.parser import HTMLParser

import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.bids.output.derivatives import MapFile
from mrspec_prep.physics.models import MODELS
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.maps.collect import _to_world
from mrspec_prep.reports.subject import build_subject_report
from tests.reports.maps_study import ERROR, OFF, SHAPE, add_maps, wish

WORDS = tomllib.loads(data_text("report.toml"))


class Text(HTMLParser):
    """Visible text and the tags that were opened."""

    def __init__(self):
        super().__init__()
        self.text, self.tags = "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_a_report_without_spectra_is_whole(mapped):
    out = mapped(methods=tuple(ERROR))
    page = re.sub(r"(?s)<script.*?</script>|<style>.*?</style>", "", build_subject_report(out, "01").read_text())
    assert "No step failed and nothing is missing." in page and "analysis is incomplete" not in page
    assert "<h2>Spectra</h2>" not in page and "Tissue clusters" not in page
    assert WORDS["sections"]["identifiability"] not in page and "spectrum" not in page
    assert "of the 95\u202f% interval in single voxels" in page and "<td>K</td>" in page
    for section in ("modelmaps", "modeltrust", "modelprior"):
        assert f"<h2>{WORDS['sections'][section]}</h2>" in page
    figures = {path.stem.removeprefix("sub-01_dwi_msdki-") for path in (out / "sub-01/figures").glob("*msdki*")}
    assert figures == {"diffusivity", "kurtosis", "s0", "histograms", "residual", "risk", "components", "latent",
                       "learning"}  # fmt: skip


def test_only_what_ran_and_what_is_known_is_spoken_of(mapped):
    whole = build_subject_report(mapped(methods=tuple(ERROR)), "01").read_text()
    some = build_subject_report(mapped(methods=("lsq", "vae"), with_std=False), "01").read_text()
    assert "The learned prior draws its samples anew" in whole and "median ± std" in whole
    assert "Learning curves" in some and "The learned prior draws" not in some and "median ± std" not in some


def test_maps_beside_spectra_are_one_report(participant, head):
    out = participant(shape=(14, 16, 2))
    add_maps(out, head((14, 16, 2)), methods=("lsq",))
    page = build_subject_report(out, "01").read_text()
    assert "<h2>Spectra</h2>" in page and f"<h2>{WORDS['sections']['modelmaps']}</h2>" in page
    assert "T2*-D spectrum, mean signal diffusion kurtosis maps" in page
    order = [page.index(f"<h2>{WORDS['sections'][name]}</h2>") for name in ("spectra", "modelmaps", "residuals")]
    assert order == sorted(order)


def test_a_report_without_maps_says_nothing_of_them(participant):
    page = build_subject_report(participant(shape=(14, 16, 1), steps=()), "01").read_text()
    assert not any(WORDS["sections"][name] in page for name in ("modelmaps", "modeltrust", "modelprior"))


def test_one_method_in_one_slice_of_relaxometry(mapped):
    out = mapped(model="t2", methods=("lsq",))
    page = build_subject_report(out, "01").read_text()
    assert "T2 decay maps" in page and "Only least squares ran" in page
    assert (out / "sub-01/figures/sub-01_anat_t2-t2.svg").is_file()
    assert "Signal at no weighting and T2" not in page and "T2 of the T2 decay model" in page


def test_directions_are_drawn_where_the_model_has_them(mapped):
    out = mapped(model="ball-stick")
    page = build_subject_report(out, "01").read_text()
    assert (out / "sub-01/figures/sub-01_dwi_ballstick-direction.svg").is_file()
    assert "One stick per voxel" in page and "where the stick fraction is below 0.1" in page


def test_words_of_files_are_escaped(mapped, tmp_path):
    hostile = "<script>alert(1)</script>"
    (series,) = collect_series(mapped(), "01")
    plain, parser = Text(), Text()
    plain.feed(build_subject_report(mapped(), "01").read_text())
    parser.feed(build_subject_report(mapped(Description=hostile), "01").read_text())
    assert series.methods and hostile in parser.text and parser.tags == plain.tags


@pytest.mark.parametrize(
    "lost",
    [("*std_*", "*risk*", "*history*", "*kurtosis*"), ("*seg-*", "*desc-lsq_dwimap*"), ("*.json",)],
)
def test_missing_files_are_gaps(tmp_path, write, head, lost):
    out = write(tmp_path / "out", tmp_path / "raw", shape=(14, 16, 2), steps=())
    add_maps(out, head((14, 16, 2)), methods=("lsq", "gmmvae"))
    wish(out, **OFF, maps={"model": "msdki", "methods": ["lsq"]})
    found = {path for pattern in lost for path in (out / "sub-01/dwi").glob(pattern)}
    gone = [path for path in found if "axes" not in path.name and "desc-roi" not in path.name]
    assert len(gone) >= len(lost)
    for path in gone:
        path.unlink()
    page = build_subject_report(out, "01").read_text()
    assert WORDS["sections"]["modelmaps"] in page and "cannot be read" not in page


def test_a_broken_map_is_said_and_stops_nothing(tmp_path, write, head):
    out = write(tmp_path / "out", tmp_path / "raw", shape=(14, 16, 2), steps=())
    add_maps(out, head((14, 16, 2)), methods=("lsq",))
    name = "sub-01_model-msdki_param-kurtosis_desc-lsq_dwimap.nii.gz"
    (out / "sub-01/dwi" / name).write_bytes(b"half")
    page = build_subject_report(out, "01").read_text()
    assert f"{name} cannot be read" in page and "msdki-diffusivity.svg" in page


def test_a_method_that_was_asked_for_and_is_not_there_is_missed(mapped):
    (series,) = collect_series(mapped(), "01")
    assert series.missing_steps() == []
    series.acquisition["Settings"]["maps"]["methods"].append("gmm-vae")
    assert series.missing_steps() == ["maps"]


@pytest.mark.parametrize("model", ["msdki", "ball-stick", "t2"])
def test_every_file_finds_its_place(mapped, model):
    (series,) = collect_series(mapped(model=model, methods=("lsq", "learnedprior", "gmmvae")), "01")
    assert list(series.methods) == [(model, "lsq"), (model, "learnedprior"), (model, "gmmvae")]
    names = {p.name for p in (*MODELS[model].tissue, MODELS[model].parameters[0])}
    for method in series.methods.values():
        assert (
            set(method.maps) == set(method.std) == set(method.low) == set(method.high) == names
            and method.order[-1] == "s0"
        )
    network = series.methods[model, "gmmvae"]
    assert {"risk", "latent", "residual", "dseg", "probseg"} <= set(network.extras)
    assert network.extras["latent"].data.shape == (*SHAPE, 3) and len(network.history["loss"]) == 200
    assert ("direction" in network.extras) is (model == "ball-stick")
    assert not series.parameters and not series.fractions


def test_directions_turn_from_the_image_to_the_world():
    for flip in (1, -1):
        affine = np.diag([flip * 2.0, 2.0, 3.0, 1.0])
        file = MapFile(np.array([[[[0.6, 0.8, 0.0]]]]), affine, {}, None)
        np.testing.assert_allclose(_to_world(file).data[0, 0, 0], [-0.6, 0.8, 0.0])
    swapped = np.array([[0, 2.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
    file = MapFile(np.array([[[[1.0, 0, 0]]]]), swapped, {}, None)
    assert abs(_to_world(file).data[0, 0, 0, 1]) == pytest.approx(1)
