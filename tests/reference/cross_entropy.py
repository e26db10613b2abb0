"""The specification in code of cross-entropy with every option: float64 NumPy, to be read."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tests.reference.softmax import (
    Array,
    classes_last,
    entropies,
    log_probabilities,
    probabilities,
    quiet,
)

Loss = Any  # a float, or an array for reduction="none"


def one_hot(target: NDArray[Any], kept: NDArray[np.bool_], classes: int) -> Array:
    """Mass 1 at the class of each target that is kept, which must be one."""
    outside = kept & ((target < 0) | (target >= classes))
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise IndexError(f"target: row {row} holds {target.flat[row]}, not in [0, {classes})")
    at_class = np.where(kept, target, 0)[..., None] == np.arange(classes)
    return np.asarray(at_class & kept[..., None], np.float64)


def _mean_over(denominator: float, empty: str) -> tuple[float, float]:
    """Factor of the gradient, and the loss of a mean over nothing."""
    if denominator != 0:
        return 1.0 / denominator, np.nan
    if empty == "raise":
        raise ValueError("mean over nothing: no row has a weight")
    return 0.0, {"nan": np.nan, "zero": 0.0}[empty]


@quiet
def _softcapped(x: Array, softcap: float | None) -> tuple[Array, Array]:
    """The capped logits and their slope; -inf stays -inf."""
    if softcap is None:
        return x, np.ones(x.shape)
    capped = np.where(np.isneginf(x), x, softcap * np.tanh(x / softcap))
    return capped, 1 / np.cosh(x / softcap) ** 2  # = 1 - tanh^2, without its cancellation


def smoothing_shares(x: Array, point: Array | None, smoothing: str) -> Array:
    """Where the mass of label smoothing goes: a distribution over the classes of each row."""
    allowed = np.ones(x.shape)
    if smoothing == "exclude_target":
        assert point is not None
        allowed = 1 - point
    elif smoothing == "allowed":
        allowed = np.where(np.isneginf(x), 0.0, 1.0)
    return allowed / np.maximum(allowed.sum(axis=-1, keepdims=True), 1)


@quiet
def _times(a: Array, b: Array) -> Array:
    """The product, in which 0 times an infinity is 0: 0 log 0 = 0."""
    return np.where(a == 0, 0.0, a * b)


@quiet
def cross_entropy_results(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    target_probabilities: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    smoothing: str = "uniform",
    gamma: float = 0.0,
    temperature: float = 1.0,
    softcap: float | None = None,
    z_loss: float = 0.0,
    reduction: str = "mean",
    denominator: float | None = None,
    empty: str = "nan",
) -> dict[str, Any]:
    """Everything that can be asked for, by name: "loss", "dlogits" and all extra results.

    Every kind of target is a row q of masses: loss = (sum q) lse - sum q z + z_loss lse^2.
    """
    x, target = classes_last(logits, axis), np.asarray(target)
    capped, slope = _softcapped(x, softcap)
    z = capped / temperature
    rows, classes = z.shape[:-1], z.shape[-1]
    w = np.ones(classes) if weight is None else np.asarray(weight, np.float64)
    s = np.ones(rows) if sample_weight is None else np.asarray(sample_weight, np.float64)
    kept = s != 0  # an ignored row is never used

    point = None
    share = s  # a row's part in the mean's denominator
    if target_probabilities is not None:
        given = target != ignore_index
        kept &= given.any(axis=-1)
        at = one_hot(target, given, classes)
        target_mass = (np.asarray(target_probabilities, np.float64)[..., None] * at).sum(axis=-2)
    elif target.dtype.kind in "iub":
        kept &= target != ignore_index
        target_mass = point = one_hot(target, target != ignore_index, classes)
        share = s * (point * w).sum(axis=-1)
    else:
        target_mass = classes_last(target, axis)
    shares = smoothing_shares(x, point, smoothing)
    mass = (1 - label_smoothing) * target_mass + label_smoothing * shares
    q = w * mass

    factor, nothing, z_factor = 1.0, np.nan, 1.0
    if reduction == "mean":
        mean_over = np.where(kept, share, 0.0).sum() if denominator is None else denominator
        factor, nothing = _mean_over(float(mean_over), empty)
        # The z-loss's mean is over rows, without class weights.
        z_factor = factor if denominator is not None or not factor else 1 / s[kept].sum()

    logp, lse = log_probabilities(capped, temperature)
    pull = q  # what q is in the gradient
    if gamma:
        assert point is not None, "gamma: needs class targets"
        rest = -np.expm1(logp)
        focus = np.where(point == 1, rest**gamma, 1.0)
        # d(focus nll) / d(log p) = -focus (1 + gamma p nll / (1 - p)); the quotient is 1 at p = 1
        # and 0 at p = 0.
        odds = np.where(
            rest == 0, 1.0, -_times(np.exp(logp), logp) / np.where(rest == 0, 1.0, rest)
        )
        steeper = 1 + gamma * odds
        own = (1 - label_smoothing) * w * point
        pull = w * label_smoothing * shares + own * focus * steeper
        mass = (1 - label_smoothing) * point * focus + label_smoothing * shares
        q = w * mass
    nll = s * -_times(q, logp).sum(axis=-1)
    z_term = s * z_loss * lse**2 if z_loss else np.zeros(rows)
    nll, z_term = np.where(kept, nll, 0.0), np.where(kept, z_term, 0.0)

    # (sum q) p - q, with p - 1 = expm1(log p): no cancellation where p is nearly 1.
    p = probabilities(capped, temperature)
    dz = factor * ((pull.sum(axis=-1, keepdims=True) - pull) * p + pull * np.expm1(logp))
    if z_loss:
        dz += 2 * z_factor * z_loss * lse[..., None] * p
    upstream = np.where(kept, s, 0.0)[..., None]
    dz = np.where(kept[..., None], upstream * dz, 0.0) if factor else np.zeros_like(z)

    def reduced(row_terms: Array, z_row_terms: Array, empty_mean: float = 0.0) -> Loss:
        if reduction == "none":
            terms = row_terms + z_row_terms
            return terms if terms.ndim else float(terms)
        if not factor:
            return empty_mean
        return float(factor * row_terms.sum() + z_factor * z_row_terms.sum())

    dweight = np.where(kept[..., None], upstream * -_times(mass, logp), 0.0)
    dweight = factor * dweight.reshape(-1, classes).sum(axis=0)
    if point is not None and reduction == "mean" and denominator is None and factor:
        in_mean = (upstream * point).reshape(-1, classes).sum(axis=0)
        dweight = dweight - factor**2 * nll.sum() * in_mean  # the denominator's part
    dmass = np.where(
        kept[..., None], factor * upstream * -_times((1 - label_smoothing) * w, logp), 0.0
    )
    if target_probabilities is not None:
        index = np.where(given, target, 0).astype(np.intp)
        dtarget = np.where(given, np.take_along_axis(dmass, index, axis=-1), 0.0)
    else:
        dtarget = np.moveaxis(dmass, -1, axis)

    argmax = np.where(kept, np.argmax(x, axis=-1) if classes else 0, -1)
    own = None if point is None else np.where(kept, np.where(point == 1, logp, 0.0).sum(axis=-1), 0)
    return {
        "loss": reduced(nll, z_term, nothing),
        "dlogits": np.moveaxis(dz * slope / temperature, -1, axis),
        "lse": np.where(kept, lse, 0.0),
        "z_loss": reduced(np.zeros(rows), z_term),
        "entropy": np.where(kept, entropies(capped, temperature), 0.0),
        "argmax": argmax,
        "correct": int((kept & (argmax == target)).sum()) if point is not None else None,
        "target_log_prob": own,
        "dtemperature": float(-_times(dz, z).sum() / temperature),
        "dtarget": dtarget,
        "dweight": dweight,
        "factor": factor,  # of a row's loss and of its z-loss in the reduced loss
        "z_factor": z_factor,
    }


def cross_entropy_with_grad(logits: ArrayLike, target: ArrayLike, **options: Any) -> Any:
    extra = options.pop("extra", ())
    results = cross_entropy_results(logits, target, **options)
    pair = results["loss"], results["dlogits"]
    return (*pair, {name: results[name] for name in extra}) if extra else pair


def cross_entropy(logits: ArrayLike, target: ArrayLike, **options: Any) -> Loss:
    return cross_entropy_results(logits, target, **options)["loss"]
