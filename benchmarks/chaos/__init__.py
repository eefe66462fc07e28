"""Faults at random over many small jobs of a real service: generator, nemesis, history, checker."""
