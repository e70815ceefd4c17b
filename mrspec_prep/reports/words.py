"""Numbers, times and peaks as a reader says them."""

import math

from mrspec_prep.bids.output.catalogue import axis_entry

NUMERALS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def number(value):
    """Number with thin spaces between thousands, three significant digits below 1000: ``12 345``, ``0.0123``."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "n/a"
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{round(value):,}".replace(",", "\u202f").replace("-", "\u2212")
    return short(value)


def short(value):
    """Three significant digits without an exponent where a reader can do without: ``0.125``, ``62``, ``1 110``."""
    if abs(value) >= 1000:
        return number(round(value))
    text = f"{value:.3g}"
    return text.replace("-", "\u2212") if "e" not in text else text


def rough(value):
    """Two significant digits, whole numbers from 10 on: ``1.9``, ``62``, ``105``."""
    return number(round(value)) if value >= 10 else f"{value:.2g}"


def decimals(error):
    """Decimals to which a value with some standard error is worth stating."""
    return max(0, 1 - math.floor(math.log10(error))) if error > 0 and math.isfinite(error) else 3


def power(value):
    """Small number with a power of ten: ``8 x 10^-10`` in raised digits."""
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}\u202f×\u202f10{raised}"


def percent(share):
    """Share as per cent: ``34 %``, ``0.4 %``, ``< 0.1 %``."""
    value = 100 * share
    if 0 < value < 0.1:
        return "< 0.1\u202f%"
    return f"{value:.0f}\u202f%" if value >= 1 or value == 0 else f"{value:.1f}\u202f%"


def count(n, noun, plural=None):
    """Count with its noun, small ones spelled: ``two echo times``, ``1 344 volumes``."""
    spelled = NUMERALS[n] if 0 <= n < len(NUMERALS) else number(n)
    return f"{spelled} {noun if n == 1 else plural or noun + 's'}"


def join(items, last="and"):
    """Words joined as in a sentence: ``a, b and c``."""
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def at_edge(peak, grid):
    """Whether a peak lies in the first or last bin of an axis: its true place is beyond, or is not encoded."""
    return any(_bound(peak[axis], values) for axis, values in zip(grid.names, grid.axes, strict=True) if axis in peak)


def peak_in_words(peak, grid):
    """Peak as ``1.9 um2/ms, 62 ms, 71 %``, in the order of the grid's axes; at its edge with a sign of inequality."""
    return ", ".join([*place_in_words(peak, grid), percent(peak["fraction"])])


def place_in_words(peak, grid):
    """Position of a peak along each axis of the grid: ``1.9 um2/ms``; ``≥ 500 ms`` in the last bin."""
    parts = []
    for axis, values in zip(grid.names, grid.axes, strict=True):
        if axis in peak:
            parts.append(f"{_bound(peak[axis], values)}{rough(peak[axis])} {axis_entry(axis)['unit']}".strip())
    return parts


def _bound(value, values):
    """Sign of inequality of a value in the first or last bin of an axis, where it stands for all beyond."""
    if len(values) < 2:
        return ""
    return "≥ " if value >= values[-1] * 0.9999 else "≤ " if value <= values[0] * 1.0001 else ""


def kernel_in_words(kernel, axes):
    """Spectrum of a kernel in words: ``T2*-D spectrum``."""
    symbols = "-".join(axis_entry(axis)["symbol"] for axis in reversed(list(axes)))
    return f"{symbols} spectrum" if symbols else f"{kernel} spectrum"


def capital(text):
    """Text with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def printed_units(text):
    """Text of a log or sidecar with units as the report prints them: ``s/mm²`` for ``s/mm2``."""
    return text.replace("s/mm2", "s/mm²").replace("um2/ms", "µm²/ms")
