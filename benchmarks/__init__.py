"""Measurements: programs that say how fast and how large, each with its results beside it."""
