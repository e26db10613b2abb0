"""Cross-entropy of a linear layer, with the signature of PyTorch's linear_cross_entropy."""

from typing import Any

import torch

from softstep.losses.options import Empty, Options, Reduction, Smoothing
from softstep.torch._cross_entropy import cross_entropy
from softstep.torch._linear_cross_entropy_kernel import Constants, differentiable
from softstep.torch._tensors import FLOATS, PLAIN, is_compiling, is_eager, wide_dtype

# What PyTorch's function has not, of what belongs to no batch.
EXTENSIONS = {*Options._fields, "shift", "workspace"}
EXTENSIONS -= {"ignore_index", "reduction", "label_smoothing"}


def linear_cross_entropy(
    input: torch.Tensor,
    linear_weight: torch.Tensor,
    target: torch.Tensor,
    *,
    linear_bias: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
    target_probabilities: torch.Tensor | None = None,
    sample_weight: torch.Tensor | None = None,
    smoothing: Smoothing = "uniform",
    gamma: float = 0.0,
    temperature: float = 1.0,
    softcap: float | None = None,
    z_loss: float = 0.0,
    denominator: float | None = None,
    empty: Empty = "nan",
    shift: bool = False,
    workspace: int | None = None,
) -> torch.Tensor:
    """`cross_entropy` of ``input @ linear_weight.T + linear_bias``, whose logits never exist whole.

    All gradients are computed in the forward, a chunk of rows at a time, whatever the options; with
    ``reduction="none"`` in the backward.

    Parameters
    ----------
    input : Tensor
        Shape (..., D).
    linear_weight, linear_bias : Tensor
        Shapes (V, D) and (V,).
    target : Tensor
        Class indices (...,) or probabilities (..., V): classes on the last axis.
    weight, reduction, ignore_index, label_smoothing
        As in `cross_entropy`.
    options
        PyTorch's choice of chunks; without meaning here, see `workspace`.
    target_probabilities, sample_weight, smoothing, gamma, temperature, softcap, z_loss
        As in `softstep.linear_cross_entropy`.
    denominator, empty, shift, workspace
        As in `softstep.linear_cross_entropy`.

    Returns
    -------
    Tensor
        The loss, float32 for half precision. Gradients go to `input`, `linear_weight` and
        `linear_bias`; those of targets and second derivatives are refused.

    Raises
    ------
    IndexError, RuntimeError, TypeError, ValueError
        As `cross_entropy`.

    Notes
    -----
    torch.func, torch.compile, and tensors that are not on the CPU take `torch.nn.functional.linear`
    and `cross_entropy`, with all logits.

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
    numbers = Options(
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
    if input.dtype not in FLOATS or linear_weight.dtype not in FLOATS:
        raise TypeError(f"input: expected floats, got {input.dtype} and {linear_weight.dtype}")
    tensors = (input, linear_weight, linear_bias, target, target_probabilities)
    constants = Constants(
        target, target_probabilities, weight, sample_weight, numbers, shift, workspace
    )
    if (
        not input.is_cpu
        or is_compiling()
        or not is_eager()
        or not all(type(tensor) in PLAIN for tensor in tensors)
    ):
        return _whole(input, linear_weight, linear_bias, constants)
    if torch.is_grad_enabled():
        for name, tensor in zip(constants._fields[:4], constants[:4], strict=True):
            if tensor is not None and tensor.requires_grad:
                raise RuntimeError(
                    f"{name}: expected a tensor that does not require grad: there is no derivative "
                    "by it; pass detach()"
                )
    loss: torch.Tensor = differentiable(input, linear_weight, linear_bias, constants)
    return loss


def _whole(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    constants: Constants,
) -> torch.Tensor:
    """Through all logits."""
    target, masses, share = (
        constants.target, constants.target_probabilities, constants.sample_weight
    )  # fmt: skip
    if constants.shift:
        hidden = hidden[..., :-1, :]
        by_class = masses is None and not target.is_floating_point()
        target = target[..., 1:] if by_class else target[..., 1:, :]
        masses = None if masses is None else masses[..., 1:, :]
        share = None if share is None else share[..., 1:]
    rows = hidden.shape[:-1]
    dtype = wide_dtype(hidden.dtype)
    logits = torch.nn.functional.linear(
        hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    ).reshape(-1, weight.shape[0])

    def flat(tensor: Any) -> Any:
        return None if tensor is None else tensor.reshape(-1, *tensor.shape[len(rows) :])

    # Not `_asdict`, which Dynamo of PyTorch 2.8 does not trace.
    options: dict[str, Any] = dict(zip(Options._fields, constants.options, strict=True))
    loss = cross_entropy(
        logits,
        flat(target),
        constants.class_weight,
        target_probabilities=flat(masses),
        sample_weight=flat(share),
        **options,
    )
    return loss.reshape(rows) if constants.options.reduction == "none" else loss
