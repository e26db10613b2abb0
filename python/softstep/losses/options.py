"""The options of the cross-entropy that are no arrays: the one list of them in Python.

What each does is told by `softstep.cross_entropy`; what it may be is checked by the extension.
"""

from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

Smoothing = Literal["uniform", "exclude_target", "allowed"]
Reduction = Literal["none", "sum", "mean"]
Empty = Literal["nan", "zero", "raise"]


class Options(NamedTuple):
    """Name, kind and default of each, in the order of the extension."""

    ignore_index: int = -100
    label_smoothing: float = 0.0
    smoothing: Smoothing = "uniform"
    gamma: float = 0.0
    temperature: float = 1.0
    softcap: float | None = None
    z_loss: float = 0.0
    reduction: Reduction = "mean"
    denominator: float | None = None
    empty: Empty = "nan"

    @classmethod
    def among(cls, arguments: Mapping[str, Any]) -> "Options":
        """Pick the options out of the arguments of a function; what it lacks has its default."""
        return cls(**{name: arguments[name] for name in cls._fields if name in arguments})


class Kind(NamedTuple):
    """What an option is: its plain type, whether it may be None, and its choices if it has some."""

    type: type
    optional: bool = False
    choices: tuple[str, ...] = ()


def kinds() -> dict[str, Kind]:
    """Return what each option is, by its name."""
    return {name: _kind(hint) for name, hint in get_type_hints(Options).items()}


def _kind(hint: Any) -> Kind:
    if isinstance(hint, UnionType):
        return Kind(get_args(hint)[0], optional=True)
    if isinstance(hint, type):
        return Kind(hint)
    return Kind(str, choices=get_args(hint))
