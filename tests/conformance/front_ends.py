"""Every way to ask for a cross-entropy, behind one call: losses of rows, gradient of the logits.

An adapter takes logits (rows, classes), a target, and options as `softstep.cross_entropy` has them,
and returns NumPy arrays: one loss a row, and the gradient of their sum in the dtype of the logits.
What a front end lacks it refuses by `Lacks`, with the reason.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests.distributed.cross_entropy_check import sharded
from tests.distributed.head_check import sharded_head

Result = tuple[Any, Any]


class Lacks(Exception):
    """The front end has no such thing."""


def rows(x: Any, target: Any, **options: Any) -> Result:
    return ss.cross_entropy_with_grad(x, target, reduction="none", **options)


def in_place(x: Any, target: Any, **options: Any) -> Result:
    logits = np.array(x, x.dtype.newbyteorder("="))
    return ss.cross_entropy_with_grad(logits, target, reduction="none", out=logits, **options)


def columns(x: Any, target: Any, **options: Any) -> Result:
    """Classes on the first axis, as the planes of an image."""
    target = np.asarray(target)
    dense = target.dtype.kind not in "iub"
    loss, dlogits = ss.cross_entropy_with_grad(
        np.ascontiguousarray(x.T),
        target.T if dense else target,
        axis=0,
        reduction="none",
        **options,
    )
    return loss, dlogits.T


def repeated(x: Any, target: Any, **options: Any) -> Result:
    """Enough rows for whole vectors of them, and one more."""
    count = 33
    target = np.asarray(target)
    repeat = lambda a: np.concatenate([np.asarray(a)] * count)  # noqa: E731
    for name in ("target_probabilities", "sample_weight"):
        if name in options:
            options[name] = repeat(options[name])
    n, results = len(x), rows(repeat(x), repeat(target), **options)
    for result in results:
        numbers = result.astype(np.float64)  # NaN of bfloat16 is not known as such
        for k in range(count):
            np.testing.assert_array_equal(numbers[k * n : (k + 1) * n], numbers[:n])
    return results[0][:n], results[1][:n]


def head(x: Any, target: Any, **options: Any) -> Result:
    """The logits are those of a weight that is the identity."""
    options["class_weight"] = options.pop("weight", None)
    eye = np.eye(x.shape[1], dtype=x.dtype)
    loss, gradients = ss.linear_cross_entropy_with_grad(
        x, eye, target, reduction="none", grads=["hidden"], **options
    )
    return loss, gradients.dhidden


def shards(x: Any, target: Any, **options: Any) -> Result:
    classes = x.shape[1]
    return sharded(x, target, [0, classes // 3, classes // 2, classes], reduction="none", **options)


def head_shards(x: Any, target: Any, **options: Any) -> Result:
    classes = x.shape[1]
    options["class_weight"] = options.pop("weight", None)
    eye = np.eye(classes, dtype=x.dtype)
    loss, gradients = sharded_head(
        x, eye, target, [0, classes // 2, classes], grads=["hidden"], reduction="none", **options
    )
    return loss, gradients.dhidden


def tensor(array: Any) -> Any:
    """A tensor with the strides of the array, where PyTorch has such."""
    import torch

    array = np.asarray(array)
    if not array.dtype.isnative:
        raise Lacks("another order of bytes")
    if not (array.flags.writeable and array.flags.aligned) or min(array.strides, default=0) < 0:
        array = np.array(array)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def numpy_of(tensor: Any, dtype: Any) -> Any:
    import torch

    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(dtype)
    return tensor.numpy()


def torch_options(options: dict[str, Any]) -> dict[str, Any]:
    tensors = ("target_probabilities", "weight", "sample_weight")
    return {k: tensor(v) if k in tensors else v for k, v in options.items()}


def torch(x: Any, target: Any, **options: Any) -> Result:
    import softstep.torch as st

    logits = tensor(x).requires_grad_()
    loss = st.cross_entropy(logits, tensor(target), reduction="none", **torch_options(options))
    loss.sum().backward()
    return loss.detach().numpy(), numpy_of(logits.grad, x.dtype)


def torch_head(x: Any, target: Any, **options: Any) -> Result:
    import softstep.torch as st

    hidden, eye = tensor(x).requires_grad_(), tensor(np.eye(x.shape[1], dtype=x.dtype))
    loss = st.linear_cross_entropy(
        hidden, eye, tensor(target), reduction="none", **torch_options(options)
    )
    loss.sum().backward()
    return loss.detach().numpy(), numpy_of(hidden.grad, x.dtype)


def torch_func(x: Any, target: Any, **options: Any) -> Result:
    import torch as pytorch

    import softstep.torch as st

    def loss(logits: Any) -> Any:
        rows = st.cross_entropy(logits, tensor(target), reduction="none", **torch_options(options))
        return rows.sum(), rows

    dlogits, losses = pytorch.func.grad(loss, has_aux=True)(tensor(x))
    return losses.numpy(), numpy_of(dlogits, x.dtype)


def of_jax(function: Callable[..., Any], x: Any) -> Result:
    from tests.jax.front_end import enable_x64, jax, jnp

    if not x.dtype.isnative:
        raise Lacks("another order of bytes in what is traced")
    with enable_x64():

        def both(x: Any) -> Any:
            loss, pullback = jax.vjp(function, x)
            return loss, pullback(jnp.ones_like(loss))[0]

        loss, dlogits = jax.jit(both)(x)
        return np.asarray(loss), np.asarray(dlogits)


def jax(x: Any, target: Any, **options: Any) -> Result:
    from softstep.jax import cross_entropy

    if "target_probabilities" in options:
        raise Lacks("sparse targets")
    return of_jax(lambda x: cross_entropy(x, target, reduction="none", **options), x)


def jax_head(x: Any, target: Any, **options: Any) -> Result:
    from softstep.jax import linear_cross_entropy

    if "target_probabilities" in options:
        raise Lacks("sparse targets")
    options["class_weight"] = options.pop("weight", None)
    eye = np.eye(x.shape[1], dtype=x.dtype)
    return of_jax(lambda x: linear_cross_entropy(x, eye, target, reduction="none", **options), x)


def _is_there(name: str) -> bool:
    if name.startswith("torch"):
        return importlib.util.find_spec("torch") is not None
    if name.startswith("jax"):
        return importlib.util.find_spec("jax") is not None
    return True


def sequences(hidden: Any, weight: Any, target: Any, shift: Any) -> Result:
    loss, gradients = ss.linear_cross_entropy_with_grad(
        hidden, weight, target, shift=shift, reduction="none", grads=["hidden"]
    )
    return loss, gradients.dhidden


def sequences_shards(hidden: Any, weight: Any, target: Any, shift: Any) -> Result:
    loss, gradients = sharded_head(
        hidden, weight, target, [0, 4, len(weight)], shift=shift, reduction="none", grads=["hidden"]
    )
    return loss, gradients.dhidden


def torch_sequences(hidden: Any, weight: Any, target: Any, shift: Any) -> Result:
    import softstep.torch as st

    h = tensor(hidden).requires_grad_()
    loss = st.linear_cross_entropy(h, tensor(weight), tensor(target), shift=shift, reduction="none")
    loss.sum().backward()
    return loss.detach().numpy(), numpy_of(h.grad, hidden.dtype)


def torch_func_sequences(hidden: Any, weight: Any, target: Any, shift: Any) -> Result:
    import torch as pytorch

    import softstep.torch as st

    def loss(h: Any) -> Any:
        rows = st.linear_cross_entropy(
            h, tensor(weight), tensor(target), shift=shift, reduction="none"
        )
        return rows.sum(), rows

    dhidden, losses = pytorch.func.grad(loss, has_aux=True)(tensor(hidden))
    return losses.numpy(), numpy_of(dhidden, hidden.dtype)


def jax_sequences(hidden: Any, weight: Any, target: Any, shift: Any) -> Result:
    from softstep.jax import linear_cross_entropy

    return of_jax(
        lambda h: linear_cross_entropy(h, weight, target, shift=shift, reduction="none"), hidden
    )


_ALL = (rows, in_place, columns, repeated, head, shards, head_shards)
_ALL += (torch, torch_head, torch_func, jax, jax_head)


def as_params(functions: Any) -> list[Any]:
    return [
        pytest.param(
            function,
            id=function.__name__,
            marks=() if _is_there(function.__name__) else pytest.mark.skip("is not installed"),
        )
        for function in functions
    ]


FRONT_ENDS = as_params(_ALL)
HEADS = as_params(
    [sequences, sequences_shards, torch_sequences, torch_func_sequences, jax_sequences]
)
