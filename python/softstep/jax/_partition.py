"""How a kernel's call is divided among devices: by rows, as the first operand is; never by classes.

XLA asks when it compiles a program whose arrays are sharded. Without an answer it would gather
every operand on every device, and so replicate what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jax.sharding import NamedSharding, PartitionSpec


class Kernel(NamedTuple):
    """A call of a handler, and all that is known of it when it is traced.

    Dimensions are letters: the same letter is the same size.
    """

    name: str
    operands: tuple[str | None, ...]  # None: absent
    results: tuple[tuple[str, Any], ...]  # with dtypes
    classes: str  # the dimension that a device needs whole
    aliases: tuple[tuple[int, int], ...]
    attributes: tuple[tuple[str, float], ...]
    # Of a reduction: what to do where its rows are on several devices, f(*arguments, mesh axes,
    # *operands); None: they are gathered.
    across: tuple[Callable[..., Sequence[Any]], tuple[Any, ...]] | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """Dimensions of the operands that are there."""
        return tuple(one for one in self.operands if one is not None)

    @property
    def reduced(self) -> set[str]:
        """Dimensions of the rows that the first result has not got."""
        return {*self.given[0]} - {*self.results[0][0]} - {*self.classes}


def sharding_rule(kernel: Kernel, mesh: Any, operands: Any, results: Any) -> str:
    """Return the dimensions in the notation of Shardy."""
    left = ", ".join(" ".join(one) for one in kernel.given)
    return left + " -> " + ", ".join(" ".join(one) for one, _ in kernel.results)


def shardings(kernel: Kernel, mesh: Any, operands: Any, results: Any) -> tuple[Any, ...]:
    """Return how the results are sharded, given the operands' shardings."""
    spec = _spec(kernel, operands[0])
    return tuple(_placed(mesh, spec, one) for one, _ in kernel.results)


def partition(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a function run(kernel, *operands)."""

    def rule(kernel: Kernel, mesh: Any, operands: Any, results: Any) -> Any:
        spec = _spec(kernel, operands[0])
        axes = tuple(axis for one in kernel.reduced for axis in _axes(spec.get(one)))

        def lower(*local: Any) -> Any:
            if not axes or kernel.across is None:
                return run(kernel, *local)
            function, arguments = kernel.across
            rest = iter(local)
            every = (None if one is None else next(rest) for one in kernel.operands)
            return tuple(function(*arguments, axes, *every))

        placed = tuple(_placed(mesh, spec, one) for one in kernel.given)
        return mesh, lower, shardings(kernel, mesh, operands, results), placed

    return rule


def _spec(kernel: Kernel, first: Any) -> dict[str, Any]:
    """Return the mesh axes of each dimension that may be divided."""
    if not isinstance(first.sharding, NamedSharding):
        return {}
    spec = dict(zip(kernel.given[0], first.sharding.spec, strict=False))
    spec.pop(kernel.classes, None)
    mesh = first.sharding.mesh
    for one, size in zip(kernel.given[0], first.shape, strict=True):
        count = 1
        for axis in _axes(spec.get(one)):
            count *= mesh.shape[axis]
        # A device's rows would be padded by some that are none.
        if one in kernel.reduced and (kernel.across is None or size % count):
            spec.pop(one, None)
    return spec


def _axes(entry: Any) -> tuple[str, ...]:
    return () if entry is None else entry if isinstance(entry, tuple) else (entry,)


def _placed(mesh: Any, spec: dict[str, Any], dimensions: str) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*(spec.get(one) for one in dimensions)))
