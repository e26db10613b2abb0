"""The linear head as an operator, for what traces: the logits do not exist in a graph either."""

from typing import Any

import torch

from softstep.losses.options import Options
from softstep.torch._linear_cross_entropy_constants import Constants
from softstep.torch._linear_cross_entropy_kernel import NAMES, evaluate
from softstep.torch._operators import define, library, schema_of_options
from softstep.torch._tensors import take_operators, wide_dtype

_TENSORS = 7  # of which the first three have gradients


def takes(
    operands: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None], constants: Constants
) -> bool:
    """Whether a graph is to have the operator: one head, and gradients that the forward knows."""
    by_row = constants.options.reduction == "none"
    if constants.results or by_row or operands[1].ndim != 2:
        return False
    target, masses, class_weight, sample_weight, *_ = constants
    return take_operators(*operands, target, masses, class_weight, sample_weight)


def traced(
    operands: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None],
    constants: Constants,
    recording: bool,
) -> torch.Tensor:
    """Return the loss by the operator."""
    target, masses, class_weight, sample_weight, options, shift, workspace, _ = constants
    wanted = [recording and t is not None and t.requires_grad for t in operands]
    results: Any = torch.ops.softstep.linear_cross_entropy(
        *operands, target, masses, class_weight, sample_weight, *options, shift, workspace, wanted
    )
    loss: torch.Tensor = results[0]
    return loss


def _constants(tensors: Any, rest: Any) -> Constants:
    target, masses, class_weight, sample_weight = tensors
    *options, shift, workspace, _ = rest
    return Constants(
        target, masses, class_weight, sample_weight, Options(*options), shift, workspace
    )


def _compute(*arguments: Any) -> tuple[torch.Tensor, ...]:
    operands, tensors, rest = arguments[:3], arguments[3:_TENSORS], arguments[_TENSORS:]
    names = [name for name, wanted in zip(NAMES, rest[-1], strict=True) if wanted]
    with torch.no_grad():
        loss, found = evaluate(operands, _constants(tensors, rest), names)
    return loss, *(operands[0].new_empty(0) if gradient is None else gradient for gradient in found)


def _shapes(*arguments: Any) -> tuple[torch.Tensor, ...]:
    hidden, wanted = arguments[0], arguments[-1]
    # In float16 a gradient of the hidden states would lose what a loss scale comes for; those of
    # the parameters are sums.
    narrow = torch.float32 if hidden.dtype is torch.float16 else hidden.dtype
    wide = wide_dtype(hidden.dtype)
    dtypes = narrow, wide, wide
    gradients = [
        tensor.new_empty(tensor.shape, dtype=dtype) if want else hidden.new_empty(0)
        for tensor, dtype, want in zip(arguments[:3], dtypes, wanted, strict=True)
    ]
    return hidden.new_empty((), dtype=wide), *gradients


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*output[1:])
    ctx.wanted, ctx.count = inputs[-1], len(inputs)
    ctx.dtypes = [None if tensor is None else tensor.dtype for tensor in inputs[:3]]


def _backward(ctx: Any, upstream: Any, *second: Any) -> Any:
    if any(gradient is not None for gradient in second):
        raise RuntimeError(
            "the operator softstep::linear_cross_entropy has no second derivative: use "
            "softstep.torch.linear_cross_entropy, without torch.compile, where create_graph=True "
            "is needed"
        )
    result: list[Any] = [None] * ctx.count
    if upstream is not None:
        saved = zip(ctx.saved_tensors, ctx.dtypes, ctx.wanted, strict=True)
        for i, (gradient, dtype, wanted) in enumerate(saved):
            if wanted:
                result[i] = (gradient * upstream).to(dtype)
    return tuple(result)


define(
    "linear_cross_entropy",
    "(Tensor input, Tensor linear_weight, Tensor? linear_bias, Tensor target, "
    "Tensor? target_probabilities, Tensor? weight, Tensor? sample_weight, "
    f"{schema_of_options()}, int shift, int? workspace, bool[] wanted) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    _compute,
    _shapes,
)
torch.library.register_autograd(
    "softstep::linear_cross_entropy", _backward, setup_context=_save, lib=library
)
