"""Each formula of the lecture, in its order (docs/lecture.md), against the call that computes it.

The right-hand sides are the formulas as they are written there, in float64 NumPy.
"""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import softstep as ss

ROWS, CLASSES = 50, 10
TIGHT = {"rtol": 1e-13, "atol": 1e-14}


@pytest.fixture
def labels(rng: np.random.Generator) -> Any:
    return rng.integers(CLASSES, size=ROWS)


@pytest.fixture
def logits(rng: np.random.Generator) -> Any:
    return rng.normal(scale=3, size=(ROWS, CLASSES))


def one_hot(labels: Any) -> Any:
    return (labels[:, None] == np.arange(CLASSES)).astype(float)


def distributions(rng: np.random.Generator) -> Any:
    masses = rng.random((ROWS, CLASSES))
    return masses / masses.sum(axis=1, keepdims=True)


def softmax(y: Any) -> Any:
    return np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)


def schedule(t: int) -> float:
    return 0.05 / (1 + t)


def derivative(f: Any, x: Any, step: float) -> Any:
    """Central differences of a scalar function."""
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        h = np.zeros_like(x)
        h[i] = step
        gradient[i] = (f(x + h) - f(x - h)) / (2 * step)
    return gradient


def test_1_a_squared_error_on_the_label_invents_an_order(isa: str) -> None:
    others = [j for j in range(CLASSES) if j != 1]
    by_number = ss.squared_error(np.array(others, float), np.ones(9), reduction="none")
    assert_array_equal(by_number, [(j - 1) ** 2 for j in others])
    sure = 5 * np.eye(CLASSES)[others]
    by_class = ss.cross_entropy(sure, np.ones(9, int), reduction="none")
    assert_allclose(by_class, by_class[0], **TIGHT)


def test_2_one_hot_probabilities_are_class_indices(isa: str, logits: Any, labels: Any) -> None:
    for options in ({"reduction": "none"}, {"reduction": "sum"}, {"reduction": "mean"}):
        by_class = ss.cross_entropy(logits, labels, **options)
        assert_allclose(ss.cross_entropy(logits, one_hot(labels), **options), by_class, **TIGHT)


def test_3_cross_entropy(isa: str, rng: np.random.Generator, labels: Any) -> None:
    p, p_hat = distributions(rng), distributions(rng)
    loss = ss.cross_entropy(np.log(p_hat), p, reduction="none")
    assert_allclose(loss, -(p * np.log(p_hat)).sum(axis=1), **TIGHT)
    loss = ss.cross_entropy(np.log(p_hat), labels, reduction="none")
    assert_allclose(loss, -np.log(p_hat[np.arange(ROWS), labels]), **TIGHT)
    assert (loss > 0).all()
    assert ss.cross_entropy([0.0, -np.inf], 0) == 0  # p_hat = 1


def test_4_entropy(isa: str, rng: np.random.Generator) -> None:
    p, p_hat = distributions(rng), distributions(rng)
    entropy = ss.entropy(np.log(p))
    assert_allclose(entropy, -(p * np.log(p)).sum(axis=1), **TIGHT)
    assert_allclose(ss.cross_entropy(np.log(p), p, reduction="none"), entropy, **TIGHT)
    assert (ss.cross_entropy(np.log(p_hat), p, reduction="none") > entropy).all()
    assert_allclose(ss.entropy(np.zeros(8)), np.log(8), **TIGHT)
    assert ss.entropy(np.array([0.0, -np.inf])) == 0  # 0 log 0 = 0


def test_4_entropy_of_a_density_is_the_limit_of_its_bins(isa: str) -> None:
    """With bins of width d, H = -sum f d log(f d) = -integral f log f - log d."""
    d = 1e-3
    x = np.arange(-12, 12, d)
    log_f = -(x**2) / 2 - np.log(2 * np.pi) / 2
    continuous = ss.entropy(log_f) + np.log(d)
    assert_allclose(continuous, -(np.exp(log_f) * log_f * d).sum(), rtol=1e-12)
    assert_allclose(continuous, np.log(2 * np.pi * np.e) / 2, rtol=1e-12)


def test_5_softmax(isa: str, logits: Any) -> None:
    s = ss.softmax(logits)
    assert_allclose(s, softmax(logits), **TIGHT)
    assert_allclose(s.sum(axis=1), 1, **TIGHT)
    assert ((s > 0) & (s < 1)).all()
    # It exaggerates: the ratio of two probabilities is the exponential of the difference.
    assert_allclose(s[:, 0] / s[:, 1], np.exp(logits[:, 0] - logits[:, 1]), **TIGHT)


