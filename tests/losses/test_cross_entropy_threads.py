"""cross_entropy with many threads: equal bits, and targets that another thread is changing."""

import threading
from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep import _core
from tests.support.cross_entropy_check import extras_for


@pytest.mark.parametrize("shape, axis", [((40_011, 10), 1), ((901, 1003), 1), ((3, 7, 99, 91), 1)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_bits_do_not_depend_on_the_number_of_threads(
    rng: np.random.Generator, shape: tuple[int, ...], axis: int, dtype: Any
) -> None:
    x = rng.normal(scale=3, size=shape).astype(dtype)
    batch = tuple(np.delete(shape, axis))
    index = rng.integers(0, shape[axis], (*batch, 3))
    q = rng.uniform(size=index.shape).astype(np.float32)
    options = {"softcap": 5.0, "label_smoothing": 0.1, "axis": axis, "z_loss": 0.01}
    options |= {"extra": ("lse", "entropy", "argmax", "dtemperature"), "smoothing": "allowed"}

    def bits() -> list[bytes]:
        every = [*ss.cross_entropy_with_grad(x, index[..., 0], **options)]
        every += ss.cross_entropy_with_grad(x, index, target_probabilities=q, **options)
        arrays = [a for a in every if not isinstance(a, dict)]
        arrays += [a for results in every if isinstance(results, dict) for a in results.values()]
        arrays.append(ss.softmax(x, axis=axis, where=x > -1))
        return [np.asarray(a).tobytes() for a in arrays]

    with ss.threads(1):
        expected = bits()
    for n in (2, 3, 7):
        with ss.threads(n):
            assert bits() == expected, f"{n} threads"


@pytest.mark.parametrize("kind", ["classes", "sparse"])
@pytest.mark.parametrize("bad", [2**40, -7])
def test_targets_that_change_meanwhile(rng: np.random.Generator, kind: str, bad: int) -> None:
    """Each target is read once: an IndexError or a right result, never a class out of range."""
    x = rng.normal(size=(20_000, 5))
    shape = (20_000,) if kind == "classes" else (20_000, 3)
    valid = rng.integers(0, 5, shape)
    target = valid.copy()
    options: dict[str, Any] = {"target": target}
    if kind == "sparse":
        options["target_probabilities"] = rng.uniform(size=shape)
    names = extras_for(target, options)
    done = threading.Event()

    def flip() -> None:
        while not done.is_set():
            target.flat[::97] = bad
            target[...] = valid

    expected = ss.cross_entropy(x, extra=names, **options)
    other = threading.Thread(target=flip)
    other.start()
    outcomes = set()
    try:
        for _ in range(40):
            try:
                loss, results = ss.cross_entropy(x, extra=names, **options)
            except IndexError as error:
                assert str(error).startswith("target: row ")
                outcomes.add("error")
            else:
                assert loss == expected[0]
                for name in names:
                    np.testing.assert_array_equal(results[name], expected[1][name], err_msg=name)
                outcomes.add("result")
    finally:
        done.set()
        other.join()
    assert outcomes


@pytest.mark.parametrize("kind", ["classes", "sparse"])
@pytest.mark.parametrize("bad", [2**40, -7, 1])
def test_no_target_is_read_after_the_kernel(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, kind: str, bad: int
) -> None:
    """The same race, decided: the targets change as soon as the kernel has returned."""
    x = rng.normal(size=(50, 5))
    shape = (50,) if kind == "classes" else (50, 3)
    target = rng.integers(0, 5, shape)
    options: dict[str, Any] = {"target": target}
    if kind == "sparse":
        options["target_probabilities"] = rng.uniform(size=shape)
    names = extras_for(target, options)
    loss, expected = ss.cross_entropy(x, extra=names, **options)
    kernel = _core.cross_entropy

    def and_then_they_change(*arguments: Any, **named: Any) -> Any:
        results = kernel(*arguments, **named)
        target[...] = bad
        return results

    monkeypatch.setattr(_core, "cross_entropy", and_then_they_change)
    same, results = ss.cross_entropy(x, extra=names, **options)
    assert same == loss
    for name in names:
        np.testing.assert_array_equal(results[name], expected[name], err_msg=name)
