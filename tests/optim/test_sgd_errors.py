"""SGD refuses what does not fit, names it, and leaves everything as it was."""

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import softstep as ss
from tests.support.cases import read_only


def split_items(x: Any) -> Any:
    """Elements of a record of 9 bytes."""
    record = np.zeros(x.shape, [("x", x.dtype), ("flag", np.int8)])
    return record["x"]


def test_the_decay_factor_stays_between_0_and_1() -> None:
    p = np.ones(3)
    for options in ({}, {"decoupled": True}, {"momentum": 0.9}):
        for lr, decay in [(1.0, 1.0), (10.0, 0.1), (0.5, 2.5)]:
            with pytest.raises(ValueError, match=r"weight_decay.*\(0, 1\)"):
                ss.SGD([p], lr, weight_decay=decay, **options)
        sgd = ss.SGD([p], 0.1, weight_decay=0.5, **options)
        with pytest.raises(ValueError, match=r"weight_decay.*\(0, 1\)"):
            sgd.step([p.copy()], lr=2.0)
        late = ss.SGD([p], lambda step: 4.0, weight_decay=0.5, **options)
        with pytest.raises(ValueError, match=r"weight_decay.*\(0, 1\)"):
            late.step([p.copy()])
    assert (p == 1).all()


def test_a_refused_step_changes_nothing(isa: str, rng: np.random.Generator) -> None:
    """Neither the parameters before the bad one, nor any momentum, nor the count of steps."""
    options = {"momentum": 0.9, "weight_decay": 0.01}
    rates = [0.1, 0.2, 0.3]
    params = [rng.normal(size=shape).astype(np.float32) for shape in [(40,), (2, 5)]]
    untroubled = [p.copy() for p in params]
    sgd = ss.SGD(params, lambda step: rates[step], **options)
    twin = ss.SGD(untroubled, lambda step: rates[step], **options)
    good, last = (rng.normal(size=p.shape).astype(np.float32) for p in params)
    for optimizer in (sgd, twin):
        optimizer.step([good, last])
    refused: list[tuple[Any, Any, str]] = [
        ([good, last[:1]], ValueError, r"^grads\[1\]: expected shape \(2, 5\), got \(1, 5\)"),
        ([good, last.astype(np.float64)], TypeError, r"^grads\[1\]: expected float32, got float64"),
        (5, TypeError, r"^grads: expected a list of arrays, one for each parameter, got int"),
        ([good], ValueError, r"^grads: expected 2 .*got 1"),
        ([good, last, last], ValueError, r"^grads: expected 2 .*got 3"),
        ([good, params[1]], ValueError, r"^grads\[1\]: overlaps params\[1\]"),
        ([params[0][::-1], last], ValueError, r"^grads\[0\]: overlaps params\[0\]"),
    ]
    for grads, error, message in refused:
        with pytest.raises(error, match=message):
            sgd.step(grads)
    for lr in (-0.1, np.nan, np.inf, 200.0):
        with pytest.raises(ValueError, match=r"^lr.*got "):
            sgd.step([good, last], lr=lr)
    for _ in range(2):
        for p, q in zip(params, untroubled, strict=True):
            np.testing.assert_array_equal(p, q)
        sgd.step([good, last])
        twin.step([good, last])


def test_errors_name_the_argument() -> None:
    p, whole = np.zeros(4), np.zeros(10)
    bad: list[tuple[Any, Any, str]] = [
        ([p, p], ValueError, r"^params\[1\].*overlap"),
        ([whole[:6], p, whole[5:]], ValueError, r"^params\[2\].*overlap"),
        ([as_strided(np.zeros(1), (4,), (0,))], ValueError, r"^params\[0\]: .*overlap"),
        ([p, split_items(whole)], ValueError, r"^params\[1\]: expected strides .*multiples"),
        ([p, read_only(p)], ValueError, r"^params\[1\].*(read-only|writ)"),
        ([np.zeros(3, int)], TypeError, r"^params\[0\]: expected .*float32.*got int64"),
        ([p, [1.0, 2.0]], TypeError, r"^params\[1\]: expected .*got list"),
    ]
    for params, error, message in bad:
        with pytest.raises(error, match=message):
            ss.SGD(params, 0.1)
    for options, name in [
        ({"momentum": -0.1}, "momentum"),
        ({"momentum": np.nan}, "momentum"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"nesterov": True}, "nesterov"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.5}, "nesterov"),
    ]:
        with pytest.raises(ValueError, match=f"^{name}"):
            ss.SGD([p], 0.1, **options)
    for lr in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"^lr: expected .*got "):
            ss.SGD([p], lr)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("rule", ["SGD", "AdamW"])
def test_masked_arrays(rule: str, dtype: Any) -> None:
    """Also where a plain array of the same layout, or in the same memory, was stepped before."""
    p, g = np.ones(4, dtype), np.ones(4, dtype)
    masked = np.ma.masked_array(g, [True, False, False, False], copy=False)
    with pytest.raises(TypeError, match=r"^params\[0\]: expected an array without a mask, got"):
        getattr(ss, rule)([np.ma.masked_array(p)], 0.1)
    optimizer = getattr(ss, rule)([p], 0.1)
    for zero_grads in (False, True):
        for _ in range(2):
            with pytest.raises(TypeError, match=r"^grads\[0\]: expected an array without a mask"):
                optimizer.step([masked], zero_grads=zero_grads)
            optimizer.step([g], zero_grads=zero_grads)
    assert optimizer.steps == 4
