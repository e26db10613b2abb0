"""softstep.jax.linear_cross_entropy: the loss and the gradients of the whole logits, in chunks."""

from typing import Any

import numpy as np
import pytest

from tests.jax.front_end import enable_x64, jax, jnp, same_bits, ssj
from tests.support.cases import assert_within

ROWS, FEATURES, CLASSES = 11, 6, 35
CHUNK = 4 * CLASSES * 8  # bytes: three chunks, of which the last is padded
OPTIONS: list[dict[str, Any]] = [
    {},
    {"class_weight": True, "sample_weight": True, "z_loss": 0.1, "label_smoothing": 0.2},
    {"softcap": 3.0, "temperature": 0.7, "sample_weight": True},
    {"gamma": 1.5, "class_weight": True},
]


def problem(rng: np.random.Generator, dtype: Any = np.float64) -> tuple[Any, ...]:
    h, w, b = (
        rng.normal(size=s).astype(dtype) for s in ((ROWS, FEATURES), (CLASSES, FEATURES), CLASSES)
    )
    t = rng.integers(0, CLASSES, ROWS)
    t[[2, 10]] = -100
    return h, w, b, t


def whole(h: Any, w: Any, b: Any, t: Any, class_weight: Any = None, **options: Any) -> Any:
    return ssj.cross_entropy(h @ w.T + b, t, weight=class_weight, **options)


def in_chunks(h: Any, w: Any, b: Any, t: Any, **options: Any) -> Any:
    return ssj.linear_cross_entropy(h, w, t, bias=b, workspace=CHUNK, **options)


def gradients(function: Any, arrays: Any, t: Any, **options: Any) -> Any:
    """The value and the gradients of a weighted sum."""

    def both(*arrays: Any) -> Any:
        value, pullback = jax.vjp(lambda *a: function(*a, t, **options), *arrays)
        return value, *pullback(
            jnp.cos(jnp.arange(value.size)).astype(value.dtype).reshape(value.shape)
        )

    return jax.jit(both)(*arrays)


@pytest.mark.parametrize(("case", "reduction"), [(1, "none"), (2, "sum"), (1, "mean"), (3, "mean")])
def test_is_that_of_whole_logits(rng: np.random.Generator, case: int, reduction: str) -> None:
    options = {**OPTIONS[case], "reduction": reduction}
    if "class_weight" in options:
        options["class_weight"] = rng.uniform(0.5, 2, CLASSES)
    if "sample_weight" in options:
        options["sample_weight"] = rng.integers(0, 3, ROWS).astype(float)
    *arrays, t = problem(rng)
    probabilities = rng.uniform(size=(ROWS, CLASSES))
    with enable_x64():
        for target in (t, probabilities)[: 1 + (reduction == "mean" and case != 3)]:
            expected = gradients(whole, arrays, target, **options)
            actual = gradients(in_chunks, arrays, target, **options)
            plain = in_chunks(*arrays, target, **options)
            assert_within(plain, actual[0], 1e-14 * np.abs(actual[0]).max())
            for ours, theirs in zip(actual, expected, strict=True):
                assert_within(ours, theirs, 1e-13 * (1 + np.abs(theirs).max()))


def test_rows_that_do_not_count_poison_nothing(rng: np.random.Generator) -> None:
    """Ignored, weightless, or with a label that is none: whatever the hidden states hold."""
    h, w, b, t = problem(rng, np.float32)
    clean = gradients(in_chunks, (h, w, b), t, reduction="sum")
    h[[2, 10]] = np.nan
    for ours, theirs in zip(
        gradients(in_chunks, (h, w, b), t, reduction="sum"), clean, strict=True
    ):
        same_bits(ours, theirs)
    t[10] = CLASSES
    loss, *slopes = gradients(in_chunks, (h, w, b), t, reduction="sum")
    assert np.isnan(loss)
    for ours, theirs in zip(slopes, clean[1:], strict=True):
        same_bits(ours, theirs)
    assert np.isnan(in_chunks(h, w, b, np.full(ROWS, -100)))
    _, *slopes = gradients(in_chunks, (h, w, b), np.full(ROWS, -100))
    assert all((np.asarray(slope) == 0).all() for slope in slopes)


