"""Tensors of every kind: views, subclasses, without dimensions, without memory, in a trace."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402
from softstep.torch._tensors import wide_dtype  # noqa: E402
from tests.torch.cases import FUNCTIONS, problem  # noqa: E402

every_function = pytest.mark.parametrize("name", FUNCTIONS)
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
X = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Subclass(torch.Tensor):
    pass


class Wrapper(torch.Tensor):
    """Values in another tensor: its own memory is empty."""

    @staticmethod
    def __new__(cls, inner: Any) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tree = torch.utils._pytree
        plain = lambda t: t.inner if isinstance(t, cls) else t  # noqa: E731
        result = func(*tree.tree_map(plain, args), **tree.tree_map(plain, kwargs or {}))
        return tree.tree_map_only(torch.Tensor, cls, result)


@pytest.mark.parametrize("dtype", DTYPES)
@every_function
def test_the_negative_bit(name: str, dtype: Any) -> None:
    f = FUNCTIONS[name][0]
    x = X.to(dtype)
    results = []
    assert torch._neg_view(x).is_neg()
    for view in (torch._neg_view(-x), torch.complex(0 * X, -X).conj().imag.to(dtype), x):
        view = view.detach().requires_grad_()
        y = f(view)
        y.backward(torch._neg_view(-torch.ones_like(y)))
        results.append((y.detach(), view.grad))
    for y, gradient in results[:2]:
        assert torch.equal(y, results[2][0]) and torch.equal(gradient, results[2][1])


def test_the_negative_bit_of_every_argument() -> None:
    logits, tensors = problem((4, 5), "probabilities")
    target, weight = tensors["target"], torch.rand(5, dtype=torch.float64)
    share = torch.rand(4, dtype=torch.float64)
    negative = lambda t: torch._neg_view(-t)  # noqa: E731
    x = (negative(logits)).requires_grad_()
    loss = st.cross_entropy(
        x * 1, negative(target), negative(weight), sample_weight=negative(share), inplace=True
    )
    expected = st.cross_entropy(logits, target, weight, sample_weight=share)
    assert torch.equal(loss, expected)
    y = logits.clone().requires_grad_()
    (negative_gradient,) = torch.autograd.grad(
        st.cross_entropy(torch._neg_view(-y), target, weight, inplace=True), y
    )
    (gradient,) = torch.autograd.grad(st.cross_entropy(y, target, weight), y)
    assert torch.equal(negative_gradient, gradient)


@every_function
def test_subclasses(name: str) -> None:
    ours, theirs = FUNCTIONS[name]
    result, expected = ours(X.as_subclass(Subclass)), theirs(X.as_subclass(Subclass))
    assert type(result) is type(expected)
    torch.testing.assert_close(result.as_subclass(torch.Tensor), expected.as_subclass(torch.Tensor))
    x, y = (Wrapper(X.clone()).requires_grad_() for _ in range(2))
    result, expected = ours(x), theirs(y)
    assert type(result) is Wrapper
    result.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(result.inner, expected.inner)
    torch.testing.assert_close(x.grad.inner, y.grad.inner)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_nested(name: str, layout: Any) -> None:
    parts = [torch.randn(2, 5), torch.randn(3, 5)]
    nested = torch.nested.nested_tensor(parts, layout=layout)
    try:
        getattr(torch, name)(nested, -1)
    except NotImplementedError:
        pytest.skip("PyTorch has none")
    result = getattr(st, name)(nested, -1)
    for part, values in zip(result.unbind(), parts, strict=True):
        torch.testing.assert_close(part, getattr(torch, name)(values, -1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_without_dimensions(name: str, dtype: Any) -> None:
    ours, theirs = getattr(st, name), getattr(torch, name)
    for dim in (0, -1):
        x, y = (torch.tensor(3.0, dtype=dtype, requires_grad=True) for _ in range(2))
        result, expected = ours(x, dim), theirs(y, dim)
        torch.testing.assert_close(result, expected)
        result.backward()
        expected.backward()
        torch.testing.assert_close(x.grad, y.grad)
    with pytest.raises(IndexError):
        ours(x, 1)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_logsumexp_over_axes(dtype: Any, keepdim: bool) -> None:
    x = torch.randn(3, 4, 5, 2).to(dtype)
    for axes in [(0,), (1, 2), (0, -1), (2, 0, 1), (3, 2, 1, 0), [1, 3]]:
        for layout in (x, x.permute(2, 0, 3, 1), x[:, ::2], x[:1].expand(2, 4, 5, 2)):
            ours, theirs = (layout.detach().requires_grad_() for _ in range(2))
            result = st.logsumexp(ours, axes, keepdim)
            wide = theirs.to(wide_dtype(dtype))
            expected = torch.logsumexp(wide, axes, keepdim)
            torch.testing.assert_close(result, expected.to(dtype))
            result.sum().backward()
            expected.sum().backward()
            torch.testing.assert_close(ours.grad, theirs.grad)
    assert st.logsumexp(torch.tensor(2.0), ()) == 2 and st.logsumexp(x, ()).shape == ()
    with pytest.raises(ValueError, match="dim: expected each axis once"):
        st.logsumexp(x, (1, -3))
    with pytest.raises(IndexError, match="dim: expected one of 4 dimensions, got 4"):
        st.logsumexp(x, (0, 4))


def test_logsumexp_of_integers() -> None:
    for x in (torch.tensor([1, 2]), torch.tensor([True, False]), torch.tensor([[1, 2]])):
        torch.testing.assert_close(st.logsumexp(x, 0), torch.logsumexp(x, 0))
    with pytest.raises(TypeError, match="input: expected floats"):
        st.logsumexp(torch.ones(2, dtype=torch.complex64), 0)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@every_function
def test_a_trace_computes(name: str) -> None:
    """torch.jit.trace: neither uninitialised memory nor the values of the example."""
    f = FUNCTIONS[name][0]
    traced = torch.jit.trace(f, (X,))
    for x in (X, -X, X + torch.arange(5)):
        torch.testing.assert_close(traced(x), f(x))
        results = []
        for g in (traced, f):
            leaf = x.clone().requires_grad_()
            g(leaf).sum().backward()
            results.append(leaf.grad)
        torch.testing.assert_close(*results)


@pytest.mark.parametrize("fake", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@every_function
def test_without_memory(name: str, dtype: Any, fake: bool) -> None:
    """Meta tensors and fake ones give the shapes and dtypes, also of the gradient."""
    f = FUNCTIONS[name][0]
    expected = f(X.to(dtype))
    if fake:
        from torch._subclasses.fake_tensor import FakeTensorMode

        mode = FakeTensorMode(allow_non_fake_inputs=True)
        x = mode.from_tensor(X.to(dtype).clone().requires_grad_())
    else:
        x = X.to(dtype).to("meta").requires_grad_()
    result = f(x)
    result.sum().backward()
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    assert (x.grad.shape, x.grad.dtype) == (x.shape, dtype)
    assert x.grad.device == result.device == x.device


def test_meta_tensors_of_every_argument() -> None:
    for kind in ("classes", "probabilities", "sparse"):
        logits, tensors = problem((4, 5, 2), kind)
        tensors["weight"] = torch.ones(5)
        expected = st.cross_entropy(logits, **tensors, reduction="none", z_loss=0.1)
        x = logits.to("meta").requires_grad_()
        meta = {k: t.to("meta") for k, t in tensors.items()}
        loss = st.cross_entropy(x, **meta, reduction="none", z_loss=0.1)
        loss.sum().backward()
        assert loss.shape == expected.shape and loss.is_meta and x.grad.is_meta
    with pytest.raises(RuntimeError, match=r"expected all tensors on the device of input, cpu"):
        st.cross_entropy(torch.ones(2, 3), torch.zeros(2, dtype=torch.long, device="meta"))
    hidden, weight = torch.ones(2, 3, device="meta"), torch.ones(5, 3, device="meta")
    target = torch.zeros(2, dtype=torch.long, device="meta")
    assert st.linear_cross_entropy(hidden, weight, target).is_meta


def test_shapes_are_checked_wherever_it_is_computed() -> None:
    """PyTorch's operations would broadcast."""
    x, long = torch.randn(4, 5), torch.long
    wrong: list[dict[str, Any]] = [
        {"target": torch.zeros(1, dtype=long)},
        {"target": torch.zeros(4, 1)},
        {"target": torch.zeros(4, dtype=long), "weight": torch.ones(1)},
        {"target": torch.zeros(4, dtype=long), "sample_weight": torch.ones(1)},
        {"target": torch.zeros(4, 2, dtype=long), "target_probabilities": torch.ones(4, 1)},
        {"target": torch.zeros(1, 2, dtype=long), "target_probabilities": torch.ones(1, 2)},
    ]
    for tensors in wrong:
        for logits in (x, x.as_subclass(Subclass)):
            with pytest.raises(ValueError, match="expected"):
                st.cross_entropy(logits, **tensors)
