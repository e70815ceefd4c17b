"""Training of the likeness network: one half of the frames explains the other, frames never seen judge."""

import copy
import math

import torch

from mrspec_prep.networks.fingerprinting.likeness_network import LikenessNetwork

ROBUST = 5.0  # sigmas beyond which residuals count linearly
MOST_JUDGED = 8  # slices


class AlignedImages:
    """Coefficients as images of slices, phase and size divided out.

    Parameters
    ----------
    coefficients : (n_voxels, rank) complex array
    turn : (n_voxels,) complex array
        exp(-i phase) of M0.
    mask : (n_x, n_y, n_z) bool array
    noise_std : float
        Of the real part of a coefficient, on average.
    whiten : (rank, rank) array
        Makes the noise of the coefficients even.
    device : str

    """

    def __init__(self, coefficients, turn, mask, noise_std, whiten, device):
        self.whiten = torch.as_tensor(whiten, dtype=torch.float32, device=device)
        where = torch.as_tensor(mask)
        values = torch.zeros(*mask.shape, coefficients.shape[1])
        values[where] = torch.as_tensor((coefficients * turn[:, None]).real, dtype=torch.float32)
        values = values.permute(2, 3, 0, 1).to(device)  # slice, coefficient, x, y
        norms = values.norm(dim=1, keepdim=True)
        self.directions = values / norms.clamp_min(1e-20)
        self.precision = (norms / noise_std) ** 2
        self.inside = where.permute(2, 0, 1)[:, None].to(device, torch.float32)

    def maps(self):
        """(n_z, rank + 2, n_x, n_y) tensor of directions, precision, mask."""
        return torch.cat([self.directions, self.precision, self.inside], dim=1)


def split_maps(maps):
    """Undo ``AlignedImages.maps``."""
    return maps[:, :-2], maps[:, -2:-1], maps[:, -1:]


def residual_loss(predicted, target, whiten):
    """What directions leave of other frames' coefficients, in units of their noise, mean over voxels.

    k2 (sqrt(1 + r2 / (k sigma)2) - 1), k = 5, r the part of the target across the predicted direction, both whitened.
    """
    directions, precision, inside = split_maps(target)
    predicted, measured = (torch.einsum("ij,njxy->nixy", whiten, values) for values in (predicted, directions))
    unit = predicted / predicted.norm(dim=1, keepdim=True).clamp_min(1e-20)
    along = (measured * unit).sum(dim=1, keepdim=True)
    left = ((measured - along * unit) ** 2).sum(dim=1, keepdim=True) * precision
    loss = ROBUST**2 * (torch.sqrt(1 + left / ROBUST**2) - 1)
    return (loss * inside).sum() / inside.sum().clamp_min(1)


