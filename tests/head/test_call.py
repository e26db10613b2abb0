"""`_core.CrossEntropyCall` called directly: what does not fit is refused, nothing is written."""

from typing import Any

import numpy as np
import pytest

from softstep import _core
from tests.support.callers import CALLERS, every_one


def call(**changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "shape": (4, 20),
        "dtype": np.dtype(np.float32),
        "target": np.array([0, 19, -100, 3]),
        "target_probabilities": None,
        "class_weight": None,
        "sample_weight": None,
    }
    return _core.CrossEntropyCall.of_chunks(**{**arguments, **changes})


def logits(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    "x, begin",
    [
        (logits(5, 20), 0),
        (logits(2, 20), 3),
        (logits(2, 20), -1),
        (logits(2, 19), 0),
        (logits(2, 20, dtype=np.float64), 0),
        (logits(2, 20, dtype=np.int32), 0),
        (np.zeros(161, np.uint8)[1:].view(np.float32).reshape(2, 20), 0),
        (logits(2, 20).byteswap().view(np.dtype(np.float32).newbyteorder()), 0),
    ],
)
def test_chunks_that_do_not_fit(x: Any, begin: int) -> None:
    with pytest.raises(ValueError, match=r"^logits: expected aligned rows of 20 classes"):
        call().run(x, begin, None, True)
    assert not x.any()
    part = call(first=0, total=20)
    with pytest.raises(ValueError, match=r"^logits: expected"):
        part.sweep(x, begin)
    sums = part.sweep(logits(2, 20))
    with pytest.raises(ValueError, match=r"^(logits|sums): expected"):
        part.finish(x, sums, None, begin)


def test_what_is_read_only_is_not_written() -> None:
    x = logits(2, 20)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        call().run(x, 0, None, True)
    part = call(first=0, total=20)
    sums = part.sweep(x)
    with pytest.raises(ValueError, match="read-only"):
        part.finish(x, sums, x)
    with pytest.raises(ValueError, match=r"^sums: expected"):
        part.finish(x, sums.T, None)
    sums.flags.writeable = False
    with pytest.raises(ValueError, match=r"^sums: expected"):
        part.shift(sums, np.zeros(2))
    assert call().run(x, 0, None, False) == pytest.approx(2 / 3 * np.log(20), rel=1e-6)


def test_rows_and_options_that_are_none() -> None:
    with pytest.raises(IndexError, match=r"^rows: expected rows in"):
        call().kept(np.array([0, 4]))
    with pytest.raises(IndexError, match=r"^begin, end: expected rows in"):
        call().classes(0, 5)
    with pytest.raises(TypeError, match=r"^options: expected those of the cross-entropy, got"):
        call(smooothing="uniform")
    with pytest.raises(ValueError, match=r"^class_weight: expected shape \(20,\)"):
        call(class_weight=np.ones(19, np.float32))
    with pytest.raises(ValueError, match=r"^logits: expected at most the 15 classes from class 5"):
        call(first=5, total=20)


def test_chunks_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(4, 20)).astype("f"), rng.uniform(size=20).astype("f")
    whole = call(class_weight=weight)
    kept = np.flatnonzero(whole.counts)
    assert kept.tolist() == [0, 1, 3]
    whole = whole.kept(kept)
    rows = x[kept]
    parts = [whole.run(rows[k : k + 1].copy(), k, None, True) for k in range(3)]
    expected, _ = _core.cross_entropy(x, np.array([0, 19, -100, 3]), weight=weight)
    assert sum(parts) == pytest.approx(expected, rel=1e-6)
    assert whole.classes(1, 3).tolist() == [19, 3]


def test_threads_share_a_call_that_never_changes(fast_switches: None) -> None:
    rng = np.random.default_rng(0)
    rows, classes = 300, 20
    x = rng.normal(size=(rows, classes)).astype("f")
    shared = call(
        shape=(rows, classes),
        target=rng.integers(classes, size=rows),
        sample_weight=rng.uniform(size=rows).astype("f"),
    )
    orders = [rng.permutation(rows)[: 40 + i] for i in range(CALLERS)]

    def results(i: int) -> tuple[float, bytes, float, list[int]]:
        own = shared.kept(orders[i]).divided_by(1.0 + i)
        dlogits = x[orders[i]]
        return (
            own.run(dlogits, 0, None, True),
            dlogits.tobytes(),
            shared.run(x, 0, None, False),
            own.classes(0, 40).tolist(),
        )

    expected = [results(i) for i in range(CALLERS)]
    assert expected[0] != expected[1]
    found = every_one(lambda i: [results(i) for _ in range(50)])
    assert found == [[result] * 50 for result in expected]
