"""Every way to ask for the softmax family: f(logits, dy) to the result and the logits' gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np

import softstep as ss
from tests.conformance.front_ends import Result, as_params, numpy_of, tensor


def rows(name: str, x: Any, dy: Any) -> Result:
    y = getattr(ss, name)(x)
    if name == "logsumexp":  # its gradient is the softmax
        return y, ss.softmax(x) * dy[:, None]
    return y, getattr(ss, f"{name}_backward")(dy, y)


def columns(name: str, x: Any, dy: Any) -> Result:
    return rows(name, np.asfortranarray(x), np.asfortranarray(dy))


def in_place(name: str, x: Any, dy: Any) -> Result:
    if name == "logsumexp":
        return ss.logsumexp(x, out=np.empty(len(x), x.dtype)), ss.softmax(x) * dy[:, None]
    y = np.array(x)
    getattr(ss, name)(y, out=y)
    dx = np.array(dy)
    return y, getattr(ss, f"{name}_backward")(dx, y, out=dx)


def torch(name: str, x: Any, dy: Any) -> Result:
    import softstep.torch as st

    logits = tensor(x).requires_grad_()
    y = getattr(st, name)(logits, 1)
    y.backward(tensor(dy))
    return numpy_of(y.detach(), x.dtype), numpy_of(logits.grad, x.dtype)


def torch_graph(name: str, x: Any, dy: Any) -> Result:
    """The gradient as it is when it is differentiated again."""
    import torch as pytorch

    import softstep.torch as st

    logits = tensor(x).requires_grad_()
    y = getattr(st, name)(logits, 1)
    (dx,) = pytorch.autograd.grad(y, logits, tensor(dy), create_graph=True)
    return numpy_of(y.detach(), x.dtype), numpy_of(dx.detach(), x.dtype)


def torch_func(name: str, x: Any, dy: Any) -> Result:
    import torch as pytorch

    import softstep.torch as st

    y, pullback = pytorch.func.vjp(lambda x: getattr(st, name)(x, 1), tensor(x))
    return numpy_of(y, x.dtype), numpy_of(pullback(tensor(dy))[0], x.dtype)


def jax(name: str, x: Any, dy: Any) -> Result:
    import softstep.jax as ssj
    from tests.jax.front_end import enable_x64, jax

    with enable_x64():
        y, pullback = jax.vjp(lambda x: getattr(ssj, name)(x, axis=1), x)
        return np.asarray(y), np.asarray(pullback(dy)[0])


def _every(name: str) -> list[Any]:
    def of(front_end: Callable[..., Result]) -> Callable[[Any, Any], Result]:
        def function(x: Any, dy: Any) -> Result:
            return front_end(name, x, dy)

        function.__name__ = front_end.__name__
        return function

    every = (rows, columns, in_place, torch, torch_graph, torch_func, jax)
    return as_params([of(front_end) for front_end in every])


SOFTMAX, LOG_SOFTMAX, LOGSUMEXP = map(_every, ("softmax", "log_softmax", "logsumexp"))