def train(pairs, judge, settings, randomness, on_step=None):
    """Train on pairs of halves.

    Parameters
    ----------
    pairs : list of (AlignedImages, AlignedImages)
        Halves of the training frames; each explains the other.
    judge : (AlignedImages, AlignedImages)
        All training frames and the frames that judge.
    settings : ScanCnnSettings
    randomness : Randomness
    on_step : callable, optional
        ``on_step(step, n_steps)``.

    Returns
    -------
    network : LikenessNetwork
        With the weights that the frames never trained on judged best.
    history : dict of str to list

    Raises
    ------
    ValueError
        The loss is no longer a finite number.

    """
    network = LikenessNetwork(judge[0].directions.shape[1], settings, randomness, _scale(judge[0]))
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=settings.n_steps + 1)
    tensors = [((one.maps(), one.whiten), (two.maps(), two.whiten)) for one, two in pairs]
    judged = judge[0].maps(), judge[1].maps(), judge[1].whiten
    centres = judge[0].inside[:, 0].nonzero()
    history = {"step": [0], "loss": [], "judged": [judged_loss(network, *judged)], "learning_rate": []}
    best, kept, seen = history["judged"][0], copy.deepcopy(network.state_dict()), []
    for step in range(1, settings.n_steps + 1):
        source, target, whiten = _crop(tensors, centres, settings.crop, randomness)
        loss = residual_loss(network(*split_maps(source)), target, whiten)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimiser.step()
        schedule.step()
        seen.append(loss.detach())
        if step % settings.judge_every and step < settings.n_steps:
            continue
        history["step"].append(step)
        history["loss"].append(float(torch.stack(seen).mean()))
        history["judged"].append(judged_loss(network, *judged))
        history["learning_rate"].append(float(optimiser.param_groups[0]["lr"]))
        seen = []
        if not (math.isfinite(history["loss"][-1]) and math.isfinite(history["judged"][-1])):
            raise ValueError(f"the training diverged before step {step}: another seed, or a lower learning_rate")
        if history["judged"][-1] < best:
            best, kept = history["judged"][-1], copy.deepcopy(network.state_dict())
        if on_step is not None:
            on_step(step, settings.n_steps)
        if _stale(history["judged"], settings.patience):
            break
    network.load_state_dict(kept)
    history["best_step"] = [history["step"][history["judged"].index(best)]]
    return network, history


def _stale(judged, patience):
    """Whether the last ``patience`` judgements were all worse than one before."""
    return len(judged) > patience and min(judged[-patience:]) > min(judged[:-patience])


def _scale(images):
    """Centre and spread of directions, typical norm in sigmas."""
    inside = images.inside[:, 0] > 0.5
    directions = images.directions.permute(0, 2, 3, 1)[inside]
    spread = directions.std(dim=0).clamp_min(1e-4) if len(directions) > 1 else torch.ones_like(directions[0])
    norm = images.precision.permute(0, 2, 3, 1)[inside].sqrt().median(dim=0).values
    return {"centre": directions.mean(dim=0), "spread": spread, "norm": norm.clamp_min(1e-6)}


def _crop(tensors, centres, size, randomness):
    """Square around a random voxel of a random pair, in one of eight orientations: source, target, whitening."""
    pair = tensors[int(randomness.order(len(tensors))[0])]
    turns = randomness.uniform(4)
    (source, _), (target, whiten) = pair if turns[0] < 0.5 else pair[::-1]
    z, x, y = (int(place) for place in centres[int(randomness.uniform(1) * len(centres))])
    window = [slice(z, z + 1), slice(None)]
    for place, length in zip((x, y), source.shape[2:], strict=True):
        low = min(max(place - size // 2, 0), max(length - size, 0))
        window.append(slice(low, low + size))
    both = [maps[tuple(window)] for maps in (source, target)]
    for dim, turn in zip((-1, -2), turns[1:3], strict=True):
        if turn < 0.5:
            both = [maps.flip(dim) for maps in both]
    return (*(maps.transpose(-1, -2) if turns[3] < 0.5 else maps for maps in both), whiten)


@torch.no_grad()
def judged_loss(network, source, target, whiten):
    """Loss of the frames that judge, over a few slices spread evenly."""
    n = len(source)
    slices = sorted({round(k * (n - 1) / max(MOST_JUDGED - 1, 1)) for k in range(min(MOST_JUDGED, n))} or {0})
    losses, voxels = [], []
    for z in slices:
        losses.append(float(residual_loss(network(*split_maps(source[z : z + 1])), target[z : z + 1], whiten)))
        voxels.append(float(source[z, -1].sum()))
    return sum(a * b for a, b in zip(losses, voxels, strict=True)) / max(sum(voxels), 1)


@torch.no_grad()
def average(network, images):
    """(n_z, rank, n_x, n_y) directions of all slices, of norm one within the mask."""
    maps = images.maps()
    found = torch.cat([network(*split_maps(maps[z : z + 1])) for z in range(len(maps))])
    return found / found.norm(dim=1, keepdim=True).clamp_min(1e-20)
