"""Random groups, shapes, strides, dtypes and options against the reference."""

from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import softstep as ss
from softstep import _core
from tests import reference as ref
from tests.support.cases import LAYOUTS, roundoff

# The same examples on every run: a failure in CI is a failure here.
steadily = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
DTYPES = [np.float32, np.float64, np.float16]
NUMBERS = st.sampled_from([0.5, -0.5, 1.0, -2.0, 0.25])
DECAYS = st.sampled_from([0.0, 0.0625])


@contextmanager
def level(isa: str) -> Any:
    before = _core.active_isa()
    _core.use_isa(isa)
    try:
        yield
    finally:
        _core.use_isa(before)


@st.composite
def tensors(draw: Any) -> dict[str, Any]:
    """A parameter, its gradients (late, missing or all there) and the layouts of both."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9))
    dtype = draw(st.sampled_from(DTYPES))
    whole = hnp.arrays(dtype, shape, elements=NUMBERS, fill=st.just(1.0))
    layouts = st.sampled_from(sorted(LAYOUTS) if shape else ["unaligned"])
    return {
        "param": LAYOUTS[draw(layouts)](np.asarray(draw(whole))),
        "grads": [LAYOUTS[draw(layouts)](np.asarray(draw(whole))) for _ in range(3)],
        "present": draw(st.lists(st.booleans(), min_size=3, max_size=3)),
    }


@st.composite
def sgd_options(draw: Any) -> dict[str, Any]:
    momentum = draw(st.sampled_from([0.0, 0.5]))
    nesterov = bool(momentum) and draw(st.booleans())
    decoupled = draw(st.booleans())
    return {
        "momentum": momentum,
        "nesterov": nesterov,
        "dampening": 0.0 if nesterov else draw(st.sampled_from([0.0, 0.25])),
        "decoupled": decoupled,
        "decay_by_lr": not decoupled or draw(st.booleans()),
    }


@st.composite
def adamw_options(draw: Any) -> dict[str, Any]:
    decoupled = draw(st.booleans())
    return {
        "betas": draw(st.sampled_from([(0.9, 0.999), (0.0, 0.5)])),
        # Where a gradient and its coupled decay cancel, eps keeps the quotient tame.
        "eps": 1.0,
        "amsgrad": draw(st.booleans()),
        "decoupled": decoupled,
        "decay_by_lr": not decoupled or draw(st.booleans()),
    }


@st.composite
def groups(draw: Any, options: Any) -> list[dict[str, Any]]:
    """Each with its own options, or with few of them."""
    common = st.fixed_dictionaries(
        {"lr": st.sampled_from([0.0, 0.125, 0.5]), "weight_decay": DECAYS},
        optional={"maximize": st.booleans(), "min_decay_ndim": st.sampled_from([1, 2])},
    )
    return [
        {**draw(common), **draw(options), "tensors": draw(st.lists(tensors(), max_size=4))}
        for _ in range(draw(st.integers(1, 3)))
    ]


def check(rule: str, isa: str, drawn: list[dict[str, Any]], keywords: dict[str, Any]) -> None:
    every = [tensor for group in drawn for tensor in group["tensors"]]
    given_groups = [
        {**{k: v for k, v in group.items() if k != "tensors"},
         "params": [tensor["param"] for tensor in group["tensors"]]}
        for group in drawn
    ]  # fmt: skip
    theirs = getattr(ref, rule)(given_groups, 0.1, max_norm=keywords["max_norm"])
    with level(isa), ss.threads(keywords["threads"]):
        ours = getattr(ss, rule)(given_groups, 0.1, max_norm=keywords["max_norm"])
        for step in range(3):
            grads = [t["grads"][step] if t["present"][step] else None for t in every]
            copies = [None if g is None else g.copy() for g in grads]
            ways = {"grad_scale": keywords["grad_scale"], "zero_grads": keywords["zero_grads"]}
            expected = theirs.step([None if g is None else g.copy() for g in copies], **ways)
            result = ours.step(grads, **ways)
            assert not result.skipped
            assert (result.norm is None) == (expected.norm is None)
            if result.norm is not None:
                np.testing.assert_allclose(result.norm, expected.norm, rtol=1e-12)
            for g, copy in zip(grads, copies, strict=True):
                if g is not None:
                    np.testing.assert_array_equal(g, 0 * copy if keywords["zero_grads"] else copy)
            for p, q in zip(ours.params, theirs.params, strict=True):
                # Numbers and steps are of size 2 (gradients), at most a few of them in a sum.
                bound = roundoff(np.float32 if p.dtype == np.float16 else p.dtype) * (np.abs(q) + 8)
                bound += np.abs(q) * 2.0**-11 + 2.0**-24 if p.dtype == np.float16 else 0
                assert (np.abs(p.astype(np.float64) - q) <= bound).all()
                q[...] = p


KEYWORDS = st.fixed_dictionaries(
    {
        "max_norm": st.sampled_from([None, 1.0, np.inf]),
        "grad_scale": st.sampled_from([1.0, 8.0]),
        "zero_grads": st.booleans(),
        "threads": st.sampled_from([1, 2, 3]),
    }
)
ISAS = st.sampled_from(ss.available_isas())


@steadily
@given(ISAS, groups(sgd_options()), KEYWORDS)
def test_sgd(isa: str, drawn: list[dict[str, Any]], keywords: dict[str, Any]) -> None:
    check("SGD", isa, drawn, keywords)


@steadily
@given(ISAS, groups(adamw_options()), KEYWORDS)
def test_adamw(isa: str, drawn: list[dict[str, Any]], keywords: dict[str, Any]) -> None:
    check("AdamW", isa, drawn, keywords)
