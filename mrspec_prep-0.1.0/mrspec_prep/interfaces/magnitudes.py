"""Real signals behind magnitudes as a node."""

from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec

from mrspec_prep.interfaces.base import (
    ComputeInputSpec,
    File,
    SimpleInterface,
    kernel_of,
    read_series,
    traits,
    within_threads,
)
from mrspec_prep.spectra import NoiseModel
from mrspec_prep.spectra.noise.rician import real_signals


class _MagnitudesInputSpec(ComputeInputSpec):
    signals = File(exists=True, mandatory=True, desc="(n_voxels, n_encodings); signs serve the start only")
    noise = File(exists=True, mandatory=True, desc="(n_voxels,) of each real channel")
    distribution = traits.Enum("rician", "nc-chi", mandatory=True, desc="of the magnitudes")
    n_coils = traits.Int(1, usedefault=True, desc="channels of nc-chi")
    alpha = traits.Float(mandatory=True, desc="Tikhonov weight of the fits on the way")


class _MagnitudesOutputSpec(TraitedSpec):
    signals = File(exists=True, desc="real signals whose least-squares fit maximises the likelihood, float32")
    standardised = File(exists=True, desc="real signals that scatter by sigma about the fit, float32")


class FindRealSignals(SimpleInterface):
    """Real signals that magnitudes stand for, by majorise-minimise of the Rician or nc-chi likelihood."""

    input_spec = _MagnitudesInputSpec
    output_spec = _MagnitudesOutputSpec

    def _run_interface(self, runtime):
        series = read_series(self.inputs.series)
        _, kernel = kernel_of(series, self.inputs.kernel)
        with within_threads(self.inputs.num_threads):
            real = real_signals(
                np.load(self.inputs.signals),
                kernel,
                np.load(self.inputs.noise),
                NoiseModel(self.inputs.distribution, self.inputs.n_coils),
                self.inputs.alpha,
            )
        out = Path(runtime.cwd)
        for name in ("signals", "standardised"):
            np.save(out / f"{name}.npy", getattr(real, name))
            self._results[name] = str(out / f"{name}.npy")
        return runtime
