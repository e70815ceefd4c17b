"""The participant level: plans of all participants, their graph, and what became of each."""

import contextlib
import logging
from dataclasses import replace
from pathlib import Path

from mrspec_prep.bids.atomic import remove_leftovers, write_atomically
from mrspec_prep.bids.dataset import select_participants, select_sessions
from mrspec_prep.bids.errors import InputError, unreadable, without_frames
from mrspec_prep.bids.layout import open_layout
from mrspec_prep.bids.output.derivatives import start_dataset
from mrspec_prep.cli.history import (
    claim_work_dir,
    finished_key,
    forget_finished,
    mark_finished,
    remove_stale,
    save_run_file,
)
from mrspec_prep.cli.messages import save_measured, say_plans, show, summarise
from mrspec_prep.cli.parser import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from mrspec_prep.cli.places import check_links, check_work_dir
from mrspec_prep.cli.plugin_file import plugin_and_room
from mrspec_prep.cli.preview.participant import describe_plan, write_preview
from mrspec_prep.cli.progress import Progress, steps_of
from mrspec_prep.options import OptionsError
from mrspec_prep.reports import build_boilerplate, build_subject_report
from mrspec_prep.reports.crashes import collect_crashes, with_remedy
from mrspec_prep.workflow_files import WorkflowNotFoundError, find_workflow
from mrspec_prep.workflows.participant import (
    WORKFLOW_NAME,
    init_participants_wf,
    participant_log,
    participant_workflow_name,
    series_settings,
)
from mrspec_prep.workflows.planning.feasibility import check_feasible, check_memory
from mrspec_prep.workflows.planning.group import check_group_to_come, different_grids
from mrspec_prep.workflows.planning.inputs import check_inputs_of
from mrspec_prep.workflows.planning.participant import plan_participant
from mrspec_prep.workflows.running.execution import (
    Failure,
    configure_nipype,
    derivatives_of,
    draw_graph,
    failures_of,
    run_graph,
)
from mrspec_prep.workflows.running.measured_memory import measured_before, resources_used
from mrspec_prep.workflows.running.seals import mend

LOGGER = logging.getLogger("mrspec_prep")
FILTERED = ("ses", "acq", "rec", "dir", "run")  # in names of results, by which a filter may choose images


def run_participants(args, settings, run_id, resources):
    """Run the participant level of a command line.

    Parameters
    ----------
    args : argparse.Namespace
    settings : RunSettings
    run_id : str
    resources : Resources

    Returns
    -------
    code : int
        0, 1 or 2 as of the command.
    failed : list of str
        Labels of the participants that failed or were refused.

    Raises
    ------
    InputError
        Nothing can be planned at all, or not the group that is asked for as well.

    """
    bids_dir, out_dir = Path(settings.bids_dir), Path(settings.out_dir)
    subjects = select_participants(bids_dir, settings.participant_label, not args.skip_bids_validation)
    if args.reports_only or args.boilerplate_only:
        return rebuild(out_dir, subjects, bool(settings.participant_label), args.boilerplate_only)
    if settings.session_label:
        subjects = _with_sessions(subjects, settings)
    settings = replace(settings, participant_label=subjects)
    check_links(out_dir, [f"{place}sub-{subject}" for subject in subjects for place in ("", "logs/inputs/")])
    warning = check_work_dir(args.work_dir.expanduser().absolute(), bids_dir, out_dir, settings.derivatives.values())
    if warning:
        LOGGER.warning(warning)
    plugin_and_room(args.use_plugin, resources)  # asked again once the images were read
    plans, refused = plan_all(settings, args.bids_database_dir, not args.skip_bids_validation, resources)
    for subject, error in refused.items():
        LOGGER.error("sub-%s: %s", subject, error)
    for plan in plans:
        for note in (note for series in plan.series for note in series.voxel_notes):
            LOGGER.warning("sub-%s: %s", plan.subject, note)
    if not plans:
        LOGGER.error("No participant can be processed: nothing was computed.")
        return EXIT_USAGE, sorted(refused)
    if "group" in args.analysis_level:
        check_group_to_come(plans)
    for error in different_grids(plans):
        LOGGER.info("note: a group level over these participants would refuse them: %s", error)
    _, _, resources = plugin_and_room(args.use_plugin, resources)
    if args.dry_run:
        resources = resources.shared_by(sum(len(plan.series) for plan in plans))
        for plan in plans:
            show(describe_plan(plan, resources))
            LOGGER.info(
                "Preview, and one table of volumes per series beside it: %s", write_preview(plan, out_dir, resources)
            )
        if refused:
            LOGGER.error("FAILED: %s cannot be processed", ", ".join(f"sub-{subject}" for subject in refused))
        return (EXIT_FAILED if refused else EXIT_OK), sorted(refused)
    return compute(args, settings, run_id, plans, refused, resources)


