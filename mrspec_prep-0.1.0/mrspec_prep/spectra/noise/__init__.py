"""Noise: its level, its law, the sign that a magnitude lost."""
