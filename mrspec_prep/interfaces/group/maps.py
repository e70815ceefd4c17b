"""Maps that a group fit gives every participant: a node for a few series."""

from pathlib import Path

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, TraitedSpec

from mrspec_prep.bids.output.derivative_dataset import known_datasets, name_labels
from mrspec_prep.bids.output.derivatives import bids_uri, output_path, write_json, write_map
from mrspec_prep.bids.output.group_files import group_file, region_image
from mrspec_prep.bids.output.spectra_files import read_cluster_spectra
from mrspec_prep.interfaces.base import File, SimpleInterface, traits, within_threads
from mrspec_prep.interfaces.group.members import load_result, member_of, protocol_of
from mrspec_prep.spectra.group import GroupMapResult, GroupResult, apply_atlas, responsibilities_of, weights_of
from mrspec_prep.spectra.group.quality import member_quality


class GroupSaveInputSpec(BaseInterfaceInputSpec):
    """Input that every saving node of the group shares."""

    out_dir = traits.Str(mandatory=True, desc="derivatives folder")
    bids_dir = traits.Str(mandatory=True, desc="raw dataset, for BIDS URIs")
    settings = traits.Dict(mandatory=True, desc="the whole workflow file as resolved")
    options_hash = traits.Str(mandatory=True, desc="of the settings")
    seed = traits.Int(mandatory=True, desc="random seed")
    fit = File(exists=True, desc="the group's fit (npz); absent where spectra are kept")
    map_fit = File(exists=True, desc="the group's continuous fit (npz), where asked for")
    atlas = File(exists=True, desc="spectra that are kept as they are (h5)")


class _MapsInputSpec(GroupSaveInputSpec):
    records = traits.List(traits.Dict(), mandatory=True, desc="series: path, entities, site, protocol of each")
    first = traits.Int(mandatory=True, desc="index in the group of the first of them")
    grid_like = File(exists=True, mandatory=True, desc="compressed signals whose grid is that of all (h5)")
    num_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads; changes no result")


class _MapsOutputSpec(TraitedSpec):
    out_files = traits.List(File(exists=True), desc="derivatives written")
    rows = File(exists=True, desc="what the table of participants says of each series (JSON)")


class SaveGroupMaps(SimpleInterface):
    """Clusters and responsibilities of a few series under the group's spectra.

    Saves whenever the group runs: the work directory cannot know whether what it wrote is still there.
    """

    input_spec = _MapsInputSpec
    output_spec = _MapsOutputSpec
    _always_run = True

    def _run_interface(self, runtime):
        self.roots, self.written = known_datasets(self.inputs.out_dir, self.inputs.bids_dir), []
        rows = [self._series(self.inputs.first + i, record) for i, record in enumerate(self.inputs.records)]
        self._results["rows"] = str(write_json(Path(runtime.cwd) / "rows.json", rows))
        self._results["out_files"] = self.written
        return runtime

    def _series(self, index, record):
        """Write the maps of one series; returns its row of the table."""
        self.index, self.record, path = index, record, Path(record["path"])
        self.member, compressed = member_of(record, path)
        self.protocol = protocol_of(path, self.inputs.grid_like)
        self.roi, (self.like, mask) = compressed.roi, region_image(record, compressed.header)
        with within_threads(self.inputs.num_threads):
            responsibilities, facts, more_maps = self._applied() if self.inputs.atlas else self._fitted()
        proportions = responsibilities.mean(axis=0)
        sources = [bids_uri(file, self.roots) for file in (path, *mask)]
        self.about = {
            "Sources": sources,
            "SpatialReference": sources[-1],
            "Atlas": self._atlas("inspect"),
            "OptionsHash": self.inputs.options_hash,
            "Seed": self.inputs.seed,
            "Kernel": compressed.header.kernel,
            "Site": record["site_name"],
            "Protocol": record["protocol"] + 1,
            "Proportions": proportions.tolist(),
            "Gain": facts["gain"],
        }
        labels = [f"cluster{m + 1}" for m in range(len(proportions))]
        self._map(responsibilities, "groupprobseg", "probseg", seg="group", metadata={"LabelMap": labels})
        for name, values in more_maps.items():
            self._map(values, f"group{name}", "dwimap", model="group", param=name)
        name_labels(self.inputs.out_dir, "group")
        self._map(responsibilities.argmax(axis=1) + 1, "groupdseg", "dseg", seg="group")
        row = {
            "n_voxels": self.member.n_voxels,
            "sigma": float(np.median(compressed.sigma)),
            "main_cluster": int(proportions.argmax()) + 1,
            "proportions": proportions.tolist(),
            **facts,
        }
        if self.inputs.map_fit:
            row["weights"] = self._components()
        return row

    def _fitted(self):
        """Responsibilities under the fit of the group, facts for the table, further maps."""
        result = load_result(self.inputs.fit, GroupResult)
        found, _ = responsibilities_of(self.member, self.protocol, result, self.index)
        spectra, gain = result.sizes[:, None] * result.spectra, result.unit_gains[self.member.site]
        judged = member_quality(self.member, self.protocol, spectra, found, scale=result.scale, gain=gain)
        return found, {"gain": float(result.gains[self.member.site])} | vars(judged), {}

    def _applied(self):
        """The same under spectra that are kept; the participant's own proportions are fitted."""
        atlas = read_cluster_spectra(self.inputs.atlas)
        scale = atlas.metadata.get("Scale", "profiled")
        threads = self.inputs.num_threads
        found = apply_atlas(self.member, self.protocol, atlas.spectra, scale=scale, n_threads=threads)
        facts = {"gain": found.gain if scale == "fixed" else None, "unexplained": float(found.unexplained.mean())}
        judged = member_quality(
            self.member, self.protocol, atlas.spectra, found.responsibilities, scale=scale, gain=found.gain
        )
        facts |= vars(judged)
        return found.responsibilities, facts, {"residual": found.residual}

    def _components(self):
        """Maps of the components' weights; returns their means."""
        result = load_result(self.inputs.map_fit, GroupMapResult)
        weights, _, residual = weights_of(self.member, self.protocol, result)
        for j, values in enumerate(weights.T):
            component = f"component{j + 1}"
            more = {"Component": component, "Atlas": self._atlas("inspectmap")}
            self._map(values, "groupcomponent", "dwimap", more, model="groupmap", param=component)
        more = {"Atlas": self._atlas("inspectmap")}
        self._map(residual, "groupmixture", "dwimap", more, model="groupmap", param="residual")
        return weights.mean(axis=0).tolist()

    def _atlas(self, desc):
        return bids_uri(group_file(self.inputs.out_dir, "spectra", ".h5", desc=desc), self.roots)

    def _map(self, values, key, suffix, metadata=None, **entities):
        path = output_path(
            self.inputs.out_dir,
            self.record["entities"],
            datatype=self.record["datatype"],
            suffix=suffix,
            extension=".nii.gz",
            **entities,
        )
        write_map(path, values, self.roi, self.like, key=key, metadata=self.about | (metadata or {}))
        self.written.append(str(path))
