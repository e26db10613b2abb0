"""From the softmax to the SGD step: fused, SIMD, multicore CPU kernels for NumPy arrays.

See the docstrings of the functions for formulas, shapes and errors, ``softstep.show_config()`` for
what runs on this machine, and ``python -m softstep --help`` for the programs.
"""

try:
    from . import _core  # noqa: F401
except ModuleNotFoundError as error:  # pragma: no cover - only in a tree that was not built
    raise ImportError(
        "softstep's compiled kernels are missing. Install the package (`pip install softstep`), or "
        "in a source tree build them with a C++20 compiler: `pip install -e .`"
    ) from error

from softstep import _threadpoolctl, schedules
from softstep._adamw import AdamW
from softstep._cross_entropy import cross_entropy, cross_entropy_with_grad
from softstep._hinge import hinge, hinge_with_grad
from softstep._l2_penalty import l2_penalty
from softstep._linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_with_grad,
)
from softstep._linear_cross_entropy_arguments import LinearGradients
from softstep._linear_cross_entropy_workspace import release_workspace
from softstep._optimizer import StepResult
from softstep._runtime import (
    active_isa,
    available_isas,
    get_num_threads,
    set_num_threads,
    show_config,
    threads,
)
from softstep._sgd import SGD
from softstep._softmax import (
    entropy,
    log_softmax,
    log_softmax_backward,
    logsumexp,
    softmax,
    softmax_backward,
)
from softstep._squared_error import squared_error, squared_error_with_grad
from softstep._version import __version__

_threadpoolctl.follow_imports()

__all__ = [
    "SGD",
    "AdamW",
    "LinearGradients",
    "StepResult",
    "__version__",
    "active_isa",
    "available_isas",
    "cross_entropy",
    "cross_entropy_with_grad",
    "entropy",
    "get_num_threads",
    "hinge",
    "hinge_with_grad",
    "l2_penalty",
    "linear_cross_entropy",
    "linear_cross_entropy_with_grad",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "release_workspace",
    "schedules",
    "set_num_threads",
    "show_config",
    "softmax",
    "softmax_backward",
    "squared_error",
    "squared_error_with_grad",
    "threads",
]


def __dir__() -> list[str]:
    return __all__
