"""Scan-specific maps in a report."""
