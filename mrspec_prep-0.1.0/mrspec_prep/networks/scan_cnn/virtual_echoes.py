"""Any protocol in the same few channels: what its echoes tell of the signal at fixed times, and how surely.

Signals of decays are smooth in time. Given echoes at TE_e with noise sigma, the best linear prediction of the signal
at other times v_k is W S with W = C_vt (C_tt + sigma2 I)^-1, C_st = E[a2 exp(-s x) exp(-t x)] over the rates x that
tissue may have (Wiener 1949). Six virtual echoes at fixed multiples of the mean echo time serve every protocol; a
network is told their errors. Linear in the data, they keep its Gaussian noise.
"""

from dataclasses import dataclass

import numpy as np
import torch

VIRTUAL_TIMES = np.array([0.0, 0.25, 0.5, 1.0, 2.0, 4.0])  #: of the mean echo time
MIDDLE = 3  #: virtual echo at the mean echo time
RATES = np.geomspace(0.02, 12.0, 60)  # mean echo time over T2
POWER = 0.5  # E[a2]; signals are about 1
N_CONSTANTS = 2 * len(VIRTUAL_TIMES) + 2


@dataclass(frozen=True, eq=False)
class Protocol:
    """Echo times and noise of a scan as a network is told of them.

    Attributes
    ----------
    echo_times : (e,) array
        [ms].
    noise_std : float
        Of signals whose largest are about 1.
    magnitude : bool
        Whether signals are magnitudes, with Rician noise.

    """

    echo_times: np.ndarray
    noise_std: float
    magnitude: bool = False

    @property
    def unit(self):
        """Mean echo time [ms]."""
        return float(np.mean(self.echo_times))

    def times(self, like=None):
        """(e,) tensor of echo times over ``unit``."""
        times = torch.as_tensor(np.asarray(self.echo_times) / self.unit, dtype=torch.float32)
        return times if like is None else times.to(like)

    @property
    def virtual_errors(self):
        """(6,) root mean square errors of the virtual echoes, over noise and tissue."""
        return self._prediction()[2]

    def channels(self, images):
        """Virtual echoes and constants (b, 6 + 14, h, w) of images (b, e, h, w)."""
        matrix, noise, unsure = self._prediction()
        virtual = torch.einsum("ve,behw->bvhw", torch.as_tensor(matrix, dtype=images.dtype).to(images), images)
        told = [*np.log(noise), *np.log(unsure), np.log(self.noise_std), 4.0 * self.magnitude]
        constants = torch.as_tensor(np.array(told) / 4 + 0.5, dtype=images.dtype).to(images)
        flat = constants[None, :, None, None].expand(len(images), -1, *images.shape[2:])
        return torch.cat([virtual, flat], 1)

    def _prediction(self):
        """Matrix W (6, e), the standard deviations of its noise and of its error (6,)."""
        there, here = VIRTUAL_TIMES, np.asarray(self.echo_times, float) / self.unit
        wanted, known = np.exp(-there[:, None] * RATES), np.exp(-here[:, None] * RATES)
        scale = POWER / len(RATES)
        between = scale * wanted @ known.T
        among = scale * known @ known.T + self.noise_std**2 * np.eye(len(here))
        matrix = np.linalg.solve(among, between.T).T
        left = scale * (wanted**2).sum(axis=1) - (matrix * between).sum(axis=1)
        return matrix, self.noise_std * np.linalg.norm(matrix, axis=1), np.sqrt(np.maximum(left, 1e-12))
