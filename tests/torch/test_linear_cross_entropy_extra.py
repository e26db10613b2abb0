"""Extra results of softstep.torch.linear_cross_entropy: by chunks and through all logits."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402

NAMES = ["lse", "entropy", "argmax", "correct", "target_log_prob"]


def expected(logits: Any, target: Any, temperature: float = 1.0, softcap: Any = None) -> Any:
    z = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    p = torch.distributions.Categorical(logits=z / temperature)
    kept = target != -100
    found = {
        "lse": torch.logsumexp(z / temperature, -1),
        "entropy": p.entropy(),
        "argmax": logits.argmax(-1),
        "target_log_prob": p.log_prob(torch.where(kept, target, 0)),
    }
    results = {name: torch.where(kept, value, 0) for name, value in found.items()}
    results["argmax"] = torch.where(kept, found["argmax"], -1)
    results["correct"] = (kept & (found["argmax"] == target)).sum()
    return results


def operands(dtype: Any = torch.float64) -> tuple[Any, Any, Any]:
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(3, 7, 5, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(20, 5, generator=generator, dtype=torch.float64).to(dtype)
    target = torch.randint(0, 20, (3, 7), generator=generator)
    target[1, 3] = -100
    return hidden.requires_grad_(), weight.requires_grad_(), target


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("through", ["chunks", "all logits"])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.5, "softcap": 3.0}], ids=str)
def test_values(through: str, reduction: str, options: dict[str, Any]) -> None:
    hidden, weight, target = operands()
    given = dict(options)
    if through == "all logits":  # a gradient by the z-loss's factor is found there
        given["z_loss"] = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    loss, results = st.linear_cross_entropy(
        hidden, weight, target, reduction=reduction, extra=NAMES, **given
    )
    exact = expected((hidden @ weight.T).detach(), target, **options)
    assert list(results) == NAMES
    for name, value in exact.items():
        assert not results[name].requires_grad
        torch.testing.assert_close(results[name], value, msg=name)
    plain = st.linear_cross_entropy(hidden, weight, target, reduction=reduction, **given)
    torch.testing.assert_close(loss, plain)
    (with_extra,) = torch.autograd.grad(loss.sum(), hidden)
    (without,) = torch.autograd.grad(plain.sum(), hidden)
    torch.testing.assert_close(with_extra, without)
    if reduction == "none" and not options:
        torch.testing.assert_close(-loss.detach(), results["target_log_prob"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtypes_and_shift(dtype: Any) -> None:
    hidden, weight, target = operands(dtype)
    _, results = st.linear_cross_entropy(hidden, weight, target, shift=1, extra=NAMES)
    logits = hidden[:, :-1].detach().double() @ weight.detach().double().T
    for name, value in expected(logits, target[:, 1:]).items():
        floats = value.is_floating_point()
        assert results[name].dtype == (torch.float32 if floats else torch.int64), name
        torch.testing.assert_close(results[name].to(value.dtype), value, rtol=1e-5, atol=1e-5)


def test_what_is_refused() -> None:
    hidden, weight, target = operands()
    for name in ("dtemperature", "z_loss", "dweight"):
        with pytest.raises(ValueError, match="extra: expected names among lse, entropy, argmax"):
            st.linear_cross_entropy(hidden, weight, target, extra=[name])
    masses = torch.full((3, 7, 20), 0.05, dtype=torch.float64)
    with pytest.raises(ValueError, match="extra: 'correct' needs class targets"):
        st.linear_cross_entropy(hidden, weight, masses, extra=["correct"])
    with pytest.raises(ValueError, match="extra: expected none with a head"):
        st.linear_cross_entropy(
            hidden[0], torch.zeros(20, 2, 5, dtype=torch.float64), target[:, :2].reshape(-1)[:14]
            .reshape(-1, 2).repeat(4, 1)[:7], extra=["lse"],
        )  # fmt: skip
    _, results = st.linear_cross_entropy(hidden, weight, masses, extra=["lse", "entropy"])
    assert results["lse"].shape == (3, 7)
