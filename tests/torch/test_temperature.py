"""A temperature that requires grad: the digits of a number, and its gradient beside float64."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402
from tests import reference as ref  # noqa: E402
from tests.conformance.exact import exact  # noqa: E402

# Of PyTorch itself, whose rules for tangents are scripts.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit")
TARGET = np.array([1, 4, -100, 0])
Loss = Callable[[Any, Any], Any]
FAMILY = ("softmax", "log_softmax", "logsumexp")
OPTIONS: dict[str, dict[str, Any]] = {
    "mean": {},
    "rows": {"reduction": "none", "label_smoothing": 0.25, "smoothing": "allowed"},
    "z-loss": {"z_loss": 2.0**-6, "reduction": "sum"},
    "softcap": {"softcap": 8.0},
    "focal": {"gamma": 2.0, "reduction": "sum"},
}


def of(name: str) -> Loss:
    if name in FAMILY:
        return lambda x, t: getattr(st, name)(x, 1, temperature=t)
    target = torch.from_numpy(TARGET)
    return lambda x, t: st.cross_entropy(x, target, temperature=t, **OPTIONS[name])


LOSSES = {name: of(name) for name in (*FAMILY, *OPTIONS)}
LIMITS = {"z-loss": 1e9, "softcap": 50.0}  # its square overflows; its slope is 0
every_loss = pytest.mark.parametrize("loss", LOSSES)


def logits(offset: float, scale: float) -> Any:
    """Rows far from 0, with classes that are masked."""
    x = offset + scale * np.array([[0, 3, -1, 2, 1], [4, 0, 1, -2, 3], [0] * 5, [1, -1, 0, 2, -3]])
    x[1, 2], x[3, 4] = -np.inf, -np.inf
    return x.astype(np.float32)


CASES = [(0.0, 1.0, 2.0), (1000.0, 1.0, 0.25), (30000.0, 0.001, 1e-4), (0.0, 1e30, 1e-3)]
CASES += [(5.0, 2.0, 1e3), (0.0, 1e-25, 1e-25)]


def pulled(f: Callable[[Any], Any], dy: Any) -> Callable[[Any], Any]:
    """The number whose gradient is what `dy` upstream gives."""
    return lambda t: (f(t) * dy).nan_to_num(neginf=0.0).sum()  # 0 * -inf


def by_autograd(f: Any, t: float, **options: Any) -> Any:
    v = torch.tensor(t, requires_grad=True)
    return torch.autograd.grad(f(v), v, **options)[0].detach()


WAYS: dict[str, Callable[[Any, float], Any]] = {
    "backward": by_autograd,
    "backward with a graph": lambda f, t: by_autograd(f, t, create_graph=True),
    "torch.func": lambda f, t: torch.func.grad(f)(torch.tensor(t)),
    "vmap": lambda f, t: torch.vmap(torch.func.grad(f))(torch.tensor([2 * t, t]))[1],
    "tangent": lambda f, t: torch.func.jvp(f, (torch.tensor(t),), (torch.ones(()),))[1],
}


def expected_of(loss: str, x: Any, t: float, dy: Any) -> tuple[float, float]:
    """The gradient by the temperature, and what its terms add up to."""
    terms = of_rows(loss, x, t, dy) if loss in OPTIONS else of_family(loss, x, t, dy)
    return -float(terms.sum()), float(np.abs(terms).sum())


def of_rows(loss: str, x: Any, t: float, dy: Any) -> Any:
    options = dict(OPTIONS[loss])
    dy = np.broadcast_to(dy / 3 if options.pop("reduction", "mean") == "mean" else dy, 4)
    options.pop("smoothing", None)
    terms = []
    for row, target, upstream in zip(x, TARGET, dy, strict=True):
        allowed = np.isfinite(row)
        if target >= 0:
            mass = (np.arange(5) == target)[allowed].astype(float)
            row = row[allowed].astype(np.float64)
            slope = 1.0
            gradient = exact(row, mass, temperature=t, **options)[1]
            if "softcap" in options:
                row = options["softcap"] * np.tanh(row / options["softcap"])
                slope = 1 - (row / options["softcap"]) ** 2
            u = row if "z_loss" in options else row - row.max()
            terms.append(upstream * gradient / slope * u / t)
    return np.concatenate(terms)


def of_family(loss: str, x: Any, t: float, dy: Any) -> Any:
    u = x.astype(np.float64) - shift(x)
    p = ref.softmax(u / t)
    if loss == "logsumexp":
        pull, u = dy[:, None] * p, x
    elif loss == "softmax":
        pull = ref.softmax_backward(dy, p)
    else:
        pull = dy - p * dy.sum(axis=1, keepdims=True)
    return pull * np.where(np.isfinite(u), u, 0) / t**2


def shift(x: Any) -> Any:
    return x.max(axis=1, keepdims=True)


@pytest.mark.parametrize("way", WAYS)
@every_loss
def test_the_gradient(loss: str, way: str) -> None:
    for offset, scale, number in CASES:
        x, t = logits(offset, scale), float(np.float32(number))
        if np.abs(x[np.isfinite(x)]).max() > LIMITS.get(loss, np.inf):
            continue
        y = LOSSES[loss](torch.from_numpy(x), t)
        dy = torch.linspace(-1, 2, y.numel()).reshape(y.shape).masked_fill(y.isinf(), 0)
        f = pulled(partial(LOSSES[loss], torch.from_numpy(x)), dy)
        found = WAYS[way](f, t).item()
        expected, size = expected_of(loss, x, t, dy.double().numpy())
        reach = np.abs(np.where(np.isfinite(x), x - shift(x), 0)).clip(max=100 * t).max() / t
        bound = 16 * np.finfo(np.float32).eps * (1 + reach) * size
        assert abs(found - expected) <= bound + 1e-44, (offset, scale, number)


@pytest.mark.parametrize("loss", ["softmax", "logsumexp", "mean", "z-loss"])
def test_under_torch_compile(loss: str) -> None:
    x, t = torch.from_numpy(logits(1000.0, 1.0)), torch.tensor(0.25, requires_grad=True)
    f = lambda t: LOSSES[loss](x, t).cos().sum()  # noqa: E731
    torch._dynamo.reset()
    graph = torch.compile(f, fullgraph=True, backend="aot_eager")
    (found,), (expected,) = (torch.autograd.grad(g(t), t) for g in (graph, f))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    torch._dynamo.reset()


@every_loss
def test_the_value_is_that_of_the_number(loss: str) -> None:
    """Also that of the logits' gradient."""
    for offset, scale, number in CASES:
        x = torch.from_numpy(logits(offset, scale)).requires_grad_()
        t = torch.tensor(number, requires_grad=True)
        pairs = []
        for value in (t, t.item()):
            y = LOSSES[loss](x, value)
            dy = torch.linspace(-1, 2, y.numel()).reshape(y.shape)
            pairs.append((y.detach(), torch.autograd.grad(y, x, dy)[0]))
        assert torch.equal(pairs[0][0], pairs[1][0])
        torch.testing.assert_close(*(p[1] for p in pairs), rtol=1e-6, atol=0, equal_nan=True)


def test_in_place() -> None:
    x = torch.from_numpy(logits(0.0, 1.0))
    t = torch.tensor(2.0, requires_grad=True)
    expected = torch.autograd.grad(LOSSES["mean"](x, t), t)[0]
    y = x.clone().requires_grad_() * 1
    loss = st.cross_entropy(y, torch.from_numpy(TARGET), temperature=t, inplace=True)
    (found,) = torch.autograd.grad(loss, t, create_graph=True)
    assert torch.equal(found, expected) and torch.equal(
        y.argmin(1)[[0, 1, 3]], torch.tensor([1, 4, 0])
    )
    with pytest.raises(RuntimeError, match="Use inplace=False"):
        found.backward()
