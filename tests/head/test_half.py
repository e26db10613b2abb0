"""linear_cross_entropy of bfloat16 and float16: computed and summed in float32."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import softstep as ss
from tests.support.linear_cross_entropy_check import check_head

HALF = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
SINGLE = np.dtype(np.float32)


@pytest.mark.parametrize("workspace", [None, 6000])
@pytest.mark.parametrize("hidden_dtype", [*HALF, SINGLE], ids=str)
@pytest.mark.parametrize("weight_dtype", [*HALF, SINGLE], ids=str)
def test_gradients_in_float32(
    product_isa: str,
    rng: np.random.Generator,
    hidden_dtype: Any,
    weight_dtype: Any,
    workspace: int | None,
) -> None:
    hidden = rng.normal(size=(3, 7, 6)).astype(hidden_dtype)
    weight = rng.normal(size=(37, 6)).astype(weight_dtype)
    bias = rng.normal(size=37).astype(weight_dtype)
    target = rng.integers(0, 37, (3, 7))
    target[0, 2:4] = target[2, 6] = -100
    for accumulate in (False, True):
        dhidden = np.zeros((3, 7, 6), np.float32)
        check_head(
            hidden, weight, target, bias=bias, workspace=workspace, dhidden=dhidden,
            accumulate=accumulate,
        )  # fmt: skip
    check_head(hidden, weight, target, grads=["weight", "bias"], bias=bias, shift=True)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_dhidden_is_rounded_once(rng: np.random.Generator, dtype: Any) -> None:
    hidden = rng.normal(size=(19, 8)).astype(dtype)
    weight = rng.normal(size=(50, 8)).astype(dtype)
    target = rng.integers(0, 50, 19)
    wide = np.empty((19, 8), np.float32)
    for workspace in (None, 6000):
        options: dict[str, Any] = {"workspace": workspace}
        ss.linear_cross_entropy_with_grad(hidden, weight, target, dhidden=wide, **options)
        loss, gradients = ss.linear_cross_entropy_with_grad(hidden, weight, target, **options)
        assert isinstance(loss, float)
        assert gradients.dhidden is not None and gradients.dhidden.dtype == dtype
        assert gradients.dweight is not None and gradients.dweight.dtype == np.float32
        np.testing.assert_array_equal(gradients.dhidden, wide.astype(dtype))
        before = gradients.dhidden.copy()
        ss.linear_cross_entropy_with_grad(
            hidden, weight, target, dhidden=gradients.dhidden, accumulate=True, **options
        )
        expected = (before.astype(np.float32) + wide).astype(dtype)
        np.testing.assert_array_equal(gradients.dhidden, expected)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_the_same_as_widened_operands(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    hidden = rng.normal(size=(6, 8)).astype(dtype)
    weight = rng.normal(size=(50, 8)).astype(dtype)
    target = rng.integers(0, 50, 6)
    half = ss.linear_cross_entropy(hidden, weight, target, reduction="none")
    wide = ss.linear_cross_entropy(
        hidden.astype(np.float32), weight.astype(np.float32), target, reduction="none"
    )
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, wide)


def test_buffers_have_the_computed_dtype() -> None:
    hidden, weight = np.ones((2, 3), np.float16), np.ones((4, 3), np.float16)
    with pytest.raises(TypeError, match="dweight: expected float32, got float16"):
        ss.linear_cross_entropy_with_grad(hidden, weight, [0, 1], dweight=weight.copy())
    with pytest.raises(TypeError, match="dhidden: expected float16 or float32, got float64"):
        ss.linear_cross_entropy_with_grad(hidden, weight, [0, 1], dhidden=np.ones((2, 3)))
