"""InSpect over many participants: one set of spectra, several protocols and sites."""
