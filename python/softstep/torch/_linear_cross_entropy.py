"""Cross-entropy of a linear layer, with the signature of PyTorch's linear_cross_entropy."""

from typing import Any, NamedTuple

import numpy as np
import torch

from softstep._linear_cross_entropy import linear_cross_entropy as loss_of
from softstep._linear_cross_entropy import linear_cross_entropy_with_grad as gradients_of
from softstep.torch import _gradient
from softstep.torch._cross_entropy import cross_entropy
from softstep.torch._tensors import FLOATS, PLAIN, is_compiling, is_eager, wide_dtype


class Constants(NamedTuple):
    """What has no gradient, by the names of the NumPy API."""

    target: torch.Tensor
    target_probabilities: torch.Tensor | None
    class_weight: torch.Tensor | None
    sample_weight: torch.Tensor | None
    options: dict[str, Any]

    def arguments(self) -> dict[str, Any]:
        """Return them as the NumPy API takes them."""
        arrays = {
            name: None if tensor is None else _array(tensor)
            for name, tensor in zip(self._fields[:-1], self[:-1], strict=True)
        }
        return {**arrays, **self.options}


def linear_cross_entropy(
    input: torch.Tensor,
    linear_weight: torch.Tensor,
    target: torch.Tensor,
    *,
    linear_bias: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
    target_probabilities: torch.Tensor | None = None,
    sample_weight: torch.Tensor | None = None,
    smoothing: str = "uniform",
    temperature: float = 1.0,
    softcap: float | None = None,
    z_loss: float = 0.0,
    denominator: float | None = None,
    empty: str = "nan",
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
    target_probabilities, sample_weight, smoothing, temperature, softcap, z_loss
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
    plain: dict[str, Any] = {
        "ignore_index": -100 if ignore_index is None else ignore_index,
        "label_smoothing": label_smoothing,
        "smoothing": smoothing,
        "temperature": temperature,
        "softcap": softcap,
        "z_loss": z_loss,
        "reduction": reduction,
        "denominator": denominator,
        "empty": empty,
    }
    if input.dtype not in FLOATS or linear_weight.dtype not in FLOATS:
        raise TypeError(f"input: expected floats, got {input.dtype} and {linear_weight.dtype}")
    tensors = (input, linear_weight, linear_bias, target, target_probabilities)
    constants = Constants(target, target_probabilities, weight, sample_weight, plain)
    if (
        not input.is_cpu
        or is_compiling()
        or not is_eager()
        or not all(type(tensor) in PLAIN for tensor in tensors)
    ):
        return _whole(input, linear_weight, linear_bias, constants, shift)
    if torch.is_grad_enabled():
        for name, tensor in zip(constants._fields[:-1], constants[:-1], strict=True):
            if tensor is not None and tensor.requires_grad:
                raise RuntimeError(
                    f"{name}: expected a tensor that does not require grad: there is no derivative "
                    "by it; pass detach()"
                )
    plain.update(shift=shift, workspace=workspace)
    loss: torch.Tensor = _apply(input, linear_weight, linear_bias, constants)
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        constants: Constants,
    ) -> torch.Tensor:
        arrays = (_array(hidden), _array(weight), constants)
        names = _names(ctx)
        ctx.by_row = constants.options["reduction"] == "none"
        ctx.constants = constants
        if ctx.by_row or not names:
            ctx.save_for_backward(hidden, weight, bias)
            loss = loss_of(*_head(*arrays), bias=_array(bias), **_rest(constants))
        else:
            # float16 would round to 0 what a loss scale comes for, in the backward.
            wide = hidden.dtype is torch.float16 and "hidden" in names
            loss, gradients = gradients_of(
                *_head(*arrays),
                bias=_array(bias),
                grads=names,
                dhidden=np.empty(hidden.shape, np.float32) if wide else None,
                **_rest(constants),
            )
            results = _tensors(gradients, (hidden, weight, bias))
            ctx.save_for_backward(*results)
            ctx.dtypes = [None if t is None else t.dtype for t in (hidden, weight, bias)]
        return torch.as_tensor(loss, dtype=wide_dtype(hidden.dtype))

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        saved = ctx.saved_tensors
        if ctx.by_row:
            hidden, weight, bias = saved
            _, gradients = gradients_of(
                *_head(_array(hidden.detach()), _array(weight.detach()), ctx.constants),
                bias=_array(None if bias is None else bias.detach()),
                grads=_names(ctx),
                upstream=upstream.detach().numpy(),
                **_rest(ctx.constants),
            )
            results = _tensors(gradients, saved)
            dtypes = [None if t is None else t.dtype for t in saved]
        else:
            dtypes = ctx.dtypes
            results = [None if g is None else _gradient.scaled(g, upstream, 0) for g in saved]
        results = [
            None if g is None else g.to(dtype) for g, dtype in zip(results, dtypes, strict=True)
        ]
        if torch.is_grad_enabled():
            results = [_gradient.once(g, "linear_cross_entropy") for g in results]
        return *results, None


