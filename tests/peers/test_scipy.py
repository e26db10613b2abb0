"""SciPy's tests of softmax and its logarithm, and of logsumexp without weights and signs."""

from typing import Any

import pytest

import softstep as ss
from tests.peers.suite import cases_of, load

pytest.importorskip("scipy", minversion="1.17")
module = load("scipy.special.tests.test_logsumexp")


def logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return ss.logsumexp(a, axis=axis, keepdims=keepdims)


def over_all(function: Any) -> Any:
    """SciPy's axis is None by default."""
    return lambda x, axis=None: function(x, axis=axis)


vars(module).update(
    logsumexp=logsumexp, softmax=over_all(ss.softmax), log_softmax=over_all(ss.log_softmax)
)
# What parametrizes the tests of dtypes: no complex numbers here.
module.dtypes[:] = [name for name in module.dtypes if not name.startswith("complex")]
WEIGHTS = "logsumexp has no weights and no signs here"
COMPLEX = "is of complex numbers"
LEFT_OUT = {
    "TestLogSumExp.test_logsumexp_b": WEIGHTS,
    "TestLogSumExp.test_logsumexp_b_shape": WEIGHTS,
    "TestLogSumExp.test_logsumexp_b_zero": WEIGHTS,
    "TestLogSumExp.test_logsumexp_shape": WEIGHTS,
    "TestLogSumExp.test_logsumexp_sign": WEIGHTS,
    "TestLogSumExp.test_logsumexp_sign_shape": WEIGHTS,
    "TestLogSumExp.test_logsumexp_sign_zero": WEIGHTS,
    "TestLogSumExp.test_dtypes_ab": WEIGHTS,
    "TestLogSumExp.test_gh22903": WEIGHTS,
    "TestLogSumExp.test_gh23548": WEIGHTS,
    "TestLogSumExp.test_no_writeback": WEIGHTS,
    "TestLogSumExp.test_logsumexp_complex_sign": COMPLEX,
    "TestLogSumExp.test_gh21610": COMPLEX,
    "TestLogSumExp.test_gh21709_small_imaginary": COMPLEX,
    "TestLogSumExp.test_gh22601_infinite_elements": COMPLEX,
    "TestLogSumExp.test_device": "is of other libraries' devices",
    "test_wrap_radians": "is of a function of SciPy's own",
}
globals().update(cases_of(module, LEFT_OUT))
