"""From the softmax to the SGD step: fused, SIMD, multicore CPU kernels for NumPy arrays.

See the docstrings of the functions for formulas, shapes and errors, ``softstep.show_config()`` for
what runs on this machine, and ``python -m softstep --help`` for the programs.
"""

try:
    from softstep import _core as _core
except ModuleNotFoundError as error:  # pragma: no cover - only in a tree that was not built
    raise ImportError(
        "softstep's compiled kernels are missing. Install the package (`pip install softstep`), or "
        "in a source tree build them with a C++20 compiler: `pip install -e .`"
    ) from error

from softstep._cross_entropy import cross_entropy, cross_entropy_with_grad
from softstep._runtime import (
    active_isa,
    available_isas,
    get_num_threads,
    set_num_threads,
    show_config,
    threads,
)
from softstep._softmax import (
    entropy,
    log_softmax,
    log_softmax_backward,
    logsumexp,
    softmax,
    softmax_backward,
)
from softstep._version import __version__

__all__ = [
    "__version__",
    "active_isa",
    "available_isas",
    "cross_entropy",
    "cross_entropy_with_grad",
    "entropy",
    "get_num_threads",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "set_num_threads",
    "show_config",
    "softmax",
    "softmax_backward",
    "threads",
]


def __dir__() -> list[str]:
    return __all__
