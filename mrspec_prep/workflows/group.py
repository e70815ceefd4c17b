"""Graph of the group level: one fit, the maps of every participant, tables, report."""

import json
from dataclasses import asdict
from pathlib import Path

from nipype.interfaces.utility import Merge
from nipype.pipeline import engine as pe

from mrspec_prep.bids.output.derivatives import write_json
from mrspec_prep.interfaces.group.fit import OF_THE_COMPONENTS, OF_THE_FIT, FitGroup, FitGroupMap
from mrspec_prep.interfaces.group.maps import SaveGroupMaps
from mrspec_prep.interfaces.group.tables import SaveGroup
from mrspec_prep.interfaces.reportlets import GroupReport
from mrspec_prep.workflows.running.measured_memory import StepMemory, kind_of_step
from mrspec_prep.workflows.running.steps import Step

GROUP_WORKFLOW = "mrspec_prep_group_wf"
MOST_PER_NODE = 16  # series that one node maps
AROUND_GB = 0.6  # of the fit, beside the members' signals
TABLES_GB = 0.4
REPORT_GB = 1.0


def init_group_wf(plan, *, out_dir, bids_dir, work_dir, resources, dask=None, measured=None):
    """Wire the group level.

    Inputs
        plan : GroupPlan.
        resources : Resources; the fit has all processors, the maps ``omp_nthreads``.
        dask : str or None; the workers of the fit of clusters, as ``--dask`` names them.
        measured : dict; memory of an earlier run (``measured_memory.measured_before``).
    Outputs
        Files of the group, maps in every participant's folder (the nodes whose names begin with ``save``), and
        ``group.html``. The fit runs in this process: it talks while it climbs, and its threads see all participants.
    """
    workflow = pe.Workflow(GROUP_WORKFLOW, base_dir=str(work_dir))
    folder = Path(work_dir) / GROUP_WORKFLOW
    plan_file = write_json(folder / "plan.json", plan.to_json())
    people_file = write_json(folder / "people.json", plan.people_json())
    records, frozen = plan.to_json()["members"], plan.frozen
    saving = {
        "out_dir": str(out_dir),
        "bids_dir": str(bids_dir),
        "settings": plan.options.to_dict(),
        "options_hash": plan.options.group_hash(),
        "seed": plan.seed,
    } | ({"atlas": str(frozen)} if frozen else {})
    parts = parts_of(len(records), resources.nprocs)
    memory = {
        step: StepMemory(estimate, resources.steps_gb, (measured or {}).get(settings, {})).of(kind_of_step(step))
        for step, (settings, estimate) in group_settings(plan, resources.nprocs).items()
    }
    rows = Step(Merge(len(parts)), "rows", run_without_submitting=True)
    tables = Step(
        SaveGroup(plan=str(plan_file), people=str(people_file), workflow_name=plan.workflow, **saving),
        "save_tables",
        mem_gb=memory["save_tables"],
    )
    report = Step(GroupReport(out_dir=str(out_dir)), "report", mem_gb=memory["report"])
    workflow.connect([(rows, tables, [("out", "rows")]), (tables, report, [("out_files", "out_files")])])
    fits = [] if frozen else _fit_nodes(plan, plan_file, work_dir, resources, dask)
    for node, name in fits:
        workflow.connect(node, "fit", tables, name)
        if name == "fit":
            workflow.connect(node, "selection", tables, "selection")
    for number, part in enumerate(parts):
        maps = _maps_node(number, part, records, saving, resources.omp_nthreads, memory)
        workflow.connect(maps, "rows", rows, f"in{number + 1}")
        for node, name in fits:
            workflow.connect(node, "fit", maps, name)
    return workflow


def parts_of(n_series, nprocs):
    """Slices of the series that a node maps: one each in small groups, up to 16 where nodes alone would take long."""
    size = min(max(n_series // (8 * nprocs), 1), MOST_PER_NODE)
    return [slice(start, min(start + size, n_series)) for start in range(0, n_series, size)]


def _fit_nodes(plan, plan_file, work_dir, resources, dask):
    """Nodes of the joint fits, each with the name of the input that takes what it found."""
    settings = _plain(asdict(plan.options.group))
    common = {"plan": str(plan_file), "seed": plan.seed, "num_threads": resources.nprocs}
    checkpoints = {
        "checkpoint_dir": str(checkpoint_folder(work_dir)),
        "checkpoint_steps": settings["checkpoint_steps"],
        "dask": dask or "",
    }
    fits = [("fit", FitGroup(settings={name: settings[name] for name in OF_THE_FIT}, **common, **checkpoints), "fit")]
    if settings["n_components"]:
        components = FitGroupMap(settings={name: settings[name] for name in OF_THE_COMPONENTS}, **common)
        fits.append(("fit_components", components, "map_fit"))
    return [
        (Step(interface, label, n_procs=resources.nprocs, run_without_submitting=True), name)
        for label, interface, name in fits
    ]


def _maps_node(number, part, records, saving, threads, memory):
    """Node of the maps of a few series."""
    interface = SaveGroupMaps(
        records=records[part], first=part.start, grid_like=records[0]["path"], num_threads=threads, **saving
    )
    name = f"save_maps_{number}"
    return Step(interface, name, n_procs=threads, mem_gb=memory[name])


def checkpoint_folder(work_dir):
    """Where the fit's checkpoints lie; not in the node's own folder, which Nipype empties."""
    return Path(work_dir) / "group_checkpoints"


def group_settings(plan, nprocs):
    """Hash of the settings and estimated memory [GB] of every step, by ``measured_memory.series_of``."""
    members, settings = plan.cohort.members, plan.options.group_hash()
    estimates = {"fit": fit_mem_gb(plan), "fit_components": fit_mem_gb(plan)}
    estimates |= {"save_tables": TABLES_GB, "report": REPORT_GB}
    for number, part in enumerate(parts_of(len(members), nprocs)):
        estimates[f"save_maps_{number}"] = max(maps_mem_gb(member.header.n_voxels) for member in members[part])
    return {step: (settings, estimate) for step, estimate in estimates.items()}


def fit_mem_gb(plan):
    """Rough peak memory of a joint fit [GB]: the members' signals and noise."""
    headers = [member.header for member in plan.cohort.members]
    return AROUND_GB + 1e-9 * sum(header.n_voxels * (4 * header.n_ranks + 8) for header in headers)


def maps_mem_gb(n_voxels):
    """Rough peak memory of one participant's maps [GB]; for some ten clusters."""
    return 0.4 + 400e-9 * n_voxels


def _plain(value):
    return json.loads(json.dumps(value))
