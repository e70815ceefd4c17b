"""mrspec_prep: spectra, tissue maps and parameter maps from multi-contrast microstructure MRI in BIDS."""

__version__ = "0.1.0"
