"""PyTorch's own entries of operators (`op_db`) with our functions in place of its operators."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

import softstep.torch as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

OURS: dict[str, Callable[..., Any]] = {
    "softmax": st.softmax,
    "log_softmax": st.log_softmax,
    "logsumexp": st.logsumexp,
    "nn.functional.cross_entropy": st.cross_entropy,
    "nn.functional.linear_cross_entropy": st.linear_cross_entropy,
}
CPU = "cpu"
MOST = 15  # samples of an operator, evenly among those that it has


def operators() -> list[Any]:
    """Each of PyTorch's entries, with ours in place of the operator."""
    found = []
    for info in op_db:
        if info.name in OURS and not info.variant_test_name.startswith("chunked"):
            ours = copy.copy(info)
            ours.op, ours.theirs = OURS[info.name], info.op
            found.append(pytest.param(ours, id=info.full_name))
    return found


every_operator = pytest.mark.parametrize("info", operators())


def samples(
    info: Any, dtype: Any = torch.float64, grad: bool = True, most: int = MOST
) -> list[Any]:
    every = list(info.sample_inputs(CPU, dtype, requires_grad=grad))
    return every[:: -(-len(every) // most)]


def few(info: Any) -> Any:
    """The operator with fewer samples, for PyTorch's helpers."""
    less = copy.copy(info)
    less.sample_inputs = lambda *_, **__: samples(info, most=10)
    return less


def by_tensors(function: Any, sample: Any) -> tuple[Callable[..., Any], list[Any]]:
    """The function of those of a sample's tensors that require grad, and these."""
    arguments = ((sample.input, *sample.args), sample.kwargs)
    flat, spec = torch.utils._pytree.tree_flatten(arguments)
    where = [k for k, t in enumerate(flat) if torch.is_tensor(t) and t.requires_grad]

    def f(*tensors: Any) -> Any:
        given = list(flat)
        for k, tensor in zip(where, tensors, strict=True):
            given[k] = tensor
        args, kwargs = torch.utils._pytree.tree_unflatten(given, spec)
        return function(*args, **kwargs)

    return f, [flat[k].detach() for k in where]


def gradients(result: Any, sample: Any) -> list[Any]:
    tensors = [t for t in (sample.input, *sample.args) if torch.is_tensor(t) and t.requires_grad]
    return list(torch.autograd.grad(result.sum(), tensors)) if tensors else []
