"""Parameter maps as planned: model and methods by name, and whether the protocol carries the model."""

from dataclasses import replace

import numpy as np

from mrspec_prep.bids.errors import InputError
from mrspec_prep.networks import METHODS
from mrspec_prep.networks.device import device_of
from mrspec_prep.networks.maps import is_network
from mrspec_prep.options import OptionsError
from mrspec_prep.options.checks import nearest
from mrspec_prep.physics.models import MODELS, prepare
from mrspec_prep.physics.models.precision import least_errors
from mrspec_prep.physics.models.prepare import shells

AUTO = "auto"
HIGH_SNR = 1000.0  # at which a parameter that may still be anything is none that the protocol can tell
SHELLS_OF_KURTOSIS = 3  # with b = 0: fewer cannot tell kurtosis from diffusivity
IN_WORDS = (("bvalue", "b", "s/mm2", -1), ("echo_time", "TE", "ms", 1), ("inversion_time", "TI", "ms", 1))
MOST_LEVELS = 8  # of a contrast, in a message


def check_map_names(maps, device="cpu"):
    """Refuse a model, a method or a device that is not there, before any data are read.

    Parameters
    ----------
    maps : MapsOptions
    device : str
        Of the command line; matters to networks only.

    Raises
    ------
    OptionsError
        Unknown model or method (the nearest is suggested), or published settings without a network.
    InputError
        ``cuda`` was asked for and is not there.

    """
    if not maps.wanted:
        return
    if maps.model not in (AUTO, *MODELS):
        raise OptionsError(f"maps.model: unknown model {maps.model!r}{nearest(maps.model, (AUTO, *MODELS))}")
    for method in maps.methods:
        if method not in METHODS:
            raise OptionsError(f"maps.methods: unknown method {method!r}{nearest(method, METHODS)}")
    networks = [method for method in maps.methods if is_network(method)]
    if maps.settings == "paper" and not networks:
        known = ", ".join(filter(is_network, METHODS)) or "none here"
        raise OptionsError(f"maps.settings = paper is for networks ({known}), and maps.methods holds none")
    if networks:
        check_device(device)


def check_device(device):
    """Raise InputError where a network shall compute on a graphics card that is not there."""
    try:
        device_of(device)
    except ValueError as error:
        raise InputError(str(error), value=f"--device {device}", remedy="--device cpu, or auto") from error


def with_maps(options, series):
    """Options with the model of parameter maps by name, and the noise that its signals are taken to have.

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
        No model fits what varies, or the series does not carry the one that was asked for.

    """
    if not options.maps.wanted:
        return options
    name = options.maps.model if options.maps.model != AUTO else model_for(series)
    try:
        used_encodings(name, series.encodings)
    except ValueError as error:
        raise refusal(error, series, _instead_of(name, series.encodings)) from error
    _check_identifiable(name, series)
    noise, distribution = options.noise.distribution, distribution_of(options.maps, options.noise)
    if distribution == "rician" and not MODELS[name].magnitude:
        raise InputError(
            f"model {name} describes signed signals, and Rician noise is that of magnitudes",
            file=series.images[0],
            value=f"maps.distribution = {options.maps.distribution}, noise.distribution = {noise}",
            remedy=f"--set maps.distribution=gaussian, or --set maps.model={name.removesuffix('-signed')}",
        )
    return replace(options, maps=replace(options.maps, model=name, distribution=distribution))


def refusal(reason, series, remedy):
    """``InputError`` about the encodings of a series."""
    return InputError(str(reason), file=series.images[0], value=levels_in_words(series.encodings), remedy=remedy)


def distribution_of(section, noise):
    """Noise that ``[maps]`` or ``[classifier]`` takes signals to have: its own, or for ``auto`` that of ``[noise]``.

    ``auto`` remains where ``[noise]`` says neither ``gaussian`` nor ``rician``.
    """
    if section.distribution == "auto" and noise.distribution in ("gaussian", "rician"):
        return noise.distribution
    return section.distribution


def _check_identifiable(name, series):
    """Raise InputError where even a signal without noise to speak of leaves a parameter open over its whole range."""
    errors, bounds = least_errors(MODELS[name], series.encodings, HIGH_SNR), MODELS[name].tissue
    blind = [p.name for p in bounds if not errors[p.name][1] < p.high - p.low]
    if blind:
        reason = f"this protocol does not determine {' and '.join(blind)} of model {name}"
        raise refusal(reason, series, _instead_of(name, series.encodings))


def precision_in_words(name, encodings, snr):
    """What one voxel tells on its own, as ``diffusivity 1.25 +- 0.06 um2/ms, kurtosis 1 +- 0.04``."""
    errors, parts = least_errors(MODELS[name], encodings, snr), []
    for parameter in MODELS[name].tissue:
        value, error = errors[parameter.name]
        unit = "" if parameter.unit == "1" else f" {parameter.unit}"
        shown = f"{error:.2g}" if error < parameter.high - parameter.low else "its whole range"
        parts.append(f"{parameter.name.replace('_', ' ')} {value:g} +- {shown}{unit}")
    return ", ".join(parts)


def model_for(series):
    """Model that uses every contrast the series varies.

    Raises
    ------
    InputError
        There is none.

    """
    varying, decay = frozenset(series.encodings.varying()), series.decay
    by_contrast = {
        frozenset({"bvalue"}): _diffusion_model(series.encodings),
        frozenset({"echo_time"}): decay,
        frozenset({"bvalue", "echo_time"}): f"adc-{decay}",
        frozenset({"inversion_time"}): "ir-t1",
    }
    if varying not in by_contrast:
        reason = "no model of parameter maps has all contrasts that vary here"
        raise refusal(reason, series, _instead_of("", series.encodings))
    return by_contrast[varying]


def used_encodings(name, encodings):
    """Distinct encodings that a model is fitted to, and how many volumes they hold.

    Returns
    -------
    n_volumes, n_distinct : int

    Raises
    ------
    ValueError
        The encodings do not carry the model.

    """
    prepared = prepare(MODELS[name], np.ones((1, len(encodings))), encodings)
    return int(prepared.volumes.sum()), len(prepared.encodings)


def levels_in_words(encodings):
    """Values of each contrast, as ``b 0, 1000 s/mm2; TE 60, 91 ms``."""
    parts = []
    for name, symbol, unit, digits in IN_WORDS:
        values = getattr(encodings, name)
        if values is not None:
            levels = np.unique(np.round(values, digits))
            listed = ", ".join(f"{level:g}" for level in levels[:MOST_LEVELS])
            parts.append(f"{symbol} {listed}{', ...' * (len(levels) > MOST_LEVELS)} {unit}")
    return "; ".join(parts)


def _diffusion_model(encodings):
    """Kurtosis where at least three b-values, of those it describes, can tell it; else the ADC."""
    inside = encodings.bvalue[encodings.bvalue <= MODELS["msdki"].b_limit] if encodings.bvalue is not None else ()
    return "msdki" if len(inside) and shells(inside).max() + 1 >= SHELLS_OF_KURTOSIS else "adc"


def _instead_of(refused, encodings):
    """Remedy: the models that the encodings carry."""
    possible = []
    for name in MODELS:
        try:
            errors = least_errors(MODELS[name], encodings, HIGH_SNR)
        except ValueError:
            continue
        told = all(errors[p.name][1] < p.high - p.low for p in MODELS[name].tissue)
        possible += [name] * (told and name != refused)
    models = f"--set maps.model=NAME ({', '.join(possible)}), or " if possible else ""
    return f"{models}select other images with [select] or --bids-filter-file"
