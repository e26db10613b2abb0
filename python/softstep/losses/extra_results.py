"""The extra results of cross-entropy: what the kernel returns by row, reduced as the loss is."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

import softstep._core as _core
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


class Extra(NamedTuple):
    """The results that are asked for, checked."""

    names: tuple[str, ...]

    @property
    def written(self) -> tuple[str, ...]:
        """What the kernels have to write."""
        return tuple(dict.fromkeys(_WRITTEN[name] for name in self.names))

    def named(
        self,
        written: Mapping[str, Any],
        classes: Any,
        z_loss: float,
        share: Any,
        by_row: bool,
        upstream: Any,
        z_upstream: float,
    ) -> dict[str, Any]:
        """Return the results by name, of what was written.

        `classes` are the targets, `share` the sample weights or 1, `upstream` and `z_upstream` what
        a row's loss and z-loss are multiplied by in the result.
        """
        results: dict[str, Any] = {}
        for name in self.names:
            result = written[_WRITTEN[name]]
            if name == "target_log_prob":
                result = 0 - result
            elif name == "correct":  # -1 in ignored rows, also where that is the target
                result = int(np.count_nonzero((result == classes) & (result >= 0)))
            elif name == "z_loss":
                term = z_loss * result.astype(np.float64) ** 2 * share
                result = term.astype(result.dtype) if by_row else float(term.sum() * z_upstream)
            elif name == "dtemperature":
                result = float((result.astype(np.float64) * upstream).sum())
            results[name] = result[()] if isinstance(result, np.ndarray) else result
        return results


def check_extra(extra: Any, by_class: bool, without: Collection[str] = ()) -> Extra:
    """Check the names; `without` are those that the function does not have."""
    try:
        names = (extra,) if isinstance(extra, str) else tuple(extra)
    except TypeError:
        raise TypeError(
            f"extra: expected a sequence of names, got {type(extra).__name__}"
        ) from None
    allowed = [name for name in _WRITTEN if name not in without]
    for name in names:
        if name not in allowed:
            raise ValueError(f"extra: expected names among {', '.join(allowed)}, got {name!r}")
        if name in _OF_CLASSES and not by_class:
            raise ValueError(f"extra: {name!r} needs class targets")
        if name in _OF_PROBABILITIES and by_class:
            raise ValueError(f"extra: {name!r} needs probability targets")
    return Extra(names)


def extra_results(
    arguments: Mapping[str, Any], with_gradient: bool = False
) -> tuple[Any, Any, dict[str, Any]]:
    """Return (loss, dlogits, results by name) for the arguments of `softstep.cross_entropy`."""
    # Copies: the results are made of what the kernel read, should the caller's targets change.
    classes = np.array(_core.as_array(arguments["target"], "target"))
    probabilities = arguments["target_probabilities"]
    if probabilities is not None:
        probabilities = np.array(_core.as_array(probabilities, "target_probabilities"))
    extra = check_extra(arguments["extra"], classes.dtype.kind in "iub" and probabilities is None)
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
        extra=extra.written,
        with_gradient=with_gradient,
        out=arguments.get("out"),
    )
    share = 1.0 if sample_weight is None else _core.as_array(sample_weight, "sample_weight")
    by_row = options.reduction == "none"
    results = extra.named(written, classes, options.z_loss, share, by_row, upstream, z_upstream)
    if "dtarget" in results and probabilities is None:
        results["dtarget"] = np.moveaxis(results["dtarget"], -1, axis)
    return loss, dlogits, results
