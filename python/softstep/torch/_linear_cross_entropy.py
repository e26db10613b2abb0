"""Cross-entropy of a linear layer, with the signature of PyTorch's linear_cross_entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from softstep.losses.options import Empty, Options, Reduction, Smoothing
from softstep.torch._arguments import check_tensors
from softstep.torch._cross_entropy import refuse_weights
from softstep.torch._linear_cross_entropy_constants import Constants
from softstep.torch._linear_cross_entropy_extra import asked_for
from softstep.torch._linear_cross_entropy_heads import check_heads, over_heads
from softstep.torch._linear_cross_entropy_kernel import differentiable
from softstep.torch._linear_cross_entropy_operator import takes, traced
from softstep.torch._linear_cross_entropy_whole import whole
from softstep.torch._numbers import Number, Numbers, are_tensors, divided, settled, with_temperature
from softstep.torch._tensors import FLOATS, TENSORS, are_plain, is_eager

# What PyTorch's function has not, of what belongs to no batch.
EXTENSIONS = {*Options._fields, "shift", "workspace"}
EXTENSIONS -= {"ignore_index", "reduction", "label_smoothing"}

Extra = Literal["lse", "entropy", "argmax", "correct", "target_log_prob"]


def linear_cross_entropy(
    input: torch.Tensor,
    linear_weight: torch.Tensor,
    target: torch.Tensor,
    *,
    linear_bias: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: Number = 0.0,
    options: Any = None,
    target_probabilities: torch.Tensor | None = None,
    sample_weight: torch.Tensor | None = None,
    smoothing: Smoothing = "uniform",
    gamma: Number = 0.0,
    temperature: Number = 1.0,
    softcap: Number | None = None,
    z_loss: Number = 0.0,
    denominator: Number | None = None,
    empty: Empty = "nan",
    shift: int = 0,
    workspace: int | None = None,
    extra: Sequence[Extra] = (),
) -> Any:
    """`cross_entropy` of ``input @ linear_weight.T + linear_bias``, whose logits never exist whole.

    All gradients are computed in the forward, a chunk of rows at a time, whatever the options; with
    ``reduction="none"`` in the backward.

    Parameters
    ----------
    input : Tensor
        Shape (..., D).
    linear_weight, linear_bias : Tensor
        Shapes (V, D) and (V,). Or (V, d1, ..., D) and (V, d1, ...), a head for each position of
        (d1, ...), with an input (N, D).
    target : Tensor
        Class indices (...,) or probabilities (..., V): classes on the last axis. With a head for
        each position (N, d1, ...) or, as PyTorch's, (N, V, d1, ...).
    weight, reduction, ignore_index, label_smoothing
        As in `cross_entropy`.
    options
        PyTorch's choice of chunks; without meaning here, see `workspace`.
    target_probabilities, sample_weight, smoothing, gamma, temperature, softcap, z_loss
        As in `softstep.linear_cross_entropy`.
    denominator, empty, shift, workspace
        As in `softstep.linear_cross_entropy`.
    extra
        Names of further results of the same chunks: ``"lse"``, ``"entropy"``, ``"argmax"`` and
        ``"target_log_prob"`` of each row, and ``"correct"``. They have no gradient: that of
        log-probabilities is the one of ``-linear_cross_entropy(..., reduction="none")``.

    Returns
    -------
    Tensor
        The loss, float32 for half precision. Gradients go to `input`, `linear_weight`,
        `linear_bias`, to probabilities and to numbers, any number of times. With `extra`, the pair
        of it and a dict of tensors.

    Raises
    ------
    IndexError, RuntimeError, TypeError, ValueError
        As `cross_entropy`.

    Notes
    -----
    `torch.nn.functional.linear` and `cross_entropy`, with all logits at once, compute second
    derivatives, the gradient of probabilities and of numbers other than `temperature`, whatever
    `cross_entropy` leaves to PyTorch's operations, and under torch.compile ``reduction="none"``,
    `extra`, tensors as numbers and a head for each position.

    Examples
    --------
    >>> import torch
    >>> import softstep.torch as st
    >>> hidden = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    >>> loss = st.linear_cross_entropy(hidden, torch.eye(2), torch.tensor([0, 1]))
    >>> loss.backward()
    >>> hidden.grad
    tensor([[-0.1345,  0.1345],
            [ 0.0596, -0.0596]])
    """
    numbers: Options = Numbers(
        -100 if ignore_index is None else ignore_index,
        label_smoothing,
        smoothing,
        gamma,
        temperature,
        softcap,
        z_loss,
        reduction,
        denominator,
        empty,
    )
    left: list[str] = []
    if are_tensors(numbers):
        numbers, left = settled(numbers)
    eager = (
        is_eager()
        and TENSORS.issuperset((type(input), type(linear_weight), type(target)))
        and are_plain(linear_bias, target_probabilities, weight, sample_weight)
    )
    if not (eager and input.is_cpu):
        eager = False
        check_tensors(
            {"input": input, "linear_weight": linear_weight, "target": target},
            {
                "linear_bias": linear_bias,
                "target_probabilities": target_probabilities,
                "weight": weight,
                "sample_weight": sample_weight,
            },
        )
    if input.dtype not in FLOATS or linear_weight.dtype not in FLOATS:
        name = "input" if input.dtype not in FLOATS else "linear_weight"
        raise TypeError(f"{name}: expected floats, got {input.dtype} and {linear_weight.dtype}")
    if left == ["temperature"] and softcap is None:
        divisor, left = numbers.temperature, []
        input = divided(input, divisor)
        linear_bias = None if linear_bias is None else divided(linear_bias, divisor)
        numbers = with_temperature(numbers, 1.0)
    results = asked_for(extra, target, target_probabilities) if extra else None
    constants = Constants(
        target, target_probabilities, weight, sample_weight, numbers, shift, workspace, results
    )
    if linear_weight.ndim > 2:
        if results:
            raise ValueError("extra: expected none with a head for each position")
        check_heads(input, linear_weight, linear_bias, constants)
    loss = _loss(input, linear_weight, linear_bias, constants, bool(left), eager)
    return (loss, results) if results else loss


def _loss(
    input: torch.Tensor,
    linear_weight: torch.Tensor,
    linear_bias: torch.Tensor | None,
    constants: Constants,
    numbers_require_grad: bool,
    eager: bool,
) -> torch.Tensor:
    """Return the loss by chunks where they serve, else through all logits."""
    recording = torch.is_grad_enabled()
    if recording:
        refuse_weights(constants.class_weight, constants.sample_weight)
    # No slice of the named tuple before `is_eager`: Dynamo of PyTorch 2.8 does not trace it.
    masses = constants.target_probabilities
    soft = recording and (constants.target if masses is None else masses).requires_grad
    operands = (input, linear_weight, linear_bias)
    by_operations = numbers_require_grad or soft or not input.is_cpu
    if by_operations or not eager:
        if not by_operations and takes(operands, constants):
            return traced(operands, constants, recording)
        return whole(*operands, constants)
    if not recording:  # a Function would ask for the gradients of what requires grad
        input, linear_weight = input.detach(), linear_weight.detach()
        linear_bias = None if linear_bias is None else linear_bias.detach()
    if linear_weight.ndim > 2:
        return over_heads(differentiable, input, linear_weight, linear_bias, constants)
    loss: torch.Tensor = differentiable(input, linear_weight, linear_bias, constants)
    return loss
