"""The memory roofline: the simplest loops over a case's arrays, on the package's threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import softstep._core as _core
from softstep.bench.arrays import aligned_empty, is_half
from softstep.bench.contender import ROOFLINE, WRITTEN, Call, Contender, Outcome

Array = NDArray[Any]


def read_stream(x: Array) -> Contender:
    """One read of ``x``: what a reduction cannot go below."""

    def build() -> Call:
        total = float(np.sum(x, dtype=np.float64))
        size = float(np.sum(np.abs(x), dtype=np.float64))
        return _call(
            lambda: _core.stream_read(x),
            # The sum of random numbers is near 0: the error is seen against their size.
            lambda result: {"sum": 1 + (result - total) / size},
            {"sum": np.ones(())},
        )

    return _roofline("read", x.nbytes, build)


def scale_stream(x: Array, first: Array) -> Contender:
    """Read and write ``x``, which holds ``first``, in place."""
    if is_half(x):  # two elements at once, of which one changes its sign: the bytes are the same
        x, first = x.view(np.float32), first.view(np.float32)
    # The factor -1 leaves nothing to drift when the call is repeated.
    return _roofline(
        "scale in place",
        2 * x.nbytes,
        lambda: _call(
            lambda: _core.stream_scale(x, -1.0), lambda _: {"x": x}, {"x": np.negative(first)}
        ),
    )


def copy_stream(to: Array, source: Array) -> Contender:
    """Copy ``source``; an ordinary store reads its line from memory first."""
    return _roofline(
        "copy",
        3 * source.nbytes,
        lambda: _call(lambda: _core.stream_copy(to, source), lambda _: {"to": to}, {"to": source}),
    )


def update_stream(size: int, dtype: str) -> Contender:
    """Run the five streams of an SGD step with momentum: ``b += c; a -= b``."""

    def build() -> Call:
        a, b, c = (aligned_empty((size,), dtype) for _ in range(3))
        c.fill(0.25)

        def restore() -> None:
            a.fill(0)
            b.fill(0.5)

        return _call(
            lambda: _core.stream_update(a, b, c),
            lambda _: {"a": _common(a), "b": _common(b)},
            {"a": np.full(1, -0.75), "b": np.full(1, 0.75)},
            restore,
        )

    return _roofline("update", 5 * size * np.dtype(dtype).itemsize, build)


def _common(array: Array) -> Array:
    """Return the one value of ``array``; NaN if there are several."""
    return array[:1] if (array == array[0]).all() else np.full(1, np.nan)


def _call(
    run: Callable[[], Any],
    result: Callable[[Any], Outcome],
    expected: Mapping[str, Array],
    prepare: Callable[[], None] = lambda: None,
) -> Call:
    return Call(run, result, prepare, expected, verified_calls=1)


def _roofline(kind: str, moved_bytes: int, build: Callable[[], Call]) -> Contender:
    return Contender(ROOFLINE, WRITTEN, kind, build, moved_bytes)
