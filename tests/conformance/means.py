"""Every way to ask for a mean or a sum: the loss, and the logits' gradient, as NumPy arrays."""

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

    _refuse_empty(options)
    options.setdefault("reduction", "mean")
    return of_jax(lambda x: cross_entropy(x, target, **options), x)


def _refuse_empty(options: dict[str, Any]) -> None:
    if "empty" in options:
        raise Lacks("what a mean over nothing is")


def jax_head(x: Any, target: Any, **options: Any) -> Result:
    from softstep.jax import linear_cross_entropy

    _refuse_empty(options)
    weights = [options[name] for name in ("weight", "sample_weight") if name in options]
    if any(0 < np.abs(w).max(initial=0) < np.finfo(w.dtype).tiny for w in weights):
        raise Lacks("XLA takes numbers that are not normal for 0")
    options["class_weight"] = options.pop("weight", None)
    eye = np.eye(x.shape[1], dtype=x.dtype)
    return of_jax(lambda x: linear_cross_entropy(x, eye, target, **options), x)


def torch_module(x: Any, target: Any, **options: Any) -> Result:
    import softstep.torch as st

    logits = tensor(x).requires_grad_()
    given = torch_options(options)
    share = {k: given.pop(k) for k in ("sample_weight",) if k in given}
    loss = st.CrossEntropyLoss(**given)(logits, tensor(target), **share)
    loss.backward()
    return loss.detach().numpy(), logits.grad.numpy()


def torch_heads(x: Any, target: Any, **options: Any) -> Result:
    """A head for each of two positions, of which the second has no rows that count."""
    import torch as pytorch

    import softstep.torch as st

    hidden, eye = tensor(x).requires_grad_(), pytorch.eye(x.shape[1], dtype=tensor(x).dtype)
    given = torch_options(options)
    t, classes = tensor(target), pytorch.stack([eye, eye], 1)
    share = given.pop("sample_weight", pytorch.ones(len(x), dtype=hidden.dtype))
    t = pytorch.stack([t, t], 1 + t.is_floating_point())
    given["sample_weight"] = pytorch.stack([share, pytorch.zeros_like(share)], 1)
    loss = st.linear_cross_entropy(hidden, classes, t, **given)
    loss.backward()
    return loss.detach().numpy(), hidden.grad.numpy()


MEANS = as_params([whole, columns, head, shards, head_shards])
MEANS += as_params([torch, torch_module, torch_head, torch_heads, torch_func, jax, jax_head])
TANGENTS = as_params([torch_second_derivatives])
