"""The cases, as data: name, family and the options of the family's problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from softstep.bench.models import MLP_PARAMETERS, RESNET50_PARAMETERS

Shapes = Sequence[tuple[int, ...]]
# The optimizers' tensors by the names in their cases.
TENSORS: Mapping[str, tuple[str, Shapes]] = {
    "mlp": ("the 4 tensors of an MLP (203530)", MLP_PARAMETERS),
    "500x1000": ("500 tensors of 1000", ((1000,),) * 500),
    "resnet50": ("the 161 tensors of a ResNet-50 (25.6 M)", RESNET50_PARAMETERS),
    "25M": ("one tensor of 25 M", ((25_000_000,),)),
}


@dataclass(frozen=True)
class Case:
    """One problem that all contenders solve."""

    name: str
    family: str
    title: str
    options: Mapping[str, Any] = field(default_factory=dict)


def _cross_entropy(dtype: str, shape: tuple[int, ...], axis: int = -1) -> Case:
    size = "x".join(map(str, shape))
    return Case(
        f"cross_entropy-{_short(dtype)}-{size}",
        "cross_entropy",
        f"cross-entropy forward + backward, {dtype} {size}",
        {"dtype": dtype, "shape": shape, "axis": axis},
    )


def _linear_cross_entropy(rows: int, width: int, classes: int) -> Case:
    size = f"{rows}x{width}x{classes}"
    return Case(
        f"linear_cross_entropy-f32-{size}",
        "linear_cross_entropy",
        f"linear + cross-entropy, forward + backward, float32 {size} (rows x width x classes)",
        {"rows": rows, "width": width, "classes": classes},
    )


def _softmax(function: str, dtype: str, shape: tuple[int, ...]) -> Case:
    size = "x".join(map(str, shape))
    return Case(
        f"{function}-{_short(dtype)}-{size}",
        "softmax",
        f"{function}, {dtype} {size}",
        {"function": function, "dtype": dtype, "shape": shape},
    )


def _optimizer(rule: str, dtype: str, size: str, *, whole: bool = False) -> Case:
    title, shapes = TENSORS[size]
    what = "decay" if rule == "AdamW" else "momentum and decay"
    what = f"norm, clip, {what}, zero_grads" if whole else what
    return Case(
        f"{rule.lower()}-{_short(dtype)}-{size}{'-whole' * whole}",
        "optimizer",
        f"{rule} step: {what}; {dtype}, {title}",
        {"rule": rule, "shapes": tuple(shapes), "dtype": dtype, "whole": whole},
    )


def _mlp(batch: int, sizes: tuple[int, ...]) -> Case:
    layers = "-".join(map(str, sizes))
    return Case(
        f"mlp-{layers}-batch{batch}",
        "mlp",
        f"training step of an MLP {layers}, batch {batch}: products, loss and SGD",
        {"batch": batch, "sizes": sizes},
    )


def _half_precision() -> tuple[str, ...]:
    """NumPy has bfloat16 only with ml_dtypes."""
    return ("bfloat16", "float16") if find_spec("ml_dtypes") else ("float16",)


def _short(dtype: str) -> str:
    return dtype.replace("float", "f")


CASES = (
    _cross_entropy("float32", (64, 10)),
    _cross_entropy("float32", (65536, 10)),
    _cross_entropy("float32", (8192, 1000)),
    _cross_entropy("float32", (512, 32000)),
    _cross_entropy("float32", (256, 128256)),
    _cross_entropy("float64", (8192, 1000)),
    *(
        _cross_entropy(dtype, shape)
        for shape in ((8192, 1000), (256, 128256))
        for dtype in _half_precision()
    ),
    _cross_entropy("float32", (4, 21, 256, 256), axis=1),
    _linear_cross_entropy(1024, 512, 32000),
    _linear_cross_entropy(512, 64, 100_000),
    _softmax("softmax", "float32", (65536, 10)),
    _softmax("softmax", "float32", (8192, 1000)),
    _softmax("log_softmax", "float32", (65536, 10)),
    _softmax("log_softmax", "float32", (8192, 1000)),
    _softmax("logsumexp", "float32", (512, 32000)),
    *(_optimizer("SGD", "float32", size) for size in TENSORS),
    *(_optimizer("SGD", "float32", size, whole=True) for size in TENSORS),
    *(_optimizer("AdamW", "float32", size) for size in TENSORS),
    *(
        _optimizer(rule, "bfloat16", "25M")
        for rule in ("SGD", "AdamW")
        if "bfloat16" in _half_precision()
    ),
    _mlp(64, (64, 128, 10)),
    _mlp(512, (784, 1024, 1000)),
)
FAMILIES = tuple(dict.fromkeys(case.family for case in CASES))


def select(words: Sequence[str]) -> list[Case]:
    """Return the cases that ``words`` (names of cases or families) name; all for no words.

    Raises
    ------
    LookupError
        For a word that names nothing; the message is one line.
    """
    known = [*FAMILIES, *(case.name for case in CASES)]
    for word in words:
        if word not in known:
            close = get_close_matches(word, known, n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise LookupError(f"no case or family is called {word!r}{hint}")
    return [case for case in CASES if not words or case.name in words or case.family in words]
