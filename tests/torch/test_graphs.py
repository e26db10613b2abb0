"""softstep.torch.cross_entropy in a graph: upstream gradients, layouts, in place."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402
from tests.torch.cases import of_numpy, problem  # noqa: E402

F = torch.nn.functional
SHAPE = (6, 5)


def leaf(x: Any) -> Any:
    return x.detach().clone().requires_grad_()


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_upstream_gradients_and_retained_graphs(inplace: bool, reduction: str) -> None:
    logits, tensors = problem(SHAPE, "classes")
    x = leaf(logits)
    options = {**tensors, "reduction": reduction}
    expected = of_numpy(logits, **{**options})[1]
    for factor in (1.0, 3.0, -0.5):
        loss = st.cross_entropy(x * 1, **options, inplace=inplace).sum() * factor
        for times in (1, 2, 3):
            loss.backward(retain_graph=times < 3)
            np.testing.assert_allclose(x.grad, factor * times * expected, rtol=1e-14)
        x.grad = None
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_layouts_are_read_in_place() -> None:
    logits, tensors = problem((6, 5), "classes")
    transposed = leaf(logits.t().contiguous()).t()
    wide = torch.zeros(6, 9, dtype=torch.float64)
    wide[:, 2:7] = logits
    for x in (transposed, wide[:, 2:7].requires_grad_(), leaf(logits)[:, :]):
        (gradient,) = torch.autograd.grad(st.cross_entropy(x, **tensors), x)
        np.testing.assert_array_equal(gradient, of_numpy(logits, **tensors)[1])
    row = leaf(torch.randn(1, 5))
    x = row.expand(6, 5)
    other = leaf(row)
    st.cross_entropy(x, **tensors).backward()
    F.cross_entropy(other.expand(6, 5), **tensors).backward()
    torch.testing.assert_close(row.grad, other.grad)


def test_inplace_overwrites_the_logits_and_says_so() -> None:
    x, w = torch.randn(6, 4), leaf(torch.randn(4, 300))
    target = torch.arange(6)
    expected = torch.autograd.grad(F.cross_entropy(x @ w, target), w)[0]
    logits = x @ w
    version, memory = logits._version, logits.data_ptr()
    loss = st.cross_entropy(logits, target, inplace=True)
    assert logits._version > version
    assert logits.detach().sum(1).abs().max() < 1e-5 and logits.data_ptr() == memory
    torch.testing.assert_close(torch.autograd.grad(loss, w)[0], expected)
    # An operation that saved the logits for its backward:
    logits = x @ w
    other = logits.exp().sum() + logits.square().sum()
    loss = st.cross_entropy(logits, target, inplace=True) + other
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    # A change of the gradient before it is used:
    logits = x @ w
    loss = st.cross_entropy(logits, target, inplace=True)
    logits.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    for base in (w.t(), w):
        with pytest.raises(RuntimeError, match="inplace: expected logits that were computed"):
            st.cross_entropy(base, torch.zeros(len(base), dtype=torch.long), inplace=True)
    kept = x.clone()
    st.cross_entropy(x, torch.zeros(6, dtype=torch.long), inplace=True)  # no gradient: no effect
    assert torch.equal(x, kept)
