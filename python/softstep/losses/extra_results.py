"""The extra results of cross-entropy: what the kernel returns by row, reduced as the loss is."""

from typing import Any

import numpy as np

import softstep._core as _core
from softstep._foreign import as_array
from softstep._typing import FloatArray

NAMES = (
    "lse",
    "z_loss",
    "entropy",
    "argmax",
    "correct",
    "target_log_prob",
    "dtemperature",
    "dtarget",
    "dweight",
)
# What the kernel has to write for each.
_ROW_RESULTS = {
    "lse": "lse",
    "z_loss": "lse",
    "entropy": "entropy",
    "argmax": "argmax",
    "correct": "argmax",
    "target_log_prob": "nll",
    "dtemperature": "dtemperature",
}
# The gradients with respect to target and weight need log-probabilities: so many elements at once.
_CHUNK = 1 << 20


def extra_results(
    logits: Any,
    target: Any,
    axis: Any,
    target_probabilities: Any,
    weight: Any,
    sample_weight: Any,
    ignore_index: int,
    label_smoothing: float,
    smoothing: str,
    temperature: float,
    softcap: float | None,
    z_loss: float,
    reduction: str,
    denominator: float | None,
    empty: str,
    extra: Any,
    with_gradient: bool,
    out: FloatArray | None,
) -> tuple[Any, Any, dict[str, Any]]:
    """Call the kernel and return (loss, dlogits, results by name)."""
    try:
        names = (extra,) if isinstance(extra, str) else tuple(extra)
    except TypeError:
        raise TypeError(
            f"extra: expected a sequence of names, got {type(extra).__name__}"
        ) from None
    for name in names:
        if name not in NAMES:
            raise ValueError(f"extra: expected names among {', '.join(NAMES)}, got {name!r}")
    # Copies: the results are made of what the kernel read, should the caller's targets change.
    array, classes = as_array(logits, "logits"), np.array(as_array(target, "target"))
    if target_probabilities is not None:
        target_probabilities = np.array(as_array(target_probabilities, "target_probabilities"))
    by_class = classes.dtype.kind in "iub" and target_probabilities is None
    for name in ("correct", "target_log_prob"):
        if name in names and not by_class:
            raise ValueError(f"extra: {name!r} needs class targets")
    if "dtarget" in names and by_class:
        raise ValueError("extra: 'dtarget' needs probability targets")
    # Before an in-place gradient overwrites the logits.
    kept = array.copy() if out is not None and {"dtarget", "dweight"} & set(names) else array
    rows = tuple(dict.fromkeys(_ROW_RESULTS[name] for name in names if name in _ROW_RESULTS))
    loss, dlogits, row_results, upstream, z_upstream = _core.cross_entropy(
        logits,
        classes,
        axis,
        target_probabilities,
        weight,
        sample_weight,
        ignore_index,
        label_smoothing,
        smoothing,
        temperature,
        softcap,
        z_loss,
        reduction,
        denominator,
        empty,
        rows,
        with_gradient,
        out,
    )
    share = np.ones(array.shape[:0]) if sample_weight is None else np.asarray(sample_weight)
    results: dict[str, Any] = {}
    for name in names:
        if name in ("lse", "entropy", "argmax"):
            results[name] = row_results[name]
        elif name == "target_log_prob":
            results[name] = 0 - row_results["nll"]
        elif name == "correct":
            largest = row_results["argmax"]  # -1 in ignored rows, also where that is the target
            results[name] = int(np.count_nonzero((largest == classes) & (largest >= 0)))
        elif name == "z_loss":
            lse = row_results["lse"]
            term = z_loss * lse.astype(np.float64) ** 2 * share
            results[name] = (
                term.astype(lse.dtype) if reduction == "none" else float(term.sum() * z_upstream)
            )
        elif name == "dtemperature":
            results[name] = float(row_results[name].sum(dtype=np.float64) * upstream)
    if {"dtarget", "dweight"} & set(names):
        gradients = TargetGradients(
            np.moveaxis(kept, axis, -1),
            classes
            if by_class or target_probabilities is not None
            else np.moveaxis(classes, axis, -1),
            target_probabilities,
            weight,
            sample_weight,
            ignore_index,
            label_smoothing,
            smoothing,
            temperature,
            softcap,
        )
        normalised = reduction == "mean" and denominator is None and by_class
        dtarget, dweight = gradients.compute(upstream, normalised)
        if "dtarget" in names:
            results["dtarget"] = (
                dtarget if target_probabilities is not None else np.moveaxis(dtarget, -1, axis)
            )
        if "dweight" in names:
            results["dweight"] = dweight
    return loss, dlogits, results