def _with_sessions(subjects, settings):
    """Participants to run where sessions are asked for: those named by the user, else those who have one of them."""
    present = select_sessions(settings.bids_dir, subjects, settings.session_label)
    if settings.participant_label:
        return subjects  # those without are refused by name
    absent = [f"sub-{subject}" for subject in subjects if subject not in present]
    if absent:
        asked = ", ".join(f"ses-{label}" for label in settings.session_label)
        LOGGER.warning("Left out, as they do not have %s: %s", asked, ", ".join(absent))
    return present


def plan_all(settings, database_dir, validate, resources):
    """Plans of the participants, and the errors of those that cannot be processed.

    Returns
    -------
    plans : list of ParticipantPlan
    refused : dict of str to Exception

    """
    workflow = find_workflow(settings.workflow) if settings.workflow else None
    layout = open_layout(settings.bids_dir, settings.participant_label, database_dir, validate)
    plans, refused = [], {}
    for subject in settings.participant_label:
        try:
            plan = plan_participant(
                layout,
                subject,
                workflow=workflow,
                overrides=settings.overrides,
                sessions=settings.session_label or None,
                filters=settings.filters or None,
                derivatives={name: Path(path) for name, path in settings.derivatives.items()},
                seed=settings.random_seed,
                device=settings.device,
            )
            check_memory(plan, resources.mem_gb)
            check_feasible(plan)
            plans.append(plan)
        except (OptionsError, WorkflowNotFoundError):
            raise  # of the command line, not of this participant
        except Exception as error:  # noqa: BLE001 - whatever it is, the other participants go on
            refused[subject] = _refusal(error, subject, settings.bids_dir)
    planned, plans = plans, []
    if planned:
        LOGGER.info("Reading the images of %d participant(s)", len(planned))
    free_gb = resources.mem_gb - resources.beside_this_process().own_gb
    read = check_inputs_of(planned, settings.out_dir, resources.nprocs, free_gb)
    for plan, checked in zip(planned, read, strict=True):
        if isinstance(checked, Exception):
            refused[plan.subject] = _refusal(checked, plan.subject, settings.bids_dir)
        else:
            plans.append(checked)
    return plans, {subject: refused[subject] for subject in settings.participant_label if subject in refused}


def _refusal(error, subject, bids_dir):
    """InputError of what went wrong while a participant was planned."""
    if isinstance(error, InputError):
        return without_frames(error)
    if isinstance(error, OSError):
        return unreadable(Path(error.filename or bids_dir), error)
    LOGGER.debug("sub-%s cannot be planned", subject, exc_info=error)
    problem = with_remedy(f"an error of mrspec_prep itself: {type(error).__name__}: {error}")
    remedy = None if "Remedy" in problem else "report it with the log"
    return InputError(problem, remedy=remedy, unseen=isinstance(error, MemoryError))


