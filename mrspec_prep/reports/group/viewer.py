"""The viewer of a group: scan by scan what the viewer of a participant shows, and what all scans share once."""

import numpy as np

from mrspec_prep.bids.output.derivatives import read_map
from mrspec_prep.reports.collect import UNREADABLE
from mrspec_prep.reports.group.collect import read_cluster_map
from mrspec_prep.reports.group.participants import report_address
from mrspec_prep.reports.group.scan import check_clusters, open_compressed, regenerated_signals, scan_results
from mrspec_prep.reports.viewer.block import clusters_of, geometry, pack_signals
from mrspec_prep.reports.viewer.fits import pack_axes, pack_kernel
from mrspec_prep.reports.viewer.layers import layers_of, pack_layers
from mrspec_prep.reports.viewer.packing import Block, compressed_text, plain_json, script_json
from mrspec_prep.reports.viewer.signals import MOST_SIGNALS, OF_SIGMA, contrasts_of, equal_encodings
from mrspec_prep.reports.words import count, join, number, percent

SLUG = "group"
SHARED = f"{SLUG}_data_spectra"
LEVELS = 250  # grey levels of an image, steps of a map
MOST_PROBABILITIES = 4_000_000  # of one page
QUALITY = (
    ("n_voxels", "{:.0f} voxels"), ("snr", "SNR of all volumes {:.0f}"), ("residual", "residual {:.2f} × noise"),
    ("certainty", "certainty {:.2f}"),
)  # fmt: skip
MOST_TEXT = 25_000_000  # bytes of the page that scans may take; the rest is told


def group_viewer_blocks(results, words):
    """Block of the group's viewer; none where no scan has a cluster map.

    Parameters
    ----------
    results : GroupResults
    words : dict
        Content of ``data/group_report.toml``.

    Yields
    ------
    dict

    """
    if results.spectra is None or not results.proportions.size:
        return
    writer = _Writer(results, words)
    scans = [writer.scan(index) for index in range(len(results.names()))]
    if not any(scan["packed"] for scan in scans):
        return
    weights = [cluster["share"] for cluster in writer.clusters]
    header = {
        "slug": SLUG,
        "scans": scans,
        "compared": (results.compared or "").replace("_", " "),
        "clusters": [{"color": c, "share": w} for c, w in zip(results.colors, weights, strict=False)],
    }
    blocks = [*writer.blocks, {"name": SHARED, "text": writer.shared.text()}]
    size = sum(len(block["text"]) for block in blocks)
    yield {"kind": "viewer", "slug": SLUG, "title": "Group", "scans": scans, "header": script_json(header),
           "blocks": blocks, "size": f"{size / 1e6:.1f}", "notes": writer.told(scans),
           "intro": words["viewer"]["intro"]}  # fmt: skip


def shown_scans(blocks):
    """Rows of the scans that included a cluster map in the viewer's blocks."""
    return {row for block in blocks for row, scan in enumerate(block["scans"]) if scan["packed"]}


