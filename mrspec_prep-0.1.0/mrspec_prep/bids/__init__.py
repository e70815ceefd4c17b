"""BIDS in and out: the only room that touches NIfTI, sidecars, tables and HDF5."""
