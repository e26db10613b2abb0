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
    """Return the tests of a module by name; "Class.method" leaves out one of a class."""
    tests = {k: v for k, v in vars(module).items() if k.startswith(("test_", "Test"))}
    tests |= {k: v for k, v in vars(module).items() if k.endswith("Test") and isinstance(v, type)}
    for name, reason in left_out.items():
        owner, _, method = name.partition(".")
        assert reason and owner in tests, f"{name} is not there any more"
        if method:
            delattr(tests[owner], method)
        else:
            del tests[owner]
    for test in tests.values():
        for function in vars(test).values() if isinstance(test, type) else [test]:
            _list_parameters(function)
    return tests


def _list_parameters(function: Any) -> None:
    """Iterators as parameters, which pytest does not want any more."""
    marks = getattr(function, "pytestmark", [])
    for k, mark in enumerate(marks):
        if mark.name == "parametrize":
            names, values, *rest = mark.args
            marks[k] = pytest.mark.parametrize(names, list(values), *rest, **mark.kwargs).mark
