"""The linear head on CPU tensors: gradients in the forward."""

from typing import Any

import numpy as np
import torch

from softstep.head.arguments import Head, check_head, check_upstream, check_workspace
from softstep.head.chunks import ChunkLoop
from softstep.head.targets import Targets
from softstep.losses.extra_results import Extra
from softstep.torch import _gradient
from softstep.torch._arguments import renamed
from softstep.torch._linear_cross_entropy_constants import Constants
from softstep.torch._linear_cross_entropy_extra import of_chunks
from softstep.torch._linear_cross_entropy_whole import whole
from softstep.torch._tensors import is_plain, of_array, view, wide_dtype

NAMES = ("hidden", "weight", "bias")
_OF_TORCH = {
    "hidden": "input",
    "weight": "linear_weight",
    "bias": "linear_bias",
    "class_weight": "weight",
}


def evaluate(
    tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None],
    constants: Constants,
    names: list[str],
    upstream: torch.Tensor | None = None,
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """Return the loss and the gradients of hidden, weight and bias that are named."""
    try:
        head, targets = _checked(tensors, constants)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise renamed(error, _OF_TORCH) from None
    hidden = head.hidden
    limit = check_workspace(constants.workspace)
    scale = None
    if upstream is not None:
        scale = check_upstream(view(upstream), "none", targets.shape, head.dtype)
    given = {}
    if "hidden" in names and hidden.dtype == np.float16:
        # float16 would round to 0 what a loss scale comes for, in the backward.
        given["hidden"] = np.empty(hidden.shape, np.float32)
    loop = ChunkLoop(head, targets, frozenset(names), given, frozenset(), scale, limit)
    loss = torch.as_tensor(loop.run(), dtype=wide_dtype(tensors[0].dtype), device="cpu")
    if constants.results:
        of_chunks(constants.results, targets)
    return loss, [None if array is None else of_array(array) for array in loop.results()]


class LinearCrossEntropy(torch.autograd.Function):
    """The loss; a reduced one with its gradients computed in the forward."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        constants: Constants,
    ) -> torch.Tensor:
        """Return the loss."""
        names, tensors = _wanted(ctx), (hidden, weight, bias)
        by_row = constants.options.reduction == "none"
        loss, gradients = evaluate(tensors, constants, [] if by_row else names)
        # The operands are for second derivatives, and for what is computed in the backward.
        ctx.save_for_backward(*tensors, *gradients)
        ctx.constants = constants._replace(results=None)
        ctx.dtypes = [None if t is None else t.dtype for t in tensors]
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """Return the gradients times the upstream one."""
        saved: Any = ctx.saved_tensors
        operands, gradients = saved[:3], saved[3:]
        by_row = ctx.constants.options.reduction == "none"
        if torch.is_grad_enabled() or (by_row and not is_plain(upstream)):
            needed, constants = ctx.needs_input_grad[:3], (ctx.constants,)
            return *_gradient.recomputed(whole, operands, constants, needed, upstream), None
        if by_row:
            with torch.no_grad():
                _, gradients = evaluate(operands, ctx.constants, _wanted(ctx), upstream)
        else:
            gradients = [None if g is None else _gradient.scaled(g, upstream, 0) for g in gradients]
        results = [
            None if g is None else g.to(dtype)
            for g, dtype in zip(gradients, ctx.dtypes, strict=True)
        ]
        return *results, None


def _checked(tensors: Any, constants: Constants) -> tuple[Head, Targets]:
    head = check_head(*map(_array, tensors, NAMES))
    target, masses, class_weight, sample_weight = map(_array, constants[:4], Constants._fields)
    targets = Targets(
        head, target, masses, class_weight, sample_weight, constants.options, constants.shift,
        Extra(tuple(constants.results or ())).written,
    )  # fmt: skip
    return head, targets


def _wanted(ctx: Any) -> list[str]:
    return [n for n, needed in zip(NAMES, ctx.needs_input_grad[:3], strict=True) if needed]


def _array(tensor: torch.Tensor | None, name: str) -> Any:
    """Return the memory; bfloat16 as ml_dtypes', or else a float32 copy."""
    if tensor is None:
        return None
    try:
        from ml_dtypes import bfloat16
    except ModuleNotFoundError:
        return view(tensor.float() if tensor.dtype is torch.bfloat16 else tensor, name=name)
    return view(tensor, bfloat16, name)


differentiable: Any = super(torch.autograd.Function, LinearCrossEntropy).apply
