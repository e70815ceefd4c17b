"""Commands that measure: ``python -m benchmarks`` runs them all."""