class _Writer:
    """Packs scan after scan; kernels and spectra once for all that share them."""

    def __init__(self, results, words):
        self.results, self.texts, self.report = results, words["viewer"], words["report"]
        self.shared, self.blocks, self.notes, self.size = Block(SHARED), [], [], 0
        self.clusters = clusters_of(results.clusters, results.spectra, len(results.clusters), self.shared)
        self.axes, self.kernels, self.unlucky, self.full = pack_axes(results.grid), {}, {}, []
        self.groups, _ = results.groups()
        voxels = results.column("n_voxels")
        self.n_voxels = int(voxels.sum()) if voxels is not None else 0

    def scan(self, index):
        """What the page says of one scan; its maps and signals go to blocks of their own, while there is room."""
        results = self.results
        shares = results.proportions[index]
        about = {"name": results.names()[index], "shares": [round(float(v), 5) for v in shares], "packed": False}
        about["group"] = str(self.groups[index])
        about["facts"] = self._facts(index)
        about["participant"] = str(results.column("participant_id")[index])
        about["href"] = report_address(results, about["participant"], index)
        about["residual"] = self._number("residual", index, "{:.2f}")
        if self.size > MOST_TEXT:
            self.full.append(about["name"])
            return about
        try:
            header, blocks = self._packed(index, shares)
        except UNREADABLE as error:
            self._miss(about["name"], error)
            return about
        if header is not None:
            slug = f"{SLUG}{index}"
            text = compressed_text(plain_json(header).encode("utf-8"))
            found = [{"name": f"{slug}_data_header", "text": text}]
            found += [{"name": block.name, "text": block.text()} for block in blocks if block.size]
            self.blocks += found
            self.size += sum(len(block["text"]) for block in found)
            about["packed"] = True
        return about

    def _packed(self, index, shares):
        """Header of the viewer of one scan and its blocks; None without a cluster map."""
        results, slug = self.results, f"{SLUG}{index}"
        participant, series = (str(results.column(name)[index]) for name in ("participant_id", "series"))
        found = read_cluster_map(results.out_dir, participant, series)
        if found is None or not (found.labels.data > 0).any():
            return None, ()
        check_clusters(found, len(self.clusters))
        images, measured = (Block(f"{slug}_data_{name}") for name in ("images", "signals"))
        compressed = None
        try:
            if found.signals is None:
                raise FileNotFoundError(self.texts["not_there"])
            compressed = open_compressed(found.signals, found.labels)
        except UNREADABLE as error:
            self._miss(results.names()[index], error)
        scan = scan_results(found, results.spectra, compressed)
        if self.n_voxels * len(shares) <= MOST_PROBABILITIES:
            scan.responsibilities = _probabilities(found)
        header = {"title": results.names()[index], "slug": slug, "shared": {"spectra": SHARED}, "notes": []}
        header |= geometry(scan, images, LEVELS)
        header["layers"], header["maps"] = pack_layers(layers_of(scan, self.report), images, LEVELS)
        labels = found.labels.data[found.labels.data > 0]
        header["clusters"] = [
            cluster | {"n": int((labels == m + 1).sum()), "share": percent(shares[m]), "whole": cluster["share"]}
            for m, cluster in enumerate(self.clusters)
        ]
        header["axes"], header["noise"] = self.axes, "of each participant's run"
        if compressed is not None:
            self._signals(header, compressed, found.labels, measured)
        return header, (images, measured)

    def _signals(self, header, compressed, labels, block):
        """Signals and kernel; kernels are those of the protocol, on the group's grid."""
        protocol = compressed.protocol
        key = compressed.header.protocol_hash
        if key not in self.kernels:
            columns = _columns(protocol.encodings)
            group_of = equal_encodings(columns)
            name = protocol.kernel_settings["name"]
            kernel = pack_kernel(name, protocol.encodings, self.results.grid, group_of, self.shared)
            self.kernels[key] = kernel, contrasts_of(columns), group_of
        header["kernel"], header["contrasts"], group_of = self.kernels[key]
        header["groups"] = group_of.tolist()
        room = int(MOST_SIGNALS * len(compressed.sigma) / max(self.n_voxels, 1))
        found = regenerated_signals(compressed, labels, group_of, len(self.clusters), room)
        pack_signals(header, found, block, float(np.median(compressed.sigma)) / OF_SIGMA)
        self.notes.append(self.texts["signals" if found.level == "encoding" else "only_clusters"])

    def _facts(self, index):
        """Group, site and quality of a scan, one line."""
        results, parts = self.results, []
        if self.groups[index]:
            parts.append(str(self.groups[index]))
        if len(results.sites) > 1:
            parts.append(f"site {results.column('site')[index]}")
        for name, form in QUALITY:
            if text := self._number(name, index, form):
                parts.append(text)
        return " · ".join(parts)

    def _number(self, name, index, form):
        values = self.results.column(name)
        return form.format(values[index]) if values is not None and np.isfinite(values[index]) else ""

    def _miss(self, name, error):
        """Keep a cause, without the folders of this machine."""
        cause = str(error)
        for root in (self.results.out_dir, self.results.out_dir.resolve()):
            cause = cause.replace(f"{root}/", "")
        self.unlucky.setdefault(cause, []).append(name)

    def told(self, scans):
        """Notes below the viewer: where signals come from, and what is left out."""
        notes = list(dict.fromkeys(self.notes))
        if self.full:
            notes.append(self.texts["full"].format(scans=count(len(self.full), "scan"), all=number(len(scans))))
        for cause, names in self.unlucky.items():
            few = names[:5] + ([f"{len(names) - 5} more"] if len(names) > 5 else [])
            notes.append(self.texts["missing"].format(scans=join(few), cause=cause.rstrip(".")))
        return notes


def _probabilities(found):
    """Responsibilities beside a cluster map, or None."""
    path = found.path.with_name(found.path.name.replace("_dseg.nii.gz", "_probseg.nii.gz"))
    return read_map(path).canonical() if path.is_file() else None


def _columns(encodings):
    """Encodings as a volume table has them, in BIDS units."""
    times = {"TE": encodings.echo_time, "TI": encodings.inversion_time, "TR": encodings.repetition_time}
    found = {name: np.asarray(values, float) * 1e-3 for name, values in times.items() if values is not None}
    if encodings.bvalue is not None:
        found["b"] = np.asarray(encodings.bvalue, float)
    return found
