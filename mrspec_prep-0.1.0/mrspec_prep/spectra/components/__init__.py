"""Continuous InSpect: voxels that mix a few spectra."""
