"""Derivatives: what is written, how it is called, and how it is read again."""
