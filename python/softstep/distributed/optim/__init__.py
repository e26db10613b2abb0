"""Optimizers with their state on many processes."""
