"""How well the spectra of single voxels are known."""
