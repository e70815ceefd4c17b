"""The pages on parameter maps say what the code does."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from mrspec_prep.bids.catalogue import load_catalogue
from mrspec_prep.networks import METHODS
from mrspec_prep.physics import Encodings
from mrspec_prep.physics.models import MODELS

DOCS = Path(__file__).parents[1] / "docs"
MAPS = (DOCS / "maps.md").read_text(encoding="utf-8")
ADDING = (DOCS / "add_a_model.md").read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


@pytest.fixture
def stretched(monkeypatch):
    """The model of the page, in the table."""
    space = {}
    exec(compile(blocks(ADDING, "python")[0], "stretched.py", "exec"), space)
    monkeypatch.setitem(MODELS, "stretched", space["STRETCHED"])
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


def test_the_added_model_is_fitted_as_the_page_says(stretched, capsys):
    exec(compile(blocks(ADDING, "python")[1], "using.py", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    error, said = zip(*((float(x) for x in re.findall(r"0\.\d+", line)) for line in lines), strict=True)
    assert [line.split(":")[0] for line in lines] == ["lsq", "lsq-gmm"]
    assert error[1] <= error[0] < 0.05
    assert said == pytest.approx(error, rel=0.25)


def test_the_entries_of_the_added_model_have_the_keys_of_their_kind():
    (block,) = blocks(ADDING, "toml")
    added, known = tomllib.loads(block), load_catalogue()
    assert added["models"]["stretched"].keys() == known["models"]["msdki"].keys()
    assert added["maps"]["model-stretching"].keys() == known["maps"]["model-kurtosis"].keys()
    assert "model-diffusivity" in known["maps"]


def test_the_table_of_bounds_is_that_of_the_models():
    expected = [
        f"| `{model.name}` | `{p.name}` | {p.unit} | {p.low:g} | "
        f"{'unlimited' if np.isinf(p.high) else f'{p.high:g}'} | {p.link} |"
        for model in MODELS.values()
        for p in model.parameters
    ]
    _, _, rest = MAPS.partition("| model | parameter | unit | from | to | link |\n|---|---|---|---|---|---|\n")
    shown = rest.partition("\n\n")[0].splitlines()
    assert shown == expected, "docs/maps.md should have:\n" + "\n".join(expected)


def test_the_table_of_methods_is_complete():
    shown = re.findall(r"^\| `([\w-]+)` \| .* \| .* \|$", MAPS.partition("## Parameters")[0], flags=re.MULTILINE)
    assert set(METHODS) <= set(shown)


def test_the_python_example_of_the_page_runs(capsys):
    exec(compile(blocks(MAPS, "python")[0], "maps.md", "exec"), {})
    assert capsys.readouterr().out.endswith("(400, 4)\n")


def test_links_of_the_pages_exist():
    for page in (MAPS, ADDING):
        for target in re.findall(r"!?\[[^\]]*\]\(([^)#]+)\)", page):
            assert (DOCS / target).exists(), target
