"""Arguments that are integers of any kind: of Python, of NumPy, or an array of one."""

from operator import index
from typing import Any


def integer(value: Any, name: str) -> int:
    """Return the integer that an argument must be; True is 1, and a float is none."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}") from None
