"""The group level: who is in it, its graph, and what became of it."""

import logging
import shutil
from dataclasses import fields, replace
from pathlib import Path

from mrspec_prep.bids.atomic import remove_all_leftovers, write_atomically
from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.output.derivatives import start_dataset
from mrspec_prep.cli.group_history import (
    PAGE,
    claim_group,
    finished_group,
    forget_group,
    group_log,
    mark_group,
    remove_stale_group,
)
from mrspec_prep.cli.history import claim_work_dir
from mrspec_prep.cli.messages import save_measured, show
from mrspec_prep.cli.parser import EXIT_FAILED, EXIT_OK
from mrspec_prep.cli.places import check_sites, check_work_dir
from mrspec_prep.cli.plugin_file import plugin_and_room
from mrspec_prep.cli.preview.group import describe_group, name_of
from mrspec_prep.options import GroupOptions
from mrspec_prep.reports import build_group_report
from mrspec_prep.reports.crashes import with_remedy
from mrspec_prep.reports.group.collect import collect_group
from mrspec_prep.workflow_files import find_workflow
from mrspec_prep.workflows.group import GROUP_WORKFLOW, checkpoint_folder, group_settings, init_group_wf
from mrspec_prep.workflows.planning.group import plan_group
from mrspec_prep.workflows.running.execution import configure_nipype, derivatives_of, draw_graph, failures_of, run_graph
from mrspec_prep.workflows.running.measured_memory import measured_before, resources_used
from mrspec_prep.workflows.running.seals import mend

LOGGER = logging.getLogger("mrspec_prep")


def run_group(args, settings, run_id, resources):
    """Run the group level of a command line over the participants that are finished.

    Parameters
    ----------
    args : argparse.Namespace
    settings : RunSettings
    run_id : str
    resources : Resources

    Returns
    -------
    int
        0, or 1 where a step failed or a participant had to be left out.

    Raises
    ------
    InputError
        There is nothing to fit, or the user must decide something first.

    """
    out_dir = Path(settings.out_dir)
    if args.boilerplate_only:
        raise InputError(
            "the methods text of the group level is part of its report",
            value="--boilerplate-only",
            remedy=f"--reports-only writes {PAGE} again",
        )
    if args.reports_only:
        return rebuild_group(out_dir)
    if not Path(settings.bids_dir).is_dir():
        remedy = "give the dataset's root: its participants.tsv says who is compared"
        raise InputError("BIDS_DIR is no folder", value=settings.bids_dir, remedy=remedy)
    _say_overlooked(settings.overrides)
    plan = plan_group(settings, find_workflow(settings.workflow) if settings.workflow else None)
    _, _, resources = plugin_and_room(args.use_plugin, resources)
    _check_places(args, settings, plan)
    if args.dry_run:
        text = describe_group(plan, resources)
        show(text)
        LOGGER.info("Preview: %s", write_atomically(out_dir / "logs" / "group_preview.txt", text))
        if plan.spoilt:
            LOGGER.error("FAILED: %s cannot be included", _spoilt_names(plan))
        return _code(plan)
    return compute_group(args, settings, run_id, plan, resources)


def rebuild_group(out_dir):
    """Write ``group.html`` again from what is finished.

    Raises
    ------
    InputError
        No group is finished there.

    """
    if not (out_dir / "group_participants.tsv").is_file():
        raise InputError("no group is finished", file=out_dir, remedy="run the group level without --reports-only")
    LOGGER.info("Report: %s", build_group_report(out_dir))
    unreadable = collect_group(out_dir).unreadable
    for name, problem in unreadable:
        LOGGER.error("%s cannot be read: %s", out_dir / name, problem)
    if unreadable:
        LOGGER.error("FAILED: the report of the group lacks %s", ", ".join(name for name, _ in unreadable))
        return EXIT_FAILED
    LOGGER.info("Finished without errors: the report of the group")
    return EXIT_OK


def compute_group(args, settings, run_id, plan, resources):
    """Run the planned group; the exit code, the last line and the report agree."""
    out_dir, bids_dir = Path(settings.out_dir), Path(settings.bids_dir)
    work_dir = args.work_dir.expanduser().absolute()
    claim_work_dir(work_dir, ["group"], args.clean_workdir)
    claim_group(out_dir)
    start_dataset(out_dir, bids_dir, settings.derivatives)
    _say_who(plan)
    if finished_group(out_dir) == plan.key:
        LOGGER.info("The group is finished already with these inputs and settings: nothing to redo")
        return _end(plan, out_dir, [])
    log = group_log(out_dir, run_id)
    _save_run_file(log, plan, settings)
    forget_group(out_dir)
    configure_nipype(log, args.verbose > 1, args.stop_on_first_crash, args.resource_monitor)
    workflow = init_group_wf(
        plan,
        out_dir=out_dir,
        bids_dir=bids_dir,
        work_dir=work_dir,
        resources=resources,
        dask=args.dask,
        measured=measured_before(out_dir / "logs"),
    )
    if args.write_graph:
        LOGGER.info("Graph: %s", draw_graph(workflow, out_dir / "logs" / "graph_group.dot"))
    plugin, plugin_args, resources = plugin_and_room(args.use_plugin, resources)  # now that the graph is built
    LOGGER.info("%d process(es), %s", resources.nprocs, resources.memory_in_words)
    mend([work_dir / GROUP_WORKFLOW], resources.nprocs)
    progress = GroupProgress(len(plan.cohort.members))
    ended = run_graph(workflow, plugin=plugin, plugin_args=plugin_args, progress=progress)
    if args.resource_monitor:
        used = resources_used(workflow, group_settings(plan, resources.nprocs))
        save_measured(used, out_dir / "logs" / f"{run_id}_group_resources.tsv")
    failures = [(f.step, f.cause, f.crash_file) for f in failures_of("group", log)]
    if ended is not None and not failures:
        failures = [("run", with_remedy(f"{type(ended).__name__}: {ended}"), log)]
    if failures:
        failures += _report_of_failure(out_dir)
        remove_all_leftovers(out_dir)
    else:
        written = derivatives_of(workflow, GROUP_WORKFLOW)
        stale = remove_stale_group(out_dir, written)
        if stale:
            LOGGER.info("%d file(s) of earlier participants or settings were removed", len(stale))
            build_group_report(out_dir)  # they may have been shown
        mark_group(out_dir, plan.key, written)
        shutil.rmtree(checkpoint_folder(work_dir), ignore_errors=True)
    return _end(plan, out_dir, failures)


