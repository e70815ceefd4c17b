"""Coefficients from gridded frames whose point spreads are known: conjugate gradients with FFTs."""

import numpy as np
import torch


def deconvolve(projections, subspace, sampling, n_iterations, device):
    """Least squares of the samples within the subspace, stopped early.

    The coefficients c minimise sum_t ||W^(1/2) (A_t c Phi_t - y_t)||2 within the support, A_t the Fourier transform to
    the samples of frame t. Its normal equations need gridded images only (Toeplitz form, Fessler 2005,
    doi:10.1109/TSP.2005.853152)::

        sum_i P_i (G_i c) = sum_t Phi_t rho_t,   G_i = sum over the frames t of interleaf i of Phi_t Phi_t'

    P_i: convolution with the point spread of interleaf i (with coils: sum s* P_i s). Few steps of conjugate gradients
    solve what is well determined and leave the rest: stopping is the regularisation.

    Parameters
    ----------
    projections : (n_x, n_y, n_z, rank) complex array
        sum_t Phi_t rho_t.
    subspace : (rank, n_frames) array
        Orthonormal rows; 0 in frames that are not used.
    sampling : Sampling
    n_iterations : int
    device : str

    Returns
    -------
    (n_x, n_y, n_z, rank) complex array

    """
    kernel = _kernel(subspace, sampling, device)
    support = torch.as_tensor(sampling.support, device=device)
    found = np.empty(projections.shape, np.complex64)
    for z in range(projections.shape[2]):
        target = np.moveaxis(projections[:, :, z] * sampling.support[..., None], -1, 0)
        target = torch.as_tensor(target.astype(np.complex64), device=device)
        coils = None
        if sampling.coils is not None:
            coils = torch.as_tensor(sampling.coils[..., z].astype(np.complex64), device=device)
        found[:, :, z] = np.moveaxis(
            _conjugate_gradients(kernel, coils, support, target, n_iterations).cpu().numpy(), 0, -1
        )
    return found


def _kernel(subspace, sampling, device):
    """(rank, rank, 2 n_x, 2 n_y) real: sum over interleaves of G_i times the transform of its point spread.

    A point spread is Hermitian, its value at -x the conjugate of that at x: its transform is real.
    """
    kernel = 0
    for i, spread in enumerate(sampling.spread):
        used = subspace[:, sampling.interleaf == i]
        gram = torch.as_tensor((used @ used.T).astype(np.float32), device=device)
        centred = torch.fft.ifftshift(torch.as_tensor(spread.astype(np.complex64), device=device))
        kernel = kernel + gram[:, :, None, None] * torch.fft.fft2(centred).real
    return kernel


def _blur(kernel, coils, images):
    """Return sum_i P_i (G_i c), (rank, n_x, n_y)."""
    if coils is None:
        return _convolve(kernel, images)
    return sum(s.conj() * _convolve(kernel, s * images) for s in coils)


def _convolve(kernel, images):
    size, (n_x, n_y) = kernel.shape[2:], images.shape[1:]
    spectrum = torch.fft.fft2(images, s=size)
    mixed = torch.stack([(row * spectrum).sum(dim=0) for row in kernel])
    return torch.fft.ifft2(mixed)[:, :n_x, :n_y]


def _conjugate_gradients(kernel, coils, support, target, n_iterations):
    found, left = torch.zeros_like(target), target.clone()
    direction, size = left.clone(), _norm2(left)
    for _ in range(n_iterations):
        if size == 0:
            break
        blurred = _blur(kernel, coils, direction) * support
        step = size / _inner(direction, blurred)
        found += step * direction
        left -= step * blurred
        before, size = size, _norm2(left)
        direction = left + size / before * direction
    return found


def _inner(a, b):
    return float((a.conj() * b).real.sum(dtype=torch.float64))


def _norm2(a):
    return _inner(a, a)
