"""Every voxel on its own: most likely parameters and their standard errors."""
