"""softstep.torch.linear_cross_entropy beside the cross-entropy of all logits."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402
from softstep.torch import _linear_cross_entropy_kernel as kernel  # noqa: E402
from tests.torch.cases import problem, weights  # noqa: E402

F = torch.nn.functional
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


HEADS = [(2,), (3, 2)]


@pytest.mark.parametrize("positions", HEADS, ids=str)
@pytest.mark.parametrize("options", [*OPTIONS, {"ignore_index": 2, "z_loss": 0.1}], ids=str)
@pytest.mark.parametrize("kind", ["classes", "probabilities", "sparse"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_head_for_each_position(
    positions: Any, options: dict[str, Any], kind: str, with_bias: bool
) -> None:
    """The loss of logits (N, V, d1, ...), by each head in chunks, and by all logits at once."""
    tensors = {**problem((6, 9, *positions), kind)[1], **weights((6, 9, *positions))}
    if kind == "classes":
        tensors["target"][tensors["target"] == -100] = options.get("ignore_index", -100)
    results = []
    for way in ("logits", "heads", "func"):
        hidden, weight, bias = (
            leaf(torch.randn(s, dtype=torch.float64, generator=torch.Generator().manual_seed(5)))
            for s in ((6, 4), (9, *positions, 4), (9, *positions))
        )

        def f(h: Any, w: Any, b: Any, way: str = way) -> Any:
            b = b if with_bias else None
            if way != "logits":
                return st.linear_cross_entropy(h, w, linear_bias=b, **tensors, **options)
            logits = torch.einsum("nd,v...d->nv...", h, w)
            return st.cross_entropy(logits if b is None else logits + b, **tensors, **options)

        if way == "func":
            loss, pullback = torch.func.vjp(f, *(t.detach() for t in (hidden, weight, bias)))
            gradients = pullback(loss.cos())[: 2 + with_bias]
        else:
            loss = f(hidden, weight, bias)
            inputs = [hidden, weight, bias][: 2 + with_bias]
            gradients = torch.autograd.grad(loss, inputs, loss.detach().cos())
        results.append((loss, *gradients))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="PyTorch has none yet")
@pytest.mark.parametrize("positions", [(), *HEADS], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_heads_beside_torch(positions: Any, reduction: str) -> None:
    for kind in ("classes", "probabilities"):
        target = problem((6, 9, *positions), kind)[1]["target"]
        modules = [
            module(
                4, 9, out_features=positions, bias=True, dtype=torch.float64, reduction=reduction,
                label_smoothing=0.1, weight=torch.linspace(1, 2, 9, dtype=torch.float64),
            )
            for module in (st.LinearCrossEntropyLoss, torch.nn.LinearCrossEntropyLoss)
        ]  # fmt: skip
        modules[0].load_state_dict(modules[1].state_dict())
        results = []
        for module in modules:
            hidden = leaf(torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(6, 4))
            loss = module(hidden, target)
            loss.sum().backward()
            results.append((loss, hidden.grad, module.linear.weight.grad, module.linear.bias.grad))
        torch.testing.assert_close(*results)


def test_heads_over_nothing_and_refusals() -> None:
    hidden, weight = operands()[0], leaf(torch.randn(9, 2, 4, dtype=torch.float64))
    nothing = torch.full((6, 2), -100)
    for empty in ("nan", "zero"):
        loss = st.linear_cross_entropy(hidden, weight, nothing, empty=empty)
        assert loss.isnan() if empty == "nan" else loss == 0
        assert not any(g.any() for g in torch.autograd.grad(loss, (hidden, weight)))
    with pytest.raises(ValueError, match="the mean is over no rows"):
        st.linear_cross_entropy(hidden, weight, nothing, empty="raise")
    refused: list[tuple[Any, str]] = [
        ({"target": torch.zeros(6, dtype=torch.long)}, r"target: expected shape \(6, 2\)"),
        ({"target": torch.zeros(6, 2, 9)}, r"target: expected shape \(6, 9, 2\), got"),
        ({"input": hidden[0]}, r"input: expected shape \(N, 4\)"),
        ({"input": hidden[:, :3]}, r"input: expected shape \(N, 4\)"),
        ({"linear_bias": torch.zeros(9)}, r"linear_bias: expected shape \(9, 2\)"),
        ({"sample_weight": torch.ones(6)}, r"sample_weight: expected shape \(6, 2\)"),
        ({"shift": 1}, "shift: expected 0 with a head for each position"),
    ]
    for wrong, message in refused:
        given = {"input": hidden, "linear_weight": weight, "target": nothing, **wrong}
        with pytest.raises(ValueError, match=message):
            st.linear_cross_entropy(**given)


@pytest.mark.parametrize("shift", [0, True, 2, 4, 5, 7])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_shift_is_the_slices(reduction: str, shift: int) -> None:
    """The kernels, and all logits: those of PyTorch's operations."""
    length, count = 5, max(5 - shift, 0)
    for kind in ("classes", "probabilities", "sparse"):
        tensors = {**problem((2, 9, length), kind)[1], **weights((2, 9, length))}
        if kind == "probabilities":
            tensors["target"] = tensors["target"].movedim(1, -1)
        results = []
        for way in ("sliced", "shifted", "func"):
            hidden = torch.randn(
                2, length, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64
            )
            weight, given, options = operands()[1], tensors, {"shift": shift}
            if way == "sliced":
                given = {k: t if k == "weight" else t[:, shift:] for k, t in tensors.items()}
                options = {}

            def f(
                hidden: Any, way: str = way, given: Any = given, w: Any = weight, o: Any = options
            ) -> Any:
                h = hidden[:, :count] if way == "sliced" else hidden
                rows = st.linear_cross_entropy(h, w, **given, reduction=reduction, **o)
                return rows.nan_to_num().cos().sum(), rows  # of no rows the mean is NaN

            if way == "func":
                gradient, rows = torch.func.grad(f, has_aux=True)(hidden)
            else:
                hidden.requires_grad_()
                total, rows = f(hidden)
                (gradient,) = torch.autograd.grad(total, hidden)
            results.append((rows, gradient))
        for other in results[1:]:
            torch.testing.assert_close(other, results[0], equal_nan=True)


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
        # Where bfloat16 is multiplied, a logit's gradient is rounded by eps / 2 at most: a row has
        # not more than 2 of them in sum, a class not more than the 6 rows.
        largest = max(t.abs().max().item() for t in wide)
        rounded = 3 * eps * largest if dtype is torch.bfloat16 else 0.0
        torch.testing.assert_close(a.grad.float(), b.grad, rtol=eps, atol=eps / 8 + rounded)


