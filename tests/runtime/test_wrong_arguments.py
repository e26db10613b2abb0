"""What fuzzing found: arguments of `_core` that no caller in Python gives it."""

from typing import Any

import numpy as np
import pytest

from softstep import _core

X = np.ones((2, 3), np.float32)
TARGET = np.array([0, 2])


@pytest.mark.parametrize("function", [_core.panel_copy, _core.panel_add])
@pytest.mark.parametrize("to", [[X, X], None, [], "panel", [[[]], 1], np.ma.masked_array(X)])
def test_a_panel_that_is_no_array(function: Any, to: Any) -> None:
    """NumPy cannot turn it into one: there is nothing whose shape could be asked."""
    with pytest.raises((TypeError, ValueError), match="to: expected"):
        function(to, X, None)


def test_a_flag_whose_truth_is_ambiguous() -> None:
    """An exception that stays set is raised by whatever comes next."""
    for flag in (np.ones(2, bool), np.empty((0, 5))):
        # Older NumPy warns of the empty one.
        with pytest.raises((ValueError, DeprecationWarning), match="truth value"):
            _core.cross_entropy(X, TARGET, with_gradient=flag)


@pytest.mark.parametrize("extra", [(1,), (None,), [b"lse"], np.ones((1, 2)), [["lse"]]])
def test_extra_results_that_are_no_names(extra: Any) -> None:
    with pytest.raises(TypeError, match="extra: expected a string"):
        _core.cross_entropy(X, TARGET, extra=extra)


@pytest.mark.parametrize("first", ["0", 0.5, [], object()])
def test_a_first_class_that_is_no_integer(first: Any) -> None:
    given = dict.fromkeys(["target_probabilities", "class_weight", "sample_weight"])
    with pytest.raises(TypeError, match="first: expected an integer"):
        _core.CrossEntropyCall.of_chunks(X.shape, X.dtype, TARGET, **given, first=first, total=3)


def test_an_array_without_a_name() -> None:
    with pytest.raises(TypeError):
        _core.as_array(X, None)  # type: ignore[arg-type]
