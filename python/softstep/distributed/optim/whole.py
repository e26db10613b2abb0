"""All parameters and options of a sharded optimizer, as every rank has them."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

import softstep._core as _core
from softstep.distributed.optim.flat import in_row, layout_of, require_no_gaps
from softstep.optim.optimizer import Group, Optimizer, Params
from softstep.optim.options import above_zero


def without_state(kind: Any, params: Params, options: Group) -> Optimizer:
    """Return an optimizer that has checked parameters and options, and allocated nothing.

    It is made with arrays without elements, and has the parameters in its groups afterwards.
    """
    given = _listed(params)
    whole: Optimizer = kind(_hollow(given), **options)
    groups = given if given and isinstance(given[0], Mapping) else [{"params": given}]
    for group, item in zip(whole.param_groups, groups, strict=True):
        group["params"] = item["params"]
    whole.params = [param for group in whole.param_groups for param in group["params"]]
    numbers = [0] * len(whole.params)
    _core.UpdatePlan("sgd", whole.params, [], [], whole._counts, numbers, whole._bits)
    for k, param in enumerate(whole.params):
        require_no_gaps(f"params[{k}]", param)
    return whole


def identity(whole: Optimizer) -> tuple[Any, ...]:
    """Return what has to be the same on all ranks, the values of the parameters included."""
    flags = whole._half_state, whole._bits, whole._stochastic, whole._seed, whole.skip_nonfinite
    params = [
        (p.shape, p.dtype.name, layout_of(p), zlib.crc32(in_row(p).view(np.uint8).data))
        for p in whole.params
    ]
    sizes = [len(group["params"]) for group in whole.param_groups]
    return flags, whole.max_norm, whole._options(whole.param_groups), sizes, params


def norm_limit(max_norm: float | None) -> float | None:
    """Check and return the number that the norm is clipped to."""
    return None if max_norm is None else above_zero("max_norm", max_norm, infinite=True)


def _listed(params: Any) -> Any:
    """Return lists where there may be iterators; the optimizer refuses what is neither."""
    if isinstance(params, np.ndarray):
        return params
    if isinstance(params, Mapping):
        return {**params, "params": _listed(params["params"])} if "params" in params else params
    return [_listed(item) if isinstance(item, Mapping) else item for item in params]


def _hollow(given: Any) -> Any:
    """Return the same with arrays without elements; an array instead of a list stays one."""
    if isinstance(given, np.ndarray):
        return np.zeros((0,) * given.ndim, given.dtype)
    if isinstance(given, Mapping):
        return {key: _hollow(item) if key == "params" else item for key, item in given.items()}
    return [_hollow(item) for item in given] if isinstance(given, list) else given
