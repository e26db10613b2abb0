"""Groups of parameters, and rates and decays that are schedules."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep import schedules
from tests import reference as ref
from tests.support.optimizer_cases import arrays

RULES = ["SGD", "AdamW"]
SHAPES: list[tuple[int, ...]] = [(4, 3), (3,), (2, 3, 2), ()]


def both(rule: str, groups: list[dict[str, Any]], lr: Any, **options: Any) -> tuple[Any, Any]:
    """The reference copies its parameters."""
    theirs = getattr(ref, rule)(groups, lr, **options)
    return getattr(ss, rule)(groups, lr, **options), theirs


def check(ours: Any, theirs: Any) -> None:
    for p, q in zip(ours.params, theirs.params, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_each_group_has_its_options(isa: str, rng: np.random.Generator, rule: str) -> None:
    params = arrays(rng, SHAPES)
    own: dict[str, Any] = {"momentum": 0.5} if rule == "SGD" else {"betas": (0.5, 0.9), "eps": 0.1}
    groups = [
        {"params": params[:2], "weight_decay": 0.3, "maximize": True},
        {"params": params[2:3], "lr": 0.01, **own},
        {"params": []},
        {
            "params": params[3:],
            "lr": schedules.inverse_time(0.2, 0.5),
            "decoupled": rule == "SGD",
            "weight_decay": schedules.cosine(0.2, 3),
        },
    ]
    ours, theirs = both(rule, groups, 0.1, max_norm=1.0)
    assert ours.params == params or all(p is q for p, q in zip(ours.params, params, strict=True))
    for step in range(4):
        grads: list[Any] = arrays(rng, SHAPES)
        grads[step] = None
        assert ours.step(grads).norm == pytest.approx(theirs.step(grads).norm, rel=1e-14)
        check(ours, theirs)


def test_a_group_may_use_momentum_and_another_none(isa: str, rng: np.random.Generator) -> None:
    params = arrays(rng, SHAPES)
    groups = [
        {"params": params[:2], "momentum": 0.9, "nesterov": True},
        {"params": params[2:], "momentum": 0.0, "nesterov": False},
    ]
    ours, theirs = both("SGD", groups, 0.1)
    for _ in range(3):
        grads = arrays(rng, SHAPES)
        ours.step(grads)
        theirs.step(grads)
    check(ours, theirs)
    assert "state.1.momentum_buffer" in ours.state_dict()


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_biases_and_norms_are_left_out_of_decay(
    isa: str, rng: np.random.Generator, rule: str, decoupled: bool
) -> None:
    params, grads = arrays(rng, SHAPES), arrays(rng, SHAPES)
    plain = [p.copy() for p in params]
    decayed = [p.copy() for p in params]
    options = {"decoupled": decoupled}
    getattr(ss, rule)(params, 0.1, weight_decay=0.5, min_decay_ndim=2, **options).step(grads)
    getattr(ss, rule)(plain, 0.1, weight_decay=0.0, **options).step(grads)
    getattr(ss, rule)(decayed, 0.1, weight_decay=0.5, **options).step(grads)
    for p, without, with_decay in zip(params, plain, decayed, strict=True):
        np.testing.assert_array_equal(p, with_decay if p.ndim >= 2 else without)
    # AdamW's first step is the same whatever the size of the gradient, coupled decay included.
    if decoupled or rule == "SGD":
        assert all((a != b).all() for a, b in zip(plain, decayed, strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_schedules_are_called_with_the_steps_done(rule: str, rng: np.random.Generator) -> None:
    called: list[int] = []

    def rate(step: int) -> float:
        called.append(step)
        return 0.1 / (1 + step)

    params = arrays(rng, [(5,)])
    ours, theirs = both(rule, [{"params": params}], rate, weight_decay=lambda step: 0.1 * step)
    called.clear()
    for step in range(4):
        grads = arrays(rng, [(5,)])
        ours.step(grads)
        assert called == [step]
        theirs.step(grads)
        called.clear()
    check(ours, theirs)
    ours.step(arrays(rng, [(5,)]), lr=0.5)
    assert not called and ours.lr is rate


def test_options_may_change_between_steps(rng: np.random.Generator) -> None:
    params = arrays(rng, SHAPES)
    ours, theirs = both("AdamW", [{"params": params[:2]}, {"params": params[2:]}], 0.1)
    for lr, decay in [(0.1, 0.01), (0.05, 0.2), (0.2, 0.0)]:
        ours.lr = theirs.lr = lr
        assert [group["lr"] for group in ours.param_groups] == [lr, lr]
        ours.param_groups[1]["weight_decay"] = decay
        for options in theirs.options[2:]:
            options["weight_decay"] = decay
        grads = arrays(rng, SHAPES)
        ours.step(grads)
        theirs.step(grads)
        check(ours, theirs)


def test_the_penalised_gradient_is_a_weight_decay_of_twice_lambda(
    isa: str, rng: np.random.Generator
) -> None:
    """Over lists and groups, with momentum; the penalty's gradient by finite differences too."""
    lam, lr = 0.05, 0.1
    decayed = arrays(rng, SHAPES)
    groups = [{"params": decayed[:2]}, {"params": decayed[2:], "lr": 0.2, "momentum": 0.5}]
    decays = ss.SGD(groups, lr, momentum=0.9, weight_decay=2 * lam)
    penalised = [p.copy() for p in decayed]
    groups = [{"params": penalised[:2]}, {"params": penalised[2:], "lr": 0.2, "momentum": 0.5}]
    plain = ss.SGD(groups, lr, momentum=0.9)
    for _ in range(3):
        grads = arrays(rng, SHAPES)
        decays.step(grads)
        plain.step([g + 2 * lam * p for g, p in zip(grads, penalised, strict=True)])
    for p, q in zip(decayed, penalised, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-13, atol=1e-14)
    for p in penalised:
        for place in [index for index in np.ndindex(p.shape)][:3]:
            value, h = float(p[place]), 1e-3
            p[place] = value + h
            above = ss.l2_penalty(penalised, lam)
            p[place] = value - h
            below = ss.l2_penalty(penalised, lam)
            p[place] = value
            # Exact for a parabola but for rounding: 1e-16 of a sum near 3, over h.
            assert (above - below) / (2 * h) == pytest.approx(2 * lam * value, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(
    ("group", "error", "message"),
    [
        ({"lr": -0.1}, ValueError, r"^lr: expected a finite number of at least 0, got -0\.1"),
        ({"weight_decay": np.nan}, ValueError, r"^weight_decay: expected a finite number"),
        ({"lr": 2.0, "weight_decay": 0.5}, ValueError, r"^lr \* weight_decay: .*\(0, 1\), got"),
        ({"weight_decay": 1.0, "decoupled": True, "decay_by_lr": False}, ValueError,
         r"^weight_decay: the decay factor 1 - weight_decay must stay in \(0, 1\)"),
        ({"decay_by_lr": False, "decoupled": False}, ValueError, "^decay_by_lr: "),
        ({"foo": 1}, TypeError, r"^params: group 1: unknown option 'foo', expected one of lr, "),
    ],
)  # fmt: skip
def test_a_group_with_an_option_that_does_not_fit(group: Any, error: Any, message: str) -> None:
    p = np.ones(3)
    for rule in RULES:
        with pytest.raises(error, match=message):
            getattr(ss, rule)([{"params": [np.ones(2)]}, {"params": [p], **group}], 0.1)


def test_schedules_that_do_not_fit_are_refused_in_their_step() -> None:
    for group in (
        {"lr": lambda step: 0.1 + step, "weight_decay": 0.95},
        {"lr": 0.5, "weight_decay": lambda step: 2.0 * step},
    ):
        p = np.ones(3)
        sgd = ss.SGD([{"params": [np.ones(2)]}, {"params": [p], **group}], 0.1)
        sgd.step([np.zeros(2), np.zeros(3)])
        before = p.copy()
        with pytest.raises(ValueError, match=r"^lr \* weight_decay: .*\(0, 1\), got"):
            sgd.step([np.ones(2), np.ones(3)])
        np.testing.assert_array_equal(p, before)
        assert sgd.steps == 1 and (sgd.params[0] == 1).all()


def test_groups_that_do_not_fit() -> None:
    p, whole = np.ones(3), np.ones(10)
    for params, error, message in [
        ([{"params": [p]}, {"params": [p]}], ValueError, r"^params\[1\]: overlaps params\[0\]"),
        ([{"params": [whole[:6]]}, {"params": [p, whole[5:]]}], ValueError, r"^params\[2\]: overl"),
        ([{"params": [p]}, p], TypeError, "^params: group 1: expected a dict"),
        ([{"lr": 0.1}], TypeError, "^params: group 0: expected a dict with"),
        ([{"params": p}], TypeError, "^params: group 0: expected a list of arrays"),
        (p, TypeError, "^params: expected a list"),
        ({"params": [p]}, TypeError, "^params: expected a list"),
    ]:
        for rule in RULES:
            with pytest.raises(error, match=message):
                getattr(ss, rule)(params, 0.1)
    for options, message in [
        ({"betas": (1.0, 0.9)}, "^betas: expected two numbers"),
        ({"betas": (0.9, -0.1)}, "^betas: "),
        ({"betas": 0.9}, "^betas: "),
        ({"eps": -1e-8}, "^eps: expected a finite number"),
        ({"max_norm": 0.0}, "^max_norm: expected a number above 0"),
        ({"max_norm": np.nan}, "^max_norm: "),
    ]:
        with pytest.raises(ValueError, match=message):
            ss.AdamW([p], 0.1, **options)


def changed(groups: list[Any], name: str) -> None:
    """A list that is replaced in part, or in another order."""
    first, second = groups
    if name == "groups reversed":
        groups.reverse()
    elif name == "a group less":
        groups.pop()
    elif name == "a group more":
        groups.append({**second, "params": [np.ones(2)]})
    elif name == "the same group twice":
        groups[1] = first
    elif name == "arrays reversed":
        first["params"].reverse()
    elif name == "an equal array":
        first["params"][0] = first["params"][0].copy()
    elif name == "an array less":
        first["params"].pop()
    elif name == "an array more":
        second["params"].append(np.ones(2))
    elif name == "an array that changes groups":
        second["params"].insert(0, first["params"].pop())
    elif name == "no list":
        first["params"] = np.ones((2, 3))
    elif name == "no params":
        del first["params"]
    elif name == "no dict":
        groups[0] = first["params"]


CHANGES = [
    "groups reversed", "a group less", "a group more", "the same group twice", "arrays reversed",
    "an equal array", "an array less", "an array more", "an array that changes groups", "no list",
    "no params", "no dict",
]  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [0, 1])
def test_other_groups_are_refused(rule: str, name: str, steps: int) -> None:
    """Never half of it: neither a step nor a state is of groups that the parameters do not have."""
    params = [np.full(1, 2.0), np.full(1, 2.0), np.full(1, 2.0)]  # equal, and not the same
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.5}]
    optimizer = getattr(ss, rule)(groups, 0.1)
    grads = [np.ones(1) for _ in params]
    for _ in range(steps):
        optimizer.step(grads)
    good, before = optimizer.state_dict(), [p.copy() for p in params]
    changed(optimizer.param_groups, name)
    for call in (
        lambda: optimizer.step(grads),
        optimizer.state_dict,
        lambda: optimizer.load_state_dict(good),
    ):
        with pytest.raises(
            ValueError, match=r"^param_groups: expected the groups and their params"
        ):
            call()
    for p, q in zip(params, before, strict=True):
        np.testing.assert_array_equal(p, q)
    assert optimizer.steps == steps


