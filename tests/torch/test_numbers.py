"""Numbers given as tensors: they get their gradient wherever one is asked for."""

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402

# Of PyTorch itself, whose rules for tangents are scripts.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit")
X = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
W = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
B = torch.linspace(-1, 1, 5, dtype=torch.float64)
TARGET = torch.tensor([0, 1, -100, 4])

NUMBERS = {
    "temperature": 2.0,
    "softcap": 3.0,
    "z_loss": 0.1,
    "label_smoothing": 0.2,
    "denominator": 3.0,
    "gamma": 2.0,
}
OTHERS: list[dict[str, Any]] = [{}, {"label_smoothing": 0.3}, {"softcap": 4.0, "reduction": "none"}]

Loss = Callable[..., Any]
LOSSES: dict[str, Loss] = {
    "cross_entropy": lambda x, **o: st.cross_entropy(x, TARGET, **o),
    "module": lambda x, **o: st.CrossEntropyLoss(**o)(x, TARGET),
    "linear": lambda x, **o: st.linear_cross_entropy(x, W, TARGET, linear_bias=B, **o),
}
FAMILY = {
    name: (lambda x, name=name, **o: getattr(st, name)(x, 1, **o))
    for name in ("softmax", "log_softmax", "logsumexp")
}


def given(name: str, value: float, dtype: Any = torch.float64) -> Any:
    return torch.tensor(value, dtype=dtype, requires_grad=True)


def calls(loss: str, name: str) -> list[tuple[Callable[..., Any], float]]:
    functions = {**LOSSES, **FAMILY}
    return [
        (lambda v, o=o: functions[loss](X, **{name: v}, **o), NUMBERS[name])
        for o in (OTHERS if loss in LOSSES else [{}])
        if name not in o and not (name == "denominator" and "reduction" in o)
    ]


every_number = pytest.mark.parametrize(
    ("loss", "name"),
    [(loss, name) for loss in LOSSES for name in NUMBERS] + [(f, "temperature") for f in FAMILY],
)


@every_number
def test_the_gradient_of_a_number(loss: str, name: str) -> None:
    for f, value in calls(loss, name):
        v = given(name, value)
        torch.testing.assert_close(f(v), f(value))
        assert torch.autograd.gradcheck(f, v, check_forward_ad=True, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(f, v)
        (gradient,) = torch.autograd.grad(f(v).sum(), v)
        torch.testing.assert_close(torch.func.grad(lambda v, f=f: f(v).sum())(v), gradient)
        single = given(name, [value])
        (other,) = torch.autograd.grad(f(single).sum(), single)
        torch.testing.assert_close(other[0], gradient)


@every_number
def test_under_torch_compile(loss: str, name: str) -> None:
    f, value = calls(loss, name)[0]
    v = given(name, value)
    torch._dynamo.reset()
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    results = [torch.autograd.grad(g(v).sum(), v)[0] for g in (compiled, f)]
    torch.testing.assert_close(*results)
    torch._dynamo.reset()


@every_number
def test_a_tensor_without_a_gradient_is_a_number(loss: str, name: str) -> None:
    for f, value in calls(loss, name):
        assert torch.equal(f(torch.tensor(value, dtype=torch.float64)), f(value))
        with torch.no_grad():
            assert torch.equal(f(given(name, value)), f(value))


@every_number
def test_what_is_no_number(loss: str, name: str) -> None:
    f, value = calls(loss, name)[0]
    for wrong in (given(name, [value, value]), torch.tensor([value, value])):
        with pytest.raises(TypeError, match=f"{name}: expected a number or a tensor of one"):
            f(wrong)
    for wrong in (float("nan"), -1.0):
        if name in ("z_loss",) and wrong == -1.0:
            continue
        with pytest.raises(ValueError, match=name):
            f(given(name, wrong))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_wide(dtype: Any) -> None:
    """The quotient is not rounded to the dtype of the logits."""
    x = X.to(dtype)
    t = given("temperature", 0.7, torch.float32)
    for name in FAMILY:
        result = FAMILY[name](x, temperature=t)
        assert result.dtype == dtype
        assert torch.equal(result, FAMILY[name](x.float(), temperature=t).to(dtype))
    loss = st.cross_entropy(x, TARGET, temperature=t)
    torch.testing.assert_close(loss, st.cross_entropy(x.float(), TARGET, temperature=t))


@pytest.mark.parametrize("name", NUMBERS)
def test_masked_logits_add_nothing(name: str) -> None:
    x = torch.cat([X, torch.full((4, 1), -torch.inf, dtype=X.dtype)], 1)
    v = given(name, NUMBERS[name])
    losses = (st.cross_entropy(y, TARGET, smoothing="allowed", **{name: v}) for y in (x, X))
    torch.testing.assert_close(*(torch.autograd.grad(loss, v)[0] for loss in losses))


def test_smoothing_of_nothing_has_a_gradient() -> None:
    eps = given("label_smoothing", 0.0)
    assert torch.autograd.grad(st.cross_entropy(X, TARGET, label_smoothing=eps), eps)[0] != 0


def test_a_parameter_belongs_to_its_module() -> None:
    for module, call in (
        (st.CrossEntropyLoss(temperature=torch.nn.Parameter(torch.tensor(2.0))), (X, TARGET)),
        (
            st.LinearCrossEntropyLoss(
                5, 7, dtype=torch.float64, temperature=torch.nn.Parameter(torch.tensor(2.0))
            ),
            (X, TARGET),
        ),
    ):
        assert "temperature" in dict(module.named_parameters())
        module(*call).backward()
        assert module.temperature.grad != 0
        module.load_state_dict({**module.state_dict(), "temperature": torch.tensor(3.0)})
        assert module.temperature.item() == 3
