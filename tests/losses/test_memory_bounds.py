"""No kernel reads or writes outside its arrays: each lies against a page that may not be touched.

A kernel that does is killed by SIGSEGV, so the calls run in a process of their own.
"""

import ctypes
import faulthandler
import mmap
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep import _core
from tests.support.paths import importing_tests
from tests.support.sanitizers import SEGMENTATION_FAULT

PAGE = mmap.PAGESIZE
CLASSES = [*range(1, 36), 63, 64, 65, 127, 129, 1023, 1025, 2049]
PROT_NONE = 0


class Guarded:
    """Memory between two forbidden pages."""

    def __init__(self, size: int) -> None:
        pages = -(-size // PAGE)
        self.map = mmap.mmap(-1, (pages + 2) * PAGE)
        self.bytes = np.frombuffer(self.map, np.uint8)[PAGE : (pages + 1) * PAGE]
        start, length = self.bytes.ctypes.data, self.bytes.size
        libc = ctypes.CDLL(None, use_errno=True)
        for page in (start - PAGE, start + length):
            if libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")

    def place(self, values: Any, *, at_end: bool) -> Any:
        """A copy of the values that ends, or starts, at a forbidden page."""
        room = self.bytes[-values.nbytes :] if at_end else self.bytes[: values.nbytes]
        copy = room.view(values.dtype).reshape(values.shape)
        copy[...] = values
        return copy


def every_call(x: Any, q: Any, out: Any, target: Any, sign: Any) -> Iterator[Any]:
    for axis in (0, 1):
        for name in ("softmax", "log_softmax"):
            yield getattr(ss, name)(x, axis=axis, out=out)
            yield getattr(ss, f"{name}_backward")(x, q, axis=axis, out=out)
        for name in ("logsumexp", "entropy"):
            yield getattr(ss, name)(x, axis=axis)
        index = target[: x.shape[1 - axis]] % x.shape[axis]
        yield ss.hinge_with_grad(x, index, axis=axis, out=out)
        for smoothing in (0.0, 0.1):
            options = {"axis": axis, "label_smoothing": smoothing, "out": out}
            yield ss.cross_entropy_with_grad(x, index, **options)
            yield ss.cross_entropy_with_grad(x, q, **options)
    yield ss.squared_error_with_grad(x, q, out=out)
    yield ss.hinge_with_grad(x, sign, out=out)
    yield ss.l2_penalty(x, 0.1)
    ss.SGD([out], 0.1, momentum=0.9, weight_decay=0.1).step([x])


def run_every_size(isa: str) -> None:
    faulthandler.enable()
    _core.use_isa(isa)
    memory = [Guarded(8 * 5 * max(CLASSES)) for _ in range(4)]
    indices = np.arange(max(CLASSES)) * 7
    for at_end in (True, False):
        for dtype in (np.float32, np.float64):
            for rows in (1, 2, 5):
                for classes in CLASSES:
                    values = np.linspace(-2, 2, rows * classes).reshape(rows, classes).astype(dtype)
                    signs = np.where(values > 0, 1, -1).astype(dtype)
                    blocks = zip(memory, (values, values + 3, values, signs), strict=True)
                    x, q, out, sign = (m.place(v, at_end=at_end) for m, v in blocks)
                    for _ in every_call(x, q, out, indices, sign):
                        pass


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
@pytest.mark.parametrize("isa", ss.available_isas())
def test_nothing_outside_the_arrays_is_touched(isa: str) -> None:
    process = subprocess.run(
        [sys.executable, __file__, isa],
        env=importing_tests(),
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert process.returncode == 0, process.stderr[-2000:]


def test_the_guard_works() -> None:
    """One element too far, read on purpose."""
    crime = "Guarded(100).bytes.ctypes.data_as(ctypes.POINTER(ctypes.c_byte))[-1]"
    process = subprocess.run(
        [sys.executable, "-c", f"from tests.losses.test_memory_bounds import *; {crime}"],
        env=importing_tests(),
        capture_output=True,
    )
    assert process.returncode == SEGMENTATION_FAULT


if __name__ == "__main__":
    run_every_size(sys.argv[1])
