"""The steps of a training: what its settings say of them, and what they leave open."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from softstep.cli.classifier import defaults
from softstep.cli.classifier.records import Settings
from softstep.distributed import Communicator
from softstep.training.batches import Samples
from softstep.training.network import Floats
from softstep.training.rate import sgd_rate


@dataclass(frozen=True)
class Plan:
    """How often the rows come, how many a step has, its size at t = 0, 2 lambda of the penalty."""

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float

    def settings(self) -> dict[str, Any]:
        """Return the settings of these names."""
        return asdict(self)


def planned(
    settings: Settings,
    samples: Samples,
    weights: list[Floats],
    biases: list[Floats],
    comm: Communicator,
) -> Plan:
    """Find what the settings leave open; the rate on rank 0, for roundings may differ."""
    count = len(samples.rows)
    batch_size = min(settings.batch_size or defaults.batch_size(count), count)
    epochs = settings.epochs or defaults.epochs(count, batch_size)
    lr = np.array([settings.lr or 0.0])
    if settings.lr is None:
        if comm.rank == 0:
            stable = sgd_rate(weights, biases, samples, batch_size, settings.momentum)
            lr[0] = defaults.rate(stable, bool(settings.hidden))
        comm.broadcast(lr)
    decay = settings.weight_decay
    if decay is None:
        decay = defaults.weight_decay(count, lr[0])
    # The rate was found for the data, the decay said by the user: the rate gives way.
    elif settings.lr is None and lr[0] * decay > defaults.DECAY_OF_A_STEP:
        lr[0] = defaults.DECAY_OF_A_STEP / decay
    return Plan(epochs, batch_size, float(lr[0]), float(decay))
