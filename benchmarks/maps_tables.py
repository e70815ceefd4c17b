"""Tables of simulated parameter maps: every seed, means by cluster, and what issue and paper ask of them."""

import numpy as np

from benchmarks.maps_methods import NETWORKS
from benchmarks.maps_simulation import CLUSTERS

BAYES = "Bayes, true prior"
NOMINAL = (0.6827, 0.95)  # of the two intervals
TISSUE = slice(0, 2)  # white and grey
WIDE = 2.0  # times the median of the seeds: a seed whose RMSE in tissue is beyond it has collapsed


def pairs(values):
    """D and K of each row, as text."""
    return "  ".join("/".join(f"{value:.3f}" for value in pair) for pair in np.reshape(values, (-1, 2)))


def seed_lines(label, seed, table, seconds):
    """Lines of one fit: RMSE, correlation within the cluster, coverage of both intervals, for each cluster."""
    for c, cluster in enumerate(CLUSTERS):
        cells = "  ".join(pairs(table[c, :, q]) for q in range(4))
        yield f"seed {seed}  {label:22} {cluster:6} {cells}" + (f"  {float(seconds):8.1f} s" if c == 0 else "")


def setting_table(found):
    """Lines of the means over seeds.

    Parameters
    ----------
    found : dict of str to (n_seeds, 3, 2, 4) array
        ``scores`` of each row.

    Yields
    ------
    str

    """
    bayes = found[BAYES][..., 0].mean(axis=0)
    head = ("RMSE D/K white, grey, CSF", "over Bayes white, grey", "worst seed white, grey", "r white, grey")
    yield f"{'mean of seeds':22} " + " | ".join((*head, "covers 68 % white, grey, CSF", "95 %", "collapsed seeds"))
    for label, tables in found.items():
        mean, worst = tables.mean(axis=0), tables[..., 0].max(axis=0)
        blocks = (mean[..., 0], mean[TISSUE, :, 0] / bayes[TISSUE], worst[TISSUE], mean[TISSUE, :, 1])
        blocks += (mean[..., 2], mean[..., 3])
        yield f"{label:22} " + " | ".join(pairs(block) for block in blocks) + f" | {collapsed(tables)}"


def collapsed(tables):
    """Number of seeds whose RMSE in tissue is far above the median seed's, or whose maps are flat there."""
    rmse, r = tables[:, TISSUE, :, 0], tables[:, TISSUE, :, 1]
    return int((((rmse > WIDE * np.median(rmse, axis=0)) | (np.abs(r) < 0.05)).any(axis=(1, 2))).sum())


def goal_lines(found):
    """Lines of what is asked for: against least squares, the mixture prior, Bayes, and the published settings."""
    rmse = {label: tables[..., 0].mean(axis=0) for label, tables in found.items()}
    yield (
        "against                lsq, best of both (worst cell) | CSF D | lsq-gmm: cells <=, worst | Bayes: worst cell"
        " | published / ours, mean of cells (of RMSE) | coverage off by at most, points: tissue 68/95, CSF 68/95"
    )
    for label, values in rmse.items():
        if label == BAYES:
            continue
        yield f"{label:22} " + " | ".join(_goals(label, values, rmse, found[label].mean(axis=0)))


def _goals(label, values, rmse, means):
    tissue, none = values[TISSUE], "-"
    plain = [rmse[name] for name in ("lsq", "lsq, Rician") if name in rmse]
    if plain:
        best = np.minimum.reduce(plain)
        yield f"{(tissue / best[TISSUE]).max():.3f}"
        yield f"{values[2, 0] / best[2, 0]:.3f}"
    else:
        yield from (none, none)
    if "lsq-gmm" in rmse:
        ratio = tissue / rmse["lsq-gmm"][TISSUE]
        yield f"{int((ratio <= 1).sum())}/4, {ratio.max():.3f}"
    else:
        yield none
    yield f"{(tissue / rmse[BAYES][TISSUE]).max():.3f}"
    ratios = [
        f"{name} {(rmse[key][TISSUE] / tissue).mean():.2f} ({rmse[key][TISSUE].mean() / tissue.mean():.2f})"
        for name in NETWORKS
        if (key := f"{name}, published") in rmse and "published" not in label
    ]
    yield ", ".join(ratios) or none
    off = 100 * np.abs(means[..., 2:] - NOMINAL)  # (3, 2, 2)
    yield ", ".join("/".join(f"{x:.1f}" for x in part.max(axis=(0, 1))) for part in (off[TISSUE], off[2:]))