def _names(ctx: Any) -> list[str]:
    names = ("hidden", "weight", "bias")
    return [n for n, needed in zip(names, ctx.needs_input_grad[:3], strict=True) if needed]


def _head(hidden: Any, weight: Any, constants: Constants) -> tuple[Any, Any, Any]:
    return hidden, weight, _array(constants.target)


def _rest(constants: Constants) -> dict[str, Any]:
    arguments = constants.arguments()
    del arguments["target"]
    return arguments


def _array(tensor: torch.Tensor | None) -> Any:
    """Return the memory; NumPy multiplies bfloat16 as ml_dtypes', or else as float32."""
    if tensor is None:
        return None
    if tensor.dtype is not torch.bfloat16:
        return tensor.numpy()
    try:
        from ml_dtypes import bfloat16
    except ModuleNotFoundError:
        return tensor.float().numpy()
    return tensor.view(torch.int16).numpy().view(bfloat16)


def _tensors(gradients: Any, like: Any) -> list[torch.Tensor | None]:
    results: list[torch.Tensor | None] = []
    for array in gradients:
        if array is None:
            results.append(None)
        elif array.dtype.name == "bfloat16":
            results.append(torch.from_numpy(array.view("i2")).view(torch.bfloat16))
        else:
            results.append(torch.from_numpy(array))
    return results


def _whole(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    constants: Constants,
    shift: bool,
) -> torch.Tensor:
    """Through all logits."""
    target, masses, share = (
        constants.target, constants.target_probabilities, constants.sample_weight
    )  # fmt: skip
    if shift:
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

    def flat(tensor: torch.Tensor | None) -> Any:
        return None if tensor is None else tensor.reshape(-1, *tensor.shape[len(rows) :])

    loss = cross_entropy(
        logits,
        flat(target),
        constants.class_weight,
        target_probabilities=flat(masses),
        sample_weight=flat(share),
        **constants.options,
    )
    return loss.reshape(rows) if constants.options["reduction"] == "none" else loss


_apply: Any = super(torch.autograd.Function, _LinearCrossEntropy).apply


class LinearCrossEntropyLoss(torch.nn.Module):
    """`torch.nn.LinearCrossEntropyLoss` on `linear_cross_entropy`: a linear layer and its loss.

    Parameters
    ----------
    in_features, num_classes, bias, device, dtype
        Of the layer `linear`, whose weights have PyTorch's names in the state.
    reduction, weight, ignore_index, label_smoothing, options
        As PyTorch's.
    **extensions
        Options of `linear_cross_entropy`; what belongs to a batch, `target_probabilities` and
        `sample_weight`, is an argument of the call.

    Examples
    --------
    >>> import torch
    >>> import softstep.torch as st
    >>> head = st.LinearCrossEntropyLoss(8, 1000, z_loss=1e-4)
    >>> head(torch.zeros(3, 8), torch.tensor([1, 2, 3])).item() > 6.9
    True
    """

    weight: torch.Tensor | None

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        bias: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        reduction: str = "mean",
        weight: torch.Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
        **extensions: Any,
    ) -> None:
        super().__init__()
        known = {"smoothing", "temperature", "softcap", "z_loss", "denominator", "empty", "shift"}
        unknown = set(extensions) - known - {"workspace"}
        if unknown:
            raise TypeError(f"LinearCrossEntropyLoss: unknown options {', '.join(sorted(unknown))}")
        self.linear = torch.nn.Linear(
            in_features, num_classes, bias=bias, device=device, dtype=dtype
        )
        self.register_buffer("weight", weight)
        self.options = {
            "reduction": reduction,
            "ignore_index": ignore_index,
            "label_smoothing": label_smoothing,
            **extensions,
        }

    def forward(
        self,
        input: torch.Tensor,
        target: torch.Tensor,
        *,
        target_probabilities: torch.Tensor | None = None,
        sample_weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss."""
        return linear_cross_entropy(
            input,
            self.linear.weight,
            target,
            linear_bias=self.linear.bias,
            weight=self.weight,
            target_probabilities=target_probabilities,
            sample_weight=sample_weight,
            **self.options,
        )