@pytest.mark.parametrize("rule", RULES)
def test_replaced_options_are_obeyed_or_refused(rule: str) -> None:
    """A group may be another dict, with the same list of arrays or another with the same arrays."""
    params = [np.zeros(1), np.zeros(1)]
    optimizer = getattr(ss, rule)([{"params": params[:1]}, {"params": params[1:]}], 0.5)
    group = optimizer.param_groups[1]
    optimizer.param_groups[1] = {**group, "params": [params[1]], "lr": 0.25, "weight_decay": 0.0}
    optimizer.step([np.ones(1), np.ones(1)])
    np.testing.assert_allclose([p[0] for p in params], [-0.5, -0.25], rtol=1e-6)
    del optimizer.param_groups[1]["maximize"]
    with pytest.raises(KeyError, match="param_groups: a group lacks the option 'maximize'"):
        optimizer.step([np.ones(1), np.ones(1)])
    del optimizer.param_groups[1]["lr"]
    with pytest.raises(KeyError, match="lr"):
        optimizer.step([np.ones(1), np.ones(1)])
    assert optimizer.steps == 1
    with pytest.raises(AttributeError):
        optimizer.param_groups = [group]
    with pytest.raises(AttributeError):
        optimizer.params = params
    optimizer.params.reverse()  # a list of its own
    assert optimizer.params[0] is params[0]
