"""The compiled extension: what the thin Python functions call with every argument given."""

from collections.abc import Sequence
from typing import Any, type_check_only

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep._typing import FloatArray

def as_array(object: Any, name: str) -> NDArray[Any]: ...
def refuse_masked(object: Any, name: str) -> None: ...

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
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    axis: int = ...,
    target_probabilities: ArrayLike | None = ...,
    weight: ArrayLike | None = ...,
    sample_weight: ArrayLike | None = ...,
    extra: tuple[str, ...] | None = ...,
    with_gradient: bool = ...,
    out: FloatArray | None = ...,
    *options: Any,
    **options_by_name: Any,
) -> tuple[Any, ...]: ...
def cross_entropy_numbers(by_class: bool = ..., **options: Any) -> dict[str, float]: ...
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

# Arguments checked once, for chunks of the rows and segments of the classes
class CrossEntropyCall(metaclass=pybind11_type):
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...  # only by these:
    @staticmethod
    def of_chunks(
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        target: ArrayLike,
        *,
        target_probabilities: ArrayLike | None,
        class_weight: ArrayLike | None,
        sample_weight: ArrayLike | None,
        first: int | None = ...,
        total: int = ...,
        **options: Any,
    ) -> CrossEntropyCall: ...
    @staticmethod
    def of_segment(
        logits: ArrayLike,
        target: ArrayLike,
        *,
        axis: int,
        target_probabilities: ArrayLike | None,
        weight: ArrayLike | None,
        sample_weight: ArrayLike | None,
        first: int,
        total: int,
        with_gradient: bool,
        out: FloatArray | None,
        **options: Any,
    ) -> tuple[CrossEntropyCall, FloatArray, FloatArray | None]: ...
    @property
    def counts(self) -> NDArray[np.bool_] | None: ...
    @property
    def used(self) -> list[int]: ...
    @property
    def sample_weight(self) -> FloatArray | None: ...
    @property
    def z_denominator(self) -> float: ...
    @property
    def denominator_is_part(self) -> bool: ...
    @property
    def loss_denominator(self) -> float: ...
    def kept(self, rows: FloatArray) -> CrossEntropyCall: ...
    def divided_by(self, loss_denominator: float) -> CrossEntropyCall: ...
    def classes(self, begin: int, end: int) -> NDArray[np.int32]: ...
    def run(
        self,
        logits: FloatArray,
        begin: int,
        probabilities: FloatArray | None,
        with_gradient: bool,
        extra: dict[str, NDArray[Any]] = ...,
    ) -> Any: ...
    def sweep(
        self, logits: FloatArray, begin: int = ..., probabilities: FloatArray | None = ...
    ) -> NDArray[np.float64]: ...
    def shift(self, sums: NDArray[np.float64], maxima: NDArray[np.float64]) -> None: ...
    def finish(
        self,
        logits: FloatArray,
        sums: NDArray[np.float64],
        out: FloatArray | None,
        begin: int = ...,
        probabilities: FloatArray | None = ...,
    ) -> Any: ...

def flag(value: object, name: str) -> bool: ...
def number(value: object, name: str) -> float: ...
def above_zero(value: object, name: str, infinite: bool = False) -> float: ...
def check_parameters(params: list[FloatArray], bfloat16_bits: bool) -> None: ...
def check_params(groups: list[dict[str, Any]], kept: list[list[FloatArray]]) -> None: ...

class UpdateGroups(metaclass=pybind11_type):
    def __init__(
        self,
        rule: str,
        groups: list[dict[str, Any]],
        step: object = None,
        lr: object = None,
        kept: list[list[FloatArray]] | None = None,
    ) -> None: ...
    @property
    def lr(self) -> list[float]: ...
    @property
    def weight_decay(self) -> list[float]: ...
    @property
    def states(self) -> list[int]: ...

class UpdatePlan(metaclass=pybind11_type):
    def __init__(
        self,
        rule: str,
        params: list[FloatArray],
        states: list[list[FloatArray | None]],
        masters: list[FloatArray | None],
        counts: NDArray[np.int64],
        groups: list[int],
        bfloat16_bits: bool,
        float32_grads: bool = False,
    ) -> None: ...
    def step(
        self,
        grads: list[FloatArray | None],
        groups: UpdateGroups,
        max_norm: float | None,
        skip_nonfinite: bool,
        grad_scale: float,
        zero_grads: bool,
        seed: int | None,
        step: int,
        norm: tuple[float, bool] | None = None,
    ) -> tuple[float | None, bool]: ...

def optimizer_step(
    plan: UpdatePlan | None,
    grads: Sequence[FloatArray | None],
    groups: list[dict[str, Any]],
    kept: list[list[FloatArray]],
    step: int,
    lr: float | None,
    max_norm: float | None,
    skip_nonfinite: bool,
    grad_scale: float,
    zero_grads: bool,
    seed: int | None,
) -> tuple[float | None, bool] | None: ...
def sum_of_squares(arrays: list[FloatArray]) -> float: ...

# Runtime
def active_isa() -> str: ...
def available_isas() -> list[str]: ...
def use_isa(isa: str) -> None: ...
def release_results() -> None: ...
def see_foreign_arrays(views: object) -> None: ...
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
def tanh(x: FloatArray) -> FloatArray: ...
def tanh_slope(x: FloatArray) -> FloatArray: ...

# Classes of a chunk of gradients that are not negligible
FILTER_TILE: int

def filter_mark(dlogits: FloatArray, bounds: FloatArray, live: NDArray[np.uint8]) -> None: ...
def filter_compact(dlogits: FloatArray, live: NDArray[np.uint8]) -> None: ...

# Rows of the panels of a matrix product, widened to what they are computed in
def panel_copy(to: FloatArray, source: FloatArray, index: NDArray[np.int64] | None) -> None: ...
def panel_add(to: FloatArray, source: FloatArray, index: NDArray[np.int64] | None) -> None: ...
def product(
    out: FloatArray,
    left: FloatArray,
    right: FloatArray,
    *,
    left_rows: NDArray[np.int64] | None = None,
    right_rows: NDArray[np.int64] | None = None,
    out_rows: NDArray[np.int64] | None = None,
    bias: FloatArray | None = None,
    add: bool = False,
    bfloat16: bool = False,
    relu: bool = False,
    gate: FloatArray | None = None,
) -> None: ...

# softstep.jax: capsules of the handlers by name
def jax_handlers() -> dict[str, Any]: ...
