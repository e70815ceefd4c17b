"""Graphs of participants: one sub-workflow per series, then the report."""

from copy import deepcopy
from pathlib import Path

import numpy as np
from nipype.interfaces.utility import Merge
from nipype.pipeline import engine as pe

from mrspec_prep.bids.input.volumes import series_shape
from mrspec_prep.bids.output.derivatives import write_json
from mrspec_prep.interfaces.reportlets import SubjectReport
from mrspec_prep.networks.maps import is_network
from mrspec_prep.networks.scan_cnn.fit import SCAN_CNN
from mrspec_prep.workflows.fingerprinting import init_mrf_wf
from mrspec_prep.workflows.planning.classifier import trains
from mrspec_prep.workflows.planning.mrf import fingerprint_mem_gb
from mrspec_prep.workflows.running.measured_memory import StepMemory
from mrspec_prep.workflows.running.steps import Step
from mrspec_prep.workflows.spectral import init_spectral_wf

PYTORCH_GB = 0.5  # once imported
WORKFLOW_NAME = "mrspec_prep_wf"
PLUS = "_plus_"  # for a plus sign of a label


def init_participants_wf(plans, *, out_dir, bids_dir, work_dir, run_id, resources, measured=None):
    """Wire all participants.

    Inputs
        plans : list of ParticipantPlan.
        resources : Resources; threads and memory of a step.
        measured : dict; memory of an earlier run (``measured_memory.measured_before``).
    Outputs
        One sub-workflow ``sub_<label>_wf`` per participant; crash files go to the
        participant's own log folder.
    """
    workflow = pe.Workflow(WORKFLOW_NAME, base_dir=str(work_dir))
    for plan in plans:
        participant = init_participant_wf(
            plan, out_dir=out_dir, bids_dir=bids_dir, work_dir=work_dir, resources=resources, measured=measured
        )
        crash_dir = participant_log(out_dir, plan.subject, run_id)
        participant.config["execution"] = {"crashdump_dir": str(crash_dir), "crashfile_format": "txt"}
        for node in participant._get_all_nodes():
            node.config = deepcopy(participant.config)
        workflow.add_nodes([participant])
    return workflow


def init_participant_wf(plan, *, out_dir, bids_dir, work_dir, resources, measured=None):
    """Wire one participant.

    Inputs
        plan : ParticipantPlan.
    Outputs
        Derivatives of every series and ``sub-<label>.html``.
    """
    workflow = pe.Workflow(participant_workflow_name(plan.subject))
    report = Step(SubjectReport(out_dir=str(out_dir), subject=plan.subject), "report", mem_gb=0.5)
    saved = []
    for number, series_plan in enumerate(plan.series):
        name = series_workflow_name(number, series_plan)
        series_file = Path(work_dir) / WORKFLOW_NAME / workflow.name / f"{name}.json"
        write_json(series_file, series_plan.series.to_json())
        saving = {
            "out_dir": str(out_dir),
            "bids_dir": str(bids_dir),
            "workflow_name": series_plan.workflow,
            "why": series_plan.why,
            "settings": series_plan.options.to_dict(),
            "options_hash": series_plan.options.hash(),
            "kernel": series_plan.kernel_settings,
            "seed": series_plan.seed,
        }
        init = init_mrf_wf if series_plan.options.mrf.wanted else init_spectral_wf
        spectral = init(
            series_plan,
            series_file,
            saving=saving,
            name=name,
            omp_nthreads=resources.omp_nthreads,
            memory=StepMemory(
                estimated_mem_gb(series_plan), resources.steps_gb, (measured or {}).get(series_plan.options.hash(), {})
            ),
        )
        saved += [(spectral, label) for label in spectral.list_node_names() if label.startswith("save")]
    merge = Step(Merge(len(saved)), "outputs", run_without_submitting=True)
    for position, (spectral, label) in enumerate(saved):
        workflow.connect(spectral, f"{label}.out_files", merge, f"in{position + 1}")
    workflow.connect(merge, "out", report, "out_files")
    return workflow


def participant_workflow_name(subject):
    """Name of a participant's sub-workflow and of its folder below the work directory.

    Nipype's names have no plus sign; no label has an underscore, so that no two participants get one name.
    """
    return f"sub_{subject.replace('+', PLUS)}_wf"


def subject_of(name):
    """Label of the participant that a sub-workflow is named after: the way back from ``participant_workflow_name``."""
    return name.removeprefix("sub_").removesuffix("_wf").replace(PLUS, "+")


def series_workflow_name(number, plan):
    """Name of the sub-workflow of a participant's series."""
    return f"series_{number}_{plan.series.suffix.lower()}_wf"


def series_settings(plans):
    """Hash of the settings and estimated memory [GB] of every series, by ``measured_memory.series_of``."""
    return {
        f"{participant_workflow_name(plan.subject)}.{series_workflow_name(number, series)}": (
            series.options.hash(),
            estimated_mem_gb(series),
        )
        for plan in plans
        for number, series in enumerate(plan.series)
    }


def participant_log(out_dir, subject, run_id):
    """Folder of a participant's settings and crash files of one run."""
    return Path(out_dir) / f"sub-{subject}" / "log" / run_id


def estimated_mem_gb(plan):
    """Rough peak memory of a step [GB]: signals in two precisions, the blocks of a fit, and PyTorch for networks."""
    if plan.options.mrf.wanted:
        return fingerprint_mem_gb(plan)
    n_voxels, maps, scan = float(np.prod(series_shape(plan.series))), plan.options.maps, plan.options.scan_cnn
    networks = (maps.wanted and any(is_network(method) for method in maps.methods)) or trains(plan)
    networks = networks or (scan.wanted and SCAN_CNN in scan.methods)
    torch = PYTORCH_GB * networks
    return 0.6 + torch + 12e-9 * n_voxels * len(plan.series.encodings)
