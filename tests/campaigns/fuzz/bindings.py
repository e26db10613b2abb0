"""Functions of the extension called with what nearly fits, and with what does not at all."""

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.campaigns.fuzz.arguments import Arena, Own, arrays_of, objects
from tests.campaigns.fuzz.calls import Maker

# What a call may raise: see the docstrings. Own is the argument's, BufferError that of DLPack.
KINDS = (TypeError, ValueError, IndexError, MemoryError, BufferError, Own)
# With what was drawn once, which takes longer than a call.
CALLS = 24


class Finding(AssertionError):
    """A promise that was broken."""


def several(rng: random.Random) -> Iterator[str]:
    """Make calls with some arrays and objects; yield what came of each."""
    arena = Arena(rng)
    function, fitting, written = Maker(rng, arena).call()
    strange = [objects(rng, arena) for _ in range(5)]
    content = arena.snapshot()
    with np.errstate(all="ignore"):
        for _ in range(CALLS):
            given = dict(fitting)
            for _ in range(rng.choice([0, 1, 1, 2])):
                given[rng.choice(list(given))] = rng.choice(strange)
            racing = given.get("target") if rng.random() < 0.01 else None
            stop = _racer(racing)
            try:
                outcome = _call(function, given)
            finally:
                stop()
            may_change = [array for name in written for array in arrays_of(given.get(name))]
            if outcome != "result":
                may_change = []
            content = _checked_memory(arena, content, [*may_change, racing], function, outcome)
            yield outcome


def _call(function: Callable[..., Any], given: dict[str, Any]) -> str:
    """Return "result", or the kind of a documented error."""
    try:
        function(**given)
    except KINDS as error:
        return type(error).__name__
    except Exception as error:
        raise Finding(f"{function.__name__}: {type(error).__name__}: {error}") from error
    return "result"


def _racer(target: Any) -> Callable[[], None]:
    """Let another thread write targets, good and bad ones, until what is returned is called."""
    if not (isinstance(target, np.ndarray) and target.dtype.kind in "iu" and target.size):
        return lambda: None
    if not target.flags.writeable:
        return lambda: None
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            target[...] = 127
            target[...] = 0

    thread = threading.Thread(target=write)
    thread.start()

    def stop() -> None:
        ended.set()
        thread.join()

    return stop


def _checked_memory(
    arena: Arena, before: list[bytes], allowed: list[Any], function: Any, outcome: str
) -> list[bytes]:
    """Return the memory, where only elements of outputs may differ from what was before."""
    outputs = [a for a in allowed if isinstance(a, np.ndarray) and a.flags.writeable and a.size]
    for array in outputs:
        array.view(array.dtype)[...] = 0
    after = arena.snapshot()
    for k, (buffer, old, new) in enumerate(zip(arena.buffers, before, after, strict=True)):
        if old == new:
            continue
        expected = np.frombuffer(bytearray(old), np.uint8)
        for array in outputs:
            if np.may_share_memory(buffer, array):
                _blank(expected, buffer, array)
        if expected.tobytes() != new:
            text = f"{function.__name__}: memory {k} was written, and it ended with: {outcome}"
            raise Finding(text)
    return after


def _blank(expected: np.ndarray, buffer: np.ndarray, array: np.ndarray) -> None:
    """Write zeros to the elements of ``array`` in a copy of its memory."""
    offset = array.__array_interface__["data"][0] - buffer.__array_interface__["data"][0]
    if not 0 <= offset < buffer.size:
        return
    twin = np.ndarray(array.shape, array.dtype, expected, offset, array.strides)
    twin[...] = 0
