"""Compressed signals for the group level, as a node."""

import json
from pathlib import Path

import numpy as np

from mrspec_prep.bids.nifti import read_grid
from mrspec_prep.bids.output.compressed import CompressedProtocol, write_compressed
from mrspec_prep.interfaces.base import File, kernel_of, traits
from mrspec_prep.interfaces.derivatives import SaveDerivatives, SaveInputSpec, noise_law
from mrspec_prep.interfaces.noise import freedom_of, sigma_for_clusters
from mrspec_prep.spectra.compression.truncation import compress_signals, truncate_kernel

AS_MEASURED = "as measured"
POLARITY_RESTORED = "magnitudes with the sign before the null restored"
STAND_INS = "real-valued stand-ins of {} magnitudes, which scatter by sigma about the voxelwise fit"


class _SaveCompressedInputSpec(SaveInputSpec):
    signals = File(exists=True, mandatory=True, desc="(n_voxels, n_encodings) that scatter by sigma about their mean")
    stand_ins = traits.Bool(False, usedefault=True, desc="signals stand for magnitudes")
    roi_notes = File(exists=True, mandatory=True, desc="notes of mask and signals (JSON)")
    noise = File(exists=True, mandatory=True, desc="(n_voxels,)")
    noise_notes = File(exists=True, mandatory=True, desc="method, degrees of freedom (JSON)")


class SaveCompressed(SaveDerivatives):
    """Signals compressed to the leading ranks of the kernel, sigma and protocol: what the group level reads."""

    input_spec = _SaveCompressedInputSpec

    def _run_interface(self, runtime):
        self._begin()
        kernel = dict(self.inputs.kernel)
        grid, matrix = kernel_of(self.series, kernel)
        truncated = truncate_kernel(matrix)
        compressed, outside = compress_signals(np.load(self.inputs.signals), truncated)
        protocol = CompressedProtocol(
            kernel, self.series.encodings, grid, truncated.projection, truncated.singular_values
        )
        law = self.inputs.settings["noise"]["distribution"]
        student = law == "student-t"
        sigma, about = sigma_for_clusters(
            self.inputs.noise, self.inputs.noise_notes, law, self.inputs.settings["inspect"]["mode"]
        )
        notes = json.loads(Path(self.inputs.noise_notes).read_text())
        path = self._path("spectra", ".h5", model=kernel["name"], desc="compressed")
        write_compressed(
            path,
            signals=compressed,
            sigma=sigma,
            outside=outside,
            roi=self.roi,
            affine=read_grid(self.series.images[0]).affine,
            protocol=protocol,
            distribution="student-t" if student else "gaussian",
            degrees_of_freedom=freedom_of(notes) if student else None,
            metadata=self._metadata(
                Datatype=self.series.datatype,
                Suffix=self.series.suffix,
                SignalsAre=self._signals_are(),
                **noise_law(self.inputs.settings),
                **about,
            ),
        )
        self.written.append(str(path))
        return self._end(runtime)

    def _signals_are(self):
        """What was compressed, in words."""
        if self.inputs.stand_ins:
            return STAND_INS.format(self.inputs.settings["noise"]["distribution"])
        notes = json.loads(Path(self.inputs.roi_notes).read_text())
        return POLARITY_RESTORED if notes.get("polarity") == "magnitude" else AS_MEASURED
