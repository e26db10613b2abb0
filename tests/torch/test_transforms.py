"""softstep.torch under torch.compile, torch.func and the checks of torch.library."""

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402
from softstep.losses.options import Options  # noqa: E402
from tests.torch.cases import problem  # noqa: E402

FUNCTIONS = {
    "softmax": lambda x: st.softmax(x, 1, temperature=2.0),
    "log_softmax": lambda x: st.log_softmax(x, -1),
    "logsumexp": lambda x: st.logsumexp(x, 1, keepdim=True),
    "classes": lambda x: st.cross_entropy(x, torch.arange(len(x)) % 3, label_smoothing=0.1),
    "rows": lambda x: st.cross_entropy(x, torch.arange(len(x)) % 3, reduction="none"),
    "head": lambda x: st.linear_cross_entropy(
        x, HEAD.to(x.dtype), torch.arange(len(x)) % 3, softcap=5.0
    ),
    "rows of the head": lambda x: st.linear_cross_entropy(
        x, HEAD.to(x.dtype), torch.arange(len(x)) % 3, reduction="none"
    ),
}

HEAD = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")


def leaf(x: Any) -> Any:
    return x.detach().clone().requires_grad_()


@pytest.fixture
def dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", list(FUNCTIONS))
@pytest.mark.parametrize("dynamic", [False, True])
def test_compile_without_graph_breaks(dynamo: None, name: str, dynamic: bool) -> None:
    def f(x: Any) -> Any:
        return (FUNCTIONS[name](2 * x) ** 2).sum()

    # The traced forward and backward, run by PyTorch: no compiler of C++ is needed.
    compiled = torch.compile(f, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for rows in (4, 6):
        x = torch.randn(rows, 5, dtype=torch.float64)
        ours, theirs = leaf(x), leaf(x)
        loss, expected = compiled(ours), f(theirs)
        torch.testing.assert_close(loss, expected)
        loss.backward()
        expected.backward()
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_compiled_module_with_probabilities(dynamo: None) -> None:
    logits, tensors = problem((4, 5), "probabilities")
    x, q = leaf(logits), leaf(tensors["target"])
    module = st.CrossEntropyLoss(z_loss=0.1, inplace=True)
    compiled = torch.compile(lambda x, q: module(x * 1, q), fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(module(leaf(logits) * 1, q), q)[0]
    gradients = torch.autograd.grad(compiled(x, q), (x, q))
    torch.testing.assert_close(gradients[1], expected)
    expected = torch.autograd.grad(st.cross_entropy(x, q, z_loss=0.1), x)[0]
    torch.testing.assert_close(gradients[0], expected)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, q), module(x, q))


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_functional_transforms(name: str) -> None:
    """vmap, grad, and both in either order, beside a loop."""
    f = FUNCTIONS[name]

    def scalar(x: Any) -> Any:
        return (f(x) ** 2).sum()

    x = torch.randn(3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(torch.vmap(f)(x), torch.stack([f(part) for part in x]))
    torch.testing.assert_close(torch.vmap(f, 1)(x), torch.stack([f(x[:, k]) for k in range(4)]))
    expected = []
    for part in x:
        y = leaf(part)
        expected.append(torch.autograd.grad(scalar(y), y)[0])
    stacked = torch.stack(expected)
    torch.testing.assert_close(torch.func.grad(scalar)(x[0]), stacked[0])
    torch.testing.assert_close(torch.vmap(torch.func.grad(scalar))(x), stacked)
    total = torch.func.grad(lambda x: torch.vmap(scalar)(x).sum())(x)
    torch.testing.assert_close(total, stacked)
    jacobian = torch.func.jacrev(f)(x[0])
    torch.testing.assert_close(jacobian, torch.autograd.functional.jacobian(f, x[0]))


def test_vmap_over_targets_and_probabilities() -> None:
    logits, tensors = problem((4, 5), "probabilities")
    q = torch.stack([tensors["target"], tensors["target"].flip(0)])
    results = torch.vmap(lambda q: st.cross_entropy(logits, q))(q)
    torch.testing.assert_close(results, torch.stack([st.cross_entropy(logits, p) for p in q]))

    def loss(q: Any) -> Any:
        return st.cross_entropy(logits, q)

    gradients = torch.vmap(torch.func.grad(loss))(q)
    expected = [torch.autograd.grad(loss(p), p)[0] for p in (leaf(q[0]), leaf(q[1]))]
    torch.testing.assert_close(gradients, torch.stack(expected))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_compiled_transforms(dynamo: None, name: str) -> None:
    f = FUNCTIONS[name]

    def scalar(x: Any) -> Any:
        return (f(x) ** 2).sum()

    x = torch.randn(4, 5)
    batch = torch.randn(3, 4, 5)
    for transformed, given in (
        (torch.func.grad(scalar), x),
        (torch.func.hessian(scalar), x),
        (torch.vmap(torch.func.grad(scalar)), batch),
        (lambda x: torch.func.jvp(scalar, (x,), (x.cos(),)), x),
    ):
        compiled = torch.compile(transformed, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(given), transformed(given))


@pytest.mark.parametrize("kind", ["classes", "probabilities", "sparse"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_opcheck_of_the_cross_entropy(kind: str, dtype: Any) -> None:
    logits, tensors = problem((4, 5), kind, dtype)
    masses = next((t for t in tensors.values() if t.is_floating_point()), None)
    for reduction in ("mean", "none"):
        for grads in ((True, masses is not None), (False, False)):
            x = logits.clone().requires_grad_(grads[0])
            if masses is not None:
                masses.requires_grad_(grads[1])
            arguments = (x, tensors["target"], tensors.get("target_probabilities"), None, None)
            options = Options(reduction=reduction)
            checks = list(CHECKS)
            if not grads[0]:  # with gradients it would differentiate the gradients: refused
                checks.append("test_aot_dispatch_dynamic")
            torch.library.opcheck(
                torch.ops.softstep.cross_entropy.default,
                (*arguments, *options, *grads),
                test_utils=checks,
            )


@pytest.mark.parametrize("kind", ["classes", "probabilities", "sparse"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_opcheck_of_the_head(kind: str, dtype: Any) -> None:
    tensors = problem((4, 7), kind, dtype)[1]
    for wanted in ([True, True, True], [True, False, True], [False, False, False]):
        hidden, weight, bias = (
            torch.randn(shape).to(dtype).requires_grad_(grad)
            for shape, grad in zip([(4, 5), (7, 5), (7,)], wanted, strict=True)
        )
        arguments = (hidden, weight, bias, tensors["target"], tensors.get("target_probabilities"))
        checks = list(CHECKS)
        if not any(wanted):  # with gradients it would differentiate the gradients: refused
            checks.append("test_aot_dispatch_dynamic")
        torch.library.opcheck(
            torch.ops.softstep.linear_cross_entropy.default,
            (*arguments, None, None, *Options(), 0, None, wanted),
            test_utils=checks,
        )


def test_no_logits_in_the_graph_of_a_head(dynamo: None) -> None:
    classes, shapes = 50, []

    def record(graph: Any, inputs: Any) -> Any:
        for node in graph.graph.nodes:
            value = node.meta.get("example_value", node.meta.get("val"))
            values = value if isinstance(value, tuple | list) else (value,)
            shapes.extend(tuple(v.shape) for v in values if isinstance(v, torch.Tensor))
        return graph.forward

    hidden, weight = torch.randn(2, 4, 5), leaf(torch.randn(classes, 5))
    target = torch.randint(0, classes, (2, 4))
    loss = lambda h: st.linear_cross_entropy(h, weight, target, shift=1)  # noqa: E731
    hidden.requires_grad_()
    result = torch.compile(loss, fullgraph=True, backend=record)(hidden)
    torch.testing.assert_close(result, loss(hidden))
    assert shapes and not any(shape[-1:] == (classes,) for shape in shapes)
    gradients = torch.autograd.grad(result, (hidden, weight))
    torch.testing.assert_close(gradients, torch.autograd.grad(loss(hidden), (hidden, weight)))
    second = torch.autograd.grad(
        torch.compile(loss, backend=record)(hidden), hidden, create_graph=True
    )
    with pytest.raises(RuntimeError, match="linear_cross_entropy has no second derivative"):
        second[0].sum().backward()


# PyTorch 2.14 warns of what its own check looks at.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_opcheck_of_the_softmax_family(name: str) -> None:
    operator = getattr(torch.ops.softstep, name).default
    for x in (torch.randn(4, 5, requires_grad=True), torch.randn(5, 4, 3).transpose(0, 2)):
        torch.library.opcheck(operator, (x, 1, 2.0))
