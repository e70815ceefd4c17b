"""Numbers, times and peaks as a reader says them."""

import math

from mrspec_prep.bids.catalogue import axis_entry

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


def join(items):
    """Words joined as in a sentence: ``a, b and c``."""
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def quantity(axis, value):
    """Value on a spectral axis with its symbol and unit: ``T2* 62 ms``."""
    entry = axis_entry(axis)
    unit = f" {entry['unit']}" if entry["unit"] else ""
    return f"{entry['symbol']} {short(value)}{unit}"


def peak_in_words(peak):
    """Peak as ``D 1.9 um2/ms, T2* 62 ms, 71 %``."""
    parts = [quantity(axis, value) for axis, value in peak.items() if axis != "fraction"]
    return ", ".join([*parts, percent(peak["fraction"])])


def kernel_in_words(kernel, axes):
    """Spectrum of a kernel in words: ``T2*-D spectrum``."""
    symbols = "-".join(axis_entry(axis)["symbol"] for axis in reversed(list(axes)))
    return f"{symbols} spectrum" if symbols else f"{kernel} spectrum"


def capital(text):
    """Text with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]
