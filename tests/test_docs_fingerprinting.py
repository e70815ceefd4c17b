"""The page on fingerprinting says what the code does."""

import re
from pathlib import Path

import numpy as np

from mrspec_prep.networks.fingerprinting.dictionary import default_grid
from mrspec_prep.networks.fingerprinting.reconstruction import N_ITERATIONS
from mrspec_prep.networks.fingerprinting.scan_cnn import ScanCnnSettings

PAGE = (Path(__file__).parents[1] / "docs" / "fingerprinting.md").read_text(encoding="utf-8")


def test_the_example_runs_and_finds_its_tissue():
    space = {}
    exec(compile(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], "fingerprinting.md", "exec"), space)
    np.testing.assert_allclose(space["found"].t1, [850, 1400], rtol=1e-3)
    np.testing.assert_allclose(space["found"].t2, [65, 95], rtol=1e-3)
    np.testing.assert_allclose(space["found"].m0, 1 + 2j, rtol=1e-3)


def test_defaults_are_those_of_the_page():
    grid, settings = default_grid(), ScanCnnSettings()
    assert f"{len(grid.t1)} x {len(grid.t2)} logarithmic values" in PAGE
    pairs = grid.bins()
    assert f"{(pairs['t2'] < pairs['t1']).sum():,} atoms" in PAGE
    assert f"{2 * settings.radius + 1} x {2 * settings.radius + 1} neighbours" in PAGE
    assert (settings.n_splits, N_ITERATIONS) == (4, 4)  # in words on the page
    assert len(PAGE.splitlines()) < 120
