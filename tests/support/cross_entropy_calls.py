"""Calls of cross-entropy, drawn: every option beside every other, shapes, dtypes and layouts."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.support.cases import compute_dtype, far_apart

ml_dtypes = pytest.importorskip("ml_dtypes")

# (shape, axis): classes along the lanes, in several blocks, one row per lane, the class axis first
# and in the middle (as N x C x H x W), a row alone.
SHAPES = [((5, 33), -1), ((3, 129), -1), ((2, 1041), -1), ((2, 2, 40), 2)]
SHAPES += [((17, 5), -1), ((40, 2), 1), ((4, 1), -1), ((3, 3, 10), 2)]
SHAPES += [((10, 33), 0), ((70, 9), 0), ((2, 7, 3, 5), 1), ((2, 40, 3), 1), ((3, 4, 2), 0)]
SHAPES += [((6,), 0), ((45,), 0)]
DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
KINDS = ["classes", "probabilities", "other_probabilities", "sparse"]


def spread_out(x: Any) -> Any:
    """Every second element along every axis of an array of NaN: the rows have to be staged."""
    y = np.full([2 * n for n in x.shape], np.nan).astype(x.dtype)
    y = y[(slice(None, None, 2),) * x.ndim]
    y[...] = x
    return y


def turned(x: Any) -> Any:
    """The same array with the last axis outermost in memory, and reversed."""
    return np.asfortranarray(x[..., ::-1])[..., ::-1]


LAYOUTS = [np.ascontiguousarray, np.asfortranarray, spread_out, turned, partial(far_apart, axis=0)]


def targets(rng: Any, kind: str, allowed: Any, axis: int, x: Any, ignored: int) -> dict[str, Any]:
    """Targets that lie on the allowed classes only: masks must not make the loss infinite."""
    rows = np.moveaxis(allowed, axis, -1)
    batch, classes = rows.shape[:-1], rows.shape[-1]
    score = np.where(rows, rng.uniform(size=rows.shape), -1)
    if kind == "classes":
        target = score.argmax(axis=-1)
        target = np.where(rng.uniform(size=batch) < 0.25, ignored, target)
        return {"target": target.astype(rng.choice(["int16", "int32", "int64"]))}
    if kind == "sparse":
        few = min(int(rows.sum(axis=-1).min()), int(rng.integers(1, 5)))
        top = np.argsort(-score, axis=-1)[..., :few]
        if few > 1:  # twice the same class
            top[..., -1] = top[..., 0]
        top = np.where(rng.uniform(size=top.shape) < 0.25, ignored, top)
        q = rng.uniform(size=top.shape).astype(compute_dtype(x))
        return {"target": top, "target_probabilities": q}
    q = np.where(rows & (rng.uniform(size=rows.shape) < 0.7), rng.uniform(size=rows.shape), 0)
    dtype = x.dtype if kind == "probabilities" else compute_dtype(x)
    return {"target": np.moveaxis((q / max(classes / 4, 1)).astype(dtype), -1, axis)}


@st.composite
def calls(draw: Any) -> tuple[Any, dict[str, Any]]:
    (shape, axis), dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DTYPES))
    kind = draw(st.sampled_from(KINDS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    softcap = draw(st.sampled_from([None, None, 2.5, 30.0]))
    x = rng.normal(scale=draw(st.sampled_from([1.0, 4.0, 12.0])), size=shape).astype(dtype)
    classes, batch = shape[axis], tuple(np.delete(shape, axis).tolist())
    eps = draw(st.sampled_from([0.0, 0.1, 0.3, 1.0]))
    how = draw(st.sampled_from(["uniform", "exclude_target", "allowed"]))
    if kind != "classes" and how == "exclude_target":
        how = "uniform"
    masked = draw(st.booleans()) and (eps == 0 or how == "allowed")
    allowed = rng.uniform(size=shape) < (0.7 if masked else 2)
    np.moveaxis(allowed, axis, 0)[0] = True  # a row of -inf is another test's
    ignored = draw(st.sampled_from([-100, -1, 2**31]))
    kwargs = targets(rng, kind, allowed, axis, x, ignored)
    kwargs["target"] = np.asarray(kwargs["target"])
    if kind == "classes" and ignored > 2**15:
        kwargs["target"] = kwargs["target"].astype(np.int64)
        kwargs["target"] = np.where(kwargs["target"] < 0, ignored, kwargs["target"])
        kwargs["target"] = np.where(kwargs["target"] >= classes, ignored, kwargs["target"])
    x[~allowed] = -np.inf
    kwargs |= {"axis": axis, "ignore_index": ignored, "softcap": softcap}
    kwargs |= {"label_smoothing": eps, "smoothing": how}
    kwargs["temperature"] = draw(st.sampled_from([1.0, 1.0, 0.5, 1.7]))
    if kind == "classes":
        kwargs["gamma"] = draw(st.sampled_from([0.0, 0.0, 0.5, 2.0]))
    kwargs["z_loss"] = draw(st.sampled_from([0.0, 0.0, 0.01]))
    kwargs["reduction"] = draw(st.sampled_from(["none", "sum", "mean", "mean"]))
    if kwargs["reduction"] == "mean" and draw(st.booleans()):
        kwargs["denominator"] = 7.0
    if draw(st.booleans()):
        kwargs["weight"] = rng.uniform(0.25, 2, classes).astype(compute_dtype(x))
    if draw(st.booleans()):
        weights = rng.uniform(0.25, 2, batch) * (rng.uniform(size=batch) < 0.8)
        kwargs["sample_weight"] = weights.astype(compute_dtype(x))
    kwargs["empty"] = draw(st.sampled_from(["nan", "zero"]))
    return draw(st.sampled_from(LAYOUTS))(x), kwargs
