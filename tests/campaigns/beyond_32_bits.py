"""Arrays of more than 2^31 elements, rows or classes, and of more than 2^32 bytes.

    python -m tests.campaigns.beyond_32_bits [--only NAME ...]

Rows repeat a few different ones, so that every row of a result can be compared with that of its
pattern. Neighbours that are far apart, which need no memory, are a layout of the tests
(tests/support/cases.py). Needs up to 18 GiB, and skips what does not fit.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import softstep as ss
from tests import reference as ref
from tests.support.cases import assert_within, roundoff

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALF = [np.dtype(np.float16), BFLOAT16]
PATTERN = 1009  # different rows; a prime, so that no block of rows starts where a pattern does
CHUNK = 1 << 26
GIB = 1 << 30
MORE = 2**31 + 5000


def repeated(pattern: Any, count: int) -> Any:
    """Return ``count`` rows that repeat those of a pattern."""
    whole = np.empty((count, *pattern.shape[1:]), pattern.dtype)
    whole[: len(pattern)] = pattern
    done = len(pattern)
    while done < count:
        more = min(done, count - done)
        whole[done : done + more] = whole[:more]
        done += more
    return whole


def assert_repeats(whole: Any, pattern: Any, bound: Any) -> None:
    """Every row of ``whole`` is that of the pattern, within the bound of its elements.

    Most have the bits of the first such row, which is the faster look.
    """
    period, bits = len(pattern), whole.view(f"u{whole.itemsize}")
    step = max(1, CHUNK // bits[:period].size) * period
    for first in range(0, len(whole), step):
        part = bits[first : first + step]
        turns = len(part) // period
        repeats = part[: turns * period].reshape(turns, *bits[:period].shape)
        others = np.nonzero((repeats != bits[:period]).reshape(turns * period, -1).any(axis=1))[0]
        rows = [*others, *range(turns * period, len(part)), *(range(period) if not first else [])]
        at = first + np.array(rows, np.int64)
        error = np.abs(whole[at].astype(np.float32) - pattern[at % period])
        wrong = ~(error <= bound[at % period])
        if wrong.any():
            row = at[np.argwhere(wrong)[0][0]]
            raise AssertionError(f"row {row}: {whole[row]!r}, expected {pattern[row % period]!r}")


def drawn(shape: tuple[int, ...], dtype: Any) -> Any:
    return np.random.default_rng(0).normal(scale=2, size=shape).astype(dtype)


def granted(values: Any, dtype: Any, classes: int) -> Any:
    """The rounding of a result of half precision, and that of the sums behind it."""
    eps = float(ml_dtypes.finfo(dtype).eps)
    return (eps + roundoff(np.float32, classes)) * (1 + np.abs(values)) + 1e-7


def families(classes: int, elements: int, dtype: Any) -> None:
    """The functions of rows, in place, over more elements than an int has."""
    pattern = drawn((PATTERN, classes), dtype)
    exact, target = pattern.astype(np.float64), np.arange(PATTERN) * 7 % classes
    rows = elements // classes + 1
    x = repeated(pattern, rows)
    bound = granted(ref.logsumexp(exact), dtype, classes)
    assert_repeats(ss.logsumexp(x), ref.logsumexp(exact), bound)
    loss, gradient = ref.cross_entropy_with_grad(exact, target, reduction="none")
    targets = repeated(target.astype(np.int32), rows)
    losses, _ = ss.cross_entropy_with_grad(x, targets, reduction="none", out=x)
    assert_repeats(losses, loss, granted(loss, np.float32, classes))
    assert_repeats(x, gradient, granted(gradient, dtype, classes))
    del losses, targets
    x[...] = repeated(pattern, rows)
    assert_repeats(ss.softmax(x, out=x), y := ref.softmax(exact), granted(y, dtype, classes))


def float32_rows() -> None:
    pattern = drawn((PATTERN, 200), np.float32)
    x = repeated(pattern, MORE // 200)
    y = ref.log_softmax(pattern.astype(np.float64))
    ss.log_softmax(x, out=x)
    assert_repeats(x, y, granted(y, np.float32, 200))


def planes() -> None:
    pixels, pattern, target = 2**30, drawn((1024, 3), BFLOAT16), np.arange(1024) % 3
    x = np.empty((1, 3, pixels), BFLOAT16)
    for c in range(3):
        x[0, c] = repeated(pattern[:, c], pixels)
    targets = repeated(target.astype(np.int8), pixels)[None]
    exact = pattern.astype(np.float64)
    loss, gradient = ref.cross_entropy_with_grad(exact, target, reduction="sum")
    total, _ = ss.cross_entropy_with_grad(x, targets, axis=1, reduction="sum", out=x)
    assert_within(total, loss * (pixels // 1024), 1e-6 * total)
    for c in range(3):
        assert_repeats(x[0, c], gradient[:, c], granted(gradient[:, c], BFLOAT16, 3))


def broadcast_classes() -> None:
    classes = 2**31 + 9
    x = np.broadcast_to(np.float32(0.5), (1, classes))
    assert_within(ss.logsumexp(x), [0.5 + np.log(classes)], 1e-5)
    assert_within(ss.entropy(x), [np.log(classes)], 1e-5)
    try:  # indices have 32 bits in the kernels
        ss.cross_entropy(x, np.array([5]))
    except ValueError as error:
        assert str(error).startswith("target: class indices need fewer than 2^31 classes")
    else:
        raise AssertionError("expected an error")


def classes_in_memory() -> None:
    x = np.zeros((1, 2**31 + 40), np.float16)
    at = [0, 2**31 - 1, 2**31, x.shape[1] - 1]
    x[0, at] = 10
    y = ss.softmax(x, out=x)
    total = len(at) * np.exp(10.0) + (x.shape[1] - len(at))
    assert_within(y[0, at], np.full(len(at), np.exp(10.0) / total), 2.0**-24)
    others = np.setdiff1d(np.arange(2**31 - 50, 2**31 + 39), at)
    assert_within(y[0, others], np.full(len(others), 1 / total), 2.0**-24)


def broadcast_rows() -> None:
    rows = 2**31 + 77
    logits = drawn((1, 3), np.float32)
    x, targets = np.broadcast_to(logits, (rows, 3)), np.broadcast_to(np.int32(1), rows)
    one = ref.cross_entropy(logits.astype(np.float64), np.array([1]))
    total = ss.cross_entropy(x, targets, reduction="sum")
    assert_within(np.float64(total), one * rows, 1e-6 * total)
    assert_within(ss.cross_entropy(x, targets), one, 1e-6)


def other_losses() -> None:
    ones = repeated(np.array([1, -1], np.float32), MORE)
    near = np.broadcast_to(np.float32(0.5), MORE)
    total = ss.squared_error(ones, near, reduction="sum")
    assert_within(total, 1.25 * MORE, 1e-6 * total)
    assert_within(ss.l2_penalty(ones, 0.5), 0.5 * MORE, 1e-6 * MORE)


def binary_hinge() -> None:
    scores = repeated(np.array([1, -1], np.float32), MORE)
    total = ss.hinge(scores, np.broadcast_to(np.int8(1), MORE), reduction="sum")
    assert_within(total, MORE, 1e-6 * MORE)


def stepped(optimizer: str, dtype: Any, **options: Any) -> None:
    pattern = drawn((PATTERN,), dtype)
    small, large = pattern.copy(), repeated(pattern, MORE)
    slopes = np.broadcast_to(np.ones((), dtype), MORE)
    for params, grads in (([small], [slopes[:PATTERN]]), ([large], [slopes])):
        update = getattr(ss, optimizer)(params, lr=0.125, **options)
        for _ in range(2):
            update.step(grads)
        del update
    assert_repeats(large, small.astype(np.float32), np.zeros(PATTERN))


def head() -> None:
    vocabulary, depth = 2**21 + 3, 1024
    pattern = (drawn((PATTERN, depth), np.float32) / 32).astype(BFLOAT16)
    weight = repeated(pattern, vocabulary)
    hidden = drawn((3, depth), np.float32).astype(BFLOAT16)
    target = np.array([5, vocabulary // 2, vocabulary - 1])
    loss, gradients = ss.linear_cross_entropy_with_grad(hidden, weight, target, reduction="none")
    logits = repeated(pattern.astype(np.float64) @ hidden.T.astype(np.float64), vocabulary).T
    expected, slope = ref.cross_entropy_with_grad(logits, target, reduction="none")
    assert_within(loss, expected, 2e-3)
    for k in (0, 5, vocabulary // 2, 2**21 - 1, 2**21, vocabulary - 1):
        terms = slope[:, k, None] * hidden.astype(np.float64)
        bound = 0.02 * np.abs(terms).sum(axis=0)
        assert_within(gradients.dweight[k].astype(np.float32), terms.sum(axis=0), bound)


# name: GiB that it takes, check
CASES: dict[str, tuple[int, Callable[[], None]]] = {
    **{
        f"rows of {classes}, {dtype}": (11, partial(families, classes, MORE, dtype))
        for classes in (3, 10, 100, 1000)
        for dtype in HALF
    },
    "2^32 elements": (13, partial(families, 1000, 2**32 + 5000, HALF[0])),
    "rows of float32": (13, float32_rows),
    "planes": (10, planes),
    "a row of broadcast classes": (10, broadcast_classes),
    "a row of classes in memory": (11, classes_in_memory),
    "broadcast rows": (18, broadcast_rows),
    "other losses": (12, other_losses),
    "hinge": (28, binary_hinge),
    **{
        f"SGD, {dtype}": (9, partial(stepped, "SGD", dtype, weight_decay=0.01, max_norm=1e6))
        for dtype in HALF
    },
    "SGD with momentum": (
        14,
        partial(stepped, "SGD", BFLOAT16, momentum=0.9, nesterov=True, state_dtype="bfloat16"),
    ),
    "AdamW": (18, partial(stepped, "AdamW", BFLOAT16, max_norm=1e6, state_dtype="bfloat16")),
    "linear head": (14, head),
}


def available() -> int:
    """Bytes of memory that are free, or become free where they are wanted."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) << 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], choices=CASES)
    failed = 0
    for name in parser.parse_args().only or CASES:
        gib, check = CASES[name]
        if available() < gib * GIB:
            print(f"{name}: skipped, needs {gib} GiB", flush=True)
            continue
        start = time.perf_counter()
        try:
            check()
            outcome = "right"
        except (AssertionError, MemoryError) as error:
            failed, outcome = failed + 1, f"WRONG: {error!r}"
        print(f"{name}: {outcome}, {time.perf_counter() - start:.0f} s", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
