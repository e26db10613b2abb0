"""The softmax family composed of PyTorch's operations, with the kernels' digits near certainty.

For tensors that are not on the CPU, and for whatever only operations of PyTorch go through: forward
mode, torch.func, torch.jit, subclasses. The largest logit of a row is kept out of the sum, and
subtracted before the temperature divides. Where it is infinite or NaN, what the row gives is NaN,
but for the classes below +inf in `log_softmax`.
"""

import torch

from softstep.torch._numbers import Number
from softstep.torch._tensors import sizes, wide_dtype


def softmax(x: torch.Tensor, dim: int, temperature: Number = 1.0) -> torch.Tensor:
    """Return the probabilities: that of the largest logit is 1 / (1 + the others)."""
    if sizes(x)[dim] == 0:
        return torch.softmax(x, dim)
    top, index, zero = _largest(x, dim)
    e = over(x - top, temperature).scatter(dim, index, zero).exp()
    return e / (1 + e.scatter(dim, index, zero).sum(dim, keepdim=True))


def log_softmax(x: torch.Tensor, dim: int, temperature: Number = 1.0) -> torch.Tensor:
    """Return their logarithms: of the largest -log1p(the others), which is not 0."""
    if sizes(x)[dim] == 0:
        return torch.log_softmax(x, dim)
    top, index, zero = _largest(x, dim)
    below = over(x - top, temperature).scatter(dim, index, zero)
    others = below.exp().scatter(dim, index, zero).sum(dim, keepdim=True)
    return below - others.log1p().masked_fill(top == torch.inf, 0.0)


def logsumexp(x: torch.Tensor, dim: int, temperature: Number = 1.0) -> torch.Tensor:
    """Return the logarithm of the sum; of a row of -inf it is constant."""
    if sizes(x)[dim] == 0:
        return torch.logsumexp(x, dim)
    lowest = x.detach().amax(dim, keepdim=True) == -torch.inf
    x = x.masked_fill(lowest, 0.0)  # before -inf - -inf, whose derivative is NaN
    top, index, zero = _largest(x, dim)
    others = over(x - top, temperature).exp().scatter(dim, index, zero).sum(dim, keepdim=True)
    lse = over(top, temperature) + others.log1p().masked_fill(top == torch.inf, 0.0)
    return lse.masked_fill(lowest, -torch.inf).squeeze(dim)


def _largest(x: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the largest logit of each row, where it is, and 0, or NaN where it is not finite."""
    top, index = x.max(dim, keepdim=True)
    return top, index, (top - top).detach()


def below_largest(x: torch.Tensor, dim: int, temperature: torch.Tensor) -> torch.Tensor:
    """Return what has the softmax of ``x / temperature``, of the dtype that is computed in."""
    x = x.to(wide_dtype(x.dtype))
    if sizes(x)[dim] == 0:
        return x
    top = x.detach().amax(dim, keepdim=True)
    return over(x - top.masked_fill(~top.isfinite(), 0), temperature)


def over(x: torch.Tensor, temperature: Number) -> torch.Tensor:
    """Return x over a number, which has no gradient where that would be infinite.

    There the probability is 0, and so should be what comes of both.
    """
    if not isinstance(temperature, torch.Tensor):
        return x / temperature
    number = temperature.detach()
    steep = x.detach() / number / number == -torch.inf
    return torch.where(steep, x / number, x.masked_fill(steep, 0) / temperature)


COMPOSED = {"softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp}
