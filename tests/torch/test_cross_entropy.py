"""softstep.torch.cross_entropy: values, gradients, graphs, memory."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import softstep as ss  # noqa: E402
import softstep.torch as st  # noqa: E402
from softstep.losses.options import Options  # noqa: E402
from softstep.torch import _composed  # noqa: E402
from tests.torch.cases import OPTIONS, of_numpy, problem, weights  # noqa: E402

F = torch.nn.functional
SHAPE = (6, 5)
KINDS = ["classes", "probabilities", "sparse"]


def leaf(x: Any) -> Any:
    return x.detach().clone().requires_grad_()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_values_gradients_and_the_composed_form(
    kind: str, options: dict[str, Any], weighted: bool
) -> None:
    """The kernels, autograd's finite differences, and the form for other devices agree."""
    if kind != "classes" and ("gamma" in options or options.get("smoothing") == "exclude_target"):
        pytest.skip("needs class targets")
    for shape in (SHAPE, (2, 4, 3)):
        logits, tensors = problem(shape, kind)
        tensors |= weights(shape) if weighted else {}
        if kind == "classes":
            tensors["target"][tensors["target"] == -100] = options.get("ignore_index", -100)
        x = leaf(logits)
        masses = next(k for k in ("target_probabilities", "target") if k in tensors)
        if tensors[masses].is_floating_point():
            tensors[masses] = leaf(tensors[masses])
        loss = st.cross_entropy(x, **tensors, **options)
        expected, gradient = of_numpy(x, **tensors, **options)
        np.testing.assert_array_equal(loss.detach().numpy(), expected)
        loss.sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), gradient)

        y = leaf(logits)
        names = ("target", "target_probabilities", "weight", "sample_weight")
        composed = [tensors.get(name) for name in names]
        if tensors[masses].is_floating_point():
            composed[names.index(masses)] = leaf(tensors[masses])
        other = _composed.cross_entropy(y, *composed, Options(**options))
        other.sum().backward()
        torch.testing.assert_close(other, loss)
        torch.testing.assert_close(y.grad, x.grad)
        if tensors[masses].is_floating_point():
            torch.testing.assert_close(composed[names.index(masses)].grad, tensors[masses].grad)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck(kind: str, reduction: str) -> None:
    logits, tensors = problem((3, 4, 2), kind)
    tensors |= weights((3, 4, 2))
    masses = "target" if kind == "probabilities" else "target_probabilities"
    inputs = [leaf(logits)] + ([leaf(tensors.pop(masses))] if kind != "classes" else [])

    def f(x: Any, *soft: Any) -> Any:
        given = {masses: soft[0]} if soft else {}
        return st.cross_entropy(
            x, **tensors, **given, reduction=reduction, z_loss=0.1, label_smoothing=0.1, softcap=4.0
        )

    assert torch.autograd.gradcheck(f, inputs)
    for wanted in range(len(inputs)):  # subsets
        inputs[wanted].requires_grad_(False)
        assert len(inputs) == 1 or torch.autograd.gradcheck(f, inputs)
        inputs[wanted].requires_grad_(True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_beside_torch(dtype: Any, reduction: str) -> None:
    for shape in [(7, 3), (5, 129), (4, 6, 3), (2, 5, 3, 4)]:
        for kind in ("classes", "probabilities"):
            logits, tensors = problem(shape, kind, dtype)
            ours, theirs = leaf(logits), leaf(logits)
            options = {"reduction": reduction, "label_smoothing": 0.2}
            weight = weights(shape, dtype)["weight"]
            loss = st.cross_entropy(ours, tensors["target"], weight, **options)
            expected = F.cross_entropy(theirs, tensors["target"], weight, **options)
            torch.testing.assert_close(loss, expected)
            upstream = torch.rand_like(expected)
            loss.backward(upstream)
            expected.backward(upstream)
            torch.testing.assert_close(ours.grad, theirs.grad)


def test_unbatched_legacy_arguments_and_the_module() -> None:
    x, t = leaf(torch.randn(5)), torch.tensor(3)
    for call in (st.cross_entropy, F.cross_entropy):
        x.grad = None
        call(x, t).backward()
        result = (call(x, t).detach(), x.grad) if call is st.cross_entropy else result  # noqa: F821
    torch.testing.assert_close(result, (F.cross_entropy(x, t).detach(), x.grad))
    logits, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 2], dtype=torch.uint8)
    with pytest.warns(UserWarning, match="reduction='sum'"):
        loss = st.cross_entropy(logits, targets, None, False)
    torch.testing.assert_close(loss, F.cross_entropy(logits, targets, reduction="sum"))
    weight = torch.tensor([1.0, 2.0, 3.0])
    module = st.CrossEntropyLoss(weight, label_smoothing=0.1, z_loss=0.01)
    expected = st.cross_entropy(logits, targets, weight, label_smoothing=0.1, z_loss=0.01)
    assert torch.equal(module(logits, targets), expected)
    assert "weight" in module.state_dict()
    with pytest.raises(TypeError, match="unknown options sharpness"):
        st.CrossEntropyLoss(sharpness=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_one_row_without_a_batch(dtype: Any, requires_grad: bool) -> None:
    x = torch.tensor([1.0, 2.0, 4.0], dtype=dtype, requires_grad=requires_grad)
    expected = st.cross_entropy(x[None], torch.tensor([1]))
    for reduction in ("none", "sum", "mean"):
        loss = st.cross_entropy(x, torch.tensor(1), reduction=reduction)
        assert loss.shape == () and loss.dtype == expected.dtype
        assert loss.item() == expected.item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: Any) -> None:
    """float32 loss, one rounding of the gradient; without ml_dtypes' type anywhere."""
    logits, tensors = problem((9, 40), "classes", dtype)
    x, wide = leaf(logits), leaf(logits.float())
    weight = torch.rand(40).to(dtype)
    loss = st.cross_entropy(x, tensors["target"], weight)
    expected = st.cross_entropy(wide, tensors["target"], weight.float())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(x.grad, wide.grad.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-9)
    with torch.autocast("cpu", torch.bfloat16):
        assert st.cross_entropy(x, tensors["target"]).dtype == torch.float32
    soft = leaf(problem((9, 40), "probabilities", dtype)[1]["target"])
    st.cross_entropy(x, soft).backward()
    assert soft.grad.dtype == dtype and soft.grad.isfinite().all()


