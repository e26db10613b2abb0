"""Every result of a cross-entropy call against the reference, each within its own rounding."""

from typing import Any, NamedTuple

import numpy as np

import softstep as ss
from tests import reference as ref
from tests.reference.cross_entropy import one_hot, smoothing_shares
from tests.reference.softmax import classes_last, log_probabilities
from tests.support.cases import assert_within, compute_dtype, roundoff

BY_ROW = ("lse", "entropy", "argmax", "target_log_prob")


def half_ulp(values: Any, dtype: Any) -> Any:
    """The last rounding, to half precision; 0 for what is computed as it is stored."""
    if np.dtype(dtype).itemsize != 2:
        return 0.0
    digits, smallest = (11, 2.0**-24) if dtype == np.float16 else (8, 2.0**-133)
    return np.maximum(np.abs(values) * 2.0**-digits, smallest / 2)


def extras_for(target: Any, options: dict[str, Any]) -> tuple[str, ...]:
    by_class = np.asarray(target).dtype.kind in "iub" and "target_probabilities" not in options
    always = ("lse", "z_loss", "entropy", "argmax", "dtemperature", "dweight")
    return (*always, *(("correct", "target_log_prob") if by_class else ("dtarget",)))


@np.errstate(all="ignore")
def bounds(x: Any, target: Any, o: dict[str, Any], exact: dict[str, Any]) -> dict[str, Any]:
    """Rounding of each result: unit times the absolute values of its terms.

    An exponent z = (x - max) / T is exact to unit * |z|, hence a log-probability to unit * (1 +
    distance from the largest); a softcap rounds x itself first, relative to its magnitude.
    """
    axis, temperature = o.get("axis", -1), o.get("temperature", 1.0)
    softcap, eps = o.get("softcap"), o.get("label_smoothing", 0.0)
    target = np.asarray(target)
    logits = classes_last(x, axis)
    classes = logits.shape[-1]
    unit, unit64 = roundoff(compute_dtype(x), classes), roundoff(np.float64, classes)
    capped, slope = logits, np.ones(logits.shape)
    slope_error = 0.0
    if softcap is not None:
        capped = np.where(np.isneginf(logits), logits, softcap * np.tanh(logits / softcap))
        slope = 1 / np.cosh(logits / softcap) ** 2
        slope_error = unit * (1 + 2 * np.abs(np.where(slope > 0, logits / softcap, 0)))
    z = capped / temperature
    logp, lse = log_probabilities(capped, temperature)
    magnitude = np.abs(np.where(np.isfinite(z), z, 0)).max(axis=-1, initial=0)
    distance = np.where(np.isfinite(logp), -logp, 0.0)
    p = np.nan_to_num(np.exp(logp))
    lse = np.nan_to_num(lse, posinf=0, neginf=0)
    rounded_first = 2 * magnitude[..., None] * (softcap is not None)
    logp_error = unit * (1 + distance + rounded_first)
    lse_error = unit * (1 + magnitude + np.abs(lse))

    # Smoothing over the others is done as more smoothing over all, of which the target returns.
    how, point = o.get("smoothing", "uniform"), None
    if "target_probabilities" in o:
        given = target != o.get("ignore_index", -100)
        mass = (o["target_probabilities"][..., None] * one_hot(target, given, classes)).sum(-2)
    elif target.dtype.kind in "iub":
        mass = point = one_hot(target, target != o.get("ignore_index", -100), classes)
    else:
        mass = classes_last(target, axis)
    mass = np.abs(np.asarray(mass, np.float64))
    if how == "exclude_target":
        eps, how = eps * classes / max(classes - 1, 1), "uniform"
    weight = o.get("weight")
    w = np.ones(classes) if weight is None else np.abs(np.asarray(weight, np.float64))
    focused = focus(o.get("gamma", 0.0), point, logp, logp_error, unit)
    spread = eps * smoothing_shares(logits, point, how)
    mass_of_loss = (1 + eps) * mass * focused.loss + spread
    point_error = w * (1 + eps) * mass * focused.loss * distance * focused.loss_error
    q_of_loss = w * mass_of_loss
    q = w * ((1 + eps) * mass * focused.pull + spread)
    pull_error = w * (1 + eps) * mass * focused.pull * focused.pull_error
    total = q.sum(axis=-1, keepdims=True)

    rows = o.get("sample_weight")
    s = np.ones(lse.shape) if rows is None else np.abs(np.asarray(rows, np.float64))
    factor, z_factor = exact["factor"], exact["z_factor"]
    z_loss = o.get("z_loss", 0.0)
    drift, drift_error = 2 * z_loss * np.abs(lse), 2 * z_loss * lse_error
    loss = s * (q_of_loss * logp_error + point_error).sum(axis=-1)
    z_term = s * (drift * lse_error + unit * z_loss * lse**2)

    def pulls(error: Any) -> Any:
        """|(sum q) p - q| and drift p, with `error` relative to them."""
        target_part = factor * (total * p * (error + unit) + q * error)
        target_part += factor * (pull_error.sum(axis=-1, keepdims=True) * p + pull_error)
        return target_part + z_factor * drift[..., None] * p * (error + unit)

    drift_part = (z_factor * drift_error)[..., None] * p
    dz = s[..., None] * (pulls(logp_error + unit) + drift_part)
    dz_size = s[..., None] * pulls(1.0)
    # An exponential below the smallest normal number is 0.
    dz += s[..., None] * factor * total * float(np.finfo(compute_dtype(x)).tiny)
    dlogits = slope * (dz + dz_size * slope_error) / temperature
    # sum dz z, where z is relative to the maximum but for the drift and a cap.
    reach = 1 + distance + magnitude[..., None] * (softcap is not None or z_loss > 0)
    dtemperature = s[..., None] * (pulls(2 * logp_error) + 2 * drift_part) * reach / temperature

    # In float64 throughout, rounded once.
    wide_error = unit64 * (1 + distance + rounded_first)
    eps_stored = float(np.finfo(compute_dtype(x)).eps)
    share = np.zeros(classes)
    if point is not None:
        share = (s[..., None] * point).reshape(-1, classes).sum(axis=0)
    gamma = 1 + o.get("gamma", 0.0)
    terms = s[..., None] * gamma * wide_error  # of log p and of (1 - p)**gamma
    dweight = factor * (terms * mass_of_loss).reshape(-1, classes).sum(axis=0)
    dweight += factor**2 * share * (terms * q_of_loss).sum()
    dtarget = factor * s[..., None] * w * wide_error
    if "target_probabilities" in o:
        dtarget = np.take_along_axis(dtarget, np.where(given, target, 0).astype(np.intp), -1)
    else:
        dtarget = np.moveaxis(dtarget, -1, axis)
    per_row = o.get("reduction", "mean") == "none"
    own = 0 if point is None else (logp_error * point).sum(axis=-1)
    return {
        "loss": loss + z_term if per_row else factor * loss.sum() + z_factor * z_term.sum(),
        "dlogits": np.moveaxis(dlogits, -1, axis),
        "lse": lse_error,
        "z_loss": z_term if per_row else z_factor * z_term.sum(),
        "entropy": unit * (1 + np.log(classes)) + (p * (1 + distance) * 2 * logp_error).sum(-1),
        "argmax": 0,
        "correct": 0,
        "target_log_prob": own,
        "dtemperature": dtemperature.sum(),
        "dtarget": dtarget + eps_stored * np.abs(np.nan_to_num(exact["dtarget"], posinf=0)),
        "dweight": dweight + eps_stored * np.abs(np.nan_to_num(exact["dweight"], posinf=0)),
    }


