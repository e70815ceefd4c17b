"""Point spreads and coil sensitivities beside a fingerprinting series, and what is refused with the remedy."""

import json

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.input.fingerprints import FingerprintSeries, find_fingerprints
from mrspec_prep.bids.input.samplings import load_sampling
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.networks import Sampling
from mrspec_prep.options import SelectOptions

SHAPE, N, N_INTERLEAVES = (4, 6, 2), 6, 3
RNG = np.random.default_rng(0)
FRAMES = RNG.normal(size=(*SHAPE, N)) + 1j * RNG.normal(size=(*SHAPE, N))
SPREAD = RNG.normal(size=(8, 12, 1, N_INTERLEAVES)) + 1j * RNG.normal(size=(8, 12, 1, N_INTERLEAVES))
COILS = RNG.normal(size=(*SHAPE, 2)) + 1j * RNG.normal(size=(*SHAPE, 2))
STEM = "sub-01/anat/sub-01_"
COLUMNS = {
    "flip_angle": [10, 20, 30, 40, 30, 20],
    "repetition_time": [0.012] * N,
    "echo_time": [0.003] * N,
    "interleaf": [0, 1, 2, 0, 1, 2],
}


def write_schedule(root, **changed):
    columns = {name: values for name, values in (COLUMNS | changed).items() if values is not None}
    rows = zip(*columns.values(), strict=True)
    (root / f"{STEM}schedule.tsv").write_text("\n".join("\t".join(map(str, row)) for row in (columns, *rows)) + "\n")


def write_image(root, name, data):
    nib.save(nib.Nifti1Image(np.asarray(data), np.eye(4)), root / f"{STEM}{name}.nii.gz")


@pytest.fixture
def root(tmp_path):
    """Dataset with complex frames, their schedule with interleaves, and point spreads in two parts."""
    (tmp_path / "sub-01/anat").mkdir(parents=True)
    (tmp_path / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))
    write_image(tmp_path, "MRF", FRAMES.astype(np.complex64))
    write_schedule(tmp_path)
    write_image(tmp_path, "part-real_MRFspread", SPREAD.real)
    write_image(tmp_path, "part-imag_MRFspread", SPREAD.imag)
    return tmp_path


def find(root, **more):
    (series,) = find_fingerprints(open_layout(root), "01", SelectOptions(), **more)
    return series


def test_point_spreads_in_two_parts_are_read_and_survive_json(root):
    series = FingerprintSeries.from_json(json.loads(json.dumps(find(root).to_json())))
    found = load_sampling(series.sampling)
    assert np.allclose(found["spread"], SPREAD[:, :, 0].transpose(2, 0, 1), atol=1e-5)
    assert found["interleaf"].tolist() == COLUMNS["interleaf"]
    assert found["coils"] is None
    assert "MRFspread" in series.joined
    Sampling(**found).check((*SHAPE, N))


def test_complex_files_and_coils_are_read(root):
    for path in root.glob(f"{STEM}part-*"):
        path.unlink()
    write_image(root, "MRFspread", SPREAD.astype(np.complex64))
    write_image(root, "MRFcoils", COILS.astype(np.complex64))
    sampling = find(root).sampling
    found = load_sampling(sampling)
    assert np.allclose(found["coils"], COILS.transpose(3, 0, 1, 2), atol=1e-5)
    assert len(sampling.files) == 2
    Sampling(**found).check((*SHAPE, N))


def test_without_point_spreads_or_when_told_so_there_is_none(root):
    assert find(root, sampled=False).sampling is None
    for path in root.glob(f"{STEM}part-*"):
        path.unlink()
    assert find(root).sampling is None


def no_interleaf(root):
    write_schedule(root, interleaf=None)


def broken_interleaf(root):
    write_schedule(root, interleaf=[0, 1, 2.5, 0, 1, 2])


def unknown_interleaf(root):
    write_schedule(root, interleaf=[1, 2, 3, 1, 2, 3])


def single_matrix(root):
    for part in ("real", "imag"):
        write_image(root, f"part-{part}_MRFspread", SPREAD.real[:4, :6])


def one_part(root):
    (root / f"{STEM}part-imag_MRFspread.nii.gz").unlink()


def unlike_parts(root):
    write_image(root, "part-imag_MRFspread", SPREAD.imag[..., :2])


def real_spread(root):
    write_image(root, "MRFspread", SPREAD.real)


def other_coils(root):
    write_image(root, "MRFcoils", COILS[:3].astype(np.complex64))


def coils_alone(root):
    for path in root.glob(f"{STEM}part-*"):
        path.unlink()
    write_image(root, "MRFcoils", COILS.astype(np.complex64))


def magnitudes(root):
    write_image(root, "MRF", np.abs(FRAMES))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_interleaf, "no column interleaf"),
        (broken_interleaf, "interleaf of frame 2 is not a whole number.*2.5"),
        (unknown_interleaf, "interleaf that has no point spread.*3, of 0 to 2"),
        (single_matrix, "twice the matrix.*4 x 6 x 1 against 8 x 12 x 1"),
        (one_part, "one part of the point spreads is missing"),
        (unlike_parts, "differ in shape"),
        (real_spread, "must be complex"),
        (other_coils, "another grid.*3 x 6 x 2 against 4 x 6 x 2"),
        (coils_alone, "nothing without point spreads"),
        (magnitudes, "need complex frames"),
    ],
)
def test_what_does_not_fit_together_is_refused(root, spoil, message):
    spoil(root)
    with pytest.raises(InputError, match=message) as caught:
        find(root)
    assert "Remedy" in str(caught.value) or caught.value.remedy