def test_traced_calls() -> None:
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

    def g(h: Any) -> Any:
        return st.linear_cross_entropy(h, weight.view(3, 3, 4), target.view(6, 1).tile(3) % 3)

    expected = torch.autograd.grad(g(hidden), hidden)[0]
    compiled = torch.compile(g, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(hidden), hidden)[0], expected)


@pytest.mark.parametrize("heads", [False, True])
def test_no_gradient_is_computed_where_none_is_recorded(heads: bool, monkeypatch: Any) -> None:
    hidden, weight, bias = operands()
    target = torch.tensor([0, 3, -100, 8, 8, 1])
    if heads:
        weight, bias, target = weight.view(3, 3, 4), bias.view(3, 3), target.view(6, 1).tile(3) % 3
    asked, evaluate = [], kernel.evaluate

    def recorded(tensors: Any, constants: Any, names: Any, upstream: Any = None) -> Any:
        asked.append(list(names))
        return evaluate(tensors, constants, names, upstream)

    monkeypatch.setattr(kernel, "evaluate", recorded)
    loss = lambda: st.linear_cross_entropy(hidden, weight, target, linear_bias=bias)  # noqa: E731
    with torch.no_grad():
        without = loss()
    assert not without.requires_grad and not any(asked)
    asked.clear()
    assert torch.equal(loss(), without) and set(map(len, asked)) == {3}


def test_refusals() -> None:
    hidden, weight, _ = operands()
    target = torch.tensor([0, 3, 1, 8, 8, 1])
    with pytest.raises(RuntimeError, match="weight: expected a tensor that does not require"):
        st.linear_cross_entropy(hidden, weight, target, weight=torch.ones(9, requires_grad=True))
    with pytest.raises(IndexError, match="row 1 has the value 9"):
        st.linear_cross_entropy(hidden, weight, torch.tensor([0, 9, 1, 8, 8, 1]))
