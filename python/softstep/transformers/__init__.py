"""softstep for Hugging Face transformers: a language model's loss without its logits.

``softstep.transformers.apply(model)`` is the one line; ``docs/transformers.md`` tells what changes.
Needs PyTorch 2.8 and transformers 4.51, or later.
"""

try:
    import transformers as _transformers  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        "softstep.transformers needs Hugging Face transformers: pip install transformers"
    ) from error

from softstep.transformers._apply import applied, apply, revert

__all__ = ["applied", "apply", "revert"]


def __dir__() -> list[str]:
    return __all__
