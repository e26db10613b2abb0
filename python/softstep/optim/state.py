"""The state of an optimizer as a flat dict of arrays, and back."""

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from softstep._typing import FloatArray
from softstep.optim.options import Precision
from softstep.optim.rules import RULES, Rule

# float64, in which corrections are computed, counts no further.
MOST_STEPS = 2**53
# More numbers than an option has.
MOST_NUMBERS = 8
# More levels than PyTorch has.
MOST_LEVELS = 8


def path(k: int, name: str) -> str:
    """Return the key of an array in the state of parameter k."""
    return f"state.{k}.{name}"


def master_of(param: FloatArray, bfloat16: bool) -> FloatArray:
    """Copy a half-precision parameter to float32."""
    master = np.empty_like(param, np.float32, subok=False)
    if bfloat16:
        # The layout may forbid a view of another size: the bits are shifted into place instead.
        bits32 = np.left_shift(param.view(np.uint16), 16, dtype=np.uint32)
        np.copyto(master, bits32.view(np.float32))
    else:
        np.copyto(master, param)
    return master


def flattened(state: Mapping[str, Any]) -> dict[str, Any]:
    """Join the keys of a nested dict, PyTorch's, by dots; what is None is left out."""
    if not isinstance(state, Mapping):
        raise TypeError(
            f"state: expected a dict, as state_dict returns it, got {type(state).__name__}"
        )

    def walk(prefix: str, value: Any, level: int) -> Iterator[tuple[str, Any]]:
        if level > MOST_LEVELS:
            raise ValueError(f"state: expected at most {MOST_LEVELS} levels, got more")
        if isinstance(value, Mapping):
            items: Any = value.items()
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            items = enumerate(value)
        else:
            if value is not None:
                yield prefix, value
            return
        for key, item in items:
            yield from walk(f"{prefix}.{key}" if prefix else str(key), item, level + 1)

    return dict(walk("", state, 0))


def check_rule(rule: Rule, flat: Mapping[str, Any]) -> None:
    """Refuse what is no state of an optimizer, or that of another rule."""
    if not any(key == "step" or key.startswith(("param_groups.", "state.")) for key in flat):
        raise KeyError(
            f"state: expected param_groups, as state_dict has them, got {short([*flat])}"
        )
    for other in RULES:
        marks = (f"param_groups.0.{other.option}", *(f".{name}" for name in other.states))
        foreign = [key for key in flat if key.endswith(marks)]
        if other is not rule and foreign:
            raise ValueError(
                f"state[{foreign[0]!r}]: expected a state of {rule.name}, got {other.name}'s"
            )


def flat_groups(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Name every option of every group; schedules are left out."""
    flat: dict[str, Any] = {}
    first = 0
    for i, group in enumerate(groups):
        for option, value in group.items():
            if option != "params" and not callable(value):
                flat[f"param_groups.{i}.{option}"] = np.asarray(value).tolist()
        last = first + len(group["params"])
        flat[f"param_groups.{i}.params"] = np.arange(first, last)
        first = last
    return flat


def loaded_groups(
    groups: Sequence[Mapping[str, Any]], flat: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the groups with the options of a state."""
    if any(key.startswith(f"param_groups.{len(groups)}.") for key in flat):
        raise ValueError(f"state: expected {len(groups)} groups of parameters, got more")
    loaded = []
    for i, group in enumerate(groups):
        prefix = f"param_groups.{i}."
        count = np.size(flat.get(prefix + "params", range(len(group["params"]))))
        if count != len(group["params"]):
            raise ValueError(
                f"state[{prefix + 'params'!r}]: expected {len(group['params'])} parameters, "
                f"got {count}"
            )
        options = dict(group)
        for option in group:
            if option != "params" and prefix + option in flat:
                options[option] = _option(prefix + option, flat[prefix + option])
        loaded.append(options)
    return loaded


def _option(key: str, value: Any) -> Any:
    array = np.asarray(value)
    if array.size > MOST_NUMBERS:
        raise ValueError(f"state[{key!r}]: expected an option, got an array of {array.shape}")
    return array.tolist()


def loaded_arrays(
    rule: Rule, precision: Precision, params: Sequence[FloatArray], flat: Mapping[str, Any]
) -> dict[tuple[int, str], Any]:
    """Return the arrays of a state by parameter and name, checked against the parameters."""
    found = {}
    for k, param in enumerate(params):
        for place, name in enumerate((*rule.states, "master")):
            key = path(k, name)
            if key not in flat or (name == "master" and not precision.has_master(param)):
                continue
            wide = name == "master"
            dtype = np.dtype(np.float32) if wide else precision.of_state(param, place)
            found[k, name] = _array(key, flat[key], dtype, param.shape)
    return found


def _array(key: str, value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    values = np.asarray(value)
    if dtype == np.uint16 and values.dtype.itemsize == 2 and values.dtype.kind == "V":
        values = values.view(np.uint16)  # bfloat16, or what a file makes of it
    if values.shape != shape or values.dtype != dtype:
        raise ValueError(
            f"state[{key!r}]: expected {dtype} of shape {shape}, "
            f"got {values.dtype} of shape {values.shape}"
        )
    return values


def steps_of(flat: Mapping[str, Any], key: str) -> int:
    """Return a number of steps."""
    steps = whole(flat, key)
    if not 0 <= steps <= MOST_STEPS:
        raise ValueError(f"state[{key!r}]: expected 0 to {MOST_STEPS}, got {short(steps)}")
    return steps


def whole(flat: Mapping[str, Any], key: str) -> int:
    """Return a whole number, of whatever kind."""
    value = flat[key]
    try:
        number = int(value)
        is_whole = bool(number == value)
    except (OverflowError, TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"state[{key!r}]: expected a whole number, got {short(value)}") from error
    if not is_whole:
        raise ValueError(f"state[{key!r}]: expected a whole number, got {short(value)}")
    return number


def short(value: Any) -> str:
    """Return a value as an error has room for it."""
    return reprlib.repr(value)


def loaded_counts(rule: Rule, flat: Mapping[str, Any], needed: Sequence[int]) -> list[int]:
    """Return the steps that the state of each parameter has seen; 0: it has none.

    One that has a state has as many of the rule's as it needs.
    """
    count = len(needed)
    counts = [0] * count
    for key in flat:
        if not key.startswith("state."):
            continue
        place, name = key.split(".", 2)[1:]
        if not (place.isdecimal() and int(place) < count):
            raise ValueError(f"state[{key!r}]: there are {count} parameters")
        if name in rule.states:
            k = int(place)
            counts[k] = steps_of(flat, path(k, "step")) if rule.stepped else 1
            missing = [n for n in rule.states[: needed[k]] if path(k, n) not in flat]
            if missing:
                raise KeyError(path(k, missing[0]))
    return counts
