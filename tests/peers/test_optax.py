"""Optax's tests of its losses, for softstep.jax.cross_entropy."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("optax", minversion="0.2.8")
from tests.jax.front_end import jnp, ssj
from tests.peers.suite import cases_of, load

module = load("optax.losses._classification_test")


def dense(logits: Any, labels: Any, axis: Any = -1, where: Any = None) -> Any:
    """One-hot labels may be integers in Optax."""
    return ssj.cross_entropy(logits, jnp.asarray(labels, jnp.float32), axis, where)


module._classification = SimpleNamespace(  # type: ignore[attr-defined]
    **{
        **vars(module._classification),
        "softmax_cross_entropy": dense,
        "safe_softmax_cross_entropy": dense,
        "softmax_cross_entropy_with_integer_labels": ssj.cross_entropy,
    }
)
FORWARD = "wants forward mode too; tests/jax checks the gradients by differences"
HAS_NOT = "softstep.jax has no such loss"
LEFT_OUT = {
    "SoftmaxCrossEntropyTest.test_gradient": FORWARD,
    "SafeSoftmaxCrossEntropyTest.test_gradient": FORWARD,
    "SoftmaxCrossEntropyWithIntegerLabelsTest.test_gradient": FORWARD,
    **{
        name: HAS_NOT
        for name in vars(module)
        if name.endswith("Test") and "SoftmaxCrossEntropy" not in name
    },
}
globals().update(cases_of(module, LEFT_OUT))
