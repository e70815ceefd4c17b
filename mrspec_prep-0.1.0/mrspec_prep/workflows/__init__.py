"""Graphs: what runs after what, and how a run ends."""
