import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from mrspec_prep.networks import METHODS
from mrspec_prep.networks.fingerprinting.fingerprint import METHODS as FINGERPRINTING
from mrspec_prep.networks.scan_cnn.fit import SCAN_METHODS
from mrspec_prep.options import Options, OptionsError, load_options
from mrspec_prep.physics import KERNELS
from mrspec_prep.physics.models import MODELS
from mrspec_prep.workflow_files import WorkflowNotFoundError, find_workflow, list_workflows
from mrspec_prep.workflows.planning.participant import workflow_for

ROOT = Path(__file__).parents[1]
FILES = list_workflows()
GROUP = find_workflow("group_inspect")
MAPPING = [path for path in FILES if path.stem.endswith("_maps")]  # parameter maps of signal models
CLASSIFYING = [path for path in FILES if path.stem.endswith("_classify")]  # numbers of compartments
SCANNING = [path for path in FILES if path.stem.endswith("_scan-cnn")]  # T2 and T2* from whole images
MRF = find_workflow("mrf_subspace")  # fingerprinting
PARTICIPANT = [path for path in FILES if path not in (GROUP, MRF, *MAPPING, *CLASSIFYING, *SCANNING)]
MAPS = "inspect-map"  # continuous maps beside the clusters: never chosen by itself
NEEDED = {"dwi": ("bvalue", "direction", "echo_time"), "MESE": ("echo_time",), "MEGRE": ("echo_time",)}
NEEDED["IRT1"] = ("inversion_time",)
NAMED = {"ball-stick": "ballstick", "ir-t1": "t1"}  # models whose file has another name
DEFAULTS = [path for path in PARTICIPANT if path.stem.endswith("_inspect")]


def test_every_kernel_but_kurtosis_has_one_workflow():
    kernels = [load_options(path).kernel.name for path in DEFAULTS]
    assert sorted(kernels) == sorted(set(KERNELS) - {"adc-kurtosis"})


@pytest.mark.parametrize("path", PARTICIPANT, ids=lambda p: p.stem)
def test_file_is_valid_and_its_name_says_its_kernel(path):
    options = load_options(path)
    stem, method = path.stem.split("_")
    assert method in ("inspect", MAPS)
    assert sorted(stem.split("-")) == sorted(options.kernel.name.split("-"))
    assert len(options.kernel.points) == len(KERNELS[options.kernel.name])
    assert options.noise.method == "auto"
    assert options.description


@pytest.mark.parametrize("path", PARTICIPANT, ids=lambda p: p.stem)
def test_files_differ_in_selection_and_kernel_only(path):
    values, first = (tomllib.loads(p.read_text(encoding="utf-8").replace("#: ", "")) for p in (path, PARTICIPANT[0]))
    assert values.keys() == first.keys()
    assert set(KERNELS[values["kernel"]["name"]]) <= set(values["kernel"])
    if path not in DEFAULTS:
        assert values["inspect_map"].pop("n_components") > 0 == first["inspect_map"].pop("n_components")
    for section in set(values) - {"description", "select", "kernel", "nnls"}:
        assert values[section] == first[section], section
    assert {**values["nnls"], "regions": {}} == {**first["nnls"], "regions": {}}


def test_settings_a_file_gives_are_the_defaults_of_the_program():
    own = {"description", "select", "kernel"}  # what makes it this workflow
    for path in DEFAULTS:
        options, defaults = load_options(path).to_dict(), Options().to_dict()
        assert {k: v for k, v in options.items() if k not in own} == {k: v for k, v in defaults.items() if k not in own}


def test_the_group_file_gives_every_setting_of_the_group_and_its_default():
    values = tomllib.loads(GROUP.read_text(encoding="utf-8"))
    assert values["group"] == Options().to_dict()["group"]
    assert load_options(GROUP) == Options(description=values["description"])


@pytest.mark.parametrize("path", PARTICIPANT, ids=lambda p: p.stem)
def test_settings_shown_in_comments_are_valid(path):
    shown = path.read_text(encoding="utf-8").replace("#: ", "")
    options = Options.from_dict(tomllib.loads(shown))
    axes = set(KERNELS[options.kernel.name])
    assert set(options.kernel.bounds) == axes
    assert set(options.nnls.regions["tissue"]) == axes


@pytest.mark.parametrize("path", MAPPING, ids=lambda p: p.stem)
def test_a_file_of_maps_names_its_model_and_wants_no_spectra(path):
    options = load_options(path)
    model, stem = options.maps.model, path.stem.removesuffix("_maps")
    assert sorted(stem.split("-")) == sorted(NAMED.get(model, model).split("-"))
    assert set(MODELS[model].needs) <= set(NEEDED[options.select.suffix])
    assert (options.select.split == "echo-time") == (options.select.suffix == "dwi" and "t2" not in stem)
    assert not options.wants_spectra
    assert options.kernel.name == "auto"
    assert options.description


@pytest.mark.parametrize("path", MAPPING, ids=lambda p: p.stem)
def test_a_file_of_maps_gives_every_key_and_its_default(path):
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    assert {**values["maps"], "model": ""} == Options().to_dict()["maps"]
    assert values["noise"] == {key: Options().to_dict()["noise"][key] for key in values["noise"]}


