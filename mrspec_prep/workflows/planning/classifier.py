"""The number of compartments as planned: whether weights cover the protocol, and what noise the signals have."""

from dataclasses import replace

from mrspec_prep.networks import CompartmentClassifier, NotCoveredError
from mrspec_prep.workflows.planning.maps import distribution_of, refusal

TRAIN = "--set classifier.train=true (a few minutes, once per protocol), or select other images"


def with_classifier(options, series):
    """Options with the noise that classified signals are taken to have; the protocol must be covered.

    Parameters
    ----------
    options : Options
        As of the workflow file, before ``noise.distribution`` is resolved.
    series : Series

    Returns
    -------
    Options

    Raises
    ------
    InputError
        Nothing varies, spectra of several axes are to be steered, or no weights cover the protocol and no training
        is asked for.

    """
    if not options.classifier.wanted:
        return options
    try:
        if not options.classifier.train:
            planned_classifier(series, options.classifier)
    except NotCoveredError as error:
        reason = str(error).partition(". Train for it")[0]
        raise refusal(f"numbers of compartments: {reason}", series, TRAIN) from error
    except ValueError as error:
        raise refusal(error, series, "select other images") from error
    if options.classifier.steer == "alpha" and len(series.encodings.varying()) > 1:
        raise refusal(
            "the number of compartments steers the weight of spectra along one axis only: in planes regularised "
            "spectra break into more peaks than there are compartments at any weight",
            series,
            "--set classifier.steer=none, with nnls.alpha_rule=brd for a weight from the noise",
        )
    distribution = distribution_of(options.classifier, options.noise)
    return replace(options, classifier=replace(options.classifier, distribution=distribution))


def planned_classifier(series, options):
    """Classifier of a series' protocol from shipped weights.

    Raises
    ------
    NotCoveredError
        There are none for it.

    """
    return CompartmentClassifier.for_protocol(series.encodings, time_scale=options.time_scale, train=False)


def trains(plan):
    """Whether a network has to be trained for a planned series (or read from the cache)."""
    if not (plan.options.classifier.wanted and plan.options.classifier.train):
        return False
    try:
        planned_classifier(plan.series, plan.options.classifier)
    except NotCoveredError:
        return True
    return False