class TargetGradients:
    """Gradients with respect to probabilities and class weights, a chunk of rows at a time.

    With ``q'`` the mass of a row before the class weights, ``L = -sum(w * q' * logp)``, so
    ``dL/dq = -(1 - eps) w logp`` and ``dL/dw = -q' logp``; a mean over class targets divides by
    ``D = sum(w[t])``, which adds ``-L / D`` to ``dL/dw[t]``.
    """

    def __init__(
        self,
        logits: FloatArray,
        target: Any,
        target_probabilities: Any,
        weight: Any,
        sample_weight: Any,
        ignore_index: int,
        label_smoothing: float,
        smoothing: str,
        temperature: float,
        softcap: float | None,
    ) -> None:
        self.classes = logits.shape[-1]
        # float16 and bfloat16 (kind V) are computed in float32, integers in float64.
        self.dtype = np.dtype(np.float64 if logits.dtype.kind in "iub" else logits.dtype)
        if self.dtype.itemsize == 2:
            self.dtype = np.dtype(np.float32)
        self.logits = logits.reshape(-1, self.classes)
        rows = len(self.logits)
        self.by_class = target.dtype.kind in "iub" and target_probabilities is None
        width = 1 if self.by_class else target.shape[-1]
        self.shape = target.shape
        self.target = target.reshape(rows, width)
        self.sparse = None
        if target_probabilities is not None:
            self.sparse = np.asarray(target_probabilities, np.float64).reshape(rows, width)
        self.weight = np.ones(self.classes) if weight is None else np.asarray(weight, np.float64)
        share = np.ones(rows) if sample_weight is None else np.asarray(sample_weight, np.float64)
        self.share = share.reshape(rows)
        self.ignore_index, self.eps, self.smoothing = ignore_index, label_smoothing, smoothing
        self.temperature, self.softcap = temperature, softcap

    def compute(self, upstream: float, normalised: bool) -> tuple[FloatArray, FloatArray]:
        """Return (dtarget, dweight) of the loss whose rows count `upstream`."""
        rows = len(self.logits)
        dtarget = np.zeros(self.target.shape, self.dtype)
        dweight = np.zeros(self.classes)
        shares = np.zeros(self.classes)  # of the classes in the mean's denominator
        step = max(1, _CHUNK // max(self.classes, 1))
        for begin in range(0, rows, step):
            chunk = slice(begin, min(rows, begin + step))
            logp = self._log_probabilities(chunk)
            mass, slope, kept = self._mass(chunk, logp)
            g = np.where(kept, self.share[chunk] * upstream, 0.0)[:, None]
            # 0 * log 0 = 0, and an ignored row adds nothing, whatever it holds.
            counts = kept[:, None] & (mass != 0)
            dweight -= (g * np.where(counts, mass, 0.0) * np.where(counts, logp, 0.0)).sum(axis=0)
            if not self.by_class:
                dtarget[chunk] = _product(-g, slope)
            elif normalised:
                shares += np.bincount(
                    self.target[chunk, 0][kept],
                    weights=self.share[chunk][kept],
                    minlength=self.classes,
                )
        if normalised:
            held = shares != 0  # a class that no row has is not touched, even by an infinite loss
            dweight[held] -= (self.weight @ dweight) * upstream * shares[held]
        return dtarget.reshape(self.shape), dweight.astype(self.dtype)

    def _log_probabilities(self, chunk: slice) -> FloatArray:
        x = self.logits[chunk].astype(np.float64)
        if self.softcap:
            x = np.where(np.isneginf(x), x, self.softcap * np.tanh(x / self.softcap))
        return _core.log_softmax(x, -1, self.temperature, None, None)

    # (mass before the class weights, dL/dtarget but for the row's share, rows that count)
    def _mass(self, chunk: slice, logp: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        target, kept = self.target[chunk], self.share[chunk] != 0
        index = np.arange(len(target))[:, None]
        mass = np.zeros(logp.shape)
        slope = np.empty(0)
        if self.by_class or self.sparse is not None:
            given = target != self.ignore_index
            kept &= given.any(axis=1)
            at = np.where(given, target, 0).astype(np.intp)
            ones = np.ones(target.shape) if self.sparse is None else self.sparse[chunk]
            np.add.at(mass, (index, at), np.where(given, ones, 0.0))
            slope = _product(given * (1 - self.eps) * self.weight[at], logp[index, at])
        else:
            mass[...] = target
            slope = _product((1 - self.eps) * self.weight, logp)
        mass *= 1 - self.eps
        if self.eps:
            allowed = np.ones(logp.shape)
            if self.smoothing == "allowed":
                allowed = np.where(np.isneginf(self.logits[chunk]), 0.0, 1.0)
            elif self.smoothing == "exclude_target":
                allowed[index, at] = 0.0
            mass += self.eps * allowed / np.maximum(allowed.sum(axis=1, keepdims=True), 1)
        return mass, slope, kept


def _product(factor: FloatArray, value: FloatArray) -> FloatArray:
    """Return factor * value, 0 where the factor is 0 even if the value is infinite or NaN."""
    return factor * np.where(factor == 0, 0.0, value)
