"""What fits a table where the user said nothing: found from the number of its rows.

Chosen by the held-out accuracy over the tables of benchmarks/studies/tables.py, for other seeds.
"""

from __future__ import annotations

import math

# Below so many rows, those that would be held out to stop by teach more than they tell.
STOPPING_ROWS, STOPPING_FRACTION = 10_000, 0.1
# Hidden layers take larger steps than are stable for features of any scale, up to a bound: here
# they are standardised and clipped.
FASTER, FAST = 3.0, 0.25
# Steps of an epoch, by which a small table has small batches, within these bounds.
STEPS, LEAST_BATCH, MOST_BATCH = 32, 4, 32
# A small table comes more often, so that there are enough steps.
EPOCHS, LEAST_STEPS = 60, 1000
# The penalty is DECAY / 2 of ||w||^2 beside the sum of the losses, that of a hundred rows at most.
DECAY, MOST_DECAY = 3.0, 0.03
# What a step may take off the weights.
DECAY_OF_A_STEP = 0.5


def validation_fraction(rows: int) -> float:
    """Return the part of ``rows`` rows to hold out to stop by."""
    return STOPPING_FRACTION if rows >= STOPPING_ROWS else 0.0


def batch_size(rows: int) -> int:
    """Return the rows of a step on ``rows`` rows in all."""
    return min(max(LEAST_BATCH, rows // STEPS), MOST_BATCH)


def epochs(rows: int, batch_rows: int) -> int:
    """Return the passes over ``rows`` rows."""
    return max(EPOCHS, math.ceil(LEAST_STEPS / math.ceil(rows / batch_rows)))


def rate(stable: float, hidden: bool) -> float:
    """Return the first rate from one that is ``stable``."""
    return max(stable, min(FASTER * stable, FAST)) if hidden else stable


def weight_decay(rows: int, lr: float) -> float:
    """Return 2 lambda of the penalty lambda ||w||^2 beside the mean loss of ``rows`` rows."""
    return min(DECAY / rows, MOST_DECAY, DECAY_OF_A_STEP / lr)
