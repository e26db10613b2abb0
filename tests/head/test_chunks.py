"""linear_cross_entropy in chunks: their boundaries, and the memory that they take."""

import resource
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import softstep as ss
from softstep.head import chunks
from softstep.head.workspace import Plan, borrowed
from tests.support.linear_cross_entropy_check import check_head
from tests.support.sanitizers import without_address_sanitizer

ROWS, CLASSES = 11, 45


def problem(seed: int, dtype: Any = np.float64) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(ROWS, 6)).astype(dtype)
    weight = rng.normal(size=(CLASSES, 6)).astype(dtype)
    return hidden, weight, rng.integers(0, CLASSES, ROWS)


@pytest.mark.parametrize("rows", [1, 2, ROWS - 1, ROWS, ROWS + 1])
def test_chunk_boundaries(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(chunks, "plan_chunks", lambda needs, *_: Plan(rows, needs.bytes(rows)))
    hidden, weight, target = problem(rows)
    bias = np.linspace(-1, 1, CLASSES)
    check_head(hidden, weight, target, bias=bias)
    # Neither rows nor columns are adjacent.
    check_head(hidden, np.repeat(weight, 2, axis=1)[:, ::2], target, bias=bias)
    target[[2, 5, 10]] = -100
    check_head(hidden, weight, target, bias=bias, reduction="none", upstream=np.arange(11.0))
    check_head(hidden, weight, np.full((ROWS, CLASSES), 1 / CLASSES), sample_weight=target >= 0)
    check_head(hidden, weight, np.full((ROWS, CLASSES), 1 / CLASSES, np.float32))


@pytest.mark.parametrize("target_kind", ["classes", "probabilities"])
def test_every_workspace_from_the_least(target_kind: str) -> None:
    hidden, weight, target = problem(3)
    if target_kind == "probabilities":
        target = np.random.default_rng(0).dirichlet(np.ones(CLASSES), ROWS).astype(np.float32)
    with pytest.raises(ValueError, match="for one row, got 1") as error:
        ss.linear_cross_entropy_with_grad(hidden, weight, target, workspace=1)
    least = int(str(error.value).split("at least ")[1].split()[0])
    with pytest.raises(ValueError, match="workspace"):
        ss.linear_cross_entropy_with_grad(hidden, weight, target, workspace=least - 1)
    for workspace in [*range(least, least + 3000, 101), 10_000, 1 << 20]:
        check_head(hidden, weight, target, workspace=workspace)


def large(dtype: Any = np.float32) -> tuple[Callable[..., Any], int]:
    """A call with the caller's buffers, and the bytes of its logits."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(300, 32)).astype(dtype)
    weight = rng.normal(size=(9000, 32)).astype(dtype)
    target = rng.integers(0, 9000, 300)
    target[::7] = -100
    buffers = {"dhidden": np.empty((300, 32), np.float32), "dbias": np.empty(9000, np.float32)}
    buffers["dweight"] = np.empty((9000, 32), np.float32)
    bias = np.zeros(9000, np.float32)

    def call(**options: Any) -> Any:
        return ss.linear_cross_entropy_with_grad(
            hidden, weight, target, bias=bias, **buffers, **options
        )

    return call, 300 * 9000 * 4


def peak(call: Callable[[], Any]) -> int:
    """Bytes that the call allocates through NumPy and Python, at most at a time."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("workspace", [500_000, 1 << 20, 5 << 20])
def test_workspace_bounds_the_memory(workspace: int, dtype: Any) -> None:
    call, logits = large(dtype)
    ss.release_workspace()
    used = peak(lambda: call(workspace=workspace))
    # Besides: the copies of targets and bias, indices, Python's objects.
    assert workspace / 2 < used < workspace + 100_000 < logits


def test_steady_state_allocates_nothing_large() -> None:
    call, logits = large()
    call()
    assert peak(call) < 100_000 < logits / 100
    ss.release_workspace()
    assert peak(call) > 1_000_000  # the measurement sees a workspace that is made


@without_address_sanitizer
def test_steady_state_has_no_page_faults() -> None:
    call, _ = large()
    for _ in range(3):
        call()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(5):
            call()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    # 11 MB of logits are 2600 pages of 4 KiB. Now and then other threads touch something first.
    assert min(faults() for _ in range(3)) < 100


def test_released_only_for_this_thread() -> None:
    call, _ = large()
    call()
    other = threading.Thread(target=ss.release_workspace)
    other.start()
    other.join()
    assert peak(call) < 100_000


def test_a_loan_inside_a_loan_is_another_buffer() -> None:
    dtype = np.dtype(np.float32)
    with borrowed(400, dtype) as outer:
        first = outer.array(100)
        first[...] = 1
        with borrowed(400, dtype) as inner:
            inner.array(100)[...] = 2
        assert (first == 1).all()


def test_python_threads_at_once() -> None:
    hidden, weight, target = problem(5)
    expected = ss.linear_cross_entropy_with_grad(hidden, weight, target, workspace=4000)
    wrong: list[int] = []

    def work(which: int) -> None:
        for _ in range(20):
            loss, gradients = ss.linear_cross_entropy_with_grad(
                hidden, weight, target, workspace=4000
            )
            same = np.array_equal(gradients.dweight, expected[1].dweight)  # type: ignore[arg-type]
            if loss != expected[0] or not same:
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": np.linspace(-1, 1, 3000), "accumulate": True, "shift": 1, "label_smoothing": 0.1},
    {"reduction": "none", "upstream": np.linspace(-1, 2, 70).reshape(7, 10), "softcap": 9.0},
    {"filter_eps": 0.02, "z_loss": 0.01, "extra": ["lse", "dtemperature"]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_bits_do_not_depend_on_threads(dtype: Any, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(7, 10, 16)).astype(dtype)
    weight = rng.normal(size=(3000, 16)).astype(dtype)
    target = rng.integers(0, 3000, (7, 10))
    target[2:4, 5] = -100
    computed = np.float64 if dtype == np.float64 else np.float32
    results = []
    for n in (1, 2, 3, 7):
        given = dict(options)
        if "accumulate" in given:
            given |= {"dweight": np.ones((3000, 16), computed), "bias": given["bias"].astype(dtype)}
        with ss.threads(n):
            loss, gradients, *_ = ss.linear_cross_entropy_with_grad(
                hidden, weight, target, workspace=600_000, **given
            )
        arrays = [np.asarray(loss), *(g for g in gradients if g is not None)]
        results.append([array.tobytes() for array in arrays])
    for other in results[1:]:
        assert other == results[0]


@pytest.mark.parametrize("tokens", [1, 2, 3])
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 2), (0,)])
def test_next_tokens_of_short_sequences(tokens: int, batch: tuple[int, ...]) -> None:
    hidden, weight = np.ones((*batch, tokens, 4)), np.ones((5, 4))
    target = np.zeros((*batch, tokens), int)
    loss, gradients = ss.linear_cross_entropy_with_grad(hidden, weight, target, shift=True)
    assert gradients.dhidden.shape == hidden.shape
    if tokens == 1 or 0 in batch:
        assert np.isnan(loss)
        return
    assert loss == pytest.approx(np.log(5))
    assert not gradients.dhidden[..., -1, :].any()