def test_a_loss_scale_reaches_float16() -> None:
    """The gradient must not be rounded to 0 before the scale comes with the backward."""
    x = leaf(torch.zeros(2000, 1000, dtype=torch.float16))
    scale = 2.0**16
    (st.cross_entropy(x, torch.zeros(2000, dtype=torch.long)) * scale).backward()
    torch.testing.assert_close(x.grad[0, 1].item(), scale / 2000 / 1000, rtol=1e-3, atol=0)


def test_refusals() -> None:
    x, t = leaf(torch.randn(4, 3)), torch.tensor([0, 1, 2, 2])
    with pytest.raises(RuntimeError, match="weight: expected a tensor that does not require grad"):
        st.cross_entropy(x, t, torch.ones(3, requires_grad=True))
    with pytest.raises(IndexError, match=r"row 1 has the value 3, expected a class in \[0, 3\)"):
        st.cross_entropy(x, torch.tensor([0, 3, 1, 1]))
    with pytest.raises(TypeError, match=r"input: expected float logits .* got torch.int64"):
        st.cross_entropy(t, t)
    with pytest.raises(ValueError, match=r"target: expected shape \(4,\), got \(2,\)"):
        st.cross_entropy(x, t[:2])
    with pytest.raises(ValueError, match="reduction: expected"):
        st.cross_entropy(x, t, reduction="average")


def test_ignored_rows_and_empty_means() -> None:
    x = leaf(torch.tensor([[float("nan"), 1.0], [0.0, 0.0]]))
    t = torch.tensor([-100, 1])
    loss = st.cross_entropy(x, t)
    loss.backward()
    assert torch.equal(x.grad, torch.tensor([[0.0, 0.0], [0.5, -0.5]]))
    y = leaf(x)
    _composed.cross_entropy(y, t, None, None, None, Options()).backward()
    assert torch.equal(y.grad, x.grad)
    for call in (
        lambda o: st.cross_entropy(x, torch.tensor([-100, -100]), **o),
        lambda o: _composed.cross_entropy(
            x, torch.tensor([-100, -100]), None, None, None, Options(**o)
        ),
    ):
        assert call({}).isnan() and call({"empty": "zero"}) == 0
        with pytest.raises(ValueError, match="the mean is over no rows"):
            call({"empty": "raise"})


def test_equal_bits_for_any_number_of_threads() -> None:
    x, t = leaf(torch.randn(300, 1000)), torch.randint(0, 1000, (300,))
    results = []
    for n in (1, 2, 3, 7):
        with ss.threads(n):
            loss = st.cross_entropy(x, t)
            results.append((loss.item(), torch.autograd.grad(loss, x)[0]))
    for loss, gradient in results[1:]:
        assert loss == results[0][0] and torch.equal(gradient, results[0][1])
