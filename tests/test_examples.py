import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrspec_prep.physics import KERNELS, Encodings, simulate_signals
from mrspec_prep.physics.fingerprinting import Schedule, simulate_fisp

EXAMPLES = Path(__file__).parents[1] / "bids_examples"
SCANS = [("zebra_t2star-adc", "01"), ("zebra_t2star-adc", "02"), ("echotime-array", "01"), ("t1-t2_mese", "01")]
SCANS += [("qsiprep_t2-adc", "01")]
DATASETS = sorted({name for name, _ in SCANS} | {"mrf"})
TO_INTERNAL = {"diffusivity": 1e3, "t2": 1e3, "t2star": 1e3, "t1": 1e3}


def load(path):
    return np.asarray(nib.load(path).dataobj)


def read_table(path):
    header, *rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: list(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)}


def read_encodings(name):
    """Exact encodings of a dataset, in the units of the package."""
    table = read_table(EXAMPLES / "truth" / name / "encodings.tsv")
    columns = {"bvalue": "b", "echo_time": "TE", "inversion_time": "TI", "repetition_time": "TR"}
    values = {
        key: np.array(table[column], float) * (1 if column == "b" else 1e3)
        for key, column in columns.items()
        if table[column][0] != "n/a"
    }
    return Encodings(**values), table


def read_images(name, participant):
    """(x, y, z, n_encodings) stored images in the order of the truth's table."""
    _, table = read_encodings(name)
    folder = EXAMPLES / name / f"sub-{participant}"
    volumes = []
    for file, volume in zip(table["file"], table["volume"], strict=True):
        image = load(folder / file.replace("<label>", participant))
        volumes.append(image[..., int(volume)] if image.ndim == 4 else image)
    return np.stack(volumes, axis=-1).astype(float)


def read_truth(name, participant):
    folder = EXAMPLES / "truth" / name
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return truth, load(folder / f"sub-{participant}_tissues.nii.gz"), load(folder / f"sub-{participant}_S0.nii.gz")


def read_mask(name, participant):
    (path,) = (EXAMPLES / name / "derivatives/masks").rglob(f"sub-{participant}_desc-organ_mask.nii.gz")
    return load(path) > 0


def clean_signals(name, participant):
    """Noise-free magnitude from the truth alone: tissues, their compartments, S0, encodings."""
    truth, tissues, s0 = read_truth(name, participant)
    encodings, _ = read_encodings(name)
    compartments = list(truth["Compartments"])
    table = np.array([[content.get(c, 0.0) for c in compartments] for content in truth["TissueCompartments"].values()])
    content = tissues.reshape(-1, tissues.shape[-1]) @ table
    full = np.divide(s0.ravel(), content.sum(axis=1), out=np.zeros(s0.size), where=content.sum(axis=1) > 0.01)
    values = {
        axis: np.tile([truth["Compartments"][c][axis] * TO_INTERNAL[axis] for c in compartments], (len(content), 1))
        for axis in KERNELS[truth["Kernel"]]
    }
    signals = simulate_signals(truth["Kernel"], encodings, values, content, full)
    return np.abs(signals).reshape(*s0.shape, -1)


@pytest.fixture(scope="module")
def make_examples():
    spec = importlib.util.spec_from_file_location("make_examples", EXAMPLES / "make_examples.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_examples"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["make_examples"]


def contents(root):
    """Bytes of every data file below a folder; images unpacked, since zlib's version may change the packing."""
    folders = [root / name for name in DATASETS] + [root / "truth"]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(root)): gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in files
    }


@pytest.mark.long
def test_script_writes_the_same_bytes_again(make_examples, tmp_path):
    make_examples.main(tmp_path / "first")
    make_examples.main(tmp_path / "second")
    first, second = tmp_path / "first", tmp_path / "second"
    for path in first.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes(), path
    ours, again = contents(EXAMPLES), contents(first)
    assert ours.keys() == again.keys()
    assert [name for name in ours if ours[name] != again[name]] == []


