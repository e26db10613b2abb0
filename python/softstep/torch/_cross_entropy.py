"""Cross-entropy with the signature of `torch.nn.functional.cross_entropy`."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn._reduction import legacy_get_string

from softstep.losses.options import Empty, Options, Reduction, Smoothing
from softstep.torch import _composed
from softstep.torch._arguments import check_tensors
from softstep.torch._composed_softmax import below_largest
from softstep.torch._cross_entropy_kernel import class_axis, differentiable, evaluate
from softstep.torch._numbers import Number, Numbers, are_tensors, settled, with_temperature
from softstep.torch._tensors import FLOATS, PLAIN, TENSORS, is_eager, take_operators

legacy_reduction: Any = legacy_get_string

# What PyTorch's function has not, of what belongs to no batch.
EXTENSIONS = {*Options._fields, "inplace"} - {"ignore_index", "reduction", "label_smoothing"}


def cross_entropy(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    label_smoothing: Number = 0.0,
    *,
    target_probabilities: torch.Tensor | None = None,
    sample_weight: torch.Tensor | None = None,
    smoothing: Smoothing = "uniform",
    gamma: Number = 0.0,
    temperature: Number = 1.0,
    softcap: Number | None = None,
    z_loss: Number = 0.0,
    denominator: Number | None = None,
    empty: Empty = "nan",
    inplace: bool = False,
) -> torch.Tensor:
    """`torch.nn.functional.cross_entropy`, with the gradient computed in the forward.

    Parameters
    ----------
    input : Tensor
        Logits (C), (N, C) or (N, C, d1, ...): float32, float64, float16 or bfloat16.
    target, weight, size_average, ignore_index, reduce, reduction, label_smoothing
        As PyTorch's; class indices may be of any integer dtype, weights of any float dtype.
    target_probabilities, sample_weight, smoothing, gamma, temperature, softcap, z_loss
        As in `softstep.cross_entropy`.
    denominator, empty
        As in `softstep.cross_entropy`. A number may be a tensor of one, and gets its gradient if
        that is required.
    inplace : bool
        Overwrite the logits with their gradient, which saves memory of their size and the time to
        write it. Whatever still needs the logits, in the backward or in an in-place sense, raises
        PyTorch's error for modified tensors; second derivatives are refused. No effect where no
        gradient is needed, where PyTorch's operations compute (see the notes), and under
        torch.compile.

    Returns
    -------
    Tensor
        The loss: of the logits' dtype, float32 for half precision. Gradients go to `input`, to
        probabilities (`target` or `target_probabilities`) and to numbers, any number of times.

    Raises
    ------
    IndexError
        A class target outside [0, C) that is not `ignore_index`.
    RuntimeError
        For a leaf that requires grad with `inplace`, its second derivatives, and for weights that
        require grad.
    TypeError, ValueError
        For a dtype, shape or option that does not fit.

    Notes
    -----
    PyTorch's own operations compute, with the same result, what is not on the CPU, in forward mode,
    under torch.func and torch.jit.trace, of subclasses, second derivatives, and the gradient of a
    number other than `temperature`.

    Examples
    --------
    >>> import torch
    >>> import softstep.torch as st
    >>> logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]], requires_grad=True)
    >>> loss = st.cross_entropy(logits, torch.tensor([0, 2]))
    >>> loss.backward()
    >>> round(loss.item(), 6), logits.grad[1]
    (1.479525, tensor([ 0.1060,  0.1060, -0.2119]))
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    options: Options = Numbers(
        ignore_index,
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
    plain = type(label_smoothing) is type(gamma) is type(temperature) is type(z_loss) is float
    if not (plain and softcap is None and denominator is None) and are_tensors(options):
        options, left = settled(options)
    eager = (
        is_eager()
        and type(input) in TENSORS
        and type(target) in TENSORS
        and type(target_probabilities) in PLAIN
        and type(weight) in PLAIN
        and type(sample_weight) in PLAIN
    )
    if not (eager and input.is_cpu):
        eager = False
        check_tensors(
            {"input": input, "target": target},
            {
                "target_probabilities": target_probabilities,
                "weight": weight,
                "sample_weight": sample_weight,
            },
        )
    if input.dtype not in FLOATS or input.ndim == 0:
        raise TypeError(
            f"input: expected float logits of at least one dimension, got {input.dtype} of shape "
            f"{tuple(input.shape)}"
        )
    recording = torch.is_grad_enabled()
    if recording:
        refuse_weights(weight, sample_weight)
    divisor: Any = options.temperature if left == ["temperature"] else None
    if (left and divisor is None) or not eager:
        tensors = (input, target, target_probabilities, weight, sample_weight)
        if input.is_cpu and take_operators(*tensors):
            if divisor is not None and softcap is None and type(z_loss) is float and z_loss == 0:
                # The loss is the same for logits less a number; the square of lse is not.
                tensors = (below_largest(input, class_axis(input), divisor), *tensors[1:])
                options, left = with_temperature(options, 1.0), []
            if not left:
                return _traced(tensors, options, recording)
        return _composed.cross_entropy(*tensors, options)
    if divisor is not None:
        options = with_temperature(options, divisor.item())
    if recording and (
        divisor is not None
        or input.requires_grad
        or target.requires_grad
        or (target_probabilities is not None and target_probabilities.requires_grad)
    ):
        inplace = inplace and input.requires_grad
        if inplace:
            _refuse_leaves(input)
            inplace = not input.is_neg()
        loss: torch.Tensor = differentiable(
            input, target, target_probabilities, (weight, sample_weight, options), inplace, divisor
        )
        return loss
    return evaluate(
        input, target, target_probabilities, weight, sample_weight, options, False, False
    )[0]


def _traced(tensors: Any, options: Options, recording: bool) -> torch.Tensor:
    logits, target, probabilities, _, _ = tensors
    masses = target if probabilities is None else probabilities
    grad_target = recording and masses.is_floating_point() and masses.requires_grad
    grad_logits = recording and logits.requires_grad
    results: Any = torch.ops.softstep.cross_entropy(*tensors, *options, grad_logits, grad_target)
    loss: torch.Tensor = results[0]
    return loss


def refuse_weights(weight: torch.Tensor | None, sample_weight: torch.Tensor | None) -> None:
    """Refuse weights that require grad."""
    for name, tensor in (("weight", weight), ("sample_weight", sample_weight)):
        if tensor is not None and tensor.requires_grad:
            raise RuntimeError(
                f"{name}: expected a tensor that does not require grad: there is no derivative by "
                "it; pass detach()"
            )


def _refuse_leaves(logits: torch.Tensor) -> None:
    base = logits._base if logits._is_view() else logits  # noqa: SLF001
    if base is not None and base.is_leaf and base.requires_grad:
        raise RuntimeError(
            "inplace: expected logits that were computed, got a leaf that requires grad (or a view "
            "of one), which cannot be overwritten"
        )


class CrossEntropyLoss(torch.nn.Module):
    """`torch.nn.CrossEntropyLoss` on `softstep.torch.cross_entropy`.

    Parameters
    ----------
    weight, size_average, ignore_index, reduce, reduction, label_smoothing
        As PyTorch's, in its order. A number that is a `torch.nn.Parameter` is one of the module.
    smoothing, gamma, temperature, softcap, z_loss, denominator, empty, inplace
        As in `cross_entropy`. What belongs to a batch is an argument of the call:
        `target_probabilities` and `sample_weight`.

    Examples
    --------
    >>> import torch
    >>> import softstep.torch as st
    >>> criterion = st.CrossEntropyLoss(label_smoothing=0.1)
    >>> round(criterion(torch.zeros(4, 10), torch.arange(4)).item(), 4)
    2.3026
    """

    weight: torch.Tensor | None

    def __init__(
        self,
        weight: torch.Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
        label_smoothing: Number = 0.0,
        **extensions: Any,
    ) -> None:
        super().__init__()
        if size_average is not None or reduce is not None:
            reduction = legacy_reduction(size_average, reduce)
        unknown = set(extensions) - EXTENSIONS
        if unknown:
            raise TypeError(f"CrossEntropyLoss: unknown options {', '.join(sorted(unknown))}")
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction = ignore_index, reduction
        self.label_smoothing = label_smoothing
        self.extensions = tuple(extensions)
        for name, value in extensions.items():
            setattr(self, name, value)  # a parameter becomes the module's

    def forward(
        self,
        input: torch.Tensor,
        target: torch.Tensor,
        *,
        target_probabilities: torch.Tensor | None = None,
        sample_weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss."""
        return cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            target_probabilities=target_probabilities,
            sample_weight=sample_weight,
            **{name: getattr(self, name) for name in self.extensions},
        )
