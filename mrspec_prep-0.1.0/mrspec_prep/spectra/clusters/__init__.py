"""InSpect: voxels that share a spectrum, by expectation-maximisation."""
