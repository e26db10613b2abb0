"""Errors of softstep.torch name the arguments of its own signatures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402

X, T = torch.randn(4, 5), torch.arange(4)
H, W = torch.randn(4, 3), torch.randn(5, 3)
DOUBLE = torch.float64


@pytest.mark.parametrize("recording", [False, True])
@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((H, torch.ones(5, 4), T), {}, ValueError, r"linear_weight: .* for input of .*\(5, 4\)"),
        ((H, W[0], T), {}, ValueError, r"linear_weight: expected shape"),
        ((H, W.long(), T), {}, TypeError, r"linear_weight: expected floats"),
        ((H.long(), W, T), {}, TypeError, r"input: expected floats"),
        ((H, W.to(DOUBLE), T), {}, TypeError, r"linear_weight: .* as input's, got float64"),
        ((torch.tensor(1.0), W, T), {}, ValueError, r"input: expected shape"),
        ((H, W, T[1:]), {}, ValueError, r"target: expected shape"),
        ((H, W, T), {"linear_bias": torch.ones(4)}, ValueError, r"linear_bias: expected shape"),
        ((H, W, T), {"linear_bias": torch.ones(5, dtype=DOUBLE)}, TypeError, r"linear_bias: "),
        ((H, W, T), {"weight": torch.ones(4)}, ValueError, r"weight: expected shape \(5,\)"),
        ((H, W, T), {"sample_weight": torch.ones(5)}, ValueError, r"sample_weight: "),
        ((H, W, T), {"weight": torch.ones(5) * torch.nan}, ValueError, r"weight, sample_weight: "),
    ],
)
def test_the_linear_head(
    recording: bool, arguments: Any, options: Any, error: type[Exception], message: str
) -> None:
    with torch.set_grad_enabled(recording), pytest.raises(error, match=f"^{message}"):
        st.linear_cross_entropy(*arguments, **options)


def test_the_module_of_the_linear_head() -> None:
    head = st.LinearCrossEntropyLoss(3, 5, weight=torch.ones(4))
    with pytest.raises(ValueError, match=r"^weight: expected shape \(5,\), got \(4,\)"):
        head(H, T)


def test_log_probs() -> None:
    for arguments, bias, error, message in (
        ((H, torch.ones(5, 4), T), None, ValueError, r"weight: .* for hidden of shape"),
        ((H, W.long(), T), None, TypeError, r"weight: expected floats"),
        ((H, W, T), torch.ones(4), ValueError, r"bias: expected shape"),
        ((H, W, T.cfloat()), None, TypeError, r"tokens: expected integers"),
        ((H, W, None), None, TypeError, r"tokens: expected a tensor, got NoneType"),
        ((None, W, T), None, TypeError, r"hidden: expected a tensor, got NoneType"),
        ((H, W.to("meta"), T), None, RuntimeError, r"weight: expected all tensors on .* of hidden"),
        ((H, W, T), 1, TypeError, r"bias: expected a tensor, got int"),
    ):
        with pytest.raises(error, match=f"^{message}"):
            st.log_probs(*arguments, bias=bias)


CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "cross_entropy": (st.cross_entropy, {"input": X, "target": T}),
    "linear": (st.linear_cross_entropy, {"input": H, "linear_weight": W, "target": T}),
}


@pytest.mark.parametrize("recording", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_tensor(name: str, recording: bool) -> None:
    function, given = CALLS[name]
    more = ["weight", "sample_weight", "target_probabilities"]
    more += ["linear_bias"] if name == "linear" else []
    for argument in (*given, *more):
        wrong: list[Any] = [[1, 2, 3, 4], np.ones(4), 1]
        for value in wrong if argument in more else (*wrong, None):
            message = f"^{argument}: expected a tensor, got {type(value).__name__}$"
            with torch.set_grad_enabled(recording), pytest.raises(TypeError, match=message):
                function(**{**given, argument: value})


@pytest.mark.parametrize("name", CALLS)
def test_another_device(name: str) -> None:
    function, given = CALLS[name]
    meta = {key: value.to("meta") for key, value in given.items()}
    vector = {"weight": torch.ones(5), "sample_weight": torch.ones(4)}
    for argument in [key for key in (*given, *vector) if key != "input"]:
        value = {**given, **vector}[argument]
        with pytest.raises(RuntimeError, match=rf"^{argument}: .* input, cpu, got one on meta"):
            function(**{**given, argument: value.to("meta")})
        with pytest.raises(RuntimeError, match=rf"^{argument}: .* input, meta, got one on cpu"):
            function(**{**meta, argument: value})


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_the_softmax_family(name: str) -> None:
    f = getattr(st, name)
    for value in ([1.0], X.numpy(), None):
        with pytest.raises(TypeError, match=r"^input: expected a tensor, got"):
            f(value, 0)
    for dim in (None, "1", 1.5):
        for x in (X, X.clone().requires_grad_()):
            message = f"^dim: expected an integer, got {type(dim).__name__}$"
            with pytest.raises(TypeError, match=message):
                f(x, dim)
            with pytest.raises(TypeError, match=message):
                torch.func.vmap(lambda x, dim=dim: f(x, dim))(x)
    assert torch.equal(f(X, np.int64(1)), f(X, 1))


def test_axes_of_logsumexp() -> None:
    for dims in ((0.5,), (0, "1"), [0, None]):
        message = f"^dim: expected an integer, got {type(dims[-1]).__name__}$"
        with pytest.raises(TypeError, match=message):
            st.logsumexp(X, dims)
    assert torch.equal(st.logsumexp(X, (np.int64(0), 1)), st.logsumexp(X, (0, 1)))
