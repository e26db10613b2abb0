"""The softmax kernels on CPU tensors: eager autograd, and the operators for the tracers."""

from collections.abc import Callable
from typing import Any

import torch

import softstep._core as _core
from softstep.torch import _composed_softmax
from softstep.torch._numbers import Number
from softstep.torch._operators import define, library
from softstep.torch._tensors import is_plain, of_array, view, wide_dtype


def _elementwise(name: str) -> Callable[[torch.Tensor, int, float], torch.Tensor]:
    kernel = getattr(_core, name)

    def compute(x: torch.Tensor, dim: int, temperature: float) -> torch.Tensor:
        out = torch.empty_like(x)
        with torch.no_grad():
            kernel(view(x), dim, temperature, view(out), None)
        return out

    return compute


def _logsumexp(x: torch.Tensor, dim: int, temperature: float) -> torch.Tensor:
    with torch.no_grad():
        return of_array(_core.logsumexp(view(x), dim, temperature, None))


KERNELS = {
    "softmax": _elementwise("softmax"),
    "log_softmax": _elementwise("log_softmax"),
    "logsumexp": _logsumexp,
}


# The gradients in PyTorch's operations: for what is traced, batched, and differentiated again.
def _softmax_gradient(dy: torch.Tensor, y: torch.Tensor, dim: int, t: Number) -> torch.Tensor:
    # y (dy - sum(dy y)), which would be 0 for the dy of a class that is nearly certain: so all are
    # relative to that one.
    p, dy = _widened(y, dy)
    if p.shape[dim] > 0:
        dy = dy - dy.gather(dim, p.argmax(dim, keepdim=True))
    return (p * (dy - (dy * p).sum(dim, keepdim=True)) / t).to(y.dtype)


def _log_softmax_gradient(dy: torch.Tensor, y: torch.Tensor, dim: int, t: Number) -> torch.Tensor:
    # dy - exp(y) * sum(dy), which would be 0 for the dy of a class that is nearly certain.
    log_p, dy = _widened(y, dy)
    others = dy.sum(dim, keepdim=True) - dy
    return ((dy * -log_p.expm1() - log_p.exp() * others) / t).to(y.dtype)


def _logsumexp_gradient(
    dy: torch.Tensor, x: torch.Tensor, lse: torch.Tensor, dim: int, t: Number
) -> torch.Tensor:
    wide, lse, dy = _widened(x, lse.unsqueeze(dim), dy.unsqueeze(dim))
    lowest = lse == -torch.inf
    p = _composed_softmax.softmax(wide.masked_fill(lowest, 0), dim, t).masked_fill(lowest, 0)
    return (dy * p / t).to(x.dtype)


def _widened(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [tensor.to(wide_dtype(tensor.dtype)) for tensor in tensors]


def _temperature_gradient(
    dx: torch.Tensor, x: torch.Tensor, dim: int, t: Number, shifted: bool
) -> torch.Tensor:
    """Return the gradient by the temperature, of that by the logits, which may be `shifted`."""
    if shifted and x.shape[dim] > 0:
        x = x - x.detach().amax(dim, keepdim=True)
    return -(dx * x.masked_fill(x == -torch.inf, 0)).sum() / t


class _Function(torch.autograd.Function):
    """A temperature that requires grad is the last argument, and has the value of the number."""

    name: str
    gradient: Callable[..., torch.Tensor]

    @classmethod
    def compute(cls, ctx: Any, x: torch.Tensor, dim: int, number: float, t: Any) -> torch.Tensor:
        y = KERNELS[cls.name](x, dim, number)
        ctx.save_for_backward(x if t is not None or cls.name == "logsumexp" else None, y, t)
        ctx.dim, ctx.temperature = dim, number
        return y

    @classmethod
    def differentiate(cls, ctx: Any, dy: torch.Tensor) -> Any:
        x, y, t = ctx.saved_tensors
        dim, number = ctx.dim, ctx.temperature
        if torch.is_grad_enabled() or not is_plain(dy):
            number = number if t is None else t
            kept = (x, y) if cls.name == "logsumexp" else (y,)
            dx = cls.gradient(dy, *kept, dim, number)
        else:
            dx = cls.run(x, y, dy, dim, number)
        if t is None:
            return dx, None, None, None
        dt = _temperature_gradient(dx, x, dim, number, cls.name != "logsumexp")
        return dx, None, None, dt

    @classmethod
    def run(cls, x: Any, y: torch.Tensor, dy: torch.Tensor, dim: int, number: float) -> Any:
        """Compute the gradient by the kernel."""
        dx = torch.empty_like(y)
        kernel = getattr(_core, f"{cls.name}_backward")
        kernel(view(dy), view(y), dim, number, view(dx), None)
        return dx


class _Softmax(_Function):
    name = "softmax"
    gradient = staticmethod(_softmax_gradient)

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, dim: int, number: float, t: Any) -> torch.Tensor:
        return _Softmax.compute(ctx, x, dim, number, t)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        return _Softmax.differentiate(ctx, dy)


class _LogSoftmax(_Function):
    name = "log_softmax"
    gradient = staticmethod(_log_softmax_gradient)

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, dim: int, number: float, t: Any) -> torch.Tensor:
        return _LogSoftmax.compute(ctx, x, dim, number, t)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        return _LogSoftmax.differentiate(ctx, dy)


class _LogSumExp(_Function):
    name = "logsumexp"
    gradient = staticmethod(_logsumexp_gradient)

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, dim: int, number: float, t: Any) -> torch.Tensor:
        return _LogSumExp.compute(ctx, x, dim, number, t)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        return _LogSumExp.differentiate(ctx, dy)

    @classmethod
    def run(cls, x: Any, y: torch.Tensor, dy: torch.Tensor, dim: int, number: float) -> Any:
        p = KERNELS["softmax"](x, dim, number)
        lowest = y == -torch.inf
        if lowest.any():
            p.masked_fill_(lowest.unsqueeze(dim), 0)
        return p.mul_(dy.unsqueeze(dim) / number)


# PyTorch's own apply first looks for transforms (torch.func), which do not come here.
DIFFERENTIABLE: dict[str, Any] = {
    name: super(torch.autograd.Function, function).apply  # type: ignore[misc]
    for name, function in (
        ("softmax", _Softmax),
        ("log_softmax", _LogSoftmax),
        ("logsumexp", _LogSumExp),
    )
}


def _register(name: str, differentiate: Callable[..., torch.Tensor], saves_input: bool) -> None:
    def shapes(x: torch.Tensor, dim: int, temperature: float) -> torch.Tensor:
        return x.new_empty(x.sum(dim).shape) if saves_input else torch.empty_like(x)

    def save(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
        x, ctx.dim, ctx.temperature = inputs
        ctx.save_for_backward(*((x, output) if saves_input else (output,)))

    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        return differentiate(dy, *ctx.saved_tensors, ctx.dim, ctx.temperature), None, None

    define(name, "(Tensor x, int dim, float temperature) -> Tensor", KERNELS[name], shapes)
    torch.library.register_autograd(f"softstep::{name}", backward, setup_context=save, lib=library)


_register("softmax", _softmax_gradient, False)
_register("log_softmax", _log_softmax_gradient, False)
_register("logsumexp", _logsumexp_gradient, True)