def test_half_precision_is_computed_in_float32(rng: np.random.Generator) -> None:
    h, w, b, t = problem(rng, np.float32)
    half = [jnp.asarray(a, jnp.bfloat16) for a in (h, w, b)]
    value, *slopes = gradients(in_chunks, half, t)
    exact, *expected = gradients(in_chunks, [a.astype(jnp.float32) for a in half], t)
    same_bits(value, exact)
    for ours, theirs in zip(slopes, expected, strict=True):
        assert ours.dtype == jnp.bfloat16
        same_bits(ours, theirs.astype(jnp.bfloat16))


def test_batches_vmap_and_one_gradient(rng: np.random.Generator) -> None:
    h, w, b, t = problem(rng, np.float32)
    hidden, targets = np.stack([h, 2 * h]), np.stack([t, t[::-1]])
    together = in_chunks(hidden, w, b, targets, reduction="none")
    assert together.shape == (2, ROWS)
    separate = jax.vmap(lambda h, t: in_chunks(h, w, b, t, reduction="none"))(hidden, targets)
    assert_within(separate, together, 1e-5)
    loss = lambda w: ssj.linear_cross_entropy(h, w, t, workspace=1)  # noqa: E731
    text = jax.jit(jax.grad(loss)).lower(w).as_text()
    assert f"tensor<{ROWS}x{CLASSES}xf32>" not in text and f"tensor<1x{CLASSES}xf32>" in text
    assert jax.jit(jax.grad(loss))(w).shape == w.shape


def test_errors_name_the_argument(rng: np.random.Generator) -> None:
    h, w, b, t = problem(rng, np.float32)
    with pytest.raises(ValueError, match=r"^weight: expected shape \(classes, 6\), got \(6, 35\)"):
        ssj.linear_cross_entropy(h, w.T, t)
    with pytest.raises(ValueError, match=r"^target: expected shape \(11,\), got \(10,\)"):
        ssj.linear_cross_entropy(h, w, t[1:])
    with pytest.raises(ValueError, match=r"^bias: expected shape \(35,\), got \(6,\)"):
        ssj.linear_cross_entropy(h, w, t, bias=b[:6])
    with pytest.raises(ValueError, match=r"^label_smoothing: "):
        ssj.linear_cross_entropy(h, w, t, label_smoothing=2)
    for workspace, error in ((0.5, TypeError), ("1", TypeError), (0, ValueError)):
        with pytest.raises(error, match=r"^workspace: expected"):
            ssj.linear_cross_entropy(h, w, t, workspace=workspace)
    with pytest.raises(TypeError, match=r"^target: .*stop_gradient"):
        q = np.ones((ROWS, CLASSES), np.float32)
        jax.grad(lambda q: ssj.linear_cross_entropy(h, w, q))(q)


@pytest.mark.parametrize("shift", [0, True, 2, 4, 6])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_shift_is_the_slices(rng: np.random.Generator, reduction: str, shift: int) -> None:
    h, w = rng.normal(size=(2, 5, FEATURES)), rng.normal(size=(CLASSES, FEATURES))
    rows = rng.uniform(0.5, 2, (2, 5))
    count = max(5 - shift, 0)
    with enable_x64():
        for target in (
            rng.integers(0, CLASSES, (2, 5)),
            rng.dirichlet(np.ones(CLASSES), (2, 5)),
        ):

            def shifted(h: Any, w: Any, target: Any = target) -> Any:
                return ssj.linear_cross_entropy(
                    h, w, target, sample_weight=rows, reduction=reduction, shift=shift
                ).sum()

            def sliced(h: Any, w: Any, target: Any = target) -> Any:
                return ssj.linear_cross_entropy(
                    h[:, :count],
                    w,
                    target[:, shift:],
                    sample_weight=rows[:, shift:],
                    reduction=reduction,
                ).sum()

            results = [jax.jit(jax.value_and_grad(f, (0, 1)))(h, w) for f in (shifted, sliced)]
            jax.tree.map(np.testing.assert_array_equal, *results)
    for wrong, error in ((-1, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="shift: expected"):
            ssj.linear_cross_entropy(h, w, np.zeros((2, 5), int), shift=wrong)
    with pytest.raises(ValueError, match="shift: expected hidden"):
        ssj.linear_cross_entropy(h[0, 0], w, 0, shift=1)
