"""linear_cross_entropy_with_grad: which gradients, the caller's buffers, error messages."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep import _core

X, W, T = np.ones((4, 3)), np.ones((9, 3)), np.array([0, 1, 2, 8])
NAMES = ("hidden", "weight", "bias")
SHAPES = {"hidden": (4, 3), "weight": (9, 3), "bias": (9,)}


@pytest.fixture
def operands(rng: np.random.Generator) -> dict[str, Any]:
    return {name: rng.normal(size=shape) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("workspace", [None, 1200])
def test_each_gradient_alone(operands: dict[str, Any], workspace: int | None) -> None:
    loss, every = ss.linear_cross_entropy_with_grad(**operands, target=T)
    for name in NAMES:
        alone, gradients = ss.linear_cross_entropy_with_grad(
            **operands, target=T, grads=[name], workspace=workspace
        )
        assert alone == pytest.approx(loss, rel=1e-14)
        for other in NAMES:
            gradient = getattr(gradients, f"d{other}")
            if other == name:
                np.testing.assert_allclose(gradient, getattr(every, f"d{name}"), atol=1e-14)
            else:
                assert gradient is None
    none = ss.linear_cross_entropy_with_grad(**operands, target=T, grads=())
    assert none[1] == (None, None, None) and none[0] == pytest.approx(loss, rel=1e-14)


def test_no_bias_no_gradient_of_it(operands: dict[str, Any]) -> None:
    del operands["bias"]
    gradients = ss.linear_cross_entropy_with_grad(**operands, target=T)[1]
    assert gradients.dbias is None and gradients.dweight is not None


@pytest.mark.parametrize("workspace", [None, 1200])
@pytest.mark.parametrize("accumulate", [False, True, ("weight",), "hidden"])
def test_buffers(operands: dict[str, Any], accumulate: Any, workspace: int | None) -> None:
    target = np.array([0, -100, 2, 8])
    fresh = ss.linear_cross_entropy_with_grad(**operands, target=target)[1]
    buffers = {f"d{name}": np.full(shape, 7.0) for name, shape in SHAPES.items()}
    gradients = ss.linear_cross_entropy_with_grad(
        **operands, target=target, **buffers, accumulate=accumulate, workspace=workspace
    )[1]
    names = NAMES if accumulate is True else (accumulate or ())
    for name in NAMES:
        buffer = buffers[f"d{name}"]
        assert getattr(gradients, f"d{name}") is buffer
        before = 7.0 if name in names else 0.0
        np.testing.assert_allclose(buffer, before + getattr(fresh, f"d{name}"), atol=1e-14)


def test_parts_of_a_batch_add_up(operands: dict[str, Any]) -> None:
    whole = ss.linear_cross_entropy_with_grad(**operands, target=T)[1]
    hidden = operands.pop("hidden")
    dweight, dbias = np.zeros((9, 3)), np.zeros(9)
    for part in (slice(0, 3), slice(3, 4)):
        ss.linear_cross_entropy_with_grad(
            hidden[part], **operands, target=T[part], denominator=4, accumulate=True,
            dweight=dweight, dbias=dbias,
        )  # fmt: skip
    np.testing.assert_allclose(dweight, whole.dweight, atol=1e-14)
    np.testing.assert_allclose(dbias, whole.dbias, atol=1e-14)


read_only = np.zeros((9, 3))
read_only.flags.writeable = False
ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"hidden": np.ones((4, 2))}, ValueError, r"weight: expected shape \(V, 2\) for hidden"),
    ({"hidden": 1.0}, ValueError, "hidden: expected shape"),
    ({"hidden": X.astype(complex)}, TypeError, "hidden: expected float32.*complex128"),
    ({"weight": W.astype(np.float32)}, TypeError, "weight: expected float64 as hidden's"),
    ({"hidden": X.astype("f4")}, TypeError, "weight: expected float32, float16 or bfloat16"),
    ({"bias": np.ones(8)}, ValueError, r"bias: expected shape \(9,\), got \(8,\)"),
    ({"bias": np.ones(9, np.float32)}, TypeError, "bias: expected float64"),
    ({"target": [0, 1, 2]}, ValueError, r"target: expected shape \(4,\), got \(3,\)"),
    ({"target": [0, 1, 9, 2]}, IndexError, "target: row 2 has the value 9"),
    ({"target": np.ones((4, 8))}, ValueError, "target: expected integers of shape"),
    ({"class_weight": np.ones(8)}, ValueError, r"class_weight: expected shape \(9,\)"),
    ({"class_weight": -np.ones(9)}, ValueError, "class_weight, sample_weight: .* got -4"),
    ({"sample_weight": np.ones(3)}, ValueError, r"sample_weight: expected shape \(4,\)"),
    ({"label_smoothing": 2.0}, ValueError, "label_smoothing: expected"),
    ({"reduction": "max"}, ValueError, "reduction: expected"),
    ({"workspace": 0}, ValueError, "workspace: expected a number of bytes above 0, got 0"),
    ({"workspace": 1.5}, TypeError, "workspace: expected bytes as an int"),
    ({"grads": ["logits"]}, ValueError, "grads: expected names among .* got 'logits'"),
    ({"grads": 3}, TypeError, "grads: expected names, got int"),
    ({"accumulate": ["weight"]}, ValueError, "accumulate: 'weight' needs a buffer dweight"),
    ({"grads": ["bias"], "dweight": W.copy()}, ValueError, "dweight: .* grads has no 'weight'"),
    ({"bias": None, "dbias": np.ones(9)}, ValueError, "dbias: .* there is no bias"),
    ({"dweight": [[1.0]]}, TypeError, "dweight: expected a NumPy array, got list"),
    ({"dweight": np.ones((9, 2))}, ValueError, r"dweight: expected shape \(9, 3\)"),
    ({"dweight": np.ones((9, 3), "f4")}, TypeError, "dweight: expected float64, got float32"),
    ({"dweight": np.ones((3, 9)).T}, ValueError, "dweight: expected a C-contiguous"),
    ({"dweight": read_only}, ValueError, "dweight: expected a writeable"),
    ({"dweight": W}, ValueError, "dweight: expected memory of its own, it overlaps weight"),
    ({"upstream": np.ones(4)}, ValueError, r"upstream: expected shape \(\), got \(4,\)"),
    ({"upstream": 1.0, "reduction": "none"}, ValueError, r"upstream: expected shape \(4,\)"),
    ({"upstream": "x"}, TypeError, "upstream: expected real numbers"),
    ({"hidden": np.ones(3), "target": 0, "shift": True}, ValueError, "shift: expected hidden"),
    ({"shift": -1}, ValueError, "shift: expected at least 0 positions, got -1"),
    ({"shift": 1.0}, TypeError, "shift: expected a number of positions, got 1.0"),
    ({"target": [0, 1, 2], "shift": True}, ValueError, r"target: expected shape \(4,\)"),
]


@pytest.mark.parametrize("arguments, error, message", ERRORS, ids=[e[2] for e in ERRORS])
def test_errors_before_anything_is_written(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    buffers = {"dhidden": np.full((4, 3), 7.0), "dweight": np.full((9, 3), 7.0)}
    kept = dict(buffers)
    call: dict[str, Any] = {"hidden": X, "weight": W, "target": T, "bias": np.ones(9), **buffers}
    if {"grads", "accumulate"} & set(arguments) or call["hidden"].shape != np.shape(
        arguments.get("hidden", X)
    ):
        del call["dhidden"], call["dweight"]
    if "hidden" in arguments and "dweight" in call:
        del call["dhidden"]
    with pytest.raises(error, match=message):
        ss.linear_cross_entropy_with_grad(**{**call, **arguments})
    assert all((buffer == 7).all() for buffer in kept.values())


def test_the_kernels_of_panels_check_their_arguments() -> None:
    to, source = np.zeros((4, 3)), np.ones((2, 3))
    _core.panel_add(to, source, np.array([1, 3]))
    np.testing.assert_array_equal(to.sum(axis=1), [0, 3, 0, 3])
    with pytest.raises(IndexError, match=r"index: expected increasing rows in \[0, 4\), got 1"):
        _core.panel_add(to, source, np.array([1, 1]))
    with pytest.raises(IndexError, match="index: expected rows"):
        _core.panel_copy(source, to, np.array([0, 4]))
    with pytest.raises(ValueError, match="source: expected the shape of to"):
        _core.panel_add(to, source, None)
    with pytest.raises(ValueError, match="source: expected rows of adjacent elements"):
        _core.panel_copy(to, np.ones((3, 4)).T, None)
    with pytest.raises(ValueError, match="to: overlaps source"):
        _core.panel_add(to[:2], to[1:3], None)
    with pytest.raises(ValueError, match="to: expected 2 dimensions, got 1"):
        _core.panel_copy(to[0], source[0][None], None)
