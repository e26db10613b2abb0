"""Rows so few and long that threads share each of them, a segment of the classes each."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.bounds import softmax_family as bound
from tests.support.cases import assert_within
from tests.support.cross_entropy_check import check

CLASSES = 2**18 + 77  # the last segment is 77 classes long
NAMES = ["softmax", "log_softmax", "logsumexp"]


def row(rng: np.random.Generator, rows: int = 1, dtype: Any = np.float32) -> np.ndarray:
    logits = (4 * rng.standard_normal((rows, rows * CLASSES))).astype(dtype)
    logits[:, 40_000] = 12  # the second segment has the largest
    return logits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_softmax_family(isa: str, rng: np.random.Generator, name: str, dtype: Any) -> None:
    for rows, temperature in [(1, 1.0), (2, 2.5)]:
        x = row(rng, rows, dtype)
        exact = getattr(ref, name)(x, temperature=temperature)
        limit = bound(name, x, temperature=temperature)
        assert_within(getattr(ss, name)(x, temperature=temperature), exact, limit)
    if name != "logsumexp":
        in_place = x.copy()
        getattr(ss, name)(in_place, temperature=temperature, out=in_place)
        assert_within(in_place, exact, limit)


@pytest.mark.parametrize(
    "options",
    [
        {"reduction": "none"},
        {"label_smoothing": 0.1},
        {"label_smoothing": 0.1, "smoothing": "exclude_target", "softcap": 20.0},
        {"gamma": 2.0, "label_smoothing": 0.1},
    ],
    ids="-".join,
)
def test_cross_entropy(isa: str, rng: np.random.Generator, options: dict[str, Any]) -> None:
    check(row(rng), np.array([40_000]), ("lse", "target_log_prob"), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.7, "z_loss": 1e-3, "reduction": "sum"},
        {"label_smoothing": 0.2, "smoothing": "allowed"},
    ],
    ids="-".join,
)
def test_segments_without_a_class(
    isa: str, rng: np.random.Generator, options: dict[str, Any]
) -> None:
    x = row(rng, 2)
    x[0, 100_000:200_000] = -np.inf
    check(x, np.array([2 * CLASSES - 1, -100]), ("lse",), **options)


def test_other_targets(isa: str, rng: np.random.Generator) -> None:
    x = row(rng)
    weight = rng.random(CLASSES, np.float32)
    check(x, rng.dirichlet(np.ones(CLASSES), 1), ("lse",), weight=weight)
    points = np.array([[5, 40_000, CLASSES - 1, 5]])
    check(x, points, ("lse",), target_probabilities=rng.random((1, 4)), label_smoothing=0.1)
    check(x, np.array([7]), ("lse",), weight=weight, label_smoothing=0.1)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    x = row(rng, dtype=dtype)
    check(x, np.array([CLASSES - 1]), ("lse",))


@pytest.mark.parametrize(("at", "target"), [(0, 9), (100_000, 9), (CLASSES - 1, CLASSES - 1)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_special_values(
    isa: str, rng: np.random.Generator, value: float, at: int, target: int
) -> None:
    """As in a row that is not shared: a mask makes it one."""
    x = row(rng)
    x[0, at] = value
    for name in NAMES:
        call = getattr(ss, name)
        np.testing.assert_allclose(
            call(x), call(x, where=np.ones(x.shape, bool)), rtol=2e-6, atol=1e-12
        )
    alone = ss.cross_entropy_with_grad(x, [target], extra=("argmax",))  # which segments do not find
    shared = ss.cross_entropy_with_grad(x, [target])
    np.testing.assert_allclose(shared[0], alone[0], rtol=1e-6)
    np.testing.assert_allclose(shared[1], alone[1], rtol=2e-6, atol=1e-12)


def test_no_class_at_all(isa: str) -> None:
    x = np.full((1, CLASSES), -np.inf, np.float32)
    assert ss.logsumexp(x)[0] == -np.inf
    assert np.isnan(ss.softmax(x)).all()
    assert np.isnan(ss.cross_entropy(x, [5]))


def test_near_certainty(isa: str) -> None:
    """Nothing of the others is lost beside a target of probability 1 - 1e-9."""
    x = np.full((1, CLASSES), -40, np.float32)
    x[0, 0], x[0, CLASSES - 1] = 0, -20
    others = np.exp(-20) + (CLASSES - 2) * np.exp(-40)
    np.testing.assert_allclose(ss.logsumexp(x.astype(np.float64)), np.log1p(others), rtol=1e-12)
    loss, gradient = ss.cross_entropy_with_grad(x, [0])
    np.testing.assert_allclose(loss, np.log1p(others), rtol=3e-7)
    np.testing.assert_allclose(gradient[0, 0], -others, rtol=3e-7)


@pytest.mark.parametrize("loss", [ss.cross_entropy, ss.hinge])
def test_class_indices_of_more_classes_than_int32_has(loss: Any) -> None:
    logits = np.broadcast_to(np.float32(0), (1, 2**31))
    with pytest.raises(ValueError, match=r"^target: class indices need fewer than 2\^31 classes"):
        loss(logits, [0])


def test_bits_do_not_depend_on_the_number_of_threads(rng: np.random.Generator) -> None:
    x = row(rng, 2)

    def results() -> tuple[bytes, ...]:
        parts = (*(getattr(ss, name)(x) for name in NAMES), *ss.cross_entropy_with_grad(x, [3, 9]))
        return tuple(np.asarray(part).tobytes() for part in parts)

    with ss.threads(1):
        expected = results()
    for n in (2, 3, 7):
        with ss.threads(n):
            assert results() == expected
