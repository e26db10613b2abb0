"""NumPy's habits in every function: scalars, masked arrays, classes that a mask leaves out."""

from typing import Any

import numpy as np
import pytest

import softstep as ss

MASKED = np.ma.array([1.0, 2.0], mask=[False, True])
CALLS: dict[str, Any] = {
    "softmax": lambda x: ss.softmax(x),
    "log_softmax": lambda x: ss.log_softmax(x),
    "logsumexp": lambda x: ss.logsumexp(x),
    "entropy": lambda x: ss.entropy(x),
    "where": lambda x: ss.softmax([1.0, 2.0], where=x),
    "dy": lambda x: ss.softmax_backward(x, [0.5, 0.5]),
    "y": lambda x: ss.log_softmax_backward([0.5, 0.5], x),
    "logits": lambda x: ss.cross_entropy(x, 0),
    "target": lambda x: ss.cross_entropy([1.0, 2.0], x),
    "weight": lambda x: ss.cross_entropy([1.0, 2.0], 0, weight=x),
    "sample_weight": lambda x: ss.cross_entropy(np.eye(2), [0, 1], sample_weight=x),
    "extra": lambda x: ss.cross_entropy(x, 0, extra="lse"),
    "scores": lambda x: ss.hinge(x, 0),
    "signs": lambda x: ss.hinge([1.0, 2.0], x),
    "predictions": lambda x: ss.squared_error(x, [1.0, 2.0]),
    "hidden": lambda x: ss.linear_cross_entropy(x, np.eye(2), 0),
    "bias": lambda x: ss.linear_cross_entropy(np.eye(2), np.eye(2), [0, 1], bias=x),
    "labels": lambda x: ss.linear_cross_entropy(np.eye(2), np.eye(2), x),
}


@pytest.mark.parametrize("name", CALLS)
def test_masked_arrays_are_refused(name: str) -> None:
    given = [MASKED, [np.ma.array(1.0, mask=True), 2.0], [1.0, np.ma.masked], (1.0, np.ma.masked)]
    for masked in given:
        with pytest.raises(TypeError, match=r"without a mask, got a masked array.*\.filled"):
            CALLS[name](masked)


def test_a_masked_output_is_refused() -> None:
    out = np.ma.zeros(2)
    with pytest.raises(TypeError, match=r"out: .*masked array"):
        ss.softmax([1.0, 2.0], out=out)
    assert not out.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("wrap", [lambda v: v, np.array])
def test_scalars(dtype: Any, wrap: Any) -> None:
    one, row = wrap(dtype(1)), np.ones(2, dtype)
    results = [
        ss.softmax(one),
        ss.log_softmax(one),
        ss.logsumexp(one),
        ss.entropy(one),
        ss.softmax(one, where=True),
        ss.softmax_backward(one, one),
        ss.log_softmax_backward(one, one),
        ss.cross_entropy(row, 0, reduction="none"),
        ss.cross_entropy(row, 0, reduction="none", extra="lse")[1]["lse"],
        ss.hinge(one, 1, reduction="none"),
        ss.hinge(row, 1, reduction="none"),
        ss.hinge_with_grad(one, 1)[1],
        ss.squared_error(one, one, reduction="none"),
        ss.squared_error_with_grad(one, one)[1],
        ss.linear_cross_entropy(row, np.ones((3, 2), dtype), 0, reduction="none"),
    ]
    assert [type(result) for result in results] == [dtype] * len(results)
    out = np.zeros((), dtype)
    assert ss.softmax(one, out=out) is out and out == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("classes", [3, 40, 1041])
def test_what_a_mask_leaves_out_is_zero_beside_nan(isa: str, dtype: Any, classes: int) -> None:
    for bad in (np.nan, np.inf):
        x = np.ones((18, classes), dtype)
        where = np.arange(classes) % 3 != 1
        x[:, 0], x[1, 1] = bad, bad
        for given in (x, np.asfortranarray(x)):
            assert (ss.softmax(given, where=where)[:, ~where] == 0).all()
            assert (ss.log_softmax(given, where=where)[:, ~where] == -np.inf).all()
            for backward in (ss.softmax_backward, ss.log_softmax_backward):
                assert (backward(given, x, where=where)[:, ~where] == 0).all()
            assert np.isnan(ss.softmax(given, where=where)[:, 0]).all()
