"""Nodes of the group level, and its workers on a cluster."""
