"""Results are where the arguments are, whatever torch.set_default_device says."""

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402

X = torch.linspace(-1, 1, 12).reshape(4, 3)
W = torch.linspace(0, 1, 15).reshape(5, 3)
TARGET = torch.tensor([0, 2, 1, 0])
Call = Callable[[Any, Any], Any]
CALLS: dict[str, Call] = {
    "softmax": lambda x, _: st.softmax(x, -1),
    "log_softmax": lambda x, _: st.log_softmax(x, 0),
    "logsumexp": lambda x, _: st.logsumexp(x, -1),
    **{
        f"cross_entropy {reduction}": lambda x, _, r=reduction: st.cross_entropy(
            x, TARGET, reduction=r, label_smoothing=0.1, z_loss=0.01
        )
        for reduction in ("mean", "sum", "none")
    },
    "probabilities": lambda x, _: st.cross_entropy(x, torch.softmax(x.detach(), -1)),
    "module": lambda x, _: st.CrossEntropyLoss()(x, TARGET),
    **{
        f"linear {reduction}": lambda x, w, r=reduction: st.linear_cross_entropy(
            x, w, TARGET, reduction=r
        )
        for reduction in ("mean", "sum", "none")
    },
}


def results(call: Call, dtype: Any, create_graph: bool) -> list[Any]:
    x, w = (t.to(dtype).requires_grad_() for t in (X, W))
    value = call(x, w)
    grads = torch.autograd.grad(
        value, [x, w], torch.ones_like(value), allow_unused=True, create_graph=create_graph
    )
    return [t.detach() for t in (value, *grads) if t is not None]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_results_are_on_the_cpu(name: str, dtype: Any, create_graph: bool) -> None:
    expected = results(CALLS[name], dtype, create_graph)
    torch.set_default_device("meta")
    try:
        found = results(CALLS[name], dtype, create_graph)
    finally:
        torch.set_default_device(None)
    for value, right in zip(found, expected, strict=True):
        assert value.device.type == "cpu" and torch.equal(value, right)
