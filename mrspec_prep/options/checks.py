"""Checks that every setting shares; a refusal names section, key, value and range."""

import difflib
import math

LARGEST_N_CLUSTERS = 1000
LARGEST_NUMBER = 1e300  # TOML knows whole numbers that no float can hold
LARGEST_N_COMPONENTS = 16  # as many as there are colours


class OptionsError(ValueError):
    """A setting that does not exist or has no allowed value; the message says which and what would do."""


def check_choice(section, key, value, allowed):
    """Refuse what is not one of the words allowed."""
    if value not in allowed:
        close = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise OptionsError(f"{section}.{key} must be one of {', '.join(allowed)}, got {value!r}{hint}")


def check_truth(section, key, value):
    """Refuse what is neither true nor false."""
    if not isinstance(value, bool):
        raise OptionsError(f"{section}.{key} must be true or false, got {value!r}")


def check_number(section, key, value, low=None, low_open=False):
    """Refuse what is not a finite number from ``low`` on."""
    if not _is_finite(value):
        raise OptionsError(f"{section}.{key} must be a finite number, got {_shown(value)}")
    if low is not None and (value <= low if low_open else value < low):
        raise OptionsError(f"{section}.{key} must be {'>' if low_open else '>='} {low}, got {value}")


def _is_finite(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER


def _shown(value):
    """Value in a message; whole numbers of thousands of digits cannot be shown."""
    return "a number too large" if isinstance(value, int) and abs(value) > LARGEST_NUMBER else repr(value)


def check_integer(section, key, value, low):
    """Refuse what is not a whole number from ``low`` on."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low or value > LARGEST_NUMBER:
        raise OptionsError(f"{section}.{key} must be a whole number >= {low}, got {_shown(value)}")


def check_bounds(section, key, value, low=-math.inf):
    """Refuse what is not two finite numbers, low < value[0] < value[1]."""
    numbers = isinstance(value, (tuple, list)) and all(map(_is_finite, value))
    if not numbers or len(value) != 2 or not low < value[0] < value[1]:
        shown = list(value) if isinstance(value, (tuple, list)) else value
        positive = "" if low < 0 else f", {low} < low < high"
        raise OptionsError(f"{section}.{key} must be two bounds [low, high]{positive}, got {shown!r}")


def check_axis_values(section, key, value, low=0.0, low_open=True):
    """Refuse what is not a list of at least two finite numbers, rising, above ``low`` (or from it on)."""
    numbers = isinstance(value, (tuple, list)) and all(map(_is_finite, value))
    if not numbers or len(value) < 2 or any(b <= a for a, b in zip(value, value[1:], strict=False)):
        shown = list(value) if isinstance(value, (tuple, list)) else value
        raise OptionsError(f"{section}.{key} must be a list of at least 2 rising numbers, got {shown!r}")
    if value[0] <= low if low_open else value[0] < low:
        raise OptionsError(f"{section}.{key} must hold numbers {'>' if low_open else '>='} {low:g}, got {value[0]!r}")


def check_candidates(section, value):
    """Refuse what is neither a number of clusters nor a range (low, high) of them."""
    for end in value if isinstance(value, tuple) else (value,):
        check_integer(section, "n_clusters", end, 1)
        if end > LARGEST_N_CLUSTERS:
            raise OptionsError(f"{section}.n_clusters must be <= {LARGEST_N_CLUSTERS}, got {end}")
    if not isinstance(value, tuple):
        return
    if len(value) != 2 or value[0] > value[1]:
        raise OptionsError(f"{section}.n_clusters must be a number or [low, high], got {list(value)}")


def candidates_of(value):
    """Numbers of clusters to fit: the one given, or all of a range (low, high)."""
    return (value,) if isinstance(value, int) else tuple(range(value[0], value[1] + 1))


def check_n_components(section, value):
    """Refuse a number of components that is no whole number from 0 on, or that there are no colours for."""
    check_integer(section, "n_components", value, 0)
    if value > LARGEST_N_COMPONENTS:
        raise OptionsError(f"{section}.n_components must be <= {LARGEST_N_COMPONENTS}, got {value}")


def check_methods(section, value, example):
    """Refuse what is no list of methods, each named once; ``example`` shows one in the message."""
    listed = isinstance(value, (tuple, list)) and all(isinstance(name, str) for name in value)
    if not listed or not value or len(set(value)) < len(value):
        shown = list(value) if isinstance(value, tuple) else value
        raise OptionsError(f"{section}.methods must list methods, each once, as {example}, got {shown!r}")


def nearest(word, known):
    """End of a message about an unknown word: the one that is meant, or all that are known."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(sorted(known))}"
