"""The array type that the package's signatures share."""

from typing import Any, TypeAlias

from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[Any]
"""A float array of any layout; bfloat16 has no NumPy type of its own, hence no narrower element."""
