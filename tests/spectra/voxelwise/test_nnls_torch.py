import numpy as np
import pytest
import torch

from mrspec_prep.spectra import fit_nnls
from tests.spectra.conftest import placenta_problem


def objective(problem, spectra, alpha):
    return ((problem.signals - spectra @ problem.kernel.T) ** 2).sum(axis=1) + alpha * (spectra**2).sum(axis=1)


DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("alpha", [1e-4, 1e-2, 1.0])
def test_the_batched_solver_agrees_with_the_compiled_one(alpha, device):
    problem = placenta_problem((15, 15), 40)
    expected = objective(problem, fit_nnls(problem.signals, problem.kernel, alpha, 1e-11).spectra, alpha)
    result = fit_nnls(problem.signals, problem.kernel, alpha, 1e-9, device=device)
    assert result.converged.all()
    assert np.abs(objective(problem, result.spectra, alpha) / expected - 1).max() < 1e-9


def test_black_voxels_are_zero_in_the_batch(placenta):
    signals = np.concatenate([np.zeros((1, 330)), placenta.signals[:3]])
    result = fit_nnls(signals, placenta.kernel, device="cpu")
    np.testing.assert_array_equal(result.spectra[0], 0)
    assert result.gap[0] == 0 and np.isfinite(result.dual).all()


def test_a_gpu_that_is_not_there_is_said(placenta, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no GPU"):
        fit_nnls(placenta.signals, placenta.kernel, device="cuda")
    assert fit_nnls(placenta.signals[:2], placenta.kernel, device="auto").converged.all()
