"""A mean depends on the ratios of its weights, however large or small; a sum on their size."""

from typing import Any

import numpy as np
import pytest

from tests.conformance.front_ends import FRONT_ENDS, Lacks
from tests.conformance.means import MEANS, TANGENTS

# PyTorch's own rules for tangents are scripts.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit")
ROWS, CLASSES = 40, 11
# Float32: below the normal numbers, and near what overflows in a sum of weights.
EXPONENTS = {np.dtype(np.float32): (-140, -70, 70, 123), np.dtype(np.float64): (-900, 900)}
OPTIONS: dict[str, dict[str, Any]] = {
    "rows": {"sample_weight": ROWS},
    "classes": {"weight": CLASSES},
    "both": {"sample_weight": ROWS, "weight": CLASSES},
    "smoothing": {"weight": CLASSES, "label_smoothing": 0.2},
    "z-loss": {"sample_weight": ROWS, "weight": CLASSES, "z_loss": 0.1},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
@pytest.mark.parametrize("dtype", EXPONENTS, ids=str)
@pytest.mark.parametrize("front_end", MEANS + TANGENTS)
def test_only_ratios_count(front_end: Any, dtype: Any, kind: str, name: str) -> None:
    rng = np.random.default_rng(5)
    x = (3 * rng.normal(size=(ROWS, CLASSES))).astype(dtype)
    target = rng.integers(0, CLASSES, ROWS)
    if kind == "probabilities":
        target = rng.dirichlet(np.ones(CLASSES), ROWS).astype(dtype)
    else:
        target[3] = -100
    options = dict(OPTIONS[name])
    for weights in {"sample_weight", "weight"} & options.keys():
        options[weights] = (1 + np.arange(options[weights]) % 3).astype(dtype)
    if "sample_weight" in options:
        options["sample_weight"][7] = 0
    # Where the class weights do not divide, a loss is as far from 1 as they are.
    scaled = [k for k in options if k == "sample_weight" or (k == "weight" and kind == "classes")]
    expected, slope = front_end(x, target, **options)
    unit = 64 * np.finfo(dtype).eps
    for exponent in EXPONENTS[dtype]:
        for weights in scaled:
            far = {**options, weights: np.ldexp(options[weights], exponent)}
            try:
                loss, gradient = front_end(x, target, **far)
            except Lacks as lack:
                pytest.skip(str(lack))
            np.testing.assert_allclose(loss, expected, rtol=unit, err_msg=f"{weights}, {exponent}")
            np.testing.assert_allclose(gradient, slope, rtol=unit, atol=unit / ROWS)


@pytest.mark.parametrize("weights", ["sample_weight", "weight"])
@pytest.mark.parametrize("kind", ["classes", "probabilities", "points"])
@pytest.mark.parametrize("dtype", EXPONENTS, ids=str)
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_losses_and_sums_are_as_large_as_their_weights(
    front_end: Any, dtype: Any, kind: str, weights: str
) -> None:
    """A power of two is exact in every operation."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(ROWS, CLASSES)).astype(dtype)
    target = rng.integers(0, CLASSES, ROWS)
    options: dict[str, Any] = {}
    if kind == "probabilities":
        target = rng.dirichlet(np.ones(CLASSES), ROWS).astype(dtype)
    if kind == "points":
        options["target_probabilities"] = rng.uniform(size=(ROWS, 2)).astype(dtype)
        target = np.stack([target, (target + 1) % CLASSES], axis=1)
    count = ROWS if weights == "sample_weight" else CLASSES
    given = (1 + np.arange(count) % 3).astype(dtype)
    largest = 110 if dtype == np.float32 else 900
    try:
        results = [
            front_end(x, target, **options, **{weights: np.ldexp(given, exponent)})
            for exponent in (0, largest, -largest)
        ]
    except Lacks as lack:
        pytest.skip(str(lack))
    for exponent, result in zip((largest, -largest), results[1:], strict=True):
        for scaled, one in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(scaled, np.ldexp(one, exponent))


@pytest.mark.parametrize("dtype", EXPONENTS, ids=str)
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_class_weight_that_is_no_number(front_end: Any, dtype: Any) -> None:
    """As PyTorch: the class's rows have its product with their losses, all others what they had."""
    for rows, classes in ((1, 3), (2, 10), (5, 10), (17, 3), (9, 65)):
        rng = np.random.default_rng(rows)
        x = rng.normal(size=(rows, classes)).astype(dtype)
        target = 1 + np.arange(rows) % 2
        weight = np.ones(classes, dtype)
        expected = front_end(x, target, weight=weight)
        for value in (np.inf, np.nan):
            weight[:2] = value, 1  # of no target
            for scaled, one in zip(front_end(x, target, weight=weight), expected, strict=True):
                np.testing.assert_array_equal(scaled, one)
            weight[:2] = 1, value
            loss, gradient = front_end(x, target, weight=weight)
            np.testing.assert_array_equal(loss[::2], np.full(len(loss[::2]), value))
            assert not np.isfinite(gradient[::2]).all(axis=1).any()
            for scaled, one in zip((loss, gradient), expected, strict=True):
                np.testing.assert_array_equal(scaled[1::2], one[1::2])
