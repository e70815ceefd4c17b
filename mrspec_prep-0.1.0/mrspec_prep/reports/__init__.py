"""Reports: finished derivatives in, one self-contained page per participant out."""
