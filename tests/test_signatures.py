"""Every front end against the one list of options, `softstep.losses.options.Options`.

Names, order, defaults and types of the options in each signature, their place in its docstring, and
the files that have to know an option. What a front end has otherwise is in `DIFFERENCES`, and only
there.
"""

import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple, get_type_hints

import pytest

from softstep.losses.options import Empty, Options, Reduction, Smoothing, kinds
from tests.support.paths import ROOT

OPTIONS = Options._fields
DEFAULTS = Options()._asdict()


class Difference(NamedTuple):
    """What a signature has otherwise than the list, and why."""

    why: str
    lacks: tuple[str, ...] = ()
    first: tuple[str, ...] = ()  # these stand before the others, in this order
    defaults: dict[str, Any] = {}  # noqa: RUF012
    by_keyword: tuple[str, ...] | None = None  # in **extensions; None: there is none


PYTORCH = ("ignore_index", "reduction", "label_smoothing")
EXTENSIONS = tuple(name for name in OPTIONS if name not in PYTORCH)
TRACED = ("denominator", "empty")

SIGNATURES = {
    "softstep": (
        "cross_entropy",
        "cross_entropy_with_grad",
        "linear_cross_entropy",
        "linear_cross_entropy_with_grad",
    ),
    "softstep.distributed": (
        "cross_entropy",
        "cross_entropy_with_grad",
        "linear_cross_entropy",
        "linear_cross_entropy_with_grad",
    ),
    "softstep.torch": (
        "cross_entropy",
        "linear_cross_entropy",
        "CrossEntropyLoss",
        "LinearCrossEntropyLoss",
    ),
    "softstep.jax": ("cross_entropy", "linear_cross_entropy"),
    "softstep.sklearn": ("SoftmaxRegression", "MLPClassifier"),
}
DIFFERENCES = {
    "softstep.torch.cross_entropy": Difference("PyTorch's order", first=PYTORCH),
    "softstep.torch.linear_cross_entropy": Difference(
        "PyTorch's order, and its None for -100",
        first=("reduction", "ignore_index", "label_smoothing"),
        defaults={"ignore_index": None},
    ),
    "softstep.torch.CrossEntropyLoss": Difference(
        "PyTorch's order, the others by keyword", first=PYTORCH, by_keyword=EXTENSIONS
    ),
    "softstep.torch.LinearCrossEntropyLoss": Difference(
        "PyTorch's order, and its None for -100; the others by keyword",
        first=("reduction", "ignore_index", "label_smoothing"),
        defaults={"ignore_index": None},
        by_keyword=EXTENSIONS,
    ),
    "softstep.jax.cross_entropy": Difference(
        "a compiled program cannot raise; the default is Optax's",
        lacks=TRACED,
        defaults={"reduction": "none"},
    ),
    "softstep.jax.linear_cross_entropy": Difference(
        "a compiled program cannot raise", lacks=TRACED
    ),
    "softstep.sklearn.SoftmaxRegression": Difference(
        "scikit-learn's parameters, and this one",
        lacks=tuple(name for name in OPTIONS if name != "label_smoothing"),
    ),
    "softstep.sklearn.MLPClassifier": Difference(
        "scikit-learn's parameters, and this one",
        lacks=tuple(name for name in OPTIONS if name != "label_smoothing"),
    ),
}
EVERY = [f"{module}.{name}" for module, names in SIGNATURES.items() for name in names]
every_signature = pytest.mark.parametrize("name", EVERY)


def difference(name: str) -> Difference:
    return DIFFERENCES.get(name, Difference("none"))


def front_end(name: str) -> Any:
    """The function or class; a test without its framework is skipped."""
    module, _, last = name.rpartition(".")
    framework = {"softstep": "numpy", "softstep.distributed": "numpy"}
    pytest.importorskip(framework.get(module, module.rpartition(".")[2]))
    return getattr(importlib.import_module(module), last)


def options_of(signature: inspect.Signature) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in signature.parameters.items() if name in OPTIONS}


