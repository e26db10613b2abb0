"""softstep.torch.log_probs beside the log-softmax of all logits."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402

B, T, D, V = 3, 7, 5, 23


def operands(dtype: Any) -> tuple[Any, Any, Any]:
    generator = torch.Generator().manual_seed(4)
    shapes = (B, T, D), (V, D), (V,)
    tensors = [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]
    hidden, weight, bias = (tensor.requires_grad_() for tensor in tensors)
    return hidden, weight, bias


def tokens() -> Any:
    result = torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(5))
    result[0, 2:4] = -100
    return result


def by_formula(hidden: Any, weight: Any, tokens: Any, bias: Any, cap: float, shift: int) -> Any:
    logits = hidden.double() @ weight.double().t() + bias.double()
    if cap:
        logits = cap * torch.tanh(logits / cap)
    logs = (logits / 2).log_softmax(-1)[:, : T - shift]
    later = tokens[:, shift:]
    return logs.gather(-1, later.clamp(min=0)[..., None])[..., 0] * (later >= 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("cap", [0, 3.0])
@pytest.mark.parametrize("shift", [0, 1])
def test_values_and_gradients(dtype: Any, cap: float, shift: int) -> None:
    ours, exact = operands(dtype), [t.detach().double().requires_grad_() for t in operands(dtype)]
    result = st.log_probs(
        ours[0], ours[1], tokens(), bias=ours[2], temperature=2.0, softcap=cap or None, shift=shift
    )
    expected = by_formula(exact[0], exact[1], tokens(), exact[2], cap, shift)
    assert result.shape == (B, T - shift)
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    assert result.dtype == wide
    rtol = 100 * torch.finfo(wide).eps
    torch.testing.assert_close(result.double(), expected, rtol=rtol, atol=rtol)
    upstream = torch.linspace(-1, 1, expected.numel(), dtype=torch.float64).view_as(expected)
    result.backward(upstream.to(wide))
    expected.backward(upstream)
    rtol = 8 * torch.finfo(dtype).eps
    for a, b in zip(ours, exact, strict=True):
        assert a.grad.dtype == dtype
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=rtol, atol=rtol * b.grad.std())


def test_they_are_the_extra_result_of_the_head() -> None:
    hidden, weight, bias = operands(torch.float32)
    with torch.no_grad():
        result = st.log_probs(hidden, weight, tokens(), bias=bias)
        _, extra = st.linear_cross_entropy(
            hidden, weight, tokens(), linear_bias=bias, extra=["target_log_prob"]
        )
    torch.testing.assert_close(result, extra["target_log_prob"])
    assert not result[0, 2:4].any() and not torch.signbit(result[0, 2:4]).any()


def test_a_frozen_reference_and_a_temperature_that_is_learned() -> None:
    hidden, weight, bias = operands(torch.float64)
    assert not st.log_probs(hidden.detach(), weight.detach(), tokens()).requires_grad
    temperature = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    given = tokens()
    f = lambda t, h: st.log_probs(h, weight, given, bias=bias, temperature=t)  # noqa: E731
    assert torch.autograd.gradcheck(f, (temperature, hidden))


def test_refusals() -> None:
    hidden, weight, _ = operands(torch.float32)
    with pytest.raises(ValueError, match=r"^tokens: expected shape"):
        st.log_probs(hidden, weight, tokens()[:2])
    with pytest.raises(IndexError, match=r"^tokens: row \(0, 0\)"):
        st.log_probs(hidden, weight, tokens() + V)
