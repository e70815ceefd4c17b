"""T2 and T2* maps from one scan: voxelwise fits, non-local means, and networks that see the neighbours."""
