"""The specification in code of the linear head: dense logits, products in float64 NumPy."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tests.reference.cross_entropy import cross_entropy_results


def counted_rows(
    target: NDArray[Any], by_class: bool, sparse: bool, sample_weight: Any, ignore_index: int
) -> Any:
    """Rows that are not ignored; True for all."""
    kept: Any = True
    if sparse:
        kept = (target != ignore_index).any(axis=-1)
    elif by_class:
        kept = target != ignore_index
    return kept if sample_weight is None else kept & (np.asarray(sample_weight) != 0)


def linear_cross_entropy_results(
    hidden: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
    upstream: ArrayLike = 1.0,
    shift: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Loss and gradients, and the logits' gradient, by name."""
    x, w = np.asarray(hidden, np.float64), np.asarray(weight, np.float64)
    target = np.asarray(target)
    rows: Any = Ellipsis
    if shift:
        rows = (*(slice(None),) * (x.ndim - 2), slice(max(x.shape[-2] - shift, 0)))
        later = (*(slice(None),) * (x.ndim - 2), slice(int(shift), None))
        target = target[later]
        for name in ("sample_weight", "target_probabilities"):
            if options.get(name) is not None:
                options[name] = np.asarray(options[name])[later]
    kept = counted_rows(
        target,
        target.dtype.kind in "iub",
        options.get("target_probabilities") is not None,
        options.get("sample_weight"),
        options.get("ignore_index", -100),
    )
    used = np.where(np.broadcast_to(kept, x[rows].shape[:-1])[..., None], x[rows], 0.0)
    logits = used @ w.T
    if bias is not None:
        logits = logits + np.asarray(bias, np.float64)
    results = cross_entropy_results(logits, target, weight=class_weight, **options)
    scale = np.asarray(upstream, np.float64)
    dlogits = results["dlogits"] * (scale[..., None] if scale.ndim else scale)
    dhidden = np.zeros(x.shape)
    dhidden[rows] = dlogits @ w
    flat = dlogits.reshape(-1, len(w))
    return {
        "loss": results["loss"],
        "dhidden": dhidden,
        "dweight": flat.T @ used.reshape(-1, x.shape[-1]),
        "dbias": flat.sum(axis=0),
        "dlogits": dlogits,
        "logits": logits,
    }
