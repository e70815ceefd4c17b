"""Neighbouring voxels."""
