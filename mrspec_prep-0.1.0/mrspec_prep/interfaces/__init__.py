"""Nodes: load, call one function, save."""
