"""One trajectory on one process and on many ranks, whose gradients add up without roundings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import softstep as ss
from softstep.distributed import Communicator, ShardedOptimizer
from tests.support.optimizer_cases import Options, arrays

SHAPES: list[tuple[int, ...]] = [(3, 4), (5,), (), (0,), (2, 3, 17), (131,)]

# Powers of two that add up to 1: what the ranks have of a gradient.
SHARES = {1: [1.0], 2: [0.5, 0.5], 3: [0.5, 0.25, 0.25], 4: [0.25] * 4}
Arrays = list[NDArray[Any]]


def part(grad: NDArray[Any] | None, comm: Communicator) -> NDArray[Any] | None:
    """Return this rank's part of a gradient."""
    share = SHARES[comm.size][comm.rank]
    return None if grad is None else np.asarray(grad * np.float32(share)).astype(grad.dtype)


class Case:
    """Parameters and the gradients of some steps."""

    def __init__(
        self,
        seed: int,
        dtype: Any = np.float64,
        shapes: Sequence[tuple[int, ...]] = SHAPES,
        steps: int = 3,
        order: Any = "C",
        missing: Sequence[tuple[int, int]] = (),
    ) -> None:
        rng = np.random.default_rng(seed)
        self.start = [p.copy(order=order) for p in arrays(rng, shapes, dtype)]
        self.grads: list[list[Any]] = [arrays(rng, shapes, dtype) for _ in range(steps)]
        for step, k in missing:
            self.grads[step][k] = None

    def params(self) -> Arrays:
        """Return arrays of their own for each optimizer."""
        return [p.copy(order="K") for p in self.start]

    def alone(self, rule: str, options: Options, **step: Any) -> tuple[Arrays, Any, list[Any]]:
        """Return the parameters at the end, the optimizer and the results of one process."""
        params = self.params()
        optimizer = getattr(ss, rule)(params, 0.05, **options)
        return params, optimizer, [optimizer.step(grads, **step) for grads in self.grads]

    def sharded(
        self, comm: Communicator, rule: str, options: Options, **step: Any
    ) -> tuple[Arrays, ShardedOptimizer, list[Any]]:
        """Return the same of this rank."""
        params = self.params()
        optimizer = ShardedOptimizer(params, getattr(ss, rule), 0.05, comm=comm, **options)
        results = [optimizer.step([part(g, comm) for g in grads], **step) for grads in self.grads]
        return params, optimizer, results

    def check(self, comm: Communicator, rule: str, options: Options, **step: Any) -> None:
        """Assert the same bits; with clipping, whose norm is added up in another order, nearly."""
        expected, alone, told = self.alone(rule, options, **step)
        params, sharded, results = self.sharded(comm, rule, options, **step)
        exact = options.get("max_norm") is None
        assert_same(params, expected, exact)
        assert [r.skipped for r in results] == [r.skipped for r in told]
        for ours, theirs in zip(results, told, strict=True):
            assert (ours.norm is None) == (theirs.norm is None)
            if theirs.norm is not None:
                np.testing.assert_allclose(ours.norm, theirs.norm, rtol=1e-13)
        assert sharded.steps == alone.steps
        assert_same_state(sharded.state_dict(), alone.state_dict(), exact)


def assert_same(ours: Sequence[Any], theirs: Sequence[Any], exact: bool) -> None:
    """Clipped, the factor may differ in its last bit, and then the numbers in theirs."""
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        if exact or b.dtype.kind in "iu":
            np.testing.assert_array_equal(a, b)
        else:
            unit = 2.0**-7 if b.dtype.itemsize == 2 else float(np.finfo(b.dtype).eps)
            wide = [np.asarray(x, np.float64) for x in (a, b)]
            np.testing.assert_allclose(*wide, rtol=100 * unit, atol=100 * unit)


def assert_same_state(ours: dict[str, Any], theirs: dict[str, Any], exact: bool) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if isinstance(value, np.ndarray):
            assert_same([ours[key]], [value], exact)
        else:
            assert np.array_equal(ours[key], value), key
