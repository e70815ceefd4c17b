"""What a group fit says of all: spectra, the choice of their number, and the table of participants."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec

from mrspec_prep.bids.output.compressed import read_header, read_protocol
from mrspec_prep.bids.output.derivative_dataset import known_datasets
from mrspec_prep.bids.output.derivatives import bids_uri, write_table
from mrspec_prep.bids.output.group_files import group_file, table_column, template_file, write_group_participants
from mrspec_prep.bids.output.spectra_files import read_cluster_spectra, write_cluster_spectra, write_component_spectra
from mrspec_prep.interfaces.base import File, SimpleInterface, traits
from mrspec_prep.interfaces.group.comparison import write_comparison
from mrspec_prep.interfaces.group.maps import GroupSaveInputSpec
from mrspec_prep.interfaces.group.members import load_result, read_plan
from mrspec_prep.spectra import find_peaks
from mrspec_prep.spectra.group import GroupMapResult, GroupResult


class _GroupInputSpec(GroupSaveInputSpec):
    plan = File(exists=True, mandatory=True, desc="members, those left out, protocols and sites (JSON)")
    people = File(exists=True, mandatory=True, desc="what participants.tsv says of them, those left out (JSON)")
    selection = File(exists=True, desc="table over the number of clusters (npz); absent where spectra were given")
    rows = traits.List(File(exists=True), mandatory=True, desc="lists of rows, one per member, in their order (JSON)")
    workflow_name = traits.Str(mandatory=True, desc="name of the workflow file")


class _GroupOutputSpec(TraitedSpec):
    out_files = traits.List(File(exists=True), desc="files written")


class SaveGroup(SimpleInterface):
    """Spectra of the clusters, the table over their number, and the table of participants."""

    input_spec = _GroupInputSpec
    output_spec = _GroupOutputSpec
    _always_run = True

    def _run_interface(self, runtime):
        self.plan = read_plan(self.inputs.plan)
        self.rows = [row for path in self.inputs.rows for row in json.loads(Path(path).read_text(encoding="utf-8"))]
        self.result = load_result(self.inputs.fit, GroupResult) if self.inputs.fit else None
        self.grid = read_header(self.plan["protocols"][0]).grid
        roots = known_datasets(self.inputs.out_dir, self.inputs.bids_dir)
        self.common = {
            "Sources": [bids_uri(record["path"], roots) for record in self.plan["members"]],
            "OptionsHash": self.inputs.options_hash,
            "Seed": self.inputs.seed,
        }
        written = self._given() if self.result is None else [*self._fitted(), self._selection()]
        written += [self._components()] if self.inputs.map_fit else []
        written += [self._participants(), write_comparison(self.inputs.out_dir)]
        self._results["out_files"] = [str(path) for path in written]
        return runtime

    def _about(self):
        """What the spectra were made of, for sidecars."""
        settings, plan = self.inputs.settings["group"], self.plan
        return {
            **self.common,
            "Mode": "frozen" if self.result is None else "joint",
            "Kernel": plan["kernel"],
            "Alpha": settings["alpha"],
            "Scale": settings["scale"],
            "NParticipants": len({record["subject"] for record in plan["members"]}),
            "NSeries": len(plan["members"]),
            "NVoxels": sum(row["n_voxels"] for row in self.rows),
            "NSites": len(plan["sites"]),
            "NProtocols": len(plan["protocols"]),
            "Workflow": self.inputs.workflow_name,
            "Settings": self.inputs.settings,
            "Device": "cpu",
        }

    def _about_fit(self):
        settings, result = self.inputs.settings["group"], self.result
        return self._about() | {
            "SiteGains": settings["site_gains"],
            "Gains": {name: float(gain) for name, gain in zip(self.plan["sites"], result.gains, strict=True)},
            "Criterion": settings["criterion"],
            "Converged": bool(result.converged),
            "Steps": int(result.n_steps),
            "Stability": result.stability,
        }

    def _fitted(self):
        """Spectra of the fit."""
        result = self.result
        more = {
            "Trace": result.trace,
            "LogLikelihood": result.log_likelihood,
            "BIC": result.bic,
            "AIC": result.aic,
            "NParameters": result.n_parameters,
        }
        return self._spectra(result.spectra, result.cluster_probs, self._about_fit() | more)

    def _given(self):
        """Spectra that were kept, with the shares they have here."""
        atlas = read_cluster_spectra(self.inputs.atlas)
        sizes = np.array([row["n_voxels"] for row in self.rows], float)
        weights = sizes @ np.array([row["proportions"] for row in self.rows]) / sizes.sum()
        origin = {
            "Atlas": self.inputs.atlas,
            "AtlasVersion": atlas.metadata.get("SoftwareVersion", "n/a"),
            "AtlasHash": atlas.metadata.get("OptionsHash", "n/a"),
        }
        about = self._about() | {"Frozen": origin}
        about |= {name: atlas.metadata[name] for name in ("Alpha", "Scale") if name in atlas.metadata}
        return self._spectra(atlas.spectra, weights, about)

    def _components(self):
        """Spectra of the joint continuous fit."""
        result = load_result(self.inputs.map_fit, GroupMapResult)
        n_components = len(result.spectra)
        sizes = np.array([row["n_voxels"] for row in self.rows], float)
        about = self._about() | {
            "Description": "Spectra of the components that the voxels of all participants mix (joint continuous "
            "InSpect); low and high repeat the amplitude: other solutions are told by signal_spread.",
            "Converged": bool(result.converged),
            "Steps": int(result.n_steps),
            "Starts": len(result.start_objectives),
            "Residual": result.residual,
        }
        return write_component_spectra(
            group_file(self.inputs.out_dir, "spectra", ".h5", desc="inspectmap"),
            result.spectra,
            self.grid,
            alternatives=np.empty((0, *result.spectra.shape)),
            weights=sizes @ result.proportions / sizes.sum(),
            weight_spread=np.full(n_components, np.nan),
            signal_spread=result.signal_spread,
            peaks=[find_peaks(spectrum, self.grid) for spectrum in result.spectra],
            ranges=[{} for _ in range(n_components)],
            metadata=about,
        )

    def _spectra(self, spectra, weights, metadata):
        """Write the same spectra as the group's and as those of a template; where they are."""
        out_dir, kernel = self.inputs.out_dir, self.plan["kernel"]
        paths = [group_file(out_dir, "spectra", ".h5", desc="inspect"), template_file(out_dir, kernel)]
        peaks = [find_peaks(spectrum, self.grid) for spectrum in spectra]
        about = {"weights": weights, "peaks": peaks, "metadata": metadata}
        return [write_cluster_spectra(path, spectra, self.grid, **about) for path in paths]

    def _selection(self):
        table = dict(np.load(self.inputs.selection))
        best = int(table.pop("best"))
        about = {
            **self._about_fit(),
            "Description": "Fits of the group over the number of clusters, and the one chosen.",
            "Chosen": best,
            "Range": [int(table["n_clusters"].min()), int(table["n_clusters"].max())],
        }
        return write_table(group_file(self.inputs.out_dir, "selection", desc="inspect"), table, about)

    def _participants(self):
        plan, people = self.plan, json.loads(Path(self.inputs.people).read_text(encoding="utf-8"))
        included = [
            {**named(record), "protocol": record["protocol"] + 1, "included": True, **row}
            for record, row in zip(plan["members"], self.rows, strict=True)
        ]
        left_out = [{**named(record), "included": False, "cause": record["cause"]} for record in people["left_out"]]
        metadata = {
            **self.common,
            "Description": "Everyone the group level looked at: share of each cluster, or why they were left out.",
            "NParticipants": len({record["subject"] for record in plan["members"]}),
            "NSeries": len(included),
            "NExcluded": len(left_out),
            "CompareColumn": table_column(people["compare"]) or "n/a",
            "Sites": [self._site(number, name) for number, name in enumerate(plan["sites"])],
            "Protocols": [self._protocol(number, path) for number, path in enumerate(plan["protocols"])],
            "SoftwareVersion": people["software_version"],
        }
        rows = people["rows"] + [record["people"] for record in people["left_out"]]
        return write_group_participants(self.inputs.out_dir, included + left_out, rows, metadata)

    def _site(self, number, name):
        of_site = [i for i, record in enumerate(self.plan["members"]) if record["site"] == number]
        members = [self.plan["members"][i] for i in of_site]
        return {
            "name": name,
            "n_participants": len({record["subject"] for record in members}),
            "n_series": len(members),
            "n_voxels": sum(self.rows[i]["n_voxels"] for i in of_site),
            "gain": float(self.result.gains[number]) if self.result else None,
            "protocols": sorted({record["protocol"] + 1 for record in members}),
        }

    def _protocol(self, number, path):
        header, stored = read_header(path), read_protocol(path)
        encodings = stored.encodings
        values = {"b": (encodings.bvalue, 1), "TE": (encodings.echo_time, 1e-3), "TI": (encodings.inversion_time, 1e-3)}
        return {
            "protocol": number + 1,
            "hash": header.protocol_hash,
            "n_encodings": header.n_encodings,
            "ranks": header.n_ranks,
            "n_series": sum(record["protocol"] == number for record in self.plan["members"]),
            **{
                name: np.unique(np.round(given * factor, 6)).tolist()
                for name, (given, factor) in values.items()
                if given is not None
            },
        }


def named(record):
    """Who a series is of, and where it lies."""
    session = record.get("session")
    return {
        "participant_id": f"sub-{record['subject']}",
        "session": f"ses-{session}" if session else None,
        "series": Path(record["path"]).name if record.get("path") else None,
        "site": record["site_name"],
    }
