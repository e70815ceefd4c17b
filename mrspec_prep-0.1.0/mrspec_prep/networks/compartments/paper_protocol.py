"""The protocol of the classifier paper, very likely."""

import numpy as np

from mrspec_prep.physics import Encodings

INVERSION_TIMES = (50.0, 85.0, 143.0, 243.0, 412.0, 697.0, 1181.0, 2000.0)  # ms
ECHO_TIMES = (4.5, 7.5, 12.0, 20.0, 33.0, 55.0, 91.0, 150.0)  # ms


def paper_protocol():
    """64 encodings, the 8 inversion times by the 8 echo times of the scan of Endt et al. 2023 (TI outermost).

    The paper says "taken from an actual correlation imaging experiment" and does not list them; these are those of
    the same group's scans. The repetition time (20 s) is left out, as in the paper's Eq. 1.
    """
    inversion, echo = np.meshgrid(INVERSION_TIMES, ECHO_TIMES, indexing="ij")
    return Encodings(inversion_time=inversion.ravel(), echo_time=echo.ravel())
