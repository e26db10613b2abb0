"""The extra results of cross-entropy: what the kernel returns by row, reduced as the loss is."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import softstep._core as _core
from softstep._foreign import as_array
from softstep.losses.options import Options

# What the extension has to write for each.
_WRITTEN = {
    "lse": "lse",
    "z_loss": "lse",
    "entropy": "entropy",
    "argmax": "argmax",
    "correct": "argmax",
    "target_log_prob": "nll",
    "dtemperature": "dtemperature",
    "dtarget": "dtarget",
    "dweight": "dweight",
}
_OF_CLASSES, _OF_PROBABILITIES = ("correct", "target_log_prob"), ("dtarget",)


def extra_results(
    arguments: Mapping[str, Any], with_gradient: bool = False
) -> tuple[Any, Any, dict[str, Any]]:
    """Return (loss, dlogits, results by name) for the arguments of `softstep.cross_entropy`."""
    names = _names(arguments["extra"])
    # Copies: the results are made of what the kernel read, should the caller's targets change.
    classes = np.array(as_array(arguments["target"], "target"))
    probabilities = arguments["target_probabilities"]
    if probabilities is not None:
        probabilities = np.array(as_array(probabilities, "target_probabilities"))
    by_class = classes.dtype.kind in "iub" and probabilities is None
    for name in names:
        if name in _OF_CLASSES and not by_class:
            raise ValueError(f"extra: {name!r} needs class targets")
        if name in _OF_PROBABILITIES and by_class:
            raise ValueError(f"extra: {name!r} needs probability targets")
    options = Options.among(arguments)
    axis, sample_weight = arguments["axis"], arguments["sample_weight"]
    loss, dlogits, written, upstream, z_upstream = _core.cross_entropy(
        arguments["logits"],
        classes,
        axis=axis,
        target_probabilities=probabilities,
        weight=arguments["weight"],
        sample_weight=sample_weight,
        **options._asdict(),
        extra=tuple(dict.fromkeys(_WRITTEN[name] for name in names)),
        with_gradient=with_gradient,
        out=arguments.get("out"),
    )
    results: dict[str, Any] = {}
    for name in names:
        result = written[_WRITTEN[name]]
        if name == "target_log_prob":
            result = 0 - result
        elif name == "correct":  # -1 in ignored rows, also where that is the target
            result = int(np.count_nonzero((result == classes) & (result >= 0)))
        elif name == "z_loss":
            share = 1.0 if sample_weight is None else np.asarray(sample_weight)
            term = options.z_loss * result.astype(np.float64) ** 2 * share
            by_row = options.reduction == "none"
            result = term.astype(result.dtype) if by_row else float(term.sum() * z_upstream)
        elif name == "dtemperature":
            result = float(result.sum(dtype=np.float64) * upstream)
        elif name == "dtarget" and probabilities is None:
            result = np.moveaxis(result, -1, axis)
        results[name] = result
    return loss, dlogits, results


def _names(extra: Any) -> tuple[str, ...]:
    try:
        names = (extra,) if isinstance(extra, str) else tuple(extra)
    except TypeError:
        raise TypeError(
            f"extra: expected a sequence of names, got {type(extra).__name__}"
        ) from None
    for name in names:
        if name not in _WRITTEN:
            raise ValueError(f"extra: expected names among {', '.join(_WRITTEN)}, got {name!r}")
    return names
