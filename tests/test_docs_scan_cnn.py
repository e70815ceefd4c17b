"""The page on T2 of one scan says what the code does."""

import re
import tomllib
from pathlib import Path

import mrspec_prep
from mrspec_prep.networks.scan_cnn.fit import SCAN_METHODS
from mrspec_prep.networks.scan_cnn.settings import OURS

PAGE = (Path(__file__).parents[1] / "docs" / "scan_cnn.md").read_text(encoding="utf-8")


def test_the_example_runs():
    space = {}
    exec(compile(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], "scan_cnn.md", "exec"), space)
    assert abs(space["found"].t2[:15].mean() - 60) < 3


def test_methods_settings_and_weights_are_those_of_the_page():
    assert all(f"| `{method}` |" in PAGE for method in SCAN_METHODS)
    assert f"steps: {OURS.n_steps} unless said" in PAGE and f"({OURS.passes} passes)" in PAGE
    assert f"({OURS.draws} draws)" in PAGE and f"{OURS.level:g} voxels\nwide" in PAGE
    manifest = tomllib.loads((Path(mrspec_prep.__file__).parent / "data" / "scan_cnn.toml").read_text())
    assert f"{manifest['step']} steps, {round(manifest['process_seconds'] / 60)} minutes" in PAGE
