"""Networks that map the signals of a voxel to its parameters, trained on the scan itself; the rooms with torch."""