def compute(args, settings, run_id, plans, refused, resources):
    """Run the planned participants; the exit code, the last line and the reports agree.

    Returns as ``run_participants``.
    """
    out_dir, bids_dir = Path(settings.out_dir), Path(settings.bids_dir)
    work_dir = args.work_dir.expanduser().absolute()
    claim_work_dir(work_dir, [f"sub-{p.subject}" for p in plans], args.clean_workdir)
    _tidy(out_dir, plans)
    start_dataset(out_dir, bids_dir, settings.derivatives)
    done = [plan for plan in plans if finished_key(out_dir, plan.subject) == plan.key]
    todo = [plan for plan in plans if plan not in done]
    outdated = [plan.subject for plan in done if collect_crashes(out_dir, plan.subject)]
    for plan in plans:
        save_run_file(
            participant_log(out_dir, plan.subject, run_id), plan, replace(settings, participant_label=[plan.subject])
        )
    resources = resources.shared_by(sum(len(plan.series) for plan in todo))
    for subject in [*(plan.subject for plan in todo), *(s for s, error in refused.items() if not error.unseen)]:
        forget_finished(out_dir, subject)
    for plan in done:
        LOGGER.info("sub-%s is finished already with these inputs and settings: nothing to redo", plan.subject)
    ended, progress = None, Progress({})
    say_plans(todo)
    if todo:
        configure_nipype(out_dir / "logs", args.verbose > 1, args.stop_on_first_crash, args.resource_monitor)
        workflow = init_participants_wf(
            todo,
            out_dir=out_dir,
            bids_dir=bids_dir,
            work_dir=work_dir,
            run_id=run_id,
            resources=resources,
            measured=measured_before(out_dir / "logs"),
        )
        plugin, plugin_args, resources = plugin_and_room(args.use_plugin, resources)  # now that the graph is built
        if args.write_graph:
            LOGGER.info("Graph: %s", draw_graph(workflow, out_dir / "logs" / "graph.dot"))
        LOGGER.info(
            "%d participant(s), %d process(es), %d thread(s) a step, %s",
            len(todo),
            resources.nprocs,
            resources.omp_nthreads,
            resources.memory_in_words,
        )
        parts = [work_dir / WORKFLOW_NAME / participant_workflow_name(plan.subject) for plan in todo]
        mend(parts, resources.nprocs)
        progress = Progress(steps_of(workflow, [plan.subject for plan in todo]))
        with contextlib.closing(progress):
            ended = run_graph(workflow, plugin=plugin, plugin_args=plugin_args, progress=progress)
        if args.resource_monitor:
            used = resources_used(workflow, series_settings(todo))
            save_measured(used, out_dir / "logs" / f"{run_id}_resources.tsv")
    failures = [f for plan in todo for f in failures_of(plan.subject, participant_log(out_dir, plan.subject, run_id))]
    if ended is not None:
        reached = {failure.subject for failure in failures} | progress.subjects_done
        failures += [_stopped(plan.subject, args, ended, out_dir) for plan in todo if plan.subject not in reached]
    failed = {failure.subject for failure in failures}
    failures += _report_refused(out_dir, run_id, refused)
    failures += [failure for subject in outdated for failure in _try_report(out_dir, subject)]
    if ended is not None and not failed:
        failures.append(Failure("all", "run", with_remedy(f"{type(ended).__name__}: {ended}"), out_dir / "logs", False))
        failed |= {plan.subject for plan in todo}
    within = FILTERED if settings.filters else ("ses",) if settings.session_label else ()
    for plan in todo:
        if plan.subject in failed:
            failures += _try_report(out_dir, plan.subject)
        else:
            _finish(plan, workflow, out_dir, within)
    if failures:
        _tidy(out_dir, todo)
    unfinished = summarise(plans, refused, failures, out_dir)
    return (EXIT_FAILED if unfinished else EXIT_OK), unfinished


