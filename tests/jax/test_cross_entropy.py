"""softstep.jax.cross_entropy: NumPy's bits, Optax's arguments, labels that are none."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests.jax.front_end import DTYPES, enable_x64, jax, jnp, same_bits, ssj
from tests.support.cases import assert_within, roundoff

OPTIONS: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.2, "temperature": 0.5},
    {"weight": True, "sample_weight": True, "z_loss": 0.1},
    {"softcap": 3.0, "label_smoothing": 0.3, "smoothing": "allowed", "weight": True},
]


def with_gradient(function: Any, x: Any) -> Any:
    """The losses, and the gradient of their sum, from one program."""

    def both(x: Any) -> Any:
        loss, pullback = jax.vjp(function, x)
        return loss, pullback(jnp.ones_like(loss))[0]

    return jax.jit(both)(x)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_bits_of_numpy(rng: np.random.Generator, dtype: Any, reduction: str) -> None:
    wide = np.float64 if dtype == np.float64 else np.float32
    shapes = [((7, 10), -1), ((3, 40, 5), 1), ((0, 3), -1)]
    for number, case in enumerate(OPTIONS):
        options, (shape, axis) = dict(case), shapes[number % len(shapes)]
        x = rng.normal(scale=3, size=shape).astype(dtype)
        batch = np.delete(shape, axis)
        rows = rng.integers(0, 3, batch).astype(wide)  # some are 0
        if "sample_weight" in options:
            options["sample_weight"] = rows
        if "weight" in options:
            options["weight"] = rng.uniform(0.5, 2, shape[axis]).astype(wide)
        index = rng.integers(0, shape[axis], batch)
        index[rng.uniform(size=batch) < 0.2] = -100
        for target in (index, rng.uniform(size=shape).astype(wide)):
            numpy = {"axis": axis, "reduction": reduction, **options}
            expected, slope = ss.cross_entropy_with_grad(x, target, **numpy)
            with enable_x64():
                losses = lambda x, t=target, o=numpy: ssj.cross_entropy(x, t, **o)  # noqa: E731
                loss, dlogits = with_gradient(losses, x)
            same_bits(loss, np.asarray(expected, wide))
            same_bits(dlogits, slope)


def test_the_focal_loss(rng: np.random.Generator) -> None:
    x, target = rng.normal(size=(6, 10)).astype(np.float32), rng.integers(0, 10, 6)
    weight = rng.uniform(0.5, 2, 10).astype(np.float32)
    options = {"gamma": 1.5, "label_smoothing": 0.1, "weight": weight, "reduction": "mean"}
    loss, dlogits = with_gradient(lambda x: ssj.cross_entropy(x, target, **options), x)
    expected = ss.cross_entropy_with_grad(x, target, **options)
    same_bits(loss, np.float32(expected[0]))
    same_bits(dlogits, expected[1])
    with pytest.raises(ValueError, match=r"^gamma: the focal loss needs class targets"):
        ssj.cross_entropy(x, x, gamma=1.5)


@pytest.mark.parametrize("axis", [-1, 1, (1, 2)], ids=str)
def test_arguments_of_optax(rng: np.random.Generator, axis: Any) -> None:
    optax = pytest.importorskip("optax")
    dense = optax.softmax_cross_entropy
    sparse = optax.softmax_cross_entropy_with_integer_labels
    x = jnp.asarray(rng.normal(size=(4, 5, 6)).astype(np.float32))
    batch = np.delete(x.shape, axis)
    classes = x.size // int(np.prod(batch))
    index = jnp.asarray(rng.integers(0, classes, batch))
    q = np.asarray(jax.nn.softmax(2 * x[::-1], axis=axis))
    rows = np.asarray(rng.uniform(size=batch) < 0.6)
    unit = 8 * roundoff(np.float32, classes)
    assert_within(
        ssj.cross_entropy(x, index, axis),
        jax.jit(sparse, static_argnums=2)(x, index, axis),
        unit * 10,
    )
    assert_within(
        ssj.cross_entropy(x, index, axis, rows), rows * ssj.cross_entropy(x, index, axis), 0
    )
    for argument in (0, 1):
        ours, theirs = (
            jax.jit(jax.value_and_grad(lambda x, q, f=f: f(x, q, axis).sum(), argument))(x, q)
            for f in (ssj.cross_entropy, dense)
        )
        assert_within(ours[0], theirs[0], unit * 10 * rows.size)
        assert_within(ours[1], theirs[1], unit * 10)


def test_masks(rng: np.random.Generator) -> None:
    """A masked class is a logit of -inf, also for label smoothing; an empty row counts 0."""
    x, some = rng.normal(size=(6, 40)).astype(np.float32), rng.uniform(size=(6, 40)) < 0.5
    some[:, 3], some[4] = True, False
    without = np.where(some, x, -np.inf)
    for target in (np.full(6, 3), rng.uniform(size=(6, 40)).astype(np.float32)):
        left = target if target.ndim == 1 else np.where(some, target, 0)
        for reduction in ("none", "mean"):
            loss, slope = ss.cross_entropy_with_grad(
                without,
                left,
                sample_weight=some.any(axis=1),
                reduction=reduction,
                label_smoothing=0.1,
                smoothing="allowed",
            )
            options = {"reduction": reduction, "label_smoothing": 0.1}
            function = lambda x, t=target, o=options: ssj.cross_entropy(x, t, -1, some, **o)  # noqa: E731
            actual, dlogits = with_gradient(function, x)
            same_bits(actual, np.asarray(loss, np.float32))
            same_bits(np.asarray(dlogits) + 0, slope + 0)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_labels_that_are_no_class(rng: np.random.Generator, reduction: str) -> None:
    """NaN loss, no gradient; in every integer dtype, and not where the row does not count."""
    x = rng.normal(size=(6, 10)).astype(np.float32)
    good = np.array([1, -100, 3, -100, 0, 9])
    expected, slope = ss.cross_entropy_with_grad(x, good, reduction=reduction)
    bad_losses = np.where(good < 0, np.nan, expected) if reduction == "none" else np.nan
    for dtype in (np.int8, np.int32, np.uint8, np.uint16, np.uint32, np.int64, np.uint64):
        bad = 10 if np.iinfo(dtype).min == 0 else -1
        target = np.array([1, bad, 3, 120, 0, 9], dtype)
        with enable_x64():
            function = lambda x, t=target: ssj.cross_entropy(x, t, reduction=reduction)  # noqa: E731
            loss, gradient = with_gradient(function, x)
        same_bits(gradient, slope)
        same_bits(loss, np.asarray(bad_losses, np.float32))
    masked = ssj.cross_entropy(x, target, -1, good >= 0, reduction=reduction)
    same_bits(masked, np.asarray(expected, np.float32))
    assert np.isnan(ssj.cross_entropy(x, np.full(6, 2**32 - 100, np.uint32)).sum())
    assert ssj.cross_entropy(x, np.full(6, 7, np.uint8), ignore_index=7).sum() == 0


@pytest.mark.parametrize("name", ["int2", "int4", "uint2", "uint4", "bool"])
def test_labels_of_few_bits(rng: np.random.Generator, name: str) -> None:
    dtype = getattr(jnp, "bool_" if name == "bool" else name)
    x = rng.normal(size=(5, 20)).astype(np.float32)
    labels = np.array([0, 1, 1, 0, 1])
    same_bits(ssj.cross_entropy(x, jnp.asarray(labels, dtype)), ssj.cross_entropy(x, labels))
    for reduction in ("none", "sum", "mean"):
        head = lambda t, r=reduction: ssj.linear_cross_entropy(x, np.eye(20), t, reduction=r)  # noqa: E731
        same_bits(head(jnp.asarray(labels, dtype)), head(labels))
    with pytest.raises(TypeError, match=r"target: expected integers .* got complex64"):
        ssj.cross_entropy(x, jnp.zeros(5, complex))


@pytest.mark.parametrize("name", ["uint8", "int8", "uint32"])
def test_a_mean_of_a_head_whose_labels_have_no_ignore_index(name: str) -> None:
    x, labels = np.eye(3, 200, dtype=np.float32), np.array([0, 127, 5])
    head = lambda t: ssj.linear_cross_entropy(x, np.eye(200), t)  # noqa: E731
    same_bits(head(labels.astype(name)), head(labels))


def test_masked_arrays_are_refused() -> None:
    x, labels = np.eye(2, 3), np.array([0, 1])
    masked, rows = np.ma.array(x, mask=x > 0), np.ma.array(labels, mask=labels > 0)
    for name, call in {
        "logits": lambda: ssj.cross_entropy(masked, labels),
        "target": lambda: ssj.cross_entropy(x, rows),
        "where": lambda: ssj.cross_entropy(x, labels, where=rows),
        "weight": lambda: ssj.cross_entropy(x, labels, weight=masked[0]),
        "sample_weight": lambda: ssj.cross_entropy(x, labels, sample_weight=rows),
        "x": lambda: ssj.softmax(masked),
        "hidden": lambda: ssj.linear_cross_entropy(masked, x, labels),
        "bias": lambda: ssj.linear_cross_entropy(x, x, labels, bias=rows),
        "class_weight": lambda: ssj.linear_cross_entropy(x, x, labels, class_weight=rows),
    }.items():
        with pytest.raises(TypeError, match=f"^{name}: expected an array without a mask"):
            call()


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_gradients_by_differences(rng: np.random.Generator, reduction: str) -> None:
    with enable_x64():
        from jax.test_util import check_grads

        x, q = (jnp.asarray(rng.normal(size=(5, 7))) for _ in range(2))
        q = jax.nn.softmax(q)
        index = jnp.asarray([0, 3, -100, 6, 2])
        some = jnp.asarray(rng.uniform(size=(5, 7)) < 0.6).at[:, 0].set(True)
        rows, weight = jnp.asarray([1.0, 2, 0.5, 0.7, 3]), jnp.linspace(0.5, 2, 7)
        for options in (
            {"label_smoothing": 0.2, "z_loss": 0.1, "weight": weight},
            {"softcap": 2.0, "temperature": 0.7, "sample_weight": rows},
            {"where": some, "label_smoothing": 0.1},
        ):
            loss = lambda x, q, o=options: ssj.cross_entropy(x, q, reduction=reduction, **o)  # noqa: E731
            check_grads(jax.jit(loss), (x, q), 1, ["rev"])
            if "where" not in options:
                check_grads(jax.jit(lambda x, f=loss: f(x, index)), (x,), 1, ["rev"])
        if reduction == "none":
            weighted = lambda s: ssj.cross_entropy(x, index, sample_weight=s)  # noqa: E731
            check_grads(jax.jit(weighted), (rows,), 1, ["rev"])


def test_what_is_not_differentiated_says_so(rng: np.random.Generator) -> None:
    x, index, ones = jnp.zeros((2, 3)), jnp.array([0, 1]), jnp.ones(3)
    with pytest.raises(TypeError, match=r"^weight: .*stop_gradient"):
        jax.grad(lambda w: ssj.cross_entropy(x, index, weight=w).sum())(ones)
    with pytest.raises(TypeError, match=r"^sample_weight: .*'none'"):
        jax.grad(lambda s: ssj.cross_entropy(x, index, sample_weight=s, reduction="sum"))(ones[:2])
    with pytest.raises(ValueError, match="cannot be differentiated"):
        jax.hessian(lambda x: ssj.cross_entropy(x, index, reduction="sum"))(x)


def test_errors_name_the_argument() -> None:
    x, index = jnp.zeros((2, 3)), jnp.array([0, 1])
    with pytest.raises(ValueError, match=r"^target: expected shape \(2,\), got \(3,\)"):
        ssj.cross_entropy(x, jnp.zeros(3, int))
    with pytest.raises(ValueError, match=r"^target: expected shape \(2, 3\), got \(2,\)"):
        ssj.cross_entropy(x, jnp.zeros(2))
    for name, value, got in (
        ("label_smoothing", 2, "2"),
        ("temperature", 0, "0"),
        ("softcap", -1, "-1"),
        ("z_loss", -1, "-1"),
        ("reduction", "average", "'average'"),
        ("smoothing", "some", "'some'"),
        ("weight", jnp.ones(2), r"\(2,\)"),
        ("sample_weight", jnp.ones(3), r"\(3,\)"),
        ("where", jnp.ones((3, 2), bool), r"\(3, 2\)"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: expected .*got {got}"):
            ssj.cross_entropy(x, index, **{name: value})
    with pytest.raises(ValueError, match=r"^smoothing: 'exclude_target' needs class targets"):
        ssj.cross_entropy(x, x, smoothing="exclude_target")