def _check_places(args, settings, plan):
    """Raise InputError where the folders of the run lie within data or results."""
    work_dir = args.work_dir.expanduser().absolute()
    warning = check_work_dir(work_dir, settings.bids_dir, settings.out_dir, settings.derivatives.values())
    if warning:
        LOGGER.warning(warning)
    check_sites({member.root for member in plan.cohort.members}, settings.out_dir, work_dir)


class GroupProgress:
    """Says which step started or ended; of the participants' maps, about every tenth of them."""

    def __init__(self, n_series):
        self.n_series, self.n_done, self.n_said, self.started = n_series, 0, 0, set()

    def __call__(self, node, status):
        """Take a status of Nipype: start, end or exception; a step left out ends without having started."""
        if status == "start":
            self.started.add(node.fullname)
        elif status == "end" and node.fullname not in self.started and not node.run_without_submitting:
            return
        words = {"start": "started", "end": "done", "exception": "FAILED"}
        is_map = node.name.startswith("save_maps")
        quiet = status != "exception" and (is_map or node.run_without_submitting)
        LOGGER.log(logging.DEBUG if quiet else logging.INFO, "group.%s: %s", node.name, words.get(status, status))
        if is_map and status == "end":
            self.n_done += len(node.inputs.records)
            if self.n_done == self.n_series or self.n_done - self.n_said >= self.n_series / 10:
                self.n_said = self.n_done
                LOGGER.info("group: maps of %d of %d series written", self.n_done, self.n_series)


def _say_overlooked(overrides):
    """Warn of settings of the participants that the group has under its own name."""
    given = {words.partition("=")[0].strip() for words in overrides}
    own = {field.name for field in fields(GroupOptions)}
    for key in sorted(given):
        section, _, name = key.partition(".")
        if section in ("inspect", "inspect_map") and name in own and f"group.{name}" not in given:
            LOGGER.warning("--set %s is about each participant; the group goes by --set group.%s", key, name)


def _say_who(plan):
    """Who is in the group, and who is not and why."""
    cohort = plan.cohort
    for left in cohort.exclusions:
        LOGGER.warning("%s is left out: %s", name_of(left.subject, left.session), left.cause)
    for words in cohort.warnings:
        LOGGER.warning("%s", words)
    for words in cohort.notes:
        LOGGER.info("%s", words)
    LOGGER.info("Group: %s", plan.in_words)


def _spoilt_names(plan):
    return ", ".join(dict.fromkeys(f"sub-{left.subject}" for left in plan.spoilt))


def _code(plan):
    """Exit code of a plan that went well: 1 where results are there that could not be used."""
    return EXIT_FAILED if plan.spoilt else EXIT_OK


def _end(plan, out_dir, failures):
    """Say how it ended; the last line agrees with the exit code that is returned."""
    for step, cause, crash_file in failures:
        LOGGER.error("The group failed in step %s: %s", step, cause.removeprefix("InputError: "))
        LOGGER.error("  details: %s", crash_file)
    if (out_dir / PAGE).is_file():
        LOGGER.info("Report: %s", out_dir / PAGE)
    n_series = len(plan.cohort.members)
    if failures:
        LOGGER.error("FAILED: the group of %d series", n_series)
        return EXIT_FAILED
    if plan.spoilt:
        LOGGER.error("FAILED: %s could not be included (a group of %d series is done)", _spoilt_names(plan), n_series)
        return EXIT_FAILED
    LOGGER.info("Finished without errors: a group of %d series", n_series)
    return EXIT_OK


def _report_of_failure(out_dir):
    """Report that tells of the failure; a further failure if not even that can be built."""
    if not (out_dir / "group_participants.tsv").is_file():
        return []
    try:
        build_group_report(out_dir)
    except Exception as error:  # noqa: BLE001 - whatever it is, the summary must still be written
        LOGGER.debug("the report of the group could not be built", exc_info=True)
        return [("report", f"{type(error).__name__}: {error}", out_dir / "logs")]
    return []


def _save_run_file(folder, plan, settings):
    """Write ``mrspec_prep.toml``: what was asked for, and the workflow as resolved."""
    people = list(dict.fromkeys(member.subject for member in plan.cohort.members))
    lines = ["# give this file to --config-file to run the same again"]
    lines += [replace(settings, participant_label=people).to_toml(), "[group_level.options]"]
    for line in plan.options.to_toml().splitlines():
        lines.append(f"[group_level.options.{line[1:]}" if line.startswith("[") else line)
    write_atomically(Path(folder) / "mrspec_prep.toml", "\n".join(lines) + "\n")
