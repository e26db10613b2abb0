"""Forward mode, batched backwards and second derivatives of every function, beside PyTorch's."""

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402
from softstep.torch._tensors import wide_dtype  # noqa: E402
from tests.torch.cases import FUNCTIONS, OPTIONS, Pair, problem, weights  # noqa: E402

autograd = torch.autograd.functional
every_function = pytest.mark.parametrize("name", FUNCTIONS)
# Of PyTorch itself, whose rules for tangents are scripts, and some of whose legacy rules are loops.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit"),
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
]
X = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def batched(f: Callable[..., Any], x: Any, create_graph: bool = False) -> Any:
    """The Jacobian, by one backward of many upstream gradients."""
    x = x.clone().requires_grad_()
    y = f(x)
    upstream = torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
    return torch.autograd.grad(y, x, upstream, is_grads_batched=True, create_graph=create_graph)[0]


def forward_over_reverse(f: Callable[..., Any], x: Any) -> Any:
    """A Hessian-vector product by tangents of a backward."""
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.clone().requires_grad_(), x.cos())
        (gradient,) = torch.autograd.grad(f(dual).sin().sum(), dual, create_graph=True)
        return torch.autograd.forward_ad.unpack_dual(gradient).tangent.detach()


def of_sum(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: f(x).sin().sum()


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "batched backward": batched,
    "batched backward with a graph": lambda f, x: batched(f, x, True).detach(),
    "jacobian": lambda f, x: autograd.jacobian(f, x, vectorize=True),
    "jacobian, forward mode": lambda f, x: autograd.jacobian(
        f, x, vectorize=True, strategy="forward-mode"
    ),
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (x.cos(),)),
    "jvp by two backwards": lambda f, x: autograd.jvp(f, x, x.cos()),
    "jacfwd": lambda f, x: torch.func.jacfwd(f)(x),
    "jacrev": lambda f, x: torch.func.jacrev(f)(x),
    "hessian": lambda f, x: autograd.hessian(of_sum(f), x),
    "hessian, batched": lambda f, x: autograd.hessian(of_sum(f), x, vectorize=True),
    "hessian, forward mode": lambda f, x: autograd.hessian(
        of_sum(f), x, vectorize=True, outer_jacobian_strategy="forward-mode"
    ),
    "hessian of torch.func": lambda f, x: torch.func.hessian(of_sum(f))(x),
    "grad of grad": lambda f, x: torch.func.jacrev(torch.func.grad(of_sum(f)))(x),
    "vhp": lambda f, x: autograd.vhp(of_sum(f), x, x.cos()),
    "hvp": lambda f, x: autograd.hvp(of_sum(f), x, x.cos()),
    "forward over reverse": forward_over_reverse,
    "vmap of grad": lambda f, x: torch.vmap(torch.func.grad(of_sum(f)))(torch.stack([x, -x])),
}


@pytest.mark.parametrize("way", WAYS)
@every_function
def test_every_way_to_differentiate(name: str, way: str) -> None:
    ours, theirs = FUNCTIONS[name]
    torch.testing.assert_close(WAYS[way](ours, X), WAYS[way](theirs, X))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@every_function
def test_tangents_and_second_derivatives_in_other_dtypes(name: str, dtype: Any) -> None:
    ours, theirs = FUNCTIONS[name]
    x, wide = X.to(dtype), X.to(dtype).to(wide_dtype(dtype))
    eps = 32 * torch.finfo(dtype).eps
    value, tangent = torch.func.jvp(ours, (x,), (x.cos(),))
    expected = torch.func.jvp(theirs, (wide,), (x.cos().to(wide.dtype),))
    torch.testing.assert_close(value.to(wide.dtype), expected[0], rtol=eps, atol=eps)
    torch.testing.assert_close(tangent.to(wide.dtype), expected[1], rtol=eps, atol=eps)
    product = autograd.vhp(of_sum(ours), x, x.cos())[1]
    assert product.dtype == dtype
    expected = autograd.vhp(of_sum(theirs), wide, x.cos().to(wide.dtype))[1]
    torch.testing.assert_close(product.to(wide.dtype), expected, rtol=eps, atol=2 * eps)


@pytest.mark.parametrize("kind", ["classes", "probabilities", "sparse"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_second_derivatives_with_every_option(kind: str, options: dict[str, Any]) -> None:
    if kind != "classes" and ("gamma" in options or options.get("smoothing") == "exclude_target"):
        pytest.skip("needs class targets")
    logits, tensors = problem((3, 4), kind)
    tensors |= weights((3, 4))
    if kind == "classes":
        tensors["target"][tensors["target"] == -100] = options.get("ignore_index", -100)
    masses = "target" if kind == "probabilities" else "target_probabilities"
    soft = [tensors.pop(masses).requires_grad_()] if kind != "classes" else []

    def f(x: Any, *soft: Any) -> Any:
        given = {masses: soft[0]} if soft else {}
        return st.cross_entropy(x, **tensors, **given, **options)

    inputs = (logits.requires_grad_(), *soft)
    assert torch.autograd.gradcheck(f, inputs, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(f, inputs, check_fwd_over_rev=True)


def test_the_gradient_of_a_target_that_is_computed_from_the_logits() -> None:
    """What leads from the target to the logits is the caller's graph, not the loss's."""

    def f(loss: Any) -> Any:
        return lambda x: loss(x, x.softmax(1))

    pair: Pair = (f(st.cross_entropy), f(torch.nn.functional.cross_entropy))
    results = [autograd.hessian(g, X) for g in pair]
    torch.testing.assert_close(*results)


def test_inplace_has_no_second_derivative() -> None:
    x = X.clone().requires_grad_()
    loss = st.cross_entropy(x * 1, torch.arange(4), inplace=True)
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"Use inplace=False where create_graph=True is needed"):
        gradient.sum().backward()