@pytest.mark.parametrize("name", DATASETS)
def test_bids_validator_finds_no_error(name):
    validator = Path(sys.executable).parent / "bids-validator-deno"
    done = subprocess.run([validator, EXAMPLES / name, "--format", "json"], capture_output=True, text=True)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert done.returncode == 0


def test_folder_is_small():
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file()) < 3e6


@pytest.mark.parametrize(("name", "participant"), SCANS)
def test_table_of_the_truth_is_what_the_sidecars_say(name, participant):
    _, table = read_encodings(name)
    for k, (file, volume) in enumerate(zip(table["file"], table["volume"], strict=True)):
        path = EXAMPLES / name / f"sub-{participant}" / file.replace("<label>", participant)
        sidecar = json.loads(Path(str(path).replace(".nii.gz", ".json")).read_text(encoding="utf-8"))
        echo_time = sidecar["EchoTime"]
        assert float(table["TE"][k]) == (echo_time[int(volume)] if isinstance(echo_time, list) else echo_time)
        if "InversionTime" in sidecar:
            assert float(table["TI"][k]) == sidecar["InversionTime"]
        if "dwi" in file:
            bvalues = np.loadtxt(str(path).replace(".nii.gz", ".bval"))
            directions = np.loadtxt(str(path).replace(".nii.gz", ".bvec")).T
            assert float(table["b"][k]) == bvalues[int(volume)]
            direction = [float(table[key][k]) for key in ("gx", "gy", "gz")]
            assert np.array_equal(direction, directions[int(volume)])
            assert np.isclose(np.linalg.norm(direction), float(bvalues[int(volume)] > 0), atol=1e-5)


@pytest.mark.parametrize(("name", "participant"), SCANS)
def test_images_are_the_truth_plus_noise_of_the_size_said(name, participant):
    truth, _, _ = read_truth(name, participant)
    noise_std = truth["NoiseStandardDeviation"][f"sub-{participant}"]
    clean, images = clean_signals(name, participant), read_images(name, participant)
    strong = clean > 5 * noise_std  # there Rician noise is all but Gaussian
    residuals = (images[strong] - clean[strong]) / noise_std
    assert strong.sum() > 1000
    assert abs(residuals.std() - 1) < 0.03
    assert abs(residuals.mean() - 0.5 * np.mean(noise_std / clean[strong])) < 0.05  # Rician bias, first order
    air = images[clean.max(axis=-1) == 0]
    assert abs(air.mean() / (noise_std * np.sqrt(np.pi / 2)) - 1) < 0.03  # Rayleigh


@pytest.mark.parametrize(("name", "participant"), SCANS)
def test_signal_to_noise_of_the_organ_is_25(name, participant):
    truth, _, _ = read_truth(name, participant)
    encodings, _ = read_encodings(name)
    reference = read_images(name, participant)[..., encodings.reference()].mean(axis=-1)
    snr = reference[read_mask(name, participant)].mean() / truth["NoiseStandardDeviation"][f"sub-{participant}"]
    assert abs(snr - 25) < 0.5


@pytest.mark.parametrize(("name", "participant"), SCANS)
def test_organ_has_structure_borders_and_air(name, participant):
    truth, tissues, s0 = read_truth(name, participant)
    mask = read_mask(name, participant)
    filled = tissues.sum(axis=-1)
    assert filled.min() >= 0 and filled.max() <= 1 + 1e-3
    assert np.all(s0[filled == 0] == 0)
    assert 0.2 < mask.mean() < 0.9
    corner = filled[:2, :2]
    assert np.all(corner == 0)
    inside = tissues[mask]
    largest = inside.max(axis=1)
    assert 0.05 < np.mean(largest < 0.95) < 0.95  # some partial volume, some pure tissue
    wanted = [k for k, tissue in enumerate(truth["Tissues"]) if tissue in truth["RegionOfInterest"]]
    shares = np.array([np.mean(inside.argmax(axis=1) == k) for k in wanted])
    assert np.sum(shares > 0.01) >= 4
    # a neighbour is more alike than a voxel elsewhere: an organ, not noise
    along = mask[1:] & mask[:-1]
    apart = np.linalg.norm((tissues[1:] - tissues[:-1])[along], axis=1).mean()
    shuffled = np.random.default_rng(0).permutation(inside)
    assert apart < 0.75 * np.linalg.norm(inside - shuffled, axis=1).mean()


