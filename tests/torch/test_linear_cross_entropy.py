"""softstep.torch.linear_cross_entropy beside the cross-entropy of all logits."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402
from tests.torch.cases import problem, weights  # noqa: E402

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": "sum", "label_smoothing": 0.2, "temperature": 2.0},
    {"reduction": "none", "z_loss": 0.1},
    {"softcap": 5.0, "denominator": 9.0},
]


def leaf(x: Any) -> Any:
    return x.detach().clone().requires_grad_()


def operands(dtype: Any = torch.float64) -> list[Any]:
    generator = torch.Generator().manual_seed(3)
    shapes = (6, 4), (9, 4), (9,)
    return [
        leaf(torch.randn(s, generator=generator, dtype=torch.float64).to(dtype)) for s in shapes
    ]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", ["classes", "probabilities", "sparse"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_values_and_gradients(options: dict[str, Any], kind: str, with_bias: bool) -> None:
    tensors = {**problem((6, 9), kind)[1], **weights((6, 9))}
    ours, theirs = operands(), operands()
    bias = ours[2] if with_bias else None
    loss = st.linear_cross_entropy(*ours[:2], linear_bias=bias, **tensors, **options)
    logits = theirs[0] @ theirs[1].t() + (theirs[2] if with_bias else 0)
    expected = st.cross_entropy(logits, **tensors, **options)
    torch.testing.assert_close(loss, expected)
    upstream = torch.rand_like(expected)
    for retain in (True, False):
        loss.backward(upstream, retain_graph=retain)
        expected.backward(upstream, retain_graph=retain)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_the_focal_loss() -> None:
    tensors = problem((6, 9), "classes")[1]
    ours, theirs = operands(), operands()
    loss = st.linear_cross_entropy(*ours[:2], linear_bias=ours[2], gamma=2.0, **tensors)
    expected = st.cross_entropy(theirs[0] @ theirs[1].t() + theirs[2], gamma=2.0, **tensors)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradcheck_of_every_subset(reduction: str) -> None:
    target = torch.tensor([0, 3, -100, 8, 8, 1])
    for wanted in range(1, 8):
        inputs = operands()
        for k, tensor in enumerate(inputs):
            tensor.requires_grad_(bool(wanted >> k & 1))

        def f(h: Any, w: Any, b: Any) -> Any:
            return st.linear_cross_entropy(h, w, target, linear_bias=b, reduction=reduction)

        assert torch.autograd.gradcheck(f, inputs)


def test_sequences_shift_and_the_module() -> None:
    hidden, tokens = torch.randn(2, 5, 4), torch.randint(0, 9, (2, 5))
    head = st.LinearCrossEntropyLoss(4, 9, bias=True, shift=True)
    logits = head.linear(hidden)[:, :-1]
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(head(hidden, tokens), expected)
    if hasattr(torch.nn, "LinearCrossEntropyLoss"):
        theirs = torch.nn.LinearCrossEntropyLoss(4, 9, bias=True)
        theirs.load_state_dict(head.state_dict())
        plain = st.LinearCrossEntropyLoss(4, 9, bias=True)
        plain.load_state_dict(theirs.state_dict())
        loss = theirs(hidden[0], tokens[0])
        torch.testing.assert_close(plain(hidden[0], tokens[0]), loss)
    with pytest.raises(TypeError, match="unknown options axis"):
        st.LinearCrossEntropyLoss(4, 9, axis=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_half_precision(dtype: Any, reduction: str) -> None:
    ours = operands(dtype)
    wide = [leaf(t.float()) for t in ours]
    target = torch.tensor([0, 3, -100, 8, 8, 1])
    for tensors in (ours, wide):
        h, w, b = tensors
        loss = st.linear_cross_entropy(h, w, target, linear_bias=b, reduction=reduction)
        assert loss.dtype == torch.float32
        loss.sum().backward()
    for a, b in zip(ours, wide, strict=True):
        assert a.grad.dtype == dtype
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(a.grad.float(), b.grad, rtol=eps, atol=eps / 8)


def test_traced_calls_take_all_logits() -> None:
    hidden, weight, bias = operands()
    target = torch.tensor([0, 3, -100, 8, 8, 1])

    def f(h: Any, shift: bool = True) -> Any:
        return st.linear_cross_entropy(
            h.view(2, 3, 4), weight, target.view(2, 3), linear_bias=bias, shift=shift, z_loss=0.1
        )

    expected = torch.autograd.grad(f(hidden), hidden)[0]
    torch.testing.assert_close(torch.func.grad(f)(hidden.detach()), expected)
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(hidden), hidden)[0], expected)


def test_refusals() -> None:
    hidden, weight, _ = operands()
    target = torch.tensor([0, 3, 1, 8, 8, 1])
    with pytest.raises(RuntimeError, match="class_weight: expected a tensor that does not require"):
        st.linear_cross_entropy(hidden, weight, target, weight=torch.ones(9, requires_grad=True))
    with pytest.raises(IndexError, match="row 1 has the value 9"):
        st.linear_cross_entropy(hidden, weight, torch.tensor([0, 9, 1, 8, 8, 1]))
