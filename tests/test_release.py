"""A tree whose versions disagree is not released."""

import re
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml

from release.check import NotFitError, check_versions, check_wheel, package_files

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "mrspec_prep").mkdir()
    for name in ("mrspec_prep/__init__.py", "CITATION.cff", "CHANGES.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_this_tree_agrees_with_itself(tree):
    version = check_versions(tree)
    change(tree / "CHANGES.md", "(unreleased)", "(2026-12-01)")
    with (tree / "CITATION.cff").open("a") as file:
        file.write("date-released: 2026-12-01\n")
    assert check_versions(tree, f"v{version}") == version


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("mrspec_prep/__init__.py", '__version__ = "', '__version__ = "9', "CITATION.cff says"),
        ("mrspec_prep/__init__.py", '__version__ = "', '__version__ = "next', "no version"),
        ("CITATION.cff", "\nversion: ", "\nversion: 7", "CITATION.cff says 7"),
        ("CHANGES.md", "\n## ", "\n## 7", "CHANGES.md does not begin"),
    ],
)
def test_a_version_that_stands_alone_is_seen(tree, name, old, new, said):
    change(tree / name, old, new)
    with pytest.raises(NotFitError, match=said):
        check_versions(tree)


def test_a_tag_needs_its_version_and_a_date(tree):
    version = check_versions(tree)
    with pytest.raises(NotFitError, match=f"it should be v{version}"):
        check_versions(tree, "v99")
    change(tree / "CHANGES.md", f"## {version} (", f"## {version} (soon ")
    with pytest.raises(NotFitError, match="the date of the release"):
        check_versions(tree, f"v{version}")
    change(tree / "CHANGES.md", "(soon unreleased)", "(2026-12-01)")
    with pytest.raises(NotFitError, match="date-released"):
        check_versions(tree, f"v{version}")


def test_a_wheel_without_weights_or_with_tests_is_seen(tmp_path):
    files = package_files()
    assert {"mrspec_prep/data/scan_cnn.npz", "mrspec_prep/data/workflows/hpc/babs.yaml"} <= files
    for left_out, added in (("mrspec_prep/data/scan_cnn.npz", None), (None, "tests/test_rooms.py")):
        path = tmp_path / "made.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            for name in (files - {left_out}) | ({added} - {None}):
                wheel.writestr(name, "")
        with pytest.raises(NotFitError, match=left_out or added):
            check_wheel(path)


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_workflows_call_targets_of_the_makefile(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    called = [step["run"] for job in jobs.values() for step in job.get("steps", ()) if "run" in step]
    made = {target for line in called for target in re.findall(r"^make ([a-z-]+)", line, flags=re.MULTILINE)}
    assert made and made <= targets
    assert all("timeout-minutes" in job or "uses" in job for job in jobs.values())
    used = [step["uses"] for job in jobs.values() for step in job.get("steps", ()) if "uses" in step]
    assert all(re.search(r"@(v\d+|release/v\d+)$", name) for name in used), "an action without a version"
    texts = [line for line in called if "${{" in line]
    assert not texts, f"values go into a command by its environment, not into its text: {texts}"


def test_what_cannot_be_taken_back_comes_last_and_every_python_we_name_is_tested():
    folder = ROOT / ".github" / "workflows"
    release = yaml.safe_load((folder / "release.yml").read_text(encoding="utf-8"))["jobs"]
    assert set(release["publish"]["needs"]) == {*release} - {"publish", "test"}
    assert release["build"]["needs"] == "test"
    matrix = yaml.safe_load((folder / "test.yml").read_text(encoding="utf-8"))["jobs"]["test"]["strategy"]["matrix"]
    said = re.search(r"Python 3\.(\d+) to 3\.(\d+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert matrix["python"] == [f"3.{minor}" for minor in range(int(said[1]), int(said[2]) + 1)]
