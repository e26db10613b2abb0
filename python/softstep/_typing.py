"""Array types that the package's signatures share."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[Any]
"""float32 or float64, of any layout."""

__all__ = ["ArrayLike", "FloatArray", "NDArray", "np"]
