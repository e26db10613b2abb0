"""Calls and files that nobody would write, drawn from a seed: see `__main__.py`."""
