"""Every option of cross-entropy beside every other: all results against the reference, and the
gradients against differences of the loss."""

from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import softstep as ss
from softstep import _core
from tests import reference as ref
from tests.support.cross_entropy_calls import calls, targets
from tests.support.cross_entropy_check import check


@settings(derandomize=True, deadline=None, database=None, max_examples=500, phases=[Phase.generate])
@given(st.sampled_from(ss.available_isas()), calls())
def test_every_result_of_every_combination(isa: str, call: tuple[Any, dict[str, Any]]) -> None:
    x, options = call
    before = _core.active_isa()
    _core.use_isa(isa)
    try:
        check(x, **options)
    finally:
        _core.use_isa(before)


def differences(loss: Any, array: Any, at: tuple[int, ...]) -> float:
    """Central differences of order 4, h = 1e-3: truncation h^4 and rounding eps / h are < 1e-9."""
    h, total = 1e-3, 0.0
    for step, factor in [(-2, 1), (-1, -8), (1, 8), (2, -1)]:
        moved = np.array(array)
        moved[at] += step * h
        total += factor / (12 * h) * loss(moved)
    return total


@pytest.mark.parametrize("shape, axis", [((3, 5), 1), ((2, 35), 1), ((2, 4, 3), 1), ((5, 3), 0)])
@pytest.mark.parametrize("kind", ["classes", "probabilities", "sparse"])
@pytest.mark.parametrize("smoothing", ["uniform", "exclude_target", "allowed"])
def test_gradients_are_derivatives(
    rng: np.random.Generator, shape: tuple[int, ...], axis: int, kind: str, smoothing: str
) -> None:
    """Of the logits, the temperature, the class weights and the target's probabilities."""
    if kind != "classes" and smoothing == "exclude_target":
        pytest.skip("the other classes than which?")
    x = rng.normal(size=shape)
    target = targets(rng, kind, np.ones(shape, bool), axis, x, -100)
    if kind != "probabilities":
        target["target"].flat[0] = 0  # a mean needs a row that counts
    options = {**target, "axis": axis, "label_smoothing": 0.2, "smoothing": smoothing}
    options |= {"softcap": 2.0, "temperature": 0.7, "z_loss": 0.1}
    options["weight"] = rng.uniform(0.5, 2, shape[axis])
    options["sample_weight"] = rng.uniform(0.5, 2, np.delete(shape, axis))
    mass = {"probabilities": "target", "sparse": "target_probabilities"}.get(kind)
    extra = ("dtemperature", "dweight", *(("dtarget",) if mass else ()))
    for reduction in ("sum", "mean"):
        options["reduction"] = reduction
        _, dlogits, results = ss.cross_entropy_with_grad(x, extra=extra, **options)

        def against(name: str, gradient: Any, value: Any) -> None:
            def loss(moved: Any) -> float:
                every = {"logits": x, **options, name: moved}
                return float(ss.cross_entropy(**every))

            for at in np.ndindex(np.shape(value)):
                got = np.asarray(gradient)[at]
                assert got == pytest.approx(differences(loss, value, at), abs=1e-8), (name, at)

        against("logits", dlogits, x)
        against("temperature", results["dtemperature"], options["temperature"])
        against("weight", results["dweight"], options["weight"])
        if mass:
            against(mass, results["dtarget"], options[mass])


def test_the_reference_has_the_values_of_torch() -> None:
    """torch 2.13, F.cross_entropy: the specification is not what the kernels happen to do."""
    x, target = np.array([[1.0, 2, 3], [0, 0, 1]]), np.array([0, 2])
    weight, q = np.array([1.0, 2, 4]), np.array([[0.2, 0.3, 0.5], [0.1, 0.6, 0.3]])
    near = {"rel": 1e-7}
    assert ref.cross_entropy(x, target) == pytest.approx(1.4795253, **near)
    assert ref.cross_entropy(x, target, weight=weight) == pytest.approx(0.9226769, **near)
    assert ref.cross_entropy(x, q, weight=weight) == pytest.approx(2.4099543, **near)
    smooth = {"weight": weight, "label_smoothing": 0.3}
    assert ref.cross_entropy(x, target, **smooth) == pytest.approx(0.9201409, **near)
