"""From the softmax to the SGD step: fused, SIMD, multicore CPU kernels for NumPy arrays.

See the docstrings of the functions for formulas, shapes and errors, ``softstep.show_config()`` for
what runs on this machine, and ``python -m softstep --help`` for the programs.
"""

try:
    from . import _core
except ModuleNotFoundError as error:  # pragma: no cover - only in a tree that was not built
    raise ImportError(
        "softstep's compiled kernels are missing. Install the package (`pip install softstep`), or "
        "in a source tree build them with a C++20 compiler: `pip install -e .`"
    ) from error

from softstep import _foreign, _threadpoolctl, schedules
from softstep._runtime import (
    active_isa,
    available_isas,
    get_num_threads,
    set_num_threads,
    show_config,
    threads,
)
from softstep._version import __version__
from softstep.head.arguments import LinearGradients
from softstep.head.linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_with_grad,
)
from softstep.head.workspace import release_workspace
from softstep.losses.cross_entropy import cross_entropy, cross_entropy_with_grad
from softstep.losses.hinge import hinge, hinge_with_grad
from softstep.losses.softmax import (
    entropy,
    log_softmax,
    log_softmax_backward,
    logsumexp,
    softmax,
    softmax_backward,
)
from softstep.losses.squared_error import squared_error, squared_error_with_grad
from softstep.optim.adamw import AdamW
from softstep.optim.l2_penalty import l2_penalty
from softstep.optim.optimizer import StepResult
from softstep.optim.sgd import SGD

_core.see_foreign_arrays(_foreign)
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
