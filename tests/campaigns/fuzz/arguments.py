"""Arguments of any kind: arrays of every layout in guarded memory, and objects that misbehave."""

import math
import random
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from tests.support.sanitizers import ADDRESS

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
DTYPES: list[Any] = [
    *FLOATS, np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, np.bool_, np.complex64,
    np.longdouble, ">f4", ">f8", ">i8", ">u2", "S3", "U2", "M8[s]", object, [("a", "f4")],
    ml_dtypes.float8_e4m3fn,
]  # fmt: skip
VALUES = [0.0, -0.0, 1.0, -1.0, 1e-45, 3e38, 1e308, np.inf, -np.inf, np.nan, 88.8, -104.0]
GUARD = 64


class Own(Exception):
    """Raised by an argument itself: it has to come through as it is."""


class Arena:
    """The memory of the arrays of a call: what is around them must not change."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.buffers: list[np.ndarray] = []

    def buffer(self, size: int) -> np.ndarray:
        """Return fresh bytes with a guard before and behind; they are watched."""
        whole = np.frombuffer(bytearray(self.rng.randbytes(size + 2 * GUARD)), np.uint8)
        self.buffers.append(whole)
        return whole

    def snapshot(self) -> list[bytes]:
        """Return all the memory as it is."""
        return [buffer.tobytes() for buffer in self.buffers]

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array of small numbers of some layout."""
        dtype, rng = np.dtype(dtype), self.rng
        if dtype.hasobject:
            return np.full(shape, rng.choice([None, 1, "a", self]), dtype)
        steps = [rng.choice([1, 1, 1, 2, -1, 0]) if rng.random() < 0.3 else 1 for _ in shape]
        order = list(range(len(shape)))
        if rng.random() < 0.3:
            rng.shuffle(order)
        spans = [
            1 if step == 0 else length * abs(step)
            for length, step in zip(shape, steps, strict=True)
        ]
        offset = GUARD + (rng.randrange(8) if rng.random() < 0.1 else 0)
        size = int(np.prod([spans[axis] for axis in order], initial=1)) * dtype.itemsize
        whole = self.buffer(size + offset)
        memory = whole[offset : offset + size].view(dtype).reshape([spans[axis] for axis in order])
        _fill(memory, rng)
        array = memory.transpose(np.argsort(order)) if order else memory
        index: list[Any] = [slice(None, None, step or 1) for step in steps]
        array = np.broadcast_to(array[tuple(index)], shape) if 0 in steps else array[tuple(index)]
        if 0 in steps and rng.random() < 0.7:
            array = np.lib.stride_tricks.as_strided(array, shape, array.strides, writeable=True)
        if rng.random() < 0.05 and isinstance(array, np.ndarray):
            array.flags.writeable = False
        return np.asarray(array)


def _fill(memory: np.ndarray, rng: random.Random) -> None:
    kind = memory.dtype.kind
    values = np.random.default_rng(rng.getrandbits(32))
    if kind in "iu":
        memory[...] = values.integers(0, 4, memory.shape)
        if rng.random() < 0.1 and memory.size:
            memory.flat[rng.randrange(memory.size)] = rng.choice([100, 127])
    elif kind == "b":
        memory[...] = values.random(memory.shape) < 0.7
    elif kind in "fcV" and memory.dtype.names is None:
        with np.errstate(all="ignore"):
            memory[...] = values.normal(scale=3, size=memory.shape).astype(memory.dtype)
            if rng.random() < 0.3 and memory.size:
                memory.flat[rng.randrange(memory.size)] = np.float64(rng.choice(VALUES))


class Misbehaving:
    """An array of another library that does what it likes when it is asked."""

    def __init__(self, rng: random.Random, array: np.ndarray) -> None:
        self._rng, self._held = rng, array

    def _answer(self) -> Any:
        kind = self._rng.randrange(8)
        if kind == 0:
            raise Own
        if kind == 1:
            return self._rng.choice([None, "array", 7, [], object()])
        if kind == 2:
            return self._held[..., :1] if self._held.ndim else self._held
        if kind == 3:
            self._other = self._held.astype(object)  # kept: its memory may be given away
            return self._other
        return self._held


