"""Other packages' own tests, with our functions in the place of theirs.

A package's test module is executed again under no name, so that the package itself stays as it is.
What does not apply is left out by name, with the reason; a name that is no longer there
fails. Older versions have other tests: each module asks for the one that it was written for.
"""

import importlib.util
from types import ModuleType
from typing import Any

import pytest


def load(name: str) -> ModuleType:
    """Return a copy of an installed test module, or skip the module that asks."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.loader is None:
        pytest.skip(f"{name} is not installed", allow_module_level=True)
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


def cases_of(module: ModuleType, left_out: dict[str, str]) -> dict[str, Any]:
    """Return the tests of a module by name.

    "Class.method" leaves out one of a class, "test[value]" those of a parameter's value, or of a
    tuple of values that begins with it.
    """
    tests = {k: v for k, v in vars(module).items() if k.startswith(("test_", "Test"))}
    tests |= {k: v for k, v in vars(module).items() if k.endswith("Test") and isinstance(v, type)}
    for name, reason in left_out.items():
        owner, _, value = name.rstrip("]").partition("[")
        owner, _, method = owner.partition(".")
        assert reason and owner in tests, f"{name} is not there any more"
        if value:
            assert _without(tests[owner], value), f"{name} is not there any more"
            continue
        if method:
            delattr(tests[owner], method)
        else:
            del tests[owner]
    for test in tests.values():
        for function in vars(test).values() if isinstance(test, type) else [test]:
            _list_parameters(function)
    return tests


def _without(function: Any, value: str) -> bool:
    """Leave a value of a parameter out, by its name or what it prints; False if there is none."""
    marks = getattr(function, "pytestmark", [])
    found = False
    for k, mark in enumerate(marks):
        if mark.name == "parametrize":
            names, values, *rest = mark.args
            values = list(values)
            kept = [one for one in values if _name(one) != value]
            found |= len(kept) < len(values)
            marks[k] = pytest.mark.parametrize(names, kept, *rest, **mark.kwargs).mark
    return found


def _name(value: Any) -> str:
    first = value[0] if isinstance(value, (tuple, list)) and len(value) else value
    return str(getattr(first, "__name__", first))


def _list_parameters(function: Any) -> None:
    """Iterators as parameters, which pytest does not want any more."""
    marks = getattr(function, "pytestmark", [])
    for k, mark in enumerate(marks):
        if mark.name == "parametrize":
            names, values, *rest = mark.args
            marks[k] = pytest.mark.parametrize(names, list(values), *rest, **mark.kwargs).mark
