"""A finished group on disk, written through our own writers: what the group run leaves, from a simulated study."""

import shutil

import nibabel as nib
import numpy as np

from benchmarks.simulated_study import COMPARTMENTS, SITES, TISSUES, Study, encodings_of, scans_of
from mrspec_prep.bids.output.compressed import CompressedProtocol, write_compressed
from mrspec_prep.bids.output.derivative_dataset import reference_path
from mrspec_prep.bids.output.derivatives import output_path, start_dataset, write_map, write_table
from mrspec_prep.bids.output.spectra_files import write_cluster_spectra
from mrspec_prep.interfaces.group.comparison import write_comparison
from mrspec_prep.physics import default_grid, kernel_matrix
from mrspec_prep.spectra.compression.truncation import compress_signals, truncate_kernel

ABOUT = {"OptionsHash": "0f1e2d3c4b5a", "Seed": 0, "SoftwareVersion": "mrspec_prep 0.3.0"}


def write_group(out, study=None, chosen=True, left_out=True, compare="group", odd_site=False, frozen=False, maps=True):
    """Write the group's files of a study whose clusters were all found, with a few voxels wrong.

    Returns
    -------
    Path
        Of the derivative dataset.

    """
    study = study or Study(n_repeated=1)
    raw = out.parent / "raw"
    shutil.rmtree(out, ignore_errors=True)
    start_dataset(out, raw, {})
    rng = np.random.default_rng(5)
    m = len(TISSUES)
    rows, sources = [], []
    for scan in scans_of(study):
        person, label = scan.participant, scan.participant.label
        labels = scan.tissues.astype(int)
        inside = np.argwhere(labels > 0)
        wrong = inside[rng.random(len(inside)) < 0.02]
        labels[tuple(wrong.T)] = rng.integers(1, m + 1, len(wrong))
        names = {"subject": label, "session": scan.session}
        source = output_path(out, names, datatype="dwi", suffix="spectra", extension=".h5", desc="compressed")
        sources.append(f"bids::{source.relative_to(out)}")
        shares = np.bincount(labels[labels > 0], minlength=m + 1)[1:] / (labels > 0).sum()
        if maps:
            _write_maps(out, raw, names, labels, scan, study, sources[-1], shares)
            _write_compressed(source, labels > 0, scan, study, person)
        residual = rng.normal(1.01, 0.02) * (1.5 if odd_site and person.site == 1 else 1)
        rows.append({
            "participant_id": f"sub-{label}", "session": f"ses-{scan.session}" if scan.session else None,
            "series": source.name, "site": SITES[person.site], "protocol": 1 + person.site % len(set(study.protocols)),
            "included": True, "cause": None, "n_voxels": int((labels > 0).sum()), "sigma": scan.noise_std,
            "gain": (1.0, 1.02)[person.site % 2], "log_likelihood": -1e5 * rng.uniform(0.9, 1.1),
            "main_cluster": int(shares.argmax()) + 1, "snr": rng.normal((15, 14)[person.site % 2], 1.2),
            "residual": residual, "certainty": rng.uniform(0.95, 0.99),
            **{f"proportion_{k + 1}": shares[k] for k in range(m)},
            "group": person.group, "age": person.age, "gestational_age": person.gestational_age,
        })  # fmt: skip
    if left_out:
        gone = dict.fromkeys(rows[0]) | {"participant_id": "sub-99", "site": "south", "included": False}
        rows.append(gone | {"cause": "no noise map: run the participant again", "series": None})
    sites = sorted({row["site"] for row in rows})
    protocols = [
        {"protocol": i + 1, "n_encodings": len(e := encodings_of(name)), "ranks": 30 - 8 * i,
         "b": np.unique(e.bvalue).tolist(), "TE": (np.unique(e.echo_time) * 1e-3).tolist(), "TI": []}
        for i, name in enumerate(dict.fromkeys(study.protocols))
    ]  # fmt: skip
    included = [row for row in rows if row["included"]]
    about_sites = [
        {"name": name, "gain": (1.0, 1.02)[i % 2], "protocols": [1 + i % len(protocols)],
         "n_series": sum(row["site"] == name for row in included)}
        for i, name in enumerate(sites)
    ]  # fmt: skip
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    write_table(out / "group_participants.tsv", columns,
                ABOUT | {"CompareColumn": compare, "Sites": about_sites, "Protocols": protocols})  # fmt: skip
    _write_spectra(out, study, included, sources, about_sites, frozen)
    if chosen and not frozen:
        _write_selection(out)
    write_comparison(out)
    return out


