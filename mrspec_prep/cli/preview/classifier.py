"""``--dry-run``: what will be done about the number of compartments, what it can tell, and what it costs."""

from mrspec_prep.networks.compartments.expected import expected_answers
from mrspec_prep.workflows.planning.classifier import planned_classifier, trains

ASSUMED_LEVELS = (0.02,)  # sigma over the RMS of a signal
N_SIMULATED = 4000
SECONDS_AROUND, SECONDS_OF_TRAINING = 5.0, 300.0
# processor seconds on one thread per voxel and encoding: plain, magnitudes, magnitudes with neighbours
SECONDS = {"plain": 1e-6, "rician": 3e-6, "neighbours": 5e-6}


def describe_classifier(plan):
    """Lines of the preview on the number of compartments of one series; none where it is not wanted."""
    options = plan.options.classifier
    if not options.wanted:
        return []
    noise = "rician where no signal is negative" if options.distribution == "auto" else options.distribution
    sigma = "as the noise map says" if options.noise_level == "given" else "told by each signal"
    neighbours = ", neighbours pooled" * (options.pooling != "off")
    lines = ["", f"  number of compartments: undecided below a probability of {options.abstain_below:g}{neighbours}"]
    lines += [f"    noise: {noise}, level {sigma}"]
    if trains(plan):
        return [
            *lines,
            "    no shipped weights cover the protocol: a network is trained for it, or read from the cache",
        ]
    classifier = planned_classifier(plan.series, options)
    expected = expected_answers(
        classifier,
        ASSUMED_LEVELS,
        noise_known=options.noise_level == "given",
        magnitudes=False,
        abstain_below=options.abstain_below,
        n_signals=N_SIMULATED,
    )
    return [
        *lines,
        f"    weights {classifier.source}",
        f"    one voxel on its own at noise of {ASSUMED_LEVELS[0]:.0%} of its signal: right in {expected.accuracy:.0%},"
        f" one or several in {expected.one_or_several:.0%}; {expected.decided:.0%} decided",
    ]


def classifier_cost(plan, n_voxels):
    """Expected processor seconds (rough)."""
    options = plan.options.classifier
    if not options.wanted:
        return 0.0
    kind = "plain" if options.distribution == "gaussian" or options.noise_level == "signal" else "rician"
    kind = options.pooling if options.pooling != "off" else kind
    return SECONDS_AROUND + SECONDS_OF_TRAINING * trains(plan) + SECONDS[kind] * n_voxels * len(plan.series.encodings)


def classifier_outputs(plan):
    """Names of the files that will be written, without what all files of the series have in common."""
    return ["seg-ncomp_{dseg,probseg}"] if plan.options.classifier.wanted else []
