"""What the tests of the PyTorch front end share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import softstep as ss
import softstep.torch as st

# Every option of the cross-entropy that is no tensor, at least once; sparse and soft targets apart.
OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": "sum"},
    {"reduction": "none"},
    {"label_smoothing": 0.3},
    {"label_smoothing": 0.3, "smoothing": "exclude_target"},
    {"gamma": 2.0, "label_smoothing": 0.1},
    {"label_smoothing": 0.3, "smoothing": "allowed"},
    {"temperature": 2.0, "softcap": 5.0},
    {"z_loss": 0.1},
    {"z_loss": 0.1, "reduction": "none", "label_smoothing": 0.1},
    {"denominator": 12.5},
    {"ignore_index": 2},
]


def problem(
    shape: tuple[int, ...], kind: str, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Logits and the arguments that are tensors."""
    generator = torch.Generator().manual_seed(sum(shape))
    normal = lambda *size: torch.randn(*size, generator=generator, dtype=torch.float64)  # noqa: E731
    rows = (shape[0], *shape[2:])
    logits = (3 * normal(*shape)).to(dtype)
    classes = torch.randint(0, shape[1], rows, generator=generator)
    if kind == "classes":
        classes.view(-1)[::3] = -100
        return logits, {"target": classes}
    if kind == "probabilities":
        return logits, {"target": normal(*shape).softmax(1).to(dtype)}
    points = torch.randint(0, shape[1], (*rows, 3), generator=generator)
    masses = normal(*rows, 3).softmax(-1).to(dtype)
    return logits, {"target": points, "target_probabilities": masses}


def weights(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(7)
    rows = (shape[0], *shape[2:])
    sample_weight = torch.rand(rows, generator=generator, dtype=dtype) + 0.5
    sample_weight.view(-1)[1] = 0
    return {
        "weight": torch.rand(shape[1], generator=generator, dtype=dtype) + 0.5,
        "sample_weight": sample_weight,
    }


def of_numpy(logits: torch.Tensor, **arguments: Any) -> tuple[Any, Any]:
    """The same call of the NumPy API: (loss, gradient)."""
    arrays = {
        k: v.detach().numpy() if isinstance(v, torch.Tensor) else v for k, v in arguments.items()
    }
    loss, gradient = ss.cross_entropy_with_grad(
        logits.detach().numpy(), arrays.pop("target"), axis=1, **arrays
    )
    return np.asarray(loss), gradient


Pair = tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]


def _pairs() -> dict[str, Pair]:
    functional = torch.nn.functional
    target = torch.tensor([0, 1, -100, 4])
    soft = torch.linspace(0, 1, 20, dtype=torch.float64).reshape(4, 5)
    weight = torch.linspace(1, 2, 5, dtype=torch.float64)

    def like(tensor: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        dtype = x.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(x.device, dtype)

    head = torch.linspace(-1, 1, 30, dtype=torch.float64).sin().reshape(6, 5)
    pairs: dict[str, Pair] = {
        "softmax": (lambda x: st.softmax(x, 1, temperature=2.0), lambda x: (x / 2).softmax(1)),
        "log_softmax": (lambda x: st.log_softmax(x, 0), lambda x: x.log_softmax(0)),
        "logsumexp": (lambda x: st.logsumexp(x, -1), lambda x: x.logsumexp(-1)),
        "logsumexp of both axes": (
            lambda x: st.logsumexp(x, (0, 1), True),
            lambda x: x.logsumexp((0, 1), True),
        ),
        "soft targets": (
            lambda x: st.cross_entropy(x, like(soft, x)),
            lambda x: functional.cross_entropy(x, like(soft, x)),
        ),
    }
    for reduction in ("mean", "sum", "none"):
        loss: dict[str, Any] = {"reduction": reduction, "label_smoothing": 0.1}
        pairs[f"cross_entropy, {reduction}"] = (
            lambda x, o=loss: st.cross_entropy(x, like(target, x), like(weight, x), **o),
            lambda x, o=loss: functional.cross_entropy(x, like(target, x), like(weight, x), **o),
        )
        pairs[f"linear_cross_entropy, {reduction}"] = (
            lambda x, o=loss: st.linear_cross_entropy(x, like(head, x), like(target, x), **o),
            lambda x, o=loss: functional.cross_entropy(x @ like(head, x).t(), like(target, x), **o),
        )
    return pairs


FUNCTIONS = _pairs()
"""Functions of a matrix of 4 x 5: ours, and what PyTorch has for it."""
