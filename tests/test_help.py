"""What `help` and an editor show of a signature: the types as they are written, not what they mean.

NumPy's ArrayLike alone is a union of seven types with long names.
"""

import importlib
import inspect
import pydoc
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import softstep as ss
from tests.support.modules import NAMES

WIDEST = 80


def public(name: str) -> Iterator[tuple[str, Any]]:
    """Functions and classes of a front end, and the methods that the classes add."""
    module = importlib.import_module(f"softstep{name}")
    for entry in module.__all__:
        found = getattr(module, entry)
        if inspect.isfunction(found):
            yield entry, found
        elif inspect.isclass(found):
            for owner in inspect.getmro(found):
                if owner.__module__.startswith("softstep"):
                    yield from methods(owner)


def methods(owner: type) -> Iterator[tuple[str, Any]]:
    for key, value in vars(owner).items():
        function = value.fget if isinstance(value, property) else value
        function = getattr(function, "__func__", function)
        if inspect.isfunction(function) and function.__module__.startswith("softstep"):
            yield f"{owner.__name__}.{key}", function


def front_end(name: str) -> list[tuple[str, Any]]:
    framework = name.removeprefix(".")
    if framework in ("torch", "transformers", "jax", "sklearn"):
        pytest.importorskip(framework)
    return list(public(name))


@pytest.mark.parametrize("name", NAMES, ids=lambda name: f"softstep{name}")
def test_types_are_as_they_are_written(name: str) -> None:
    found = front_end(name)
    assert found
    for entry, function in found:
        for parameter, annotation in function.__annotations__.items():
            assert isinstance(annotation, str), f"{entry}: {parameter}: {annotation}"
            assert len(annotation) <= WIDEST, f"{entry}: {parameter}: {annotation}"


@pytest.mark.parametrize("name", NAMES, ids=lambda name: f"softstep{name}")
def test_types_mean_something(name: str) -> None:
    """Each name in them can be found where it is written."""
    for _, function in front_end(name):
        typing.get_type_hints(function)


def test_the_help_of_softmax() -> None:
    """Python before 3.14 puts the types into quotes."""
    first = pydoc.plain(pydoc.render_doc(ss.softmax)).splitlines()[2].replace("'", "")
    assert first == (
        "softmax(x: ArrayLike, *, axis: Axis = -1, temperature: float = 1.0, "
        "where: ArrayLike | None = None, out: FloatArray | None = None) -> FloatArray"
    )
