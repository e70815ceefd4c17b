"""Myelin water: what of a relaxation spectrum lies below the limit of the literature."""

import numpy as np

from mrspec_prep.physics import kernel_axes
from mrspec_prep.spectra.regions.integration import RESOLVING_VALUES, distinct_values, region_bins

REGION = "myelin"  #: name of a region that replaces the limits
#: limits of water between myelin layers at 3 T [ms]: T2 of spin echoes (MacKay 1994), T2* of gradient echoes (Du 2007)
LIMITS = {"t2": (0.0, 40.0), "t2star": (0.0, 25.0)}
EARLY_ECHOES = 2  # distinct echo times below the limit that see myelin water decay


def myelin_box(kernel_name, encodings, grid, regions=None):
    """Box of myelin water {axis: (low, high)} [ms], or None where this protocol cannot show it.

    Parameters
    ----------
    kernel_name : str
        ``t2`` or ``t2star``; others have none.
    encodings : Encodings
        Three distinct echo times at least, two of them below the upper limit: one alone tells no decay from amplitude.
    grid : Grid
        Bins on both sides of the upper limit.
    regions : dict of str to dict of str to (low, high), optional
        The user's; one called ``myelin`` on this axis replaces the limits of the literature.

    Examples
    --------
    >>> import numpy as np
    >>> from mrspec_prep.physics import Encodings, Grid
    >>> from mrspec_prep.spectra.regions.myelin import myelin_box
    >>> grid = Grid(t2=np.geomspace(10, 1000, 40))
    >>> myelin_box("t2", Encodings(echo_time=np.arange(10.0, 330.0, 10.0)), grid)
    {'t2': (0.0, 40.0)}
    >>> myelin_box("t2", Encodings(echo_time=[30.0, 60.0, 90.0, 120.0]), grid)

    """
    axes = kernel_axes(kernel_name)
    if len(axes) != 1 or axes[0] not in LIMITS:
        return None
    (axis,) = axes
    low, high = ((regions or {}).get(REGION) or {}).get(axis, LIMITS[axis])
    box = {axis: (float(low), float(high))}
    inside = region_bins(grid, box)
    above = np.asarray(getattr(grid, axis)) >= high
    echo_times = distinct_values(encodings, axis)
    early = int((echo_times < high).sum())
    if len(echo_times) < RESOLVING_VALUES or early < EARLY_ECHOES or not (inside.any() and above.any()):
        return None
    return box
