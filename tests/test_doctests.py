"""Every stable name of the Python interface has an example in its docstring, and the example is true."""

import doctest
import importlib
import inspect

import numpy as np
import pytest

STABLE = {
    "mrspec_prep.physics": "Encodings Grid default_grid kernel_axes kernel_matrix possible_kernels simulate_signals "
    "add_noise",
    "mrspec_prep.spectra": "fit_nnls fit_inspect fit_inspect_map select_n_clusters estimate_noise integrate_regions "
    "default_regions mean_parameters identify choose_alpha find_peaks neighbours_of reduce_kernel restore_polarity "
    "share_signals",
    "mrspec_prep.networks": "fit_maps fit_scan_cnn CompartmentClassifier fit_fingerprint",
}
NAMES = [(module, name) for module, names in STABLE.items() for name in names.split()]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[name for _, name in NAMES])
def test_its_example_is_true(module, name, capsys):
    thing = getattr(importlib.import_module(module), name)
    (test,) = doctest.DocTestFinder(recurse=False).find(thing, name, globs={})
    assert test.examples, f"{name} has no Examples section"
    assert "\nExamples\n--------\n" in inspect.getdoc(thing)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    with np.printoptions(legacy=False):
        runner.run(test, out=print)
    assert runner.failures == 0, capsys.readouterr().out


def test_public_names_are_documented():
    for module in STABLE:
        public = importlib.import_module(module)
        for name in public.__all__:
            thing = getattr(public, name)
            assert not callable(thing) or inspect.getdoc(thing), f"{module}.{name} has no docstring"