def test_frames_of_fingerprinting_are_the_truth_plus_noise_of_the_size_said():
    truth, tissues, m0 = read_truth("mrf", "01")
    table = read_table(EXAMPLES / "mrf/sub-01/anat/sub-01_schedule.tsv")
    inversions = [np.nan if word == "n/a" else float(word) * 1e3 for word in table["inversion_time"]]
    times = [np.array(table[name], float) * 1e3 for name in ("repetition_time", "echo_time")]
    schedule = Schedule(np.array(table["flip_angle"], float), *times, inversions)
    compartments = truth["Compartments"]
    t1, t2 = ([content[axis] * 1e3 for content in compartments.values()] for axis in ("t1", "t2"))
    weights = np.array([[held.get(c, 0.0) for c in compartments] for held in truth["TissueCompartments"].values()])
    content = tissues @ weights
    full = np.divide(m0, content.sum(axis=-1), out=np.zeros_like(m0), where=content.sum(axis=-1) > 0.01)
    clean = full[..., None] * (content @ simulate_fisp(schedule, t1, t2))
    real, imaginary = (load(EXAMPLES / f"mrf/sub-01/anat/sub-01_part-{part}_MRF.nii.gz") for part in ("real", "imag"))
    frames = real + 1j * imaginary.astype(float)
    turn = np.exp(-1j * np.angle((frames * clean).sum(axis=-1)))[..., None]
    left, noise_std = (frames * turn - clean)[content.sum(axis=-1) > 0.5], truth["NoiseStandardDeviation"]["sub-01"]
    assert abs(left.imag.std() / noise_std - 1) < 0.03 and abs(left.real.std() / noise_std - 1) < 0.03
    inside = read_mask("mrf", "01")
    strength = np.sqrt((np.abs(clean[inside]) ** 2).mean(axis=-1)).mean()
    assert abs(strength / noise_std - 6) < 0.1


def test_the_two_participants_differ():
    first, second = (read_truth("zebra_t2star-adc", p)[1] for p in ("01", "02"))
    assert first.shape == second.shape
    assert np.abs(first - second).mean() > 0.02
    poor = read_truth("zebra_t2star-adc", "02")[0]["Tissues"].index("poor")
    assert first[..., poor].max() == 0 and second[..., poor].max() > 0.9


def test_later_echoes_are_gradient_echoes_so_the_decay_is_t2star():
    for path in (EXAMPLES / "zebra_t2star-adc").glob("sub-*/dwi/*_dwi.json"):
        assert "GR" in json.loads(path.read_text(encoding="utf-8"))["ScanningSequence"]
    sidecar = json.loads((EXAMPLES / "echotime-array/sub-01/dwi/sub-01_dwi.json").read_text(encoding="utf-8"))
    assert "GR" not in sidecar["ScanningSequence"]


@pytest.mark.parametrize(("name", "participant"), SCANS)
def test_maps_of_the_truth_lie_between_the_compartments(name, participant):
    truth, _, s0 = read_truth(name, participant)
    for axis in KERNELS[truth["Kernel"]]:
        values = load(EXAMPLES / "truth" / name / f"sub-{participant}_{axis}.nii.gz")[s0 > 0]
        ends = [content[axis] for content in truth["Compartments"].values()]
        assert min(ends) * 0.999 <= values.min() and values.max() <= max(ends) * 1.001
        assert values.std() / values.mean() > 0.1
