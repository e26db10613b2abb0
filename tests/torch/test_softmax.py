"""softstep.torch's softmax family: values, first and second derivatives."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import softstep as ss  # noqa: E402
import softstep.torch as st  # noqa: E402

NAMES = ["softmax", "log_softmax", "logsumexp"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_values_and_gradients(name: str, dtype: Any) -> None:
    ours, theirs = getattr(st, name), getattr(torch, name)
    for shape, dim in [((7,), 0), ((4, 33), -1), ((4, 33), 0), ((2, 5, 3), 1)]:
        x = torch.randn(shape).to(dtype).requires_grad_()
        y = x.detach().double().requires_grad_()
        result, expected = ours(x, dim, temperature=2.0), theirs(y / 2, dim)
        assert result.dtype == dtype
        eps = 16 * torch.finfo(dtype).eps
        torch.testing.assert_close(result.double(), expected, rtol=eps, atol=eps)
        upstream = torch.randn_like(result)
        result.backward(upstream)
        expected.backward(upstream.double())
        torch.testing.assert_close(x.grad.double(), y.grad, rtol=eps, atol=2 * eps)


@pytest.mark.parametrize("name", NAMES)
def test_the_bits_are_those_of_the_numpy_api(name: str) -> None:
    x = torch.randn(9, 40)
    for view in (x, x.t(), x[:, ::3], x[:1].expand(5, 40)):
        result = getattr(st, name)(view, 1)
        np.testing.assert_array_equal(result, getattr(ss, name)(view.numpy(), axis=1))


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck_twice(name: str) -> None:
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    f = lambda x: getattr(st, name)(x, 1, temperature=0.5)  # noqa: E731
    assert torch.autograd.gradcheck(f, x)
    assert torch.autograd.gradgradcheck(f, x)
    assert torch.autograd.gradcheck(f, x.detach().t().contiguous().t().requires_grad_())


def test_arguments() -> None:
    x = torch.randn(2, 3)
    assert st.logsumexp(x, -1, keepdim=True).shape == (2, 1)
    assert st.softmax(torch.ones(3, dtype=torch.long), 0, torch.float64).dtype == torch.float64
    with pytest.raises(TypeError, match="input: expected floats"):
        st.softmax(torch.ones(3, dtype=torch.long), 0)
    with pytest.raises(IndexError, match="dim: expected one of 2 dimensions, got 2"):
        st.log_softmax(x, 2)
    for name in NAMES:
        f = getattr(st, name)
        for t in (2, np.float32(2), np.array(2.0)):
            assert torch.equal(f(x, 1, temperature=t), f(x, 1, temperature=2.0))
            traced = torch.func.vmap(lambda x, f=f, t=t: f(x, 0, temperature=t))
            torch.testing.assert_close(traced(x), f(x, 1, temperature=2.0))
    with pytest.raises(ValueError, match="temperature"):
        st.softmax(x, 0, temperature=0.0)


def test_rows_of_minus_infinity() -> None:
    x = torch.full((2, 3), -torch.inf, requires_grad=True)
    for create_graph in (False, True):
        lse = st.logsumexp(x, 1)
        assert torch.equal(lse.detach(), torch.full((2,), -torch.inf))
        (gradient,) = torch.autograd.grad(lse.sum(), x, create_graph=create_graph)
        assert torch.equal(gradient.detach(), torch.zeros(2, 3))


@pytest.mark.filterwarnings("ignore:.*torch.jit")  # of PyTorch's rules for tangents
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_rows_of_minus_infinity_in_every_transform(dtype: Any, temperature: float) -> None:
    """Also where the row's own upstream gradient is 0."""
    x = torch.tensor([[-torch.inf, -torch.inf], [0.0, 1.0]], dtype=dtype)
    f = lambda x: st.logsumexp(x, -1, temperature=temperature)  # noqa: E731
    leaf = x.clone().requires_grad_()
    expected = torch.autograd.grad(f(leaf).sum(), leaf)[0]
    assert not expected.isnan().any()
    jacobian = torch.zeros(2, 2, 2, dtype=dtype)
    jacobian[[0, 1], [0, 1]] = expected
    eps = 8 * torch.finfo(dtype).eps
    for way in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(way(f)(x), jacobian, rtol=eps, atol=eps)
    for gradient in (
        torch.func.grad(lambda x: f(x).masked_fill(torch.tensor([True, False]), 0).sum())(x),
        torch.func.vmap(torch.func.grad(f))(x),
    ):
        torch.testing.assert_close(gradient, expected, rtol=eps, atol=eps)
    whole = torch.func.grad(lambda x: st.logsumexp(x, (0, 1), temperature=temperature))
    assert torch.equal(whole(x[:1]), torch.zeros(1, 2, dtype=dtype))
