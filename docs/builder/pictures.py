"""Pictures of the tutorial, from the two runs that it describes; `make docs-pictures` makes runs and pictures."""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from mrspec_prep.bids.output.catalogue import axis_entry, cluster_color
from mrspec_prep.bids.output.derivatives import read_map, read_table
from mrspec_prep.bids.output.spectra_files import read_cluster_spectra

HERE = Path(__file__).parents[1]
SLICE = 1  # of the four of the bundled placentas
REGIONS = {"freeshort": "free, short T2*", "freelong": "free, long T2*", "fastlong": "fast, long T2*"}
DPI = 90


def main():
    """Draw every picture of the tutorial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="derivatives of bids_examples/zebra_t2star-adc")
    parser.add_argument("five", type=Path, help="the same with inspect.n_clusters=5")
    arguments = parser.parse_args()
    out, five = (folder / "sub-01" / "dwi" for folder in (arguments.out, arguments.five))
    for name, figure in (
        ("tutorial_clusters", clusters(five)),
        ("tutorial_fractions", fractions(out)),
        ("tutorial_selection", selection(out)),
    ):
        path = HERE / f"{name}.png"
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def clusters(folder):
    """Cluster map over the reference image, and the spectra of the clusters in the same colours."""
    found = read_cluster_spectra(folder / "sub-01_model-adct2star_desc-inspect_spectra.h5")
    labels = _slice(folder / "sub-01_seg-inspect_dseg.nii.gz")
    n = len(found.spectra)
    colors = [cluster_color(m) for m in range(n)]
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    image, axes = figure.subplots(1, 2, width_ratios=[1, 1.3])
    _gray(image, folder)
    image.imshow(np.ma.masked_equal(labels, 0), cmap=ListedColormap(colors), vmin=0.5, vmax=n + 0.5, alpha=0.8)
    d, t = (axis_entry(name) for name in found.grid.names)
    for m, color in enumerate(colors):
        spectrum = found.spectra[m].reshape(found.grid.shape)
        levels = spectrum.max() * np.array([0.05, 0.3, 1])
        axes.contourf(found.grid.t2star, found.grid.diffusivity, spectrum, levels, colors=[color, color], alpha=0.6)
        axes.plot([], [], "s", color=color, label=f"{m + 1}: {found.clusters[m]['weight']:.0%}")
    axes.set(xscale="log", yscale="log", xlabel=f"{t['symbol']} [{t['unit']}]", ylabel=f"{d['symbol']} [{d['unit']}]")
    axes.set(xlim=(20, 400), ylim=(0.3, 150))
    axes.set_xticks([20, 50, 100, 200, 400], labels=[20, 50, 100, 200, 400])
    axes.set_xticks([], minor=True)
    axes.legend(title="cluster: voxels", frameon=False, fontsize=8, title_fontsize=8)
    return figure


def fractions(folder):
    """Fractions of three regions of the voxelwise spectra."""
    figure = Figure(figsize=(9.0, 2.8), layout="constrained")
    for axes, (region, title) in zip(figure.subplots(1, len(REGIONS)), REGIONS.items(), strict=True):
        values = _slice(folder / f"sub-01_model-adct2star_param-{region}_desc-nnls_dwimap.nii.gz")
        shown = axes.imshow(values, cmap="magma", vmin=0, vmax=1)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    figure.colorbar(shown, ax=figure.axes, label="fraction of the spectrum", shrink=0.8)
    return figure


def selection(folder):
    """BIC and AIC over the number of clusters."""
    table, _ = read_table(folder / "sub-01_desc-inspect_selection.tsv")
    figure = Figure(figsize=(5.0, 2.6), layout="constrained")
    axes = figure.subplots()
    for name, marker in (("bic", "o"), ("aic", "s")):
        axes.plot(table["n_clusters"], table[name] - table[name].min(), marker=marker, label=name.upper())
    axes.set(xlabel="number of clusters", ylabel="above its least value", yscale="symlog")
    axes.legend(frameon=False)
    return figure


def _slice(path):
    """One slice of a map, front up."""
    return np.rot90(read_map(path).data[:, :, SLICE])


def _gray(axes, folder):
    """Reference image as background."""
    axes.imshow(_slice(folder.parent / "figures" / "sub-01_desc-reference_dwiref.nii.gz"), cmap="gray")
    axes.set_axis_off()


if __name__ == "__main__":
    main()