@pytest.mark.parametrize("path", MAPPING, ids=lambda p: p.stem)
def test_a_file_of_maps_lists_every_model_and_method(path):
    text = path.read_text(encoding="utf-8").replace("\n# ", " ")
    for name in MODELS:
        assert f"{name}," in text or f"{name};" in text, name
    for method in METHODS:
        assert f"{method} (" in text, method


@pytest.mark.parametrize("path", CLASSIFYING, ids=lambda p: p.stem)
def test_a_file_of_compartments_gives_every_key_and_its_default_and_wants_no_spectra(path):
    values, defaults = tomllib.loads(path.read_text(encoding="utf-8")), Options().to_dict()
    assert values["classifier"] == defaults["classifier"] | {"wanted": True}
    for section in ("noise", "kernel"):
        shared = {key: value for key, value in values[section].items() if key != "name"}
        assert shared == {key: defaults[section][key] for key in shared}
    options = load_options(path)
    assert not options.wants_spectra and not options.maps.wanted
    assert options.kernel.name == path.stem.removesuffix("_classify") and options.description


@pytest.mark.parametrize("path", SCANNING, ids=lambda p: p.stem)
def test_a_file_of_scan_specific_maps_gives_every_key_and_its_default_and_wants_no_spectra(path):
    values, defaults = tomllib.loads(path.read_text(encoding="utf-8")), Options().to_dict()
    assert values["scan_cnn"] == defaults["scan_cnn"] | {"wanted": True}
    assert values["noise"] == {"method": "neighbours", "distribution": defaults["noise"]["distribution"]}
    options, kind = load_options(path), path.stem.removesuffix("_scan-cnn")
    assert not options.wants_spectra and not options.maps.wanted and not options.classifier.wanted
    assert options.kernel.name == kind and options.description
    assert options.select.suffix == {"t2": "MESE", "t2star": "MEGRE"}[kind]
    text = path.read_text(encoding="utf-8").replace("\n# ", " ")
    for method in SCAN_METHODS:
        assert f"{method} (" in text, method


def test_the_file_of_fingerprinting_gives_every_key_and_its_default_and_wants_nothing_else():
    values, defaults = tomllib.loads(MRF.read_text(encoding="utf-8")), Options().to_dict()
    assert values["mrf"] == defaults["mrf"] | {"wanted": True}
    options = load_options(MRF)
    assert not (options.wants_spectra or options.maps.wanted or options.classifier.wanted or options.scan_cnn.wanted)
    text = MRF.read_text(encoding="utf-8").replace("\n# ", " ")
    for method in FINGERPRINTING:
        assert f"{method} (" in text, method


def test_no_file_of_compartments_or_scan_specific_maps_is_chosen_by_itself():
    for path in (*CLASSIFYING, *SCANNING):
        assert workflow_for(load_options(path).kernel.name).stem.endswith("_inspect")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_setting_is_explained_on_its_line_or_above(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    for above, line in zip(lines, lines[1:], strict=False):
        key = line.removeprefix("#: ")
        if "=" in key and not key.startswith(("#", "description")):
            assert "#" in key or above.startswith("#"), line


def test_readme_lists_every_file_and_no_other():
    table = (ROOT / "workflows" / "README.md").read_text(encoding="utf-8")
    named = {word.strip("`") for word in table.split() if word.startswith("`") and word.endswith(".toml`")}
    assert named == {path.name for path in FILES}


@pytest.mark.parametrize("name", ["t2star-adc_inspect", "t2star-adc_inspect.toml"])
def test_found_by_name(name):
    assert find_workflow(name).name == "t2star-adc_inspect.toml"


def test_found_by_path(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('description = "mine"\n')
    assert find_workflow(mine) == mine
    assert load_options(find_workflow(str(mine))).description == "mine"


def test_a_miss_suggests_the_nearest_name():
    with pytest.raises(WorkflowNotFoundError, match="Did you mean .*t2star-adc_inspect"):
        find_workflow("t2star_adc_inspect")
    with pytest.raises(WorkflowNotFoundError, match="Known: .*t1_inspect"):
        find_workflow("zzz")


def test_a_folder_is_no_workflow(tmp_path):
    with pytest.raises(WorkflowNotFoundError, match="folder"):
        find_workflow(tmp_path)


def test_a_folder_without_files_is_said(tmp_path):
    with pytest.raises(WorkflowNotFoundError, match="install"):
        list_workflows(tmp_path)


def test_override_is_checked_like_the_file():
    path = find_workflow("t2_inspect")
    assert load_options(path, ["inspect.n_clusters=4"]).inspect.candidates == (4,)
    with pytest.raises(OptionsError, match="did you mean n_clusters"):
        load_options(path, ["inspect.n_cluster=4"])


@pytest.mark.long
def test_wheel_carries_the_files(tmp_path):
    source = tmp_path / "source"
    for name in ("mrspec_prep", "workflows"):
        ignored = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    done = subprocess.run([sys.executable, *build], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {Path(name).name: archive.read(name) for name in archive.namelist() if "data/workflows/" in name}
    assert {path.name: path.read_bytes() for path in FILES}.items() <= inside.items()
