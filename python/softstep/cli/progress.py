"""How far the training is: a bar on a terminal, a line per epoch elsewhere."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from softstep.cli.training import Epoch


class Progress:
    """What the training reports to; shows nothing."""

    def rows(self, count: int) -> None:
        """``count`` more rows have been trained on."""

    def epoch(self, epoch: Epoch) -> None:
        """``epoch`` is finished."""

    def close(self) -> None:
        """Nothing more will come."""


class Lines(Progress):
    """A line on stderr per epoch."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def epoch(self, epoch: Epoch) -> None:
        """Print a line."""
        print(
            f"epoch {epoch.epoch:>{len(str(self._epochs))}}/{self._epochs}  {_state(epoch)}  "
            f"{epoch.rows_per_second:.0f} rows/s",
            file=sys.stderr,
            flush=True,
        )


class Bar(Progress):
    """A tqdm bar over all rows of all epochs, which also moves within a long epoch."""

    def __init__(self, tqdm: Any, epochs: int, rows: int) -> None:
        self._epochs = epochs
        self._bar = tqdm(
            total=epochs * rows,
            desc=f"epoch 1/{epochs}",
            unit=" rows",
            unit_scale=True,
            dynamic_ncols=True,
            # Leaves the bar a few of 80 columns.
            bar_format="{desc} |{bar}| {rate_fmt}{postfix}",
        )

    def rows(self, count: int) -> None:
        """Move the bar."""
        self._bar.update(count)

    def epoch(self, epoch: Epoch) -> None:
        """Show the state beside the bar."""
        next_epoch = min(epoch.epoch + 1, self._epochs)
        self._bar.set_description_str(f"epoch {next_epoch}/{self._epochs}", refresh=False)
        self._bar.set_postfix_str(_state(epoch), refresh=False)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def open_progress(epochs: int, rows: int, quiet: bool) -> Progress:
    """Choose how to show ``epochs`` epochs of ``rows`` rows."""
    if quiet:
        return Progress()
    # Some terminals (docker run -t) have no width, in which no bar fits.
    if sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns:
        try:
            tqdm = importlib.import_module("tqdm").tqdm
        except ImportError:
            pass
        else:
            return Bar(tqdm, epochs, rows)
    return Lines(epochs)


def _state(epoch: Epoch) -> str:
    loss = f"loss {epoch.data_loss:.4f} + l2 {epoch.l2_penalty:.4f}"
    return f"{loss}  test acc {epoch.test_accuracy:.4f}"
