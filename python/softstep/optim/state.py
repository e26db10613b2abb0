"""The state of an optimizer as a flat dict of arrays, and back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from softstep._typing import FloatArray


def is_bfloat16(array: FloatArray, bits: bool) -> bool:
    """Whether it is ml_dtypes' bfloat16, or uint16 where that stands for it."""
    return array.dtype.name == "bfloat16" or (bits and array.dtype == np.uint16)


def state_of(param: FloatArray, half: bool) -> FloatArray:
    """Allocate zeros in the layout of the parameter; uint16 holds bfloat16."""
    wide = param.dtype if param.dtype == np.float64 else np.dtype(np.float32)
    if half and wide == np.float64:
        raise ValueError("state_dtype: float64 parameters need None, got 'bfloat16'")
    return np.zeros_like(param, np.uint16 if half else wide, subok=False)


def master_of(param: FloatArray, bits: bool) -> FloatArray | None:
    """Copy a half-precision parameter to float32."""
    if param.dtype.itemsize != 2:
        return None
    master = np.empty_like(param, np.float32, subok=False)
    if is_bfloat16(param, bits):
        # The layout may forbid a view of another size: the bits are shifted into place instead.
        bits32 = np.left_shift(param.view(np.uint16), 16, dtype=np.uint32)
        np.copyto(master, bits32.view(np.float32))
    else:
        np.copyto(master, param)
    return master


def flattened(state: Mapping[str, Any]) -> dict[str, Any]:
    """Join the keys of a nested dict, PyTorch's, by dots; what is None is left out."""

    def walk(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping):
            items: Any = value.items()
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            items = enumerate(value)
        else:
            if value is not None:
                yield prefix, value
            return
        for key, item in items:
            yield from walk(f"{prefix}.{key}" if prefix else str(key), item)

    return dict(walk("", state))


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
        if np.asarray(flat.get(prefix + "amsgrad", False)).any():
            raise ValueError(f"state[{prefix + 'amsgrad'!r}]: expected False, got True")
        count = np.size(flat.get(prefix + "params", range(len(group["params"]))))
        if count != len(group["params"]):
            raise ValueError(
                f"state[{prefix + 'params'!r}]: expected {len(group['params'])} parameters, "
                f"got {count}"
            )
        options = dict(group)
        for option in group:
            if option != "params" and prefix + option in flat:
                options[option] = np.asarray(flat[prefix + option]).tolist()
        loaded.append(options)
    return loaded


def loaded_arrays(slots: Mapping[str, FloatArray], flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of a state that go into the slots, checked against these."""
    found = {}
    for key, slot in slots.items():
        if key not in flat:
            continue
        values = np.asarray(flat[key])
        if slot.dtype == np.uint16 and values.dtype.itemsize == 2 and values.dtype.kind == "V":
            values = values.view(np.uint16)  # bfloat16, or what a file makes of it
        if values.shape != slot.shape or values.dtype != slot.dtype:
            raise ValueError(
                f"state[{key!r}]: expected {slot.dtype} of shape {slot.shape}, "
                f"got {values.dtype} of shape {values.shape}"
            )
        found[key] = values
    return found


def steps_of(flat: Mapping[str, Any], key: str) -> int:
    """Return a number of steps."""
    steps = int(flat[key])
    if steps < 0:
        raise ValueError(f"state[{key!r}]: expected at least 0, got {steps}")
    return steps


def loaded_counts(
    names: Sequence[str], stepped: bool, flat: Mapping[str, Any], count: int
) -> list[int]:
    """Return the steps that the state of each parameter has seen; 0: it has none."""
    counts = [0] * count
    for key in flat:
        if not key.startswith("state."):
            continue
        place, name = key.split(".", 2)[1:]
        if not (place.isdecimal() and int(place) < count):
            raise ValueError(f"state[{key!r}]: there are {count} parameters")
        if name in names:
            counts[int(place)] = steps_of(flat, f"state.{place}.step") if stepped else 1
            missing = [n for n in names if f"state.{place}.{n}" not in flat]
            if missing:
                raise KeyError(f"state.{place}.{missing[0]}")
    return counts
