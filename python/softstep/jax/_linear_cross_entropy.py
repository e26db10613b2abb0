"""The head of a large-vocabulary model for JAX: a linear layer and cross-entropy, in chunks."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from softstep.head.arguments import check_workspace
from softstep.head.shift import check_shift, shifted
from softstep.jax._class_axes import as_float, as_target, is_dense
from softstep.jax._cross_entropy import shaped
from softstep.jax._cross_entropy_vjp import Static, checked, summed
from softstep.jax._ffi import Array, alike
from softstep.jax._linear_cross_entropy_vjp import linear_losses, linear_reduced
from softstep.jax._mean import as_sum
from softstep.losses.options import Options, Reduction, Smoothing

_WORKSPACE = 64 << 20


def linear_cross_entropy(
    hidden: Any,
    weight: Any,
    target: Any,
    *,
    bias: Any = None,
    class_weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    smoothing: Smoothing = "uniform",
    gamma: float = 0.0,
    temperature: float = 1.0,
    softcap: float | None = None,
    z_loss: float = 0.0,
    reduction: Reduction = "mean",
    shift: int = 0,
    workspace: int | None = None,
) -> Array:
    """Cross-entropy of ``hidden @ weight.T + bias`` without those logits in memory, for JAX.

    The products are XLA's, a chunk of rows at a time; the cross-entropy of each chunk is the
    kernel's. With a sum or a mean the gradients are computed in the forward pass.

    Parameters
    ----------
    hidden : array
        Hidden states of any shape (..., D).
    weight : array
        Weights of the C classes, shape (C, D): an embedding, or the transpose ``kernel.T`` of a
        dense layer, which costs nothing under ``jit``.
    target : array
        Class indices of shape (...), or probabilities of shape (..., C), not differentiated.
    bias : array, optional
        Of shape (C,).
    class_weight : array, optional
        Weight of each class, shape (C,); not differentiated.
    sample_weight : array, optional
        Weight of each row, shape (...); rows of weight 0 are ignored. Differentiated with
        ``reduction="none"`` only.
    ignore_index, label_smoothing, smoothing, gamma, temperature, softcap, z_loss
        As in `cross_entropy`.
    reduction : {"mean", "sum", "none"}
        "none" computes the logits again for the gradients.
    shift : int
        Next-token targets, as in `softstep.linear_cross_entropy`.
    workspace : int, optional
        Bytes of logits at once, 64 MiB by default; at least those of one row.

    Returns
    -------
    jax.Array
        Float32, for float64 arguments float64. Half precision is computed in float32.

    Raises
    ------
    TypeError, ValueError
        For a dtype, shape or option that does not fit, when the call is traced.

    Notes
    -----
    A label that is no class makes the loss NaN and gives no gradient, as in `cross_entropy`.
    Ignored rows, whatever they hold, add nothing to the gradients.

    References
    ----------
    E. Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", 2025, for the problem.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> import softstep.jax as ssj
    >>> hidden, embedding = jnp.eye(3, 2), jnp.ones((5, 2)).at[0].set(2)
    >>> loss = lambda h, w: ssj.linear_cross_entropy(h, w, jnp.array([0, 1, -100]))
    >>> round(float(jax.jit(loss)(hidden, embedding)), 4)
    1.4048
    >>> [g.shape for g in jax.jit(jax.grad(loss, (0, 1)))(hidden, embedding)]
    [(3, 2), (5, 2)]
    """
    h, w = as_float(hidden, "hidden"), as_float(weight, "weight")
    if w.ndim != 2 or h.ndim < 1 or h.shape[-1] != w.shape[1]:
        raise ValueError(
            f"weight: expected shape (classes, {h.shape[-1] if h.ndim else 1}), got {w.shape}"
        )
    batch, classes = h.shape[:-1], w.shape[0]
    t = as_target(target)
    by_class = not is_dense(t)
    t = shaped(t, "target", batch if by_class else (*batch, classes))
    if sample_weight is not None:
        sample_weight = shaped(sample_weight, "sample_weight", batch)
    ahead = check_shift(shift)
    if ahead:
        scored, later = shifted(batch, ahead)
        h, t = h[scored], t[later]
        sample_weight = None if sample_weight is None else sample_weight[later]
        batch = h.shape[:-1]
    b = None if bias is None else shaped(as_float(bias, "bias"), "bias", (classes,))
    static = checked(by_class, -1, Options.among(locals()), True)
    computed = jnp.float64 if jnp.float64 in (h.dtype, w.dtype) else jnp.float32
    if class_weight is not None:
        class_weight = shaped(class_weight, "class_weight", (classes,)).astype(computed)
    rows = jnp.ones(batch, computed)
    if sample_weight is not None:
        rows = sample_weight.astype(computed)
    bytes_of_a_row = max(1, classes * jnp.dtype(computed).itemsize)
    chunk = max(1, (check_workspace(workspace) or _WORKSPACE) // bytes_of_a_row)
    count = rows.size
    h, w, b, t, class_weight, rows = alike(h, w, b, t, class_weight, rows)
    flat = (
        h.reshape(count, h.shape[-1]),
        w,
        b,
        t.reshape(count, *t.shape[len(batch) :]),
        class_weight,
    )
    if reduction == "none":
        result = linear_losses((static, chunk), *flat).reshape(batch)
        return jnp.where(rows == 0, 0, result) * rows
    if reduction == "sum":
        return linear_reduced((static, chunk), *flat, rows.reshape(count))
    return _mean(static, chunk, flat, rows.reshape(count))


def _mean(static: Static, chunk: int, flat: tuple[Any, ...], rows: Array) -> Array:
    """Divide the rows' weights, so that the sum is the mean."""
    *others, t, class_weight = flat
    class_weight, scaled, nothing = as_sum(
        t, static.options.ignore_index, others[1].shape[0], class_weight, rows
    )
    loss = linear_reduced((summed(static, t), chunk), *others, t, class_weight, scaled)
    return jnp.where(nothing, jnp.nan, loss)
