"""softstep for PyTorch: the same names and signatures, on CPU tensors, without copies.

``import softstep.torch as st`` and ``st.cross_entropy`` for ``torch.nn.functional.cross_entropy``,
and so on; ``docs/frameworks.md`` tells what differs. Needs PyTorch 2.8 or later.
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("softstep.torch needs PyTorch: pip install torch") from error

from softstep.torch._adamw import AdamW
from softstep.torch._cross_entropy import CrossEntropyLoss, cross_entropy
from softstep.torch._linear_cross_entropy import linear_cross_entropy
from softstep.torch._linear_cross_entropy_loss import LinearCrossEntropyLoss
from softstep.torch._log_probs import log_probs
from softstep.torch._sgd import SGD
from softstep.torch._softmax import log_softmax, logsumexp, softmax

__all__ = [
    "SGD",
    "AdamW",
    "CrossEntropyLoss",
    "LinearCrossEntropyLoss",
    "cross_entropy",
    "linear_cross_entropy",
    "log_probs",
    "log_softmax",
    "logsumexp",
    "softmax",
]


def __dir__() -> list[str]:
    return __all__
