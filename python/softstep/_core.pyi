"""The compiled extension: what the thin Python functions call with every argument given."""

from typing import Any, overload, type_check_only

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep._typing import FloatArray

# Softmax family
def softmax(
    x: ArrayLike,
    axis: int,
    temperature: float,
    out: FloatArray | None,
    where: NDArray[Any] | None,
) -> FloatArray: ...
def log_softmax(
    x: ArrayLike,
    axis: int,
    temperature: float,
    out: FloatArray | None,
    where: NDArray[Any] | None,
) -> FloatArray: ...
def logsumexp(
    x: ArrayLike, axis: int, temperature: float, where: NDArray[Any] | None
) -> FloatArray: ...
def entropy(
    x: ArrayLike, axis: int, temperature: float, where: NDArray[Any] | None
) -> FloatArray: ...
def softmax_backward(
    dy: ArrayLike,
    y: ArrayLike,
    axis: int,
    temperature: float,
    out: FloatArray | None,
    where: NDArray[Any] | None,
) -> FloatArray: ...
def log_softmax_backward(
    dy: ArrayLike,
    y: ArrayLike,
    axis: int,
    temperature: float,
    out: FloatArray | None,
    where: NDArray[Any] | None,
) -> FloatArray: ...

# Losses: (loss, gradient or None); cross-entropy also results by row and the rows' shares in a mean
@overload
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    axis: int,
    target_probabilities: ArrayLike | None,
    weight: ArrayLike | None,
    sample_weight: ArrayLike | None,
    ignore_index: int,
    label_smoothing: float,
    smoothing: str,
    temperature: float,
    softcap: float | None,
    z_loss: float,
    reduction: str,
    denominator: float | None,
    empty: str,
    extra: None,
    with_gradient: bool,
    out: FloatArray | None,
) -> tuple[Any, Any]: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    axis: int,
    target_probabilities: ArrayLike | None,
    weight: ArrayLike | None,
    sample_weight: ArrayLike | None,
    ignore_index: int,
    label_smoothing: float,
    smoothing: str,
    temperature: float,
    softcap: float | None,
    z_loss: float,
    reduction: str,
    denominator: float | None,
    empty: str,
    extra: tuple[str, ...],
    with_gradient: bool,
    out: FloatArray | None,
) -> tuple[Any, Any, dict[str, FloatArray], float, float]: ...
def cross_entropy_rows(
    logits: ArrayLike,
    target: ArrayLike,
    target_probabilities: ArrayLike | None,
    weight: ArrayLike | None,
    sample_weight: ArrayLike | None,
    ignore_index: int,
    label_smoothing: float,
    smoothing: str,
    temperature: float,
    softcap: float | None,
    z_loss: float,
    reduction: str,
    denominator: float | None,
    empty: str,
) -> tuple[NDArray[np.bool_] | None, float, float]: ...
def squared_error(
    predictions: ArrayLike,
    target: ArrayLike,
    reduction: str,
    with_gradient: bool,
    out: FloatArray | None,
) -> tuple[Any, Any]: ...
def binary_hinge(
    scores: ArrayLike,
    target: ArrayLike,
    margin: float,
    reduction: str,
    with_gradient: bool,
    out: FloatArray | None,
) -> tuple[Any, Any]: ...
def hinge(
    scores: ArrayLike,
    target: ArrayLike,
    axis: int,
    margin: float,
    reduction: str,
    with_gradient: bool,
    out: FloatArray | None,
) -> tuple[Any, Any]: ...

# The update
@type_check_only
class pybind11_type(type): ...

# One process' classes of rows that are spread over several
class CrossEntropyShard(metaclass=pybind11_type):
    def __init__(
        self,
        logits: ArrayLike,
        target: ArrayLike,
        axis: int,
        target_probabilities: ArrayLike | None,
        weight: ArrayLike | None,
        sample_weight: ArrayLike | None,
        ignore_index: int,
        label_smoothing: float,
        smoothing: str,
        temperature: float,
        softcap: float | None,
        z_loss: float,
        reduction: str,
        denominator: float | None,
        empty: str,
        first: int,
        total: int,
        with_gradient: bool,
        out: FloatArray | None,
    ) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def used(self) -> list[int]: ...
    @property
    def loss_denominator(self) -> float: ...
    @property
    def z_denominator(self) -> float: ...
    @property
    def denominator_is_part(self) -> bool: ...
    def sweep(self) -> NDArray[np.float64]: ...
    def shift(self, sums: NDArray[np.float64], maxima: NDArray[np.float64]) -> None: ...
    def finish(
        self, sums: NDArray[np.float64], loss_denominator: float, z_denominator: float
    ) -> tuple[Any, FloatArray | None]: ...

class UpdatePlan(metaclass=pybind11_type):
    def __init__(
        self,
        rule: str,
        params: list[FloatArray],
        states: list[list[FloatArray]],
        masters: list[FloatArray | None],
        counts: NDArray[np.int64],
        groups: list[int],
        bfloat16_bits: bool,
    ) -> None: ...
    def step(
        self,
        grads: list[FloatArray | None],
        options: list[tuple[float, ...]],
        max_norm: float | None,
        skip_nonfinite: bool,
        grad_scale: float,
        zero_grads: bool,
        seed: int | None,
        step: int,
    ) -> tuple[float | None, bool]: ...

def sum_of_squares(arrays: list[FloatArray]) -> float: ...

# Runtime
def active_isa() -> str: ...
def available_isas() -> list[str]: ...
def use_isa(isa: str) -> None: ...
def release_results() -> None: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def thread_limit() -> int: ...
def num_threads_source() -> str: ...
def parallel_backend() -> str: ...
def compiler() -> str: ...

# Memory streams, for the benchmarks' roofline
def stream_read(x: FloatArray) -> float: ...
def stream_scale(x: FloatArray, factor: float) -> None: ...
def stream_copy(to: FloatArray, source: FloatArray) -> None: ...
def stream_update(a: FloatArray, b: FloatArray, c: FloatArray) -> None: ...

# The kernel without the call from Python, for the benchmarks
def cross_entropy_alone(logits: FloatArray, target: Any, out: FloatArray, calls: int) -> float: ...

# The vector mathematics, for the accuracy tests
def exp(x: FloatArray) -> FloatArray: ...
def log(x: FloatArray) -> FloatArray: ...
def log1p(x: FloatArray) -> FloatArray: ...

# Classes of a chunk of gradients that are not negligible
FILTER_TILE: int

def filter_mark(dlogits: FloatArray, bounds: FloatArray, live: NDArray[np.uint8]) -> None: ...
def filter_compact(dlogits: FloatArray, live: NDArray[np.uint8]) -> None: ...

# Rows of the panels of a matrix product, widened to what they are computed in
def panel_copy(to: FloatArray, source: FloatArray, index: NDArray[np.int64] | None) -> None: ...
def panel_add(to: FloatArray, source: FloatArray, index: NDArray[np.int64] | None) -> None: ...

# softstep.jax: capsules of the handlers by name, none in a build without SOFTSTEP_JAX
def jax_handlers() -> dict[str, Any]: ...
