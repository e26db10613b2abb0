"""The process: its ranks, its threads, its interrupts."""