def grid_of(study):
    """Grid of the group's spectra."""
    return default_grid(("diffusivity", "t2star"), encodings_of(study.protocols[0]), points=(30, 30))


def _write_compressed(path, roi, scan, study, person):
    """Compressed signals as a participant's run leaves them, of every 10th encoding only."""
    encodings = encodings_of(study.protocols[person.site % len(study.protocols)])
    few = np.arange(0, len(encodings), 10)
    encodings, grid = encodings.take(few), grid_of(study)
    truncated = truncate_kernel(kernel_matrix("adc-t2star", encodings, grid))
    signals, outside = compress_signals(scan.images[roi][:, few].astype(float), truncated)
    protocol = CompressedProtocol(
        {"name": "adc-t2star"}, encodings, grid, truncated.projection, truncated.singular_values
    )
    about = ABOUT | {"Sources": [], "Datatype": "dwi", "Suffix": "dwi", "NoiseDistribution": "gaussian",
                     "SignalsAre": "as measured"}  # fmt: skip
    write_compressed(path, signals=signals, sigma=np.full(int(roi.sum()), scan.noise_std), outside=outside, roi=roi,
                     affine=np.diag([-3.0, 3, 3, 1]), protocol=protocol, metadata=about)  # fmt: skip


def _write_maps(out, raw, names, labels, scan, study, source, shares):
    affine = np.diag([-3.0, 3, 3, 1])
    like = raw / "like.nii.gz"
    like.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros(study.shape, np.float32), affine), like)
    about = ABOUT | {"Sources": [source], "Proportions": shares.tolist()}
    path = output_path(out, names, datatype="dwi", suffix="dseg", extension=".nii.gz", seg="group")
    write_map(path, labels, labels > 0, like, key="dseg", metadata=about)
    path = reference_path(out, names, datatype="dwi")
    reference = scan.images[..., 0].astype(float)
    write_map(path, reference, labels >= 0, like, key="reference", metadata=about)


def _write_spectra(out, study, rows, sources, sites, frozen):
    grid = grid_of(study)
    bins, spectra, peaks = grid.bins(), [], []
    for content in TISSUES.values():
        spectrum, found = np.zeros(grid.n_bins), []
        for name, share in sorted(content.items(), key=lambda item: -item[1]):
            d, t = COMPARTMENTS[name]
            distance = np.log10(bins["diffusivity"] / d) ** 2 + np.log10(bins["t2star"] / t) ** 2
            bump = np.exp(-distance / (2 * 0.06**2))
            spectrum += share * bump / bump.sum()
            found.append({"diffusivity": d, "t2star": t, "fraction": share})
        spectra.append(spectrum)
        peaks.append(found)
    voxels = np.array([row["n_voxels"] for row in rows], float)
    weights = voxels @ np.array([[row[f"proportion_{k + 1}"] for k in range(len(TISSUES))] for row in rows])
    about = ABOUT | {
        "Mode": "frozen" if frozen else "joint", "Kernel": "adc-t2star", "Alpha": 0.01, "Scale": "profiled",
        "SiteGains": True, "Gains": {site["name"]: site["gain"] for site in sites}, "NoiseDistribution": "student-t",
        "Converged": True, "Steps": 61, "Stability": 0.99, "Criterion": "bic", "Sources": sources,
        "NParticipants": len({row["participant_id"] for row in rows}), "NSeries": len(rows),
    }  # fmt: skip
    if frozen:
        about["Frozen"] = {"Atlas": "/data/atlas/placenta_desc-inspect_spectra.h5", "AtlasVersion": "1"}
    write_cluster_spectra(out / "group_desc-inspect_spectra.h5", np.array(spectra), grid,
                          weights=weights / weights.sum(), peaks=peaks, metadata=about)  # fmt: skip


def _write_selection(out):
    tried = np.arange(2, 13)
    bic = 2.1e6 + 9000.0 * np.exp(-(tried - 2) / 1.6) + 600.0 * np.maximum(tried - 8, 0)
    table = {
        "n_clusters": tried, "log_likelihood": -bic / 2 + 30 * tried, "n_parameters": 11.3 * tried, "bic": bic,
        "aic": bic - 60.0 * tried, "n_steps": 40 + 9 * tried, "converged": tried < 12, "stability": 1 - 0.01 * tried,
    }  # fmt: skip
    write_table(
        out / "group_desc-inspect_selection.tsv", table, ABOUT | {"Criterion": "bic", "Chosen": 8, "Range": [2, 12]}
    )
