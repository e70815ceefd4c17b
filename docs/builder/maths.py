"""Equations as MathML, made while the site is built: browsers draw it themselves, nothing is fetched."""

import html
import re

from latex2mathml.converter import convert

ARITHMATEX = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def with_mathml(page):
    """HTML of a page with its equations set.

    Raises
    ------
    ValueError
        A command of LaTeX that the converter does not know.

    """
    return ARITHMATEX.sub(lambda match: equation(html.unescape(match[3]), match[2] == "["), page)


def equation(latex, display=False):
    """MathML of one equation.

    Raises
    ------
    ValueError
        A command of LaTeX that the converter does not know.

    """
    made = convert(latex.strip(), display="block" if display else "inline")
    if "\\" in made:
        raise ValueError(f"an equation holds what cannot be set: {latex.strip()!r}")
    return made.replace(' accent="true"', "")  # without a font for mathematics an accent would stand in its letter
