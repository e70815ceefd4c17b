"""The command. Importing it switches Nipype's usage tracking off before Nipype is imported."""

import os

os.environ.setdefault("NO_ET", "1")
os.environ.setdefault("NIPYPE_NO_ET", "1")