@every_signature
def test_names_and_order(name: str) -> None:
    differs = difference(name)
    others = [n for n in OPTIONS if n not in differs.first and n not in differs.lacks]
    expected = [*differs.first, *others]
    if differs.by_keyword is not None:
        expected = [n for n in expected if n not in differs.by_keyword]
        module = importlib.import_module(front_end(name).__module__)
        assert set(differs.by_keyword) <= module.EXTENSIONS
    assert list(options_of(inspect.signature(front_end(name)))) == expected


@every_signature
def test_defaults(name: str) -> None:
    """Of one type too: 1 for 1.0 would read as an integer in the help."""
    expected = DEFAULTS | difference(name).defaults
    for option, parameter in options_of(inspect.signature(front_end(name))).items():
        default = parameter.default
        assert (default, type(default)) == (expected[option], type(expected[option])), option


@every_signature
def test_options_are_keywords(name: str) -> None:
    """But for those that PyTorch and scikit-learn take by position."""
    for option, parameter in options_of(inspect.signature(front_end(name))).items():
        theirs = option in difference(name).first
        assert parameter.kind is parameter.KEYWORD_ONLY or theirs, option


@every_signature
def test_types(name: str) -> None:
    found = front_end(name)
    hints = get_type_hints(found.__init__ if inspect.isclass(found) else found)
    expected = get_type_hints(Options)
    if name.startswith("softstep.torch"):
        number = importlib.import_module("softstep.torch._numbers").Number
        of_torch = {float: number, float | None: number | None}
        expected = {option: of_torch.get(hint, hint) for option, hint in expected.items()}
        if "ignore_index" in difference(name).defaults:
            expected["ignore_index"] = int | None
    for option in options_of(inspect.signature(found)):
        assert hints[option] == expected[option], option


def documented(doc: str) -> list[str]:
    """The names of the section of parameters."""
    section = re.search(r"\nParameters\n-+\n(.*?)(?:\n\n\w[\w ]*\n-+\n|\Z)", doc, re.S)
    lines = section[1].splitlines() if section else []
    heads = [line.split(" : ")[0] for line in lines if line and not line.startswith(" ")]
    return [name.strip() for head in heads for name in head.split(",")]


@every_signature
def test_docstrings_have_each_parameter(name: str) -> None:
    """Once, and none that is not there."""
    found = front_end(name)
    names = documented(inspect.getdoc(found) or "")
    parameters = list(inspect.signature(found).parameters)
    if "extensions" in parameters:
        parameters.remove("extensions")
        module = importlib.import_module(found.__module__)
        parameters += ["**extensions"] if "**extensions" in names else sorted(module.EXTENSIONS)
    assert sorted(names) == sorted(parameters)


def more(of: Callable[..., Any], than: Callable[..., Any]) -> list[str]:
    """The parameters that one function has more; the others are the same, in the same order."""
    long, short = inspect.signature(of).parameters, inspect.signature(than).parameters
    shared = [(n, p.default, p.annotation) for n, p in long.items() if n in short]
    assert shared == [(n, p.default, p.annotation) for n, p in short.items() if n in long]
    return [name for name in long if name not in short]


@pytest.mark.parametrize("module", ["softstep", "softstep.distributed"])
@pytest.mark.parametrize("family", ["cross_entropy", "linear_cross_entropy"])
def test_the_gradient_has_more_arguments(module: str, family: str) -> None:
    """As the loss, and after it what belongs to gradients."""
    loss, with_grad = (front_end(f"{module}.{family}{end}") for end in ("", "_with_grad"))
    extra = more(with_grad, loss)
    assert extra and list(inspect.signature(with_grad).parameters)[-len(extra) :] == extra
    assert more(loss, with_grad) == []


@pytest.mark.parametrize("name", SIGNATURES["softstep.distributed"])
def test_many_processes_have_the_arguments_of_one(name: str) -> None:
    here, there = front_end(f"softstep.{name}"), front_end(f"softstep.distributed.{name}")
    assert set(more(there, here)) <= {"shard", "comm", "rows"}
    assert set(more(here, there)) <= {"extra", "filter_eps"}


