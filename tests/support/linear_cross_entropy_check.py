"""Results of the linear head against the reference, within the rounding of products and softmax."""

from typing import Any

import numpy as np

import softstep as ss
from tests.reference.linear_cross_entropy import linear_cross_entropy_results
from tests.support.cases import assert_within, roundoff
from tests.support.cross_entropy_check import half_ulp

# The sub-levels that multiply bfloat16.
PAIRED = ["x86_64_v4_bf16", "x86_64_v4_amx", "aarch64_bf16"]


def check_head(hidden: Any, weight: Any, target: Any, **options: Any) -> dict[str, Any]:
    """Check loss and gradients of one call; returns what was expected."""
    results = ss.linear_cross_entropy_with_grad(hidden, weight, target, **options)
    return check_results(*results, hidden, weight, target, **options)


def check_results(
    loss: Any, gradients: Any, hidden: Any, weight: Any, target: Any, **options: Any
) -> dict[str, Any]:
    """Check loss and gradients; returns what was expected.

    A sum of n products is exact to (n + 2) eps times the sum of their absolute values, in whatever
    order. A logit's error moves the loss and, relatively, probabilities by twice as much; a row's
    gradient is at most the factor `pull` of its probabilities and target.
    """
    own = {"workspace", "grads", "dhidden", "dweight", "dbias", "accumulate"}
    exact = linear_cross_entropy_results(
        hidden, weight, target, **{k: v for k, v in options.items() if k not in own}
    )
    dtype = np.float64 if np.asarray(hidden).dtype == np.float64 else np.float32
    eps = float(np.finfo(dtype).eps)
    x = np.abs(np.asarray(hidden, np.float64))
    x = np.where(x < 1e30, x, 0.0)  # ignored rows may hold anything
    w = np.abs(np.asarray(weight, np.float64))
    bias = options.get("bias")
    size = x @ w.T + (0 if bias is None else np.abs(np.asarray(bias, np.float64)))
    features, classes, rows = x.shape[-1], len(w), max(1, x[..., 0].size)
    unit = roundoff(dtype, classes)
    largest = float(size.max(initial=0)) / options.get("temperature", 1.0)
    shift = 2 * ((features + 2) * eps + unit) * (1 + largest)
    # d(loss)/d(logits) is at most this much of a row's mass, and of the z-loss's slope.
    pull = float(np.abs(exact["dlogits"]).sum(axis=-1).max(initial=0)) + row_factor(exact, options)
    moved = pull * shift
    assert_within(loss, exact["loss"], loss_scale(exact, options, largest) * shift, dtype)
    flat = np.abs(exact["dlogits"]).reshape(-1, classes)
    x = x.reshape(-1, features)
    sums = flat.max(initial=0) * x.sum(axis=0)
    bounds = {
        "dhidden": moved * (1 + w.max(initial=0)) + (classes + 4) * eps * pull * w.max(initial=0),
        "dweight": moved * x.sum(axis=0) + (rows + 4) * eps * sums,
        "dbias": (moved + (rows + 4) * eps * flat.max(initial=0)) * rows,
    }
    if paired_products(hidden, weight):
        # The gradient of a logit is rounded to bfloat16, with `upstream` that times the hidden too.
        unit = (2 if "upstream" in options else 1) * 2.0**-8
        bounds["dhidden"] = bounds["dhidden"] + unit * np.abs(exact["dlogits"]).sum(-1).max(
            initial=0
        ) * w.max(initial=0)
        bounds["dweight"] = bounds["dweight"] + unit * flat.sum(axis=0)[:, None] * x.max(initial=0)
    for name, gradient in gradients._asdict().items():
        if gradient is not None:
            bound = bounds[name] + half_ulp(exact[name], gradient.dtype)  # dhidden's last rounding
            assert_within(np.asarray(gradient, dtype), exact[name], bound, dtype)
    return exact


def paired_products(hidden: Any, weight: Any) -> bool:
    """Whether the products round to bfloat16."""
    both = all(np.asarray(array).dtype.name == "bfloat16" for array in (hidden, weight))
    return both and ss.active_isa() in PAIRED


def row_factor(exact: dict[str, Any], options: dict[str, Any]) -> float:
    """The largest factor of a row in the reduced loss, class weight and z-loss included."""
    largest = np.abs(np.asarray(options.get("upstream", 1.0))).max(initial=0)
    for name in ("class_weight", "sample_weight"):
        if options.get(name) is not None:
            largest = largest * max(
                1.0, np.abs(np.asarray(options[name], np.float64)).max(initial=0)
            )
    lse = 1 + np.abs(exact["logits"]).max(initial=0) + np.log(exact["logits"].shape[-1] + 1)
    mean = options.get("reduction", "mean") == "mean"
    rows = max(1, exact["logits"][..., 0].size) if mean else 1
    kept = max(1, np.count_nonzero(np.abs(exact["dlogits"]).sum(axis=-1))) if mean else 1
    return float(largest * (1 + 2 * options.get("z_loss", 0.0) * lse) / min(rows, kept))


def loss_scale(exact: dict[str, Any], options: dict[str, Any], largest: float) -> float:
    """How much the loss moves with the logits, with the rounding of its own sum."""
    reduces = options.get("reduction", "mean") == "sum"
    rows = exact["logits"][..., 0].size if reduces else 1
    return rows * row_factor(exact, {**options, "reduction": "sum"}) * (1 + largest)
