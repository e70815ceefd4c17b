"""Regularised non-negative spectra, voxel by voxel, with a certificate each."""