class Focus(NamedTuple):
    """What gamma makes of a class target's mass in loss and gradient, and relative errors."""

    loss: Any = 1.0
    pull: Any = 1.0
    loss_error: Any = 0.0
    pull_error: Any = 0.0


def focus(gamma: float, point: Any, logp: Any, logp_error: Any, unit: float) -> Focus:
    """1 - p is a sum of the others' exponentials, with their errors; so is -log p near 0."""
    if not gamma:
        return Focus()
    p, at = np.exp(logp), point == 1
    others = np.where(at, 0, p)
    rest = others.sum(axis=-1, keepdims=True)
    rest_error = 2 * unit + np.nan_to_num((others * logp_error).sum(-1, keepdims=True) / rest)
    log_rest = np.where(rest > 0, np.log(rest), 0)
    loss_error = gamma * (rest_error + unit * (2 + np.abs(log_rest))) + 2 * unit
    nll_error = np.where(p >= 0.5, 2 * rest_error, logp_error / -logp)
    odds = np.where(rest > 0, np.nan_to_num(p * -logp) / rest, 1)
    loss = np.where(rest > 0, rest**gamma, 0)
    pull = loss * (1 + gamma * odds)
    return Focus(loss, pull, loss_error, loss_error + rest_error + np.nan_to_num(nll_error) + unit)


def check(x: Any, target: Any, extra: tuple[str, ...] | None = None, **options: Any) -> None:
    """The loss, its gradient (also in place) and the extra results of one call."""
    names = extras_for(target, options) if extra is None else extra
    dtype = compute_dtype(x)
    exact = ref.cross_entropy_results(x, target, **options)
    limits = bounds(x, target, options, exact)
    limits["dlogits"] = limits["dlogits"] + half_ulp(exact["dlogits"], x.dtype)
    plain = ss.cross_entropy_with_grad(x, target, **options)
    alone = ss.cross_entropy(x, target, **options)
    if np.asarray(x).flags.c_contiguous:  # as the gradient: the same walk with and without it
        np.testing.assert_array_equal(alone, plain[0])
    assert_within(alone, exact["loss"], limits["loss"], dtype)
    full = ss.cross_entropy_with_grad(x, target, extra=names, **options)
    in_place = np.array(x)
    again = ss.cross_entropy_with_grad(in_place, target, extra=names, out=in_place, **options)
    assert again[1] is in_place
    for loss, gradient, *_ in (plain, full, again):
        if options.get("reduction", "mean") == "none" and np.ndim(exact["loss"]):
            assert loss.dtype == dtype
        assert gradient.dtype == x.dtype
        assert_within(loss, exact["loss"], limits["loss"], dtype)
        assert_within(np.asarray(gradient, dtype), exact["dlogits"], limits["dlogits"], dtype)
    for results in (full[2], again[2], ss.cross_entropy(x, target, extra=names, **options)[1]):
        assert set(results) == set(names)
        for name in names:
            if name in BY_ROW and np.ndim(exact[name]):
                assert results[name].dtype == (np.int32 if name == "argmax" else dtype), name
            try:
                assert_within(results[name], exact[name], limits[name], dtype)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from None