@pytest.mark.parametrize("inverse", [0.25, 1.0, 3.0])
def test_6_the_notes_temperature_is_the_inverse(isa: str, logits: Any, inverse: float) -> None:
    notes = softmax(inverse * logits)
    assert_allclose(ss.softmax(logits, temperature=1 / inverse), notes, rtol=1e-12, atol=1e-14)


def test_6_cold_is_the_maximum_and_hot_is_uniform(isa: str, logits: Any) -> None:
    largest = one_hot(logits.argmax(axis=1))
    assert_allclose(ss.softmax(logits, temperature=1e-5), largest, atol=1e-12)
    assert_allclose(ss.softmax(logits, temperature=1e8), 1 / CLASSES, rtol=1e-6)
    entropies = [ss.entropy(logits, temperature=t) for t in (0.5, 1.0, 2.0, 4.0)]
    assert (np.diff(entropies, axis=0) > 0).all()


@pytest.mark.parametrize("mass", [1.0, 0.3, 2.5])
def test_7_cross_entropy_with_softmax(
    isa: str, rng: np.random.Generator, logits: Any, labels: Any, mass: float
) -> None:
    p = mass * distributions(rng)
    chained = -(p * np.log(softmax(logits))).sum(axis=1)
    log_sum = np.log(np.exp(logits).sum(axis=1))
    expanded = -((p * logits).sum(axis=1) - log_sum * p.sum(axis=1))
    loss = ss.cross_entropy(logits, p, reduction="none")
    assert_allclose(loss, chained, **TIGHT)
    assert_allclose(loss, expanded, **TIGHT)
    assert_allclose(ss.logsumexp(logits), log_sum, **TIGHT)
    loss = ss.cross_entropy(logits, labels, reduction="none")
    assert_allclose(loss, log_sum - logits[np.arange(ROWS), labels], **TIGHT)


def test_7_logits_are_log_probabilities_up_to_a_constant(isa: str, logits: Any) -> None:
    constant = logits - np.log(ss.softmax(logits))
    assert_allclose(constant, np.broadcast_to(ss.logsumexp(logits)[:, None], constant.shape))
    assert_allclose(ss.log_softmax(logits + 7), ss.log_softmax(logits), **TIGHT)


def test_7_gradient(isa: str, rng: np.random.Generator, logits: Any, labels: Any) -> None:
    p = 0.7 * distributions(rng)
    for target, masses in [(labels, one_hot(labels)), (p, p)]:
        _, dlogits = ss.cross_entropy_with_grad(logits, target, reduction="sum")
        expected = masses.sum(axis=1, keepdims=True) * softmax(logits) - masses
        assert_allclose(dlogits, expected, **TIGHT)
        numerical = derivative(
            lambda x, t=target: ss.cross_entropy(x, t[:3], reduction="sum"), logits[:3], 1e-5
        )
        assert_allclose(dlogits[:3], numerical, atol=1e-9)


def test_8_stochastic_gradient_descent(isa: str, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(40, 4)), rng.integers(3, size=40)
    w = rng.normal(size=(4, 3))
    expected = w.copy()
    optimizer = ss.SGD([w], schedule)
    for t in range(10):
        batch = rng.integers(40, size=8)
        _, dlogits = ss.cross_entropy_with_grad(x[batch] @ w, y[batch], reduction="sum")
        optimizer.step([x[batch].T @ dlogits])
        p_hat = softmax(x @ expected)
        gradient = sum(np.outer(x[i], p_hat[i] - np.eye(3)[y[i]]) for i in batch)
        expected = expected - schedule(t) * gradient
        assert_allclose(w, expected, **TIGHT)


def test_8_a_mean_takes_n_times_the_step(isa: str, rng: Any, logits: Any, labels: Any) -> None:
    lam, alpha, steps = 0.05, 0.01, []
    start, x = rng.normal(size=(4, CLASSES)), rng.normal(size=(ROWS, 4))
    for reduction, n in [("sum", 1), ("mean", ROWS)]:
        w = start.copy()
        _, dlogits = ss.cross_entropy_with_grad(logits, labels, reduction=reduction)
        ss.SGD([w], n * alpha, weight_decay=2 * lam / n).step([x.T @ dlogits])
        steps.append(w)
    assert_allclose(*steps, **TIGHT)