def _tidy(out_dir, plans):
    """Remove what killed runs and workers were writing among the participants' results."""
    folders = [folder for plan in plans for folder in (out_dir / f"sub-{plan.subject}").glob("**/")]
    for folder in (out_dir, out_dir / "logs", *folders):
        remove_leftovers(folder)


def _finish(plan, workflow, out_dir, within):
    """Remove what earlier settings left of a participant, and mark it as finished."""
    written = derivatives_of(workflow, participant_workflow_name(plan.subject))
    stale = remove_stale(out_dir, plan.subject, written, within)
    if stale:
        LOGGER.info("sub-%s: %d file(s) of earlier settings were removed", plan.subject, len(stale))
        build_subject_report(out_dir, plan.subject)
    mark_finished(out_dir, plan.subject, plan.key)


def _report_refused(out_dir, run_id, refused):
    """Say on the page of a refused participant, too, why it was refused; an older page would tell otherwise."""
    troubles = []
    for subject, error in refused.items():
        note = f"Node: mrspec_prep.sub_{subject}.input\n\nmrspec_prep.bids.errors.InputError: {error}\n"
        write_atomically(participant_log(out_dir, subject, run_id) / "crash-input.txt", note)
        troubles += _try_report(out_dir, subject)
    return troubles


def _try_report(out_dir, subject):
    """Report with what there is of a participant; a further failure if not even that can be built."""
    try:
        _report_again(out_dir, subject)
    except Exception as error:  # noqa: BLE001 - whatever it is, the summary must still be written
        LOGGER.debug("the report of sub-%s could not be built", subject, exc_info=True)
        return [Failure(subject, "report", f"{type(error).__name__}: {error}", out_dir / "logs", False)]
    return []


def _report_again(out_dir, subject):
    """Page of a participant, who stays finished if that was so: its record tells the sizes that the files have now."""
    finished = finished_key(out_dir, subject)
    page = build_subject_report(out_dir, subject)
    if finished:
        mark_finished(out_dir, subject, finished)
    return page


def rebuild(out_dir, subjects, named, boilerplate_only=False):
    """Write reports, or the methods text alone, again from what is finished.

    Parameters
    ----------
    out_dir : Path
    subjects : list of str
    named : bool
        Whether the user named them; otherwise those without results are passed over.
    boilerplate_only : bool

    Returns
    -------
    code : int
    failed : list of str
        Participants whose last run had failed.

    Raises
    ------
    InputError
        Nothing is finished, or not for a participant that was named.

    """
    folders = {subject: out_dir / f"sub-{subject}" for subject in subjects}
    empty = [s for s in subjects if not any(folders[s].glob("**/dwi/*")) and not any(folders[s].glob("**/anat/*"))]
    if empty and (named or len(empty) == len(subjects)):
        raise InputError(
            f"nothing is finished for {', '.join(f'sub-{subject}' for subject in empty)}",
            file=out_dir,
            remedy="run without --reports-only and --boilerplate-only first",
        )
    failed = []
    for subject in [s for s in subjects if s not in empty]:
        if boilerplate_only:
            LOGGER.info("Methods text: %s", build_boilerplate(out_dir, subject))
            continue
        LOGGER.info("Report: %s", _report_again(out_dir, subject))
        failed += [subject] * bool(collect_crashes(out_dir, subject))
    if failed:
        LOGGER.error("FAILED: %s, in the run that the report is about", ", ".join(f"sub-{s}" for s in failed))
        return EXIT_FAILED, failed
    LOGGER.info("Finished without errors: %d participant(s)", len(subjects) - len(empty))
    return EXIT_OK, []


def _stopped(subject, args, ended, out_dir):
    """Failure of a participant that the run never came to, or not to its end."""
    why = with_remedy(f"{type(ended).__name__}: {' '.join(str(ended).split())[:200]}")
    if args.stop_on_first_crash:
        why = "not run to its end: --stop-on-first-crash ended the run at the first failure"
    return Failure(subject, "run", why, out_dir / "logs", False)
