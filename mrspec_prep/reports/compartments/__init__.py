"""The number of compartments in a report."""
