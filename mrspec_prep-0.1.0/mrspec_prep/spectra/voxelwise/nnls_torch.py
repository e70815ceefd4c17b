"""The dual Newton of ``newton``, batched over voxels in torch, for GPUs: same equations, same certificate.

The one file of this room that knows torch; ``fit_nnls(..., device="cuda")`` loads it.
"""

import numpy as np
import torch

from mrspec_prep.spectra.voxelwise.newton import SMALL_GAP, STALLED_STEPS, SUFFICIENT_SLOPE

COARSE_TOLERANCE = 1e-4  # relative gap at which the coarse problem has given what it can
COARSE_STEPS, MAX_STEPS = 60, 200
LINE_STEPS = 60
BYTES = 2**30  # of masked bases held at a time
VOXELS = 8192  # solved together


def find_device(name):
    """Torch device of a name: ``cpu``, ``cuda`` or ``auto``.

    Raises
    ------
    ValueError
        ``cuda`` where torch finds none.

    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, and torch finds no GPU here; use device cpu or auto")
    return torch.device(name)


def solve_dual_torch(compressed, outside, reduced, coarse, alpha, tolerance, device):
    """Duals, relative gaps and steps of compressed signals.

    Parameters
    ----------
    compressed : (n_voxels, n_ranks) array
    outside : (n_voxels,) array
        Energy of the signals outside the kernel's range.
    reduced : ReducedKernel
    coarse : CoarseBasis
        Merged columns for the start.
    alpha, tolerance : float
    device : str
        ``cpu``, ``cuda`` or ``auto``.

    Returns
    -------
    dual : (n_voxels, n_ranks) array
    gap : (n_voxels,) array
    steps : (n_voxels,) int array

    """
    place = find_device(device)
    basis = torch.tensor(reduced.basis, dtype=torch.float64, device=place)
    small = torch.tensor(coarse.columns.T.copy(), dtype=torch.float64, device=place)
    dual, gap = np.empty_like(compressed), np.empty(len(compressed))
    steps = np.empty(len(compressed), np.int64)
    for start in range(0, len(compressed), VOXELS):
        part = slice(start, start + VOXELS)
        signals = torch.tensor(compressed[part], dtype=torch.float64, device=place)
        energy = torch.tensor(outside[part], dtype=torch.float64, device=place)
        y, rank = signals.clone(), coarse.n_leading
        lost = energy + (signals[:, rank:] ** 2).sum(dim=1)
        y[:, :rank] = 0.0
        y[:, :rank], _, _ = newton(small, signals[:, :rank], lost, alpha, y[:, :rank], COARSE_TOLERANCE, COARSE_STEPS)
        y, gaps, taken = newton(basis, signals, energy, alpha, y, tolerance, MAX_STEPS)
        dual[part], gap[part], steps[part] = y.cpu().numpy(), gaps.cpu().numpy(), taken.cpu().numpy()
    return dual, gap, steps


def newton(basis, signals, outside, alpha, y, tolerance, max_steps):
    """Minimise phi for a batch of voxels; see ``newton.newton``.

    Parameters
    ----------
    basis : (n_ranks, n_bins) tensor
    signals, y : (n_voxels, n_ranks) tensors
    outside : (n_voxels,) tensor
    alpha, tolerance : float
    max_steps : int

    Returns
    -------
    y : (n_voxels, n_ranks) tensor
        The best met.
    gap : (n_voxels,) tensor
    steps : (n_voxels,) int tensor

    """
    best, best_gap = y.clone(), torch.full_like(outside, torch.inf)
    stalled, steps = torch.zeros_like(outside), torch.zeros_like(outside, dtype=torch.int64)
    left = torch.arange(len(y), device=y.device)
    y = y.clone()
    for step in range(max_steps + 1):
        z = y @ basis
        g, gap = gradient_and_gap(basis, signals[left], outside[left], alpha, y, z)
        old = best_gap[left]
        moving = (gap < 0.5 * old) | (old > SMALL_GAP)
        stalled[left] = torch.where(moving, torch.zeros_like(gap), stalled[left] + 1)
        better = gap < old
        best[left[better]], best_gap[left[better]] = y[better], gap[better]
        keep = (best_gap[left] > tolerance) & (stalled[left] < STALLED_STEPS)
        if step == max_steps or not keep.any():
            break
        left, y, z, g = left[keep], y[keep], z[keep], g[keep]
        d = direction(basis, alpha, z, g)
        t = step_lengths(y, signals[left], d, z, d @ basis, alpha, (g * d).sum(dim=1))
        y = y + t[:, None] * d
        steps[left] += 1
    return best, best_gap, steps


def gradient_and_gap(basis, signals, outside, alpha, y, z):
    """Gradient g = y - s + B (z)_+ / alpha, and the duality gap over the dual objective."""
    f = torch.clamp(z, min=0.0) / alpha
    g = y - signals + f @ basis.T
    squared = (g**2).sum(dim=1)
    primal = outside + alpha * (f**2).sum(dim=1) + ((g - y) ** 2).sum(dim=1)
    gap = squared / torch.clamp(primal - squared, min=1e-300)
    return g, torch.where(squared == 0, torch.zeros_like(gap), gap)


def direction(basis, alpha, z, g):
    """Newton direction -alpha (alpha I + B_A B_A')^-1 g, A = {z > 0}, a part of the batch at a time."""
    n_ranks, n_bins = basis.shape
    chunk = max(1, BYTES // (8 * n_ranks * n_bins))
    ridge = alpha * torch.eye(n_ranks, dtype=basis.dtype, device=basis.device)
    found = []
    for start in range(0, len(z), chunk):
        masked = (z[start : start + chunk] > 0).to(basis.dtype)[:, None, :] * basis
        factor = torch.linalg.cholesky(masked @ basis.T + ridge)
        found.append(-alpha * torch.cholesky_solve(g[start : start + chunk, :, None], factor)[:, :, 0])
    return torch.cat(found)


def step_lengths(y, signals, d, z, zd, alpha, slope0):
    """Steps along d: 1 where it leaves little slope, else the roots of the slopes by safeguarded Newton."""

    def slopes(which, t):
        moved = z[which] + t[:, None] * zd[which]
        along = torch.where(moved > 0, zd[which], torch.zeros_like(moved))
        first = (d[which] * (y[which] + t[:, None] * d[which] - signals[which])).sum(dim=1)
        second = (d[which] ** 2).sum(dim=1)
        return first + (moved * along).sum(dim=1) / alpha, second + (along**2).sum(dim=1) / alpha

    t = torch.ones_like(slope0)
    low, high = torch.zeros_like(t), torch.full_like(t, torch.inf)
    which = torch.arange(len(t), device=t.device)
    for _ in range(LINE_STEPS):
        first, second = slopes(which, t[which])
        beyond = first > 0
        high[which] = torch.where(beyond, t[which], high[which])
        low[which] = torch.where(beyond, low[which], t[which])
        keep = first.abs() > SUFFICIENT_SLOPE * slope0[which].abs()
        if not keep.any():
            break
        which, first, second = which[keep], first[keep], second[keep]
        guess = t[which] - first / second
        middle = torch.where(torch.isinf(high[which]), 2 * low[which], 0.5 * (low[which] + high[which]))
        t[which] = torch.where((guess > low[which]) & (guess < high[which]), guess, middle)
    return t
