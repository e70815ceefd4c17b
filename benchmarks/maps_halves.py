"""Two halves of a scan, and how well the maps of both agree: measures that need no truth."""

import numpy as np

from mrspec_prep.physics.equations import stick_decay
from mrspec_prep.physics.models.prepare import shells

STICK = 2.0  # um2/ms: of the sticks whose mean signal shall be the same in both halves
N_STICKS = 120
SHARP = 0.9  # quantile of the other series' steps beyond which a pair of neighbours is an edge
COLUMNS = (
    "r", "r tissue", "rms", "median", "to half", "to full", "bias", "own bias", "other", "edge", "edge tissue", "specks"
)  # fmt: skip


def half_split(encodings, volumes, seed):
    """Two disjoint halves of the volumes of every shell, whose powder means of sticks in all directions agree.

    From a random start, the swap of two volumes that helps most is made until none helps: halves of a scan
    that samples directions unevenly would differ by more than noise.

    Parameters
    ----------
    encodings : Encodings
    volumes : (n_encodings,) bool array
        What takes part.
    seed : int

    Returns
    -------
    tuple of two int arrays
        Volumes of each half, in order.

    """
    rng, kept, halves = np.random.default_rng(seed), np.flatnonzero(volumes), ([], [])
    shell, extra = shells(encodings.bvalue[kept]), int(rng.integers(2))
    sticks = rng.standard_normal((N_STICKS, 3))
    sticks /= np.linalg.norm(sticks, axis=1, keepdims=True)
    for s in range(shell.max() + 1):
        members = rng.permutation(kept[shell == s])
        middle = (len(members) + extra * (len(members) % 2)) // 2
        extra = (extra + len(members)) % 2  # shells of odd size give the odd volume in turns
        cosine = encodings.direction[members] @ sticks.T
        order = balance(stick_decay(encodings.bvalue[members, None], STICK, cosine), middle)
        halves[0].append(members[order[:middle]])
        halves[1].append(members[order[middle:]])
    return tuple(np.sort(np.concatenate(half)) for half in halves)


def balance(signals, n_first):
    """Order of the rows of (m, n) signals in which the means of the first ``n_first`` and of the rest agree best.

    A local optimum: no swap of two rows brings the means closer.
    """
    order = np.arange(len(signals))
    share = 1 / n_first + 1 / (len(order) - n_first)
    while True:
        first, rest = signals[order[:n_first]], signals[order[n_first:]]
        apart = first.mean(axis=0) - rest.mean(axis=0)
        swapped = ((apart + share * (rest[None] - first[:, None])) ** 2).sum(axis=2)
        a, b = np.unravel_index(swapped.argmin(), swapped.shape)
        if swapped[a, b] >= (apart**2).sum() * (1 - 1e-9):
            return order
        order[[a, n_first + b]] = order[[n_first + b, a]]


def on_grid(roi, values):
    """(nx, ny, nz) array of the values of a region's voxels, NaN outside."""
    volume = np.full(roi.shape, np.nan)
    volume[roi] = values
    return volume


def steps(roi, values):
    """Differences of all pairs of neighbours within slices; NaN where one lies outside the region."""
    volume = on_grid(roi, values)
    return np.concatenate([np.diff(volume, axis=axis).ravel() for axis in (0, 1)])


def edge_kept(roi, values, full, other, where=slice(None)):
    """Steps of a map across edges, over those of ``full``; edges and their sign are those of ``other``.

    The errors of ``other`` are independent of both, so that noise adds nothing to either sum. Pairs with a voxel
    outside ``where`` are left out.
    """
    there = np.full(len(other), np.nan)
    there[where] = other[where]
    across = steps(roi, there)
    edges = np.abs(across) > np.nanquantile(np.abs(across), SHARP)
    signs = np.sign(across[edges])
    return float((steps(roi, values)[edges] @ signs) / (steps(roi, full)[edges] @ signs))


def specks(roi, values, far):
    """Share of voxels farther than ``far`` from the median of their 3 x 3 neighbours in the slice."""
    volume = on_grid(roi, values)
    padded = np.pad(volume, ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))[roi]
    return float(np.mean(np.abs(values - np.nanmedian(windows, axis=(-2, -1))) > far))


def measures(halves, plain, own, full, other, tissue, roi, far):
    """Numbers of ``COLUMNS`` for one parameter.

    Parameters
    ----------
    halves : (2, n_voxels) array
        Maps of both halves.
    plain : (2, n_voxels) array
        Least squares of both halves.
    own : (n_voxels,) array
        The same method of all volumes.
    full : (n_voxels,) array
        Least squares of all volumes.
    other : (n_voxels,) array
        Least squares of the other series.
    tissue : (n_voxels,) int array
        0 white, 1 grey, 2 fluid.
    roi : (nx, ny, nz) bool array
    far : float
        Of ``specks``.

    Returns
    -------
    tuple of float

    """
    first, second = halves
    solid, apart, off = tissue < 2, np.abs(first - second), halves - full
    middle = halves.mean(axis=0)
    return (
        np.corrcoef(first, second)[0, 1],
        np.corrcoef(first[solid], second[solid])[0, 1],
        np.sqrt(np.mean(apart**2)),
        np.median(apart),
        np.sqrt(np.mean((halves - plain[::-1]) ** 2)),
        np.sqrt(np.mean(off**2)),
        *(np.mean([abs(np.median((middle - fit)[tissue == t])) for t in range(3)]) for fit in (full, own)),
        np.mean([np.corrcoef(half, other)[0, 1] for half in halves]),
        np.mean([edge_kept(roi, half, full, other) for half in halves]),
        np.mean([edge_kept(roi, half, full, other, solid) for half in halves]),
        np.mean([specks(roi, half, far) for half in halves]),
    )


def angle_between(first, second):
    """Median angle between two sets of axes (n, 3) [degrees]."""
    cosine = np.abs((first * second).sum(axis=1))
    return float(np.degrees(np.median(np.arccos(np.clip(cosine, 0, 1)))))
