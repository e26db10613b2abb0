"""The softmax family composed of PyTorch's operations, with the kernels' digits near certainty.

For tensors that are not on the CPU, and for whatever only operations of PyTorch go through: forward
mode, torch.func, torch.jit, subclasses.
"""

import torch

from softstep.torch._tensors import sizes


def softmax(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Return the probabilities: that of the largest logit is 1 / (1 + the others)."""
    if sizes(x)[dim] == 0:
        return torch.softmax(x, dim)
    top, index = x.max(dim, keepdim=True)
    # Of a row whose largest is infinite: NaN.
    below = (x - top).scatter(dim, index, 0.0) + (top - top).detach()
    e = below.exp()
    return e / (1 + e.scatter(dim, index, 0.0).sum(dim, keepdim=True))


def log_softmax(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Return their logarithms: of the largest -log1p(the others), which is not 0."""
    if sizes(x)[dim] == 0:
        return torch.log_softmax(x, dim)
    top, index = x.max(dim, keepdim=True)
    # Of a row whose largest is infinite: NaN.
    below = (x - top).scatter(dim, index, 0.0) + (top - top).detach()
    return below - _log1p_of_others(below, index, dim)


def logsumexp(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Return the logarithm of the sum; of a row of -inf it is constant."""
    if sizes(x)[dim] == 0:
        return torch.logsumexp(x, dim)
    top, index = x.max(dim, keepdim=True)
    infinite = top.abs() == torch.inf
    below = x - top.masked_fill(infinite, 0.0)
    lse = top + _log1p_of_others(below, index, dim)
    return lse.masked_fill(top == -torch.inf, -torch.inf).squeeze(dim)


def _log1p_of_others(below: torch.Tensor, index: torch.Tensor, dim: int) -> torch.Tensor:
    return below.exp().scatter(dim, index, 0.0).sum(dim, keepdim=True).log1p()


COMPOSED = {"softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp}