def test_the_operator_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    importlib.import_module("softstep.torch._operators")
    importlib.import_module("softstep.torch._linear_cross_entropy_operator")
    for operator in (torch.ops.softstep.cross_entropy, torch.ops.softstep.linear_cross_entropy):
        names = [argument.name for argument in operator.default._schema.arguments]
        start = names.index(OPTIONS[0])
        assert tuple(names[start : start + len(OPTIONS)]) == OPTIONS


def test_the_extension_has_the_same_list() -> None:
    core = importlib.import_module("softstep._core")
    assert tuple(core.cross_entropy_numbers(True, **DEFAULTS)) == OPTIONS
    for name, default in DEFAULTS.items():
        rest = {other: value for other, value in DEFAULTS.items() if other != name}
        assert core.cross_entropy_numbers(True, **rest) == core.cross_entropy_numbers(
            True, **rest, **{name: default}
        )


@pytest.mark.parametrize("name", [n for n, kind in kinds().items() if kind.choices])
def test_choices_are_those_of_the_extension(name: str) -> None:
    core = importlib.import_module("softstep._core")
    numbers = [
        core.cross_entropy_numbers(True, **DEFAULTS | {name: choice})[name]
        for choice in kinds()[name].choices
    ]
    assert numbers == list(range(len(numbers)))
    with pytest.raises(ValueError, match=f"{name}: expected") as refused:
        core.cross_entropy_numbers(True, **DEFAULTS | {name: "other"})
    assert re.findall(r"'(\w+)'", str(refused.value)) == [*kinds()[name].choices, "other"]


def test_kinds() -> None:
    assert [kind.type for kind in kinds().values()] == [
        int, float, str, float, float, float, float, str, float, str,
    ]  # fmt: skip
    assert {n: k.choices for n, k in kinds().items() if k.choices} == {
        "smoothing": Smoothing.__args__,
        "reduction": Reduction.__args__,
        "empty": Empty.__args__,
    }
    assert [name for name, kind in kinds().items() if kind.optional] == ["softcap", "denominator"]


# The files that spell every option, by what they are; CONTRIBUTING.md, "Adding an option".
FILES = {
    "the list in C++": "cpp/kernels/cross_entropy_options.hpp",
    "the list in Python": "python/softstep/losses/options.py",
    "NumPy": "python/softstep/losses/cross_entropy.py",
    "NumPy, head": "python/softstep/head/linear_cross_entropy.py",
    "processes": "python/softstep/distributed/losses/cross_entropy.py",
    "processes, head": "python/softstep/distributed/head/linear_cross_entropy.py",
    "PyTorch": "python/softstep/torch/_cross_entropy.py",
    "PyTorch, head": "python/softstep/torch/_linear_cross_entropy.py",
    "PyTorch's operations": "python/softstep/torch/_composed.py",
    "JAX": "python/softstep/jax/_cross_entropy.py",
    "JAX, head": "python/softstep/jax/_linear_cross_entropy.py",
    "the page": "docs/cross_entropy.md",
    "the reference": "tests/reference/cross_entropy.py",
    "the drawn calls": "tests/support/cross_entropy_calls.py",
}
SPARED = {(file, option) for file in ("JAX", "JAX, head") for option in TRACED}
MOST_FILES = 15


def lacking(option: str) -> list[str]:
    """The files that ought to have an option and do not."""
    return [
        path
        for what, path in FILES.items()
        if (what, option) not in SPARED
        and not re.search(rf"\b{option}\b", (ROOT / path).read_text())
    ]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_file_that_an_option_needs_has_it(option: str) -> None:
    assert lacking(option) == []


def test_a_new_option_is_told_where_it_lacks() -> None:
    assert lacking("an_option_that_is_new") == list(FILES.values())
    assert len(FILES) <= MOST_FILES