def arrays_of(argument: Any) -> list[np.ndarray]:
    """Return the arrays of an argument, or of lists in a list; of another library's, its memory."""
    arguments = [argument]
    for _ in range(2):
        arguments = [
            one for among in arguments for one in (among if isinstance(among, list) else [among])
        ]
    arrays = [one._held if isinstance(one, Misbehaving) else one for one in arguments]
    return [array for array in arrays if isinstance(array, np.ndarray)]


class WithArray(Misbehaving):
    def __array__(self, *args: Any, **keywords: Any) -> Any:
        return self._answer()


class WithInterface(Misbehaving):
    @property
    def __array_interface__(self) -> Any:
        answer = self._answer()
        return getattr(answer, "__array_interface__", answer)


class WithDLPack(Misbehaving):
    def __dlpack_device__(self) -> Any:
        return self._rng.choice([(1, 0)] * 6 + [(2, 0), None, "cpu", (), (10**30, 0)])

    def __dlpack__(self, **keywords: Any) -> Any:
        answer = self._answer()
        return answer.__dlpack__(**keywords) if isinstance(answer, np.ndarray) else answer


class Number:
    """A number that says no."""

    def __index__(self) -> int:
        raise Own

    def __float__(self) -> float:
        raise Own


class Liar(str):
    """A text that changes its mind."""

    def __eq__(self, other: object) -> bool:
        raise Own

    __hash__ = str.__hash__


def shapes(rng: random.Random) -> tuple[int, ...]:
    """Return a shape, mostly small."""
    lengths = [0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 17, 33]
    while True:
        shape = tuple(rng.choice(lengths) for _ in range(rng.choice([0, 1, 1, 2, 2, 2, 3, 4])))
        if math.prod(shape) <= 1000:
            return shape


def huge(rng: random.Random) -> np.ndarray:
    """Return a number that is seen as more elements than there is memory."""
    # Without any axis it is still too large: a call would go on for years.
    shape = (2**20, 2**20, 2**19)
    return np.broadcast_to(rng.choice(FLOATS)(1), shape)


def objects(rng: random.Random, arena: Arena) -> Any:
    """Return an argument of any kind."""
    makers: list[Callable[[], Any]] = [
        lambda: None,
        lambda: rng.choice(VALUES),
        lambda: rng.choice([0, -1, 1, 2, 7, 2**31, -(2**31), 2**63, -(2**63), 10**400]),
        lambda: rng.choice(
            ["", "mean", "sum", "none", "nan", "a\0b", "\ud800", "x" * 1000, b"mean"]
        ),
        lambda: rng.choice([True, False, (), [], {}, ..., slice(1), range(3), int, object()]),
        lambda: rng.choice([Number(), Liar("mean"), np.float32(1), np.int64(3), np.str_("sum")]),
        lambda: arena.array(shapes(rng), rng.choice(DTYPES)),
        lambda: arena.array(shapes(rng), rng.choice(FLOATS)),
        lambda: rng.choice([WithArray, WithInterface, WithDLPack])(
            rng, arena.array(shapes(rng), rng.choice(FLOATS))
        ),
        lambda: np.ma.masked_array([1.0, 2.0], [False, True]),
        lambda: [arena.array(shapes(rng), np.float32), [1, [2]]],
        lambda: nested(rng.choice([3, 40, 2000]), rng),
        # The sanitizer ends a process that asks C++ for more memory than there is.
        lambda: None if ADDRESS else huge(rng),
        lambda: memoryview(bytes(8)),
        lambda: np.empty((0, 5))[:, ::-1],
    ]
    return rng.choice(makers)()


def nested(depth: int, rng: random.Random) -> Any:
    """Return a list in a list in a list, or dicts."""
    result: Any = []
    lists = rng.random() < 0.5
    for _ in range(depth):
        result = [result] if lists else {"step": result}
    return result
