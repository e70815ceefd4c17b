"""Pages of the documentation say what the code does: tables, defaults, numbers of settings."""

import re
import tomllib

import numpy as np
import pytest
import torch

from mrspec_prep.bids.output.catalogue import data_text, load_catalogue
from mrspec_prep.networks import METHODS
from mrspec_prep.networks.fingerprinting.dictionary import default_grid
from mrspec_prep.networks.fingerprinting.reconstruction import N_ITERATIONS
from mrspec_prep.networks.fingerprinting.scan_cnn import ScanCnnSettings
from mrspec_prep.networks.scan_cnn.fit import SCAN_METHODS
from mrspec_prep.networks.scan_cnn.settings import OURS
from mrspec_prep.options import ALPHA_RULES
from mrspec_prep.physics import KERNELS, Encodings
from mrspec_prep.physics.models import MODELS
from mrspec_prep.spectra.clusters.selection import CRITERIA
from tests.docs_pages import DOCS, blocks

ADDING = DOCS / "add_a_model.md"


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.fixture
def stretched():
    """The model of the page on adding one."""
    space = {}
    exec(compile(blocks(ADDING, "python")[0], "stretched.py", "exec"), space)
    return space["STRETCHED"]


def test_the_added_model_obeys_the_laws_of_the_table(stretched):
    table = Encodings(bvalue=[0.0, 500.0, 1500.0, 3000.0])
    values = np.array([[10.0, 0.8, 0.6], [20.0, 1.5, 0.95]])
    named = dict(zip(stretched.names, values.T, strict=True))
    signals, derivatives = stretched.jacobian(table, values)
    np.testing.assert_allclose(signals, stretched.signal(table, named), rtol=1e-12)
    tensors = {name: torch.tensor(column) for name, column in named.items()}
    np.testing.assert_allclose(stretched.signal(table, tensors).numpy(), signals, rtol=1e-12)
    np.testing.assert_allclose(signals[:, 0], values[:, 0], rtol=1e-6)
    for p in range(3):
        shift = 1e-6 * np.eye(3)[p]
        slope = (stretched.jacobian(table, values + shift)[0] - stretched.jacobian(table, values - shift)[0]) / 2e-6
        np.testing.assert_allclose(derivatives[p], slope, atol=1e-6)


def test_the_table_of_bounds_is_that_of_the_models():
    expected = [
        f"| `{model.name}` | `{p.name}` | {p.unit} | {p.low:g} | "
        f"{'unlimited' if np.isinf(p.high) else f'{p.high:g}'} | {p.link} |"
        for model in MODELS.values()
        for p in model.parameters
    ]
    head = "| model | parameter | unit | from | to | link |\n|---|---|---|---|---|---|\n"
    _, _, rest = page("maps.md").partition(head)
    shown = rest.partition("\n\n")[0].splitlines()
    assert shown == expected, "docs/maps.md should have:\n" + "\n".join(expected)


def test_the_table_of_methods_is_complete():
    methods = page("maps.md").partition("## Parameters")[0]
    shown = re.findall(r"^\| `([\w-]+)` \| .* \| .* \|$", methods, flags=re.MULTILINE)
    assert set(METHODS) <= set(shown)


def test_defaults_of_fingerprinting_are_those_of_the_page():
    text, grid, settings = page("fingerprinting.md"), default_grid(), ScanCnnSettings()
    assert f"{len(grid.t1)} x {len(grid.t2)} logarithmic values" in text
    pairs = grid.bins()
    assert f"{(pairs['t2'] < pairs['t1']).sum():,} atoms" in text
    assert f"{2 * settings.radius + 1} x {2 * settings.radius + 1} neighbours" in text
    assert (settings.n_splits, N_ITERATIONS) == (4, 4)  # in words on the page


def test_methods_settings_and_weights_of_scan_networks_are_those_of_the_page():
    text = page("scan_cnn.md")
    assert all(f"| `{method}` |" in text for method in SCAN_METHODS)
    assert f"steps: {OURS.n_steps} unless said" in text and f"({OURS.passes} passes)" in text
    assert f"({OURS.draws} draws)" in text and f"{OURS.level:g} voxels\nwide" in text
    manifest = tomllib.loads(data_text("scan_cnn.toml"))
    assert f"{manifest['step']} steps, {round(manifest['process_seconds'] / 60)} minutes" in text


def test_the_table_of_kernels_is_complete():
    shown = re.findall(r"`([a-z0-9-]+)`", "".join(re.findall(r"^\| (`.*?) \|", page("kernels.md"), flags=re.MULTILINE)))
    assert sorted(shown) == sorted(KERNELS)


def test_the_tables_of_rules_and_criteria_are_complete():
    text = page("nnls.md").partition("## Choosing alpha")[2]
    assert all(f"| `{rule}` |" in text for rule in ALPHA_RULES if rule != "fixed")
    assert all(f"| `{criterion}`" in page("inspect.md") for criterion in CRITERIA)


def test_parts_that_a_new_axis_needs_are_named_on_its_page():
    catalogue, text = load_catalogue(), page("add_a_kernel.md")
    for table in ("axes", "maps", "columns"):
        assert "kurtosis" in catalogue[table] and f"`[{table}.NAME]`" in text
