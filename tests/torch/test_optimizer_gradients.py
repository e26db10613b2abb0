"""Gradients as PyTorch may give them: of another dtype, with the negative bit."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402
from tests.torch.optimizer_pairs import (  # noqa: E402
    DTYPES,
    every_dtype,
    every_rule,
    normal,
    same,
)


@pytest.mark.parametrize("given", DTYPES, ids=str)
@every_dtype
@every_rule
def test_gradients_of_another_dtype(name: str, options: Any, dtype: Any, given: Any) -> None:
    """The step of the arithmetic's dtype with the gradients in it, rounded once."""
    if not hasattr(torch.Tensor, "grad_dtype"):
        pytest.skip("this PyTorch has no grad_dtype")
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    p = torch.nn.Parameter(normal(33, dtype=dtype))
    q = torch.nn.Parameter(p.detach().to(wide))
    p.grad_dtype = given
    ours, exact = (getattr(st, name)([w], 0.1, **options) for w in (p, q))
    for step in range(4):
        p.grad = normal(33, seed=step, dtype=given)
        q.grad, kept = p.grad.to(wide), p.grad.clone()
        ours.step()
        exact.step()
        assert torch.equal(p, q.to(dtype)) and torch.equal(p.grad, kept)
        q.data.copy_(p)
    ours = getattr(st, name)([p], 0.1, max_norm=1e9, master=True, **options)
    ours.step()
    assert ours.last_step.norm == pytest.approx(p.grad.double().norm().item(), rel=1e-6)


@pytest.mark.parametrize("whose", ["gradient", "parameter"])
@every_rule
def test_the_negative_bit(name: str, options: Any, whose: str) -> None:
    """Of gradients, it is resolved; of parameters, PyTorch's own step is."""

    def negative(seed: int) -> Any:
        return torch.complex(normal(4), normal(4, seed=seed)).conj().imag

    assert negative(0).is_neg()
    results = []
    for module in (st, torch.optim):
        p = negative(9) if whose == "parameter" else normal(4)
        p = p.detach().requires_grad_()
        optimizer = getattr(module, name)([p], 0.1, **options)
        for step in range(3):
            p.grad = negative(step)
            optimizer.step()
        results.append([p])
    same(*results)


def test_the_example_of_a_float32_gradient() -> None:
    p = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    if not hasattr(p, "grad_dtype"):
        pytest.skip("this PyTorch has no grad_dtype")
    p.grad_dtype = torch.float32
    p.grad = torch.ones(1)
    st.SGD([p], 0.1).step()
    assert p.item() == 0.8984375
