"""Ball-stick maps by dmipy-fit, run by ``benchmarks.ball_stick`` in an environment that has it (nothing of ours).

``python ball_stick_peer.py IN.npz OUT.npz``: IN holds bvalue [s/mm2], direction, signals and solver; OUT the maps by
our names and the process time of the fit [s]. Volumes of b = 0 get a direction, which the peer wants and does not use.
"""

import sys
import time

import numpy as np
from dmipy_fit.core.acquisition_scheme import acquisition_scheme_from_bvalues
from dmipy_fit.core.modeling_framework import MultiCompartmentModel
from dmipy_fit.signal_models.cylinder_models import C1Stick
from dmipy_fit.signal_models.gaussian_models import G1Ball


def main(given, answer):
    """Fit the voxels of a file."""
    data = np.load(given)
    direction = np.where(data["bvalue"][:, None] > 0, data["direction"], [1.0, 0.0, 0.0])
    scheme = acquisition_scheme_from_bvalues(data["bvalue"] * 1e6, direction, delta=0.01, Delta=0.03)
    model = MultiCompartmentModel([C1Stick(), G1Ball()])
    start = time.process_time()
    found = model.fit(scheme, data["signals"], solver=str(data["solver"])).fitted_parameters
    seconds = time.process_time() - start
    theta, phi = found["C1Stick_1_mu"].T
    np.savez(
        answer,
        seconds=seconds,
        stick_fraction=found["partial_volume_0"],
        stick_diffusivity=found["C1Stick_1_lambda_par"] * 1e9,
        ball_diffusivity=found["G1Ball_1_lambda_iso"] * 1e9,
        direction_x=np.sin(theta) * np.cos(phi),
        direction_y=np.sin(theta) * np.sin(phi),
        direction_z=np.cos(theta),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
