"""The dry run names kernels that the command takes."""

from types import SimpleNamespace

from mrspec_prep.cli.preview.participant import _describe_spectra
from mrspec_prep.options import Options
from mrspec_prep.physics import Encodings, default_grid


def test_kernels_of_python_alone_are_not_offered():
    encodings = Encodings(bvalue=[0.0, 500, 1000, 2000])
    grid = default_grid(("diffusivity",), encodings)
    plan = SimpleNamespace(series=SimpleNamespace(encodings=encodings), kernel="adc", grid=grid, options=Options())
    assert _describe_spectra(plan)[0].endswith("could use: adc")
