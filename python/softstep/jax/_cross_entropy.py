"""Cross-entropy for JAX."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from softstep.jax._class_axes import (
    as_array,
    as_float,
    as_mask,
    as_target,
    is_dense,
    normalised,
    one_axis,
)
from softstep.jax._cross_entropy_vjp import checked, losses, reduced_loss
from softstep.jax._ffi import Array, Axis, alike
from softstep.losses.options import Options, Reduction, Smoothing


def cross_entropy(
    logits: Any,
    target: Any,
    axis: Axis = -1,
    where: Any = None,
    *,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    smoothing: Smoothing = "uniform",
    gamma: float = 0.0,
    temperature: float = 1.0,
    softcap: float | None = None,
    z_loss: float = 0.0,
    reduction: Reduction = "none",
    inplace: bool = True,
) -> Array:
    """Cross-entropy between targets and the softmax of logits, for JAX.

    The loss is that of `softstep.cross_entropy`, where the formulas are; under ``jit``, ``grad``
    and ``vmap``. Options are Python values, known when the call is traced.

    Parameters
    ----------
    logits : array
        Any shape with C classes along `axis`; float32, float64, bfloat16 or float16.
    target : array
        Class indices of any integer dtype, of the shape of `logits` without `axis`; or
        probabilities of the shape of `logits`, which are differentiated too.
    axis : int or tuple of int
        The class axis, or axes taken as one.
    where : array of bool, optional
        Of the shape of class targets: rows that count. With as many dimensions as `logits`: classes
        that take part; label smoothing then goes to these. The loss of a row that counts not, or
        has no class, is 0.
    weight : array, optional
        Weight of each class, shape (C,); not differentiated.
    sample_weight : array, optional
        Weight of each row, of the shape of class targets; rows of weight 0 are ignored.
        Differentiated with ``reduction="none"`` only.
    ignore_index : int
        Rows with this class target have loss 0 and gradient 0.
    label_smoothing, smoothing, gamma, temperature, softcap, z_loss
        As in `softstep.cross_entropy`.
    reduction : {"none", "sum", "mean"}
        "none", as in Optax: one loss a row. A sum or a mean computes the gradient in the forward
        pass and is faster than the same over the losses of "none".
    inplace : bool
        Let XLA put the gradient where the logits are. Nothing else can see it: if the logits are
        needed later, XLA copies them first. That happens where they are an argument of the jitted
        function that is not donated; False is faster there.

    Returns
    -------
    jax.Array
        Float32, for float64 logits float64.

    Raises
    ------
    TypeError, ValueError
        For a dtype, shape or option that does not fit, when the call is traced.

    Notes
    -----
    A compiled program cannot raise: a class target outside [0, C) that is not `ignore_index` makes
    its row's loss NaN, and with it a sum or mean; the gradient of the row is 0. There is no second
    derivative and no forward mode.

    References
    ----------
    The arguments before the star are those of ``optax.softmax_cross_entropy`` and
    ``optax.softmax_cross_entropy_with_integer_labels``.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpy as np
    >>> import softstep.jax as ssj
    >>> logits, labels = jnp.array([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]), jnp.array([0, 2])
    >>> np.asarray(ssj.cross_entropy(logits, labels)).round(4)
    array([2.4076, 0.5514], dtype=float32)
    >>> loss = lambda x: ssj.cross_entropy(x, labels, reduction="mean")
    >>> np.asarray(jax.jit(jax.grad(loss))(logits)).round(4)
    array([[-0.455 ,  0.1224,  0.3326],
           [ 0.106 ,  0.106 , -0.2119]], dtype=float32)
    >>> np.asarray(ssj.cross_entropy(logits, jnp.array([0, 3]))).round(4)
    array([2.4076,    nan], dtype=float32)
    """
    x, classes = as_float(logits, "logits"), as_target(target)
    axes = normalised(axis, x.ndim)
    batch = tuple(x.shape[d] for d in range(x.ndim) if d not in axes)
    by_class = not is_dense(classes)
    expected = batch if by_class else x.shape
    classes = shaped(classes, "target", expected)
    computed = jnp.float64 if x.dtype == jnp.float64 else jnp.float32
    rows = None
    if sample_weight is not None:
        rows = shaped(sample_weight, "sample_weight", batch).astype(computed)
    mask = None
    if where is not None and jnp.ndim(where) == len(batch):
        rows = _chosen(as_mask(where, batch), rows, computed)
    elif where is not None:
        mask, mask_axis = one_axis(as_mask(where, x.shape), axes)
        rows = _chosen(mask.any(axis=mask_axis), rows, computed)
        smoothing = "allowed" if smoothing == "uniform" else smoothing
    x, class_axis = one_axis(x, axes)
    if not by_class:
        classes, _ = one_axis(classes, axes)
        classes = classes if classes.dtype == x.dtype else classes.astype(computed)
    if weight is not None:
        weight = shaped(weight, "weight", (x.shape[class_axis],)).astype(computed)
    static = checked(by_class, class_axis, Options.among(locals()), inplace)
    x, classes, mask, weight, rows = alike(x, classes, mask, weight, rows)
    if reduction != "none":
        return reduced_loss(static, x, classes, mask, weight, rows)
    result = losses(static, x, classes, mask, weight)
    # Not 0 * NaN: a row that does not count adds nothing, whatever it holds.
    return result if rows is None else jnp.where(rows == 0, 0, result) * rows


def shaped(array: Any, name: str, shape: tuple[int, ...]) -> Array:
    """Return the argument as an array, or refuse its shape."""
    array = as_array(array, name)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    return array


def _chosen(mask: Array, rows: Array | None, dtype: Any) -> Array:
    return mask.astype(dtype) if rows is None else jnp.where(mask, rows, 0)
