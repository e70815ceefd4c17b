"""``group --dry-run``: who would be in the group, who would not, and what would be fitted."""

from collections import Counter

from mrspec_prep.workflows.group import fit_mem_gb

MINUTE = 60.0
# processor seconds of the group fit, on one thread (benchmarks.group)
#: one voxel in one EM step, per cluster: measured with 1e5 voxels, 8 clusters (docs/group_method.md, docs/hpc.md)
SECONDS_PER_VOXEL_STEP_CLUSTER = {"gaussian": 4.4e-8, "student-t": 1.4e-7}
SECONDS_PER_VOXEL_MAP = 4e-6  # responsibilities and their maps
SECONDS_AROUND = 20.0  # start, tables, report
STEPS = 150  # EM steps that a fit usually takes


def describe_group(plan, resources):
    """Preview of the group level as text."""
    cohort = plan.cohort
    lines = ["Group level", "===========", "", plan.in_words]
    protocols = Counter(member.protocol for member in cohort.members)
    for number, site in enumerate(cohort.sites):
        members = [member for member in cohort.members if member.site == number]
        voxels = sum(member.header.n_voxels for member in members)
        kinds = sorted({member.protocol + 1 for member in members})
        lines.append(
            f"  site {site.name}: {site.n_participants} participant(s), {len(members)} series, {voxels} voxels, "
            f"protocol {', '.join(map(str, kinds))}"
        )
    for number, protocol in enumerate(cohort.protocols):
        n_encodings, n_ranks = protocol.projection.shape
        lines.append(
            f"  protocol {number + 1}: {n_encodings} volumes as {n_ranks} numbers a voxel; {protocols[number]} series"
        )
    lines += [f"  note: {words}" for words in (*cohort.warnings, *cohort.notes)]
    lines += ["", "  included:"]
    for member in cohort.members:
        who = name_of(member.subject, member.session)
        lines.append(f"    {who:24s} {member.header.n_voxels:9d} voxels  {member.header.path.name}")
    lines += ["", "  left out:" if cohort.exclusions else "  left out: nobody"]
    lines += [f"    {name_of(left.subject, left.session)}: {left.cause}" for left in cohort.exclusions]
    lines += [
        "",
        f"  kernel: {cohort.kernel} on {' x '.join(map(str, cohort.grid.shape))} bins",
        f"  workflow: {plan.workflow}",
    ]
    lines += [f"  will be done: {words}" for words in _what(plan)]
    seconds, memory = expected_group_cost(plan, resources), min(fit_mem_gb(plan), resources.mem_gb)
    time = f"{seconds:.0f} s" if seconds < 2 * MINUTE else f"{seconds / MINUTE:.0f} min"
    lines.append(f"  expected: about {time} with {resources.nprocs} processor(s), {memory:.1f} GB")
    lines.append(f"  memory: {resources.memory_in_words}")
    lines.append("  outputs: group.html, group_*.{tsv,json,h5}; sub-*/: seg-group_dseg, seg-group_probseg")
    return "\n".join(lines) + "\n"


def name_of(subject, session):
    """Participant and session as in file names."""
    return f"sub-{subject}" + (f"_ses-{session}" if session else "")


def _what(plan):
    """What will be fitted, in words."""
    settings, numbers = plan.options.group, plan.options.group.candidates
    if settings.frozen:
        yield f"maps of the clusters of {settings.frozen} ({len(plan.atlas.spectra)} clusters); nothing is fitted anew"
    elif len(numbers) == 1:
        yield f"{numbers[0]} clusters common to all"
    else:
        range_of = f"{numbers[0]} to {numbers[-1]}"
        yield f"clusters common to all, {range_of}, the number with the least {settings.criterion.upper()}"
    if settings.n_components:
        yield f"{settings.n_components} components that the voxels of all mix"
    if plan.compare:
        yield f"comparison of the groups in the column {plan.compare} of participants.tsv"


def expected_group_cost(plan, resources):
    """Expected seconds (rough; the run itself is the measure)."""
    headers = [member.header for member in plan.cohort.members]
    step = sum(header.n_voxels * SECONDS_PER_VOXEL_STEP_CLUSTER[header.distribution] for header in headers)
    n_clusters = 0 if plan.options.group.frozen else sum(plan.options.group.candidates)
    steps = min(STEPS, plan.options.group.max_steps)
    computing = n_clusters * steps * step + plan.cohort.n_voxels * SECONDS_PER_VOXEL_MAP
    return SECONDS_AROUND + computing / resources.nprocs
