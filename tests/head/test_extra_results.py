"""Extra results of the linear head: those of the cross-entropy of its logits, by float64."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import softstep as ss
from tests.reference.cross_entropy import cross_entropy_results

BY_ROW = ["lse", "entropy", "argmax", "target_log_prob"]
OF_CLASSES = [*BY_ROW, "correct", "z_loss", "dtemperature"]
OF_MASSES = ["lse", "entropy", "argmax", "z_loss", "dtemperature"]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": "none"},
    {"reduction": "sum", "label_smoothing": 0.1},
    {"z_loss": 0.01, "temperature": 0.7, "softcap": 5.0},
    {"denominator": 17.0, "gamma": 2.0},
]


def operands(rng: np.random.Generator, dtype: Any = np.float64) -> tuple[Any, Any, Any]:
    hidden = rng.normal(size=(3, 11, 6)).astype(dtype)
    weight = rng.normal(size=(45, 6)).astype(dtype)
    target = rng.integers(0, 45, (3, 11))
    target[0, 2] = target[2, 10] = -100
    return hidden, weight, target


def logits_of(hidden: Any, weight: Any, bias: Any = 0.0) -> Any:
    return hidden.astype(np.float64) @ weight.astype(np.float64).T + bias


def assert_same(
    results: dict[str, Any], exact: dict[str, Any], names: list[str], rtol: float
) -> None:
    assert list(results) == names
    for name in names:
        np.testing.assert_allclose(results[name], exact[name], rtol=rtol, atol=rtol, err_msg=name)
        if name in BY_ROW:
            assert results[name].shape == exact[name].shape


@pytest.mark.parametrize("workspace", [None, 3000])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_of_class_targets(
    isa: str, rng: np.random.Generator, options: dict[str, Any], workspace: int | None
) -> None:
    hidden, weight, target = operands(rng)
    given: dict[str, Any] = {"bias": rng.normal(size=45), "workspace": workspace, **options}
    share = rng.uniform(0.5, 2, (3, 11))
    share[1, 4] = 0
    given["sample_weight"] = share
    exact = cross_entropy_results(
        logits_of(hidden, weight, given["bias"]), target, sample_weight=share, **options
    )
    loss, results = ss.linear_cross_entropy(hidden, weight, target, extra=OF_CLASSES, **given)
    np.testing.assert_allclose(loss, exact["loss"], rtol=1e-12)
    assert_same(results, exact, OF_CLASSES, 1e-11)
    again, gradients, results = ss.linear_cross_entropy_with_grad(
        hidden, weight, target, extra=OF_CLASSES, **given
    )
    np.testing.assert_allclose(again, loss, rtol=1e-14)  # other chunks
    plain = ss.linear_cross_entropy_with_grad(hidden, weight, target, **given)[1]
    # Groups of rows compute it without extra results: other kernels, other roundings.
    np.testing.assert_allclose(gradients.dweight, plain.dweight, rtol=1e-11, atol=1e-15)
    assert_same(results, exact, OF_CLASSES, 1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16], ids=str)
def test_of_half_precision(product_isa: str, rng: np.random.Generator, dtype: Any) -> None:
    hidden, weight, target = operands(rng, dtype)
    exact = cross_entropy_results(logits_of(hidden, weight), target)
    names = [*BY_ROW, "correct", "dtemperature"]
    _, results = ss.linear_cross_entropy(hidden, weight, target, extra=names)
    assert results["lse"].dtype == np.float32 and results["argmax"].dtype == np.int32
    # Logits of at most 20, products of 6: some 30 roundings of float32.
    assert_same(results, exact, names, 60 * 2.0**-23)


def test_of_probabilities_and_sparse_targets(rng: np.random.Generator) -> None:
    hidden, weight, _ = operands(rng)
    dense = rng.dirichlet(np.ones(45), (3, 11))
    sparse, masses = rng.integers(0, 45, (3, 11, 2)), rng.dirichlet([1, 1], (3, 11))
    for target, more in [(dense, {}), (sparse, {"target_probabilities": masses})]:
        exact = cross_entropy_results(logits_of(hidden, weight), target, z_loss=0.1, **more)
        _, results = ss.linear_cross_entropy(
            hidden, weight, target, z_loss=0.1, extra=OF_MASSES, workspace=3000, **more
        )
        assert_same(results, exact, OF_MASSES, 1e-11)
        with pytest.raises(ValueError, match="extra: 'correct' needs class targets"):
            ss.linear_cross_entropy(hidden, weight, target, extra=["correct"], **more)


def test_shifted_targets_and_upstream(rng: np.random.Generator) -> None:
    hidden, weight, target = operands(rng)
    exact = cross_entropy_results(logits_of(hidden[:, :-2], weight), target[:, 2:])
    _, _, results = ss.linear_cross_entropy_with_grad(
        hidden, weight, target, shift=2, extra=OF_CLASSES, upstream=3.0
    )
    exact["dtemperature"] *= 3
    assert_same(results, exact, OF_CLASSES, 1e-11)
    upstream = rng.normal(size=(3, 11))
    rows = [
        ss.linear_cross_entropy(h, weight, [t], extra=["dtemperature"])[1]["dtemperature"]
        for h, t in zip(hidden.reshape(-1, 1, 6), target.reshape(-1), strict=True)
    ]
    _, _, results = ss.linear_cross_entropy_with_grad(
        hidden, weight, target, reduction="none", extra="dtemperature", upstream=upstream
    )
    expected = np.nan_to_num(rows) @ upstream.reshape(-1)
    assert results["dtemperature"] == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("empty", ["nan", "zero"])
def test_rows_of_a_mean_over_nothing(rng: np.random.Generator, empty: Any) -> None:
    """The weights are 0: the loss is empty, what the rows are is not."""
    hidden, weight, target = operands(rng)
    options: dict[str, Any] = {"class_weight": np.zeros(45), "empty": empty}
    names = [*BY_ROW, "correct"]
    exact = cross_entropy_results(
        logits_of(hidden, weight), target, weight=np.zeros(45), empty=empty
    )
    loss, gradients, results = ss.linear_cross_entropy_with_grad(
        hidden, weight, target, extra=names, **options
    )
    np.testing.assert_equal(loss, exact["loss"])
    assert not gradients.dhidden.any() and not gradients.dweight.any()
    assert_same(results, exact, names, 1e-11)
    _, results = ss.linear_cross_entropy(hidden, weight, np.full((3, 11), -100), extra=names)
    assert (results["argmax"] == -1).all() and not results["lse"].any()
    assert results["correct"] == 0


def test_names_that_the_head_does_not_have() -> None:
    arguments = np.ones((2, 3)), np.ones((4, 3)), [0, 1]
    for name in ("dtarget", "dweight", "nll", 3):
        with pytest.raises(ValueError, match="extra: expected names among lse, z_loss, entropy"):
            ss.linear_cross_entropy(*arguments, extra=[name])
    with pytest.raises(TypeError, match="extra: expected a sequence of names, got int"):
        ss.linear_cross_entropy(*arguments, extra=3)  # type: ignore[arg-type]
    loss, results = ss.linear_cross_entropy(*arguments, extra="lse")
    assert loss == pytest.approx(np.log(4)) and results["lse"].shape == (2,)
