"""softstep for JAX: the kernels under ``jit``, ``grad`` and ``vmap``, on the CPU.

The functions take arguments as ``jax.nn`` and Optax do and are called by XLA itself, without
Python. ``docs/frameworks.md`` shows what to change and what differs.
"""

try:
    import jax as _jax  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("softstep.jax needs JAX, which is not installed: pip install jax") from error

from softstep.jax._cross_entropy import cross_entropy
from softstep.jax._linear_cross_entropy import linear_cross_entropy
from softstep.jax._softmax import log_softmax, logsumexp, softmax

__all__ = ["cross_entropy", "linear_cross_entropy", "log_softmax", "logsumexp", "softmax"]
