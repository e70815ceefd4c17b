"""Randomised faults on a small run: ``python -m benchmarks.faults --help``."""