def test_9_the_loss_map(isa: str, rng: np.random.Generator, logits: Any, labels: Any) -> None:
    y_hat, y = rng.normal(size=(2, ROWS))
    assert_allclose(ss.squared_error(y_hat, y, reduction="sum"), ((y_hat - y) ** 2).sum(), **TIGHT)
    sign = np.where(y > 0, 1.0, -1.0)
    two_class = ss.hinge(y_hat, sign, reduction="none")
    assert_allclose(two_class, np.maximum(0, 1 - sign * y_hat), **TIGHT)
    rows, rivals = np.arange(ROWS), np.where(one_hot(labels) == 1, -np.inf, logits)
    m_class = ss.hinge(logits, labels, reduction="none")
    expected = np.maximum(0, 1 + rivals.max(axis=1) - logits[rows, labels])
    assert_allclose(m_class, expected, **TIGHT)
    # Two classes with the logits (s, 0): the logistic loss.
    pairs = np.stack([y_hat, np.zeros(ROWS)], axis=1)
    logistic = ss.cross_entropy(pairs, np.zeros(ROWS, int), reduction="none")
    assert_allclose(logistic, np.log1p(np.exp(-y_hat)), **TIGHT)


def test_10_derivative_of_a_quadratic_form(isa: str, rng: np.random.Generator) -> None:
    w, a = rng.normal(size=5), rng.normal(size=(5, 5))
    # Central differences of a quadratic are exact but for rounding.
    assert_allclose(derivative(lambda v: v @ a @ v, w, 0.5), w @ (a + a.T), rtol=1e-12)
    a = a + a.T
    assert_allclose(derivative(lambda v: v @ a @ v, w, 0.5), 2 * w @ a, rtol=1e-12)
    lam = 0.1
    assert_allclose(ss.l2_penalty(w, lam), lam * (w @ np.eye(5) @ w), **TIGHT)
    assert_allclose(derivative(lambda v: ss.l2_penalty(v, lam), w, 0.5), 2 * lam * w, rtol=1e-12)


@pytest.mark.parametrize("decoupled", [False, True])
def test_10_weight_decay(isa: str, rng: np.random.Generator, decoupled: bool) -> None:
    lam = 0.1
    w = rng.normal(size=(6, 3))
    expected = w.copy()
    optimizer = ss.SGD([w], schedule, weight_decay=2 * lam, decoupled=decoupled)
    for t in range(10):
        gradient = rng.normal(size=w.shape)
        optimizer.step([gradient])
        alpha = schedule(t)
        expanded = expected - alpha * gradient - 2 * alpha * lam * expected
        expected = (1 - 2 * alpha * lam) * expected - alpha * gradient
        assert_allclose(expanded, expected, **TIGHT)
        assert_allclose(w, expected, **TIGHT)


def test_10_the_step_follows_data_loss_plus_penalty(isa: str, rng: Any, labels: Any) -> None:
    lam, alpha = 0.1, 0.5
    x, w = rng.normal(size=(ROWS, 4)), rng.normal(size=(4, CLASSES))

    def objective(v: Any) -> Any:
        return ss.cross_entropy(x @ v, labels, reduction="sum") + ss.l2_penalty(v, lam)

    gradient = derivative(objective, w, 1e-4)
    _, dlogits = ss.cross_entropy_with_grad(x @ w, labels, reduction="sum")
    stepped = w.copy()
    ss.SGD([stepped], alpha, weight_decay=2 * lam).step([x.T @ dlogits])
    assert_allclose((w - stepped) / alpha, gradient, rtol=1e-6, atol=1e-6)


def test_10_the_factor_stays_between_0_and_1(isa: str) -> None:
    w = np.ones(3)
    for alpha, lam in [(1.0, 0.5), (2.0, 0.5), (0.1, 5.0)]:
        with pytest.raises(ValueError, match="weight_decay"):
            ss.SGD([w], alpha, weight_decay=2 * lam)
        late = ss.SGD([w], lambda t, alpha=alpha: alpha, weight_decay=2 * lam)
        with pytest.raises(ValueError, match="weight_decay"):
            late.step([np.ones(3)])
    assert_array_equal(w, 1)
    ss.SGD([w], 1.0, weight_decay=0.875).step([np.zeros(3)])
    assert_array_equal(w, 0.125)
