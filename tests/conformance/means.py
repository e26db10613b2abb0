"""Every way to ask for a mean: the loss, and the gradient of the logits, as NumPy arrays."""

from typing import Any

import numpy as np

import softstep as ss
from tests.conformance.front_ends import Lacks, Result, as_params, of_jax, tensor, torch_options
from tests.distributed.cross_entropy_check import sharded
from tests.distributed.head_check import sharded_head


def whole(x: Any, target: Any, **options: Any) -> Result:
    return ss.cross_entropy_with_grad(x, target, **options)


def columns(x: Any, target: Any, **options: Any) -> Result:
    target = target.T if target.ndim > 1 else target
    loss, dlogits = ss.cross_entropy_with_grad(np.ascontiguousarray(x.T), target, axis=0, **options)
    return loss, dlogits.T


def head(x: Any, target: Any, **options: Any) -> Result:
    options["class_weight"] = options.pop("weight", None)
    loss, gradients = ss.linear_cross_entropy_with_grad(
        x, np.eye(x.shape[1], dtype=x.dtype), target, grads=["hidden"], **options
    )
    return loss, gradients.dhidden


def shards(x: Any, target: Any, **options: Any) -> Result:
    return sharded(x, target, [0, 1, x.shape[1]], **options)


def head_shards(x: Any, target: Any, **options: Any) -> Result:
    options["class_weight"] = options.pop("weight", None)
    loss, gradients = sharded_head(
        x,
        np.eye(x.shape[1], dtype=x.dtype),
        target,
        [0, 1, x.shape[1]],
        grads=["hidden"],
        **options,
    )
    return loss, gradients.dhidden


def torch(x: Any, target: Any, **options: Any) -> Result:
    import softstep.torch as st

    logits = tensor(x).requires_grad_()
    loss = st.cross_entropy(logits, tensor(target), **torch_options(options))
    loss.backward()
    return loss.detach().numpy(), logits.grad.numpy()


def torch_head(x: Any, target: Any, **options: Any) -> Result:
    import softstep.torch as st

    hidden, eye = tensor(x).requires_grad_(), tensor(np.eye(x.shape[1], dtype=x.dtype))
    loss = st.linear_cross_entropy(hidden, eye, tensor(target), **torch_options(options))
    loss.backward()
    return loss.detach().numpy(), hidden.grad.numpy()


def torch_func(x: Any, target: Any, **options: Any) -> Result:
    import torch as pytorch

    import softstep.torch as st

    def loss(logits: Any) -> Any:
        mean = st.cross_entropy(logits, tensor(target), **torch_options(options))
        return mean, mean

    dlogits, mean = pytorch.func.grad(loss, has_aux=True)(tensor(x))
    return mean.numpy(), dlogits.numpy()


def torch_second_derivatives(x: Any, target: Any, **options: Any) -> Result:
    """Composed of PyTorch's operations."""
    import torch as pytorch

    import softstep.torch as st

    logits = tensor(x)
    loss, slope = pytorch.func.jvp(
        lambda x: st.cross_entropy(x, tensor(target), **torch_options(options)),
        (logits,),
        (logits.new_ones(logits.shape).cumsum(1),),
    )
    return loss.numpy(), slope.numpy()


def jax(x: Any, target: Any, **options: Any) -> Result:
    from softstep.jax import cross_entropy

    return of_jax(lambda x: cross_entropy(x, target, reduction="mean", **options), x)


def jax_head(x: Any, target: Any, **options: Any) -> Result:
    from softstep.jax import linear_cross_entropy

    weights = [options[name] for name in ("weight", "sample_weight") if name in options]
    if any(0 < np.abs(w).max() < np.finfo(w.dtype).tiny for w in weights):
        raise Lacks("XLA takes numbers that are not normal for 0")
    options["class_weight"] = options.pop("weight", None)
    eye = np.eye(x.shape[1], dtype=x.dtype)
    return of_jax(lambda x: linear_cross_entropy(x, eye, target, **options), x)


MEANS = as_params([whole, columns, head, shards, head_shards])
MEANS += as_params([torch, torch_head, torch_func, torch_second_derivatives, jax, jax_head])
