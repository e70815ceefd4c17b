"""Whether what is said of the grid suits the kernel."""

from dataclasses import replace
from difflib import get_close_matches

from mrspec_prep.bids.errors import InputError
from mrspec_prep.physics import kernel_axes


def checked_grid(options, kernel, workflow, overrides=()):
    """Kernel settings of a kernel; refuse points, spacing or axes of a grid that it has no use for.

    Parameters
    ----------
    options : KernelOptions
    kernel : str
    workflow : Path
        File that is blamed where no override is.
    overrides : sequence of str
        ``section.key=value`` of ``--set``.

    Returns
    -------
    KernelOptions
        Without points and spacing of a workflow file that ``kernel.grid`` replaces for every axis.

    Raises
    ------
    InputError

    """
    axes = kernel_axes(kernel)
    free = [axis for axis in axes if axis not in options.grid]
    for axis in options.grid:
        if axis not in axes:
            close = get_close_matches(axis, free, 1, 0.4)
            raise InputError(
                f"kernel.grid names the axis {axis}, and kernel {kernel} has {', '.join(axes)}",
                **_blamed("grid", workflow, overrides, axis),
                remedy=f"did you mean {close[0]}?" if close else "leave that axis out, or choose another kernel",
            )
    beside = {"points": list(options.points), "spacing": options.spacing}
    for key in [key for key, given in beside.items() if not free and given not in ([], "log")]:
        if _override("grid", overrides) is None or _override(key, overrides):
            raise InputError(
                f"kernel.grid gives the values of every axis of {kernel}, and kernel.{key} is set, too",
                **_blamed(key, workflow, overrides, beside[key]),
                remedy=f"leave kernel.{key} or kernel.grid out",
            )
    if options.points and len(options.points) != len(axes):
        raise InputError(
            f"kernel {kernel} has {len(axes)} ax{'e' if len(axes) > 1 else 'i'}s and kernel.points has "
            f"{len(options.points)} number{'s' * (len(options.points) > 1)}",
            **_blamed("points", workflow, overrides, list(options.points)),
            remedy=f"give kernel.points {len(axes)} number{'s' * (len(axes) > 1)}",
        )
    return options if free else replace(options, points=(), spacing="log")


def _override(key, overrides):
    """Last ``--set`` that sets a key of [kernel], or None."""
    own = [text for text in overrides if f"{text.partition('=')[0].strip()}.".startswith(f"kernel.{key}.")]
    return own[-1] if own else None


def _blamed(key, workflow, overrides, value):
    """File and value of the error: the override that set the key, else the workflow file."""
    own = _override(key, overrides)
    return {"value": f"--set {own}"} if own else {"file": workflow, "value": value}
