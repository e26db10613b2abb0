"""`_core`'s part of the optimizers called directly: parameters, numbers of groups, plans."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep import _core
from softstep.optim import rules
from tests.support.cases import read_only

SGD: dict[str, Any] = {
    "lr": 0.1,
    "weight_decay": 0.0,
    "decoupled": False,
    "decay_by_lr": True,
    "maximize": False,
    "min_decay_ndim": 0,
    "momentum": 0.0,
    "dampening": 0.0,
    "nesterov": False,
}
SHARED = {name: SGD[name] for name in list(SGD)[:6]}
ADAMW: dict[str, Any] = {**SHARED, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}


def numbers(rule: str = "sgd", *more: dict[str, Any], **options: Any) -> Any:
    """One group, or one for each dict of options."""
    known = {"sgd": SGD, "adamw": ADAMW}.get(rule, {})
    return _core.UpdateGroups(rule, [{**known, **options, **one} for one in more or [{}]])


def plan(rule: str = "sgd", states: Any = (), masters: Any = (), **changes: Any) -> Any:
    params = [np.ones(3), np.ones((2, 2), np.float32)]
    arguments = {
        "params": params,
        "counts": np.zeros(2, np.int64),
        "groups": [0, 0],
        "bfloat16_bits": False,
        **changes,
    }
    return _core.UpdatePlan(rule, states=list(states), masters=list(masters), **arguments)


def step(a_plan: Any, groups: Any) -> Any:
    grads = [np.ones(3), np.ones((2, 2), np.float32)]
    return a_plan.step(grads, groups, None, False, 1.0, False, None, 0)


@pytest.mark.parametrize("given", [np.float64(0.25), np.float32(0.25), np.array(0.25)], ids=repr)
def test_numbers_of_other_types(given: Any) -> None:
    found = numbers(lr=given, weight_decay=given, momentum=given)
    assert (found.lr, found.weight_decay, found.states) == ([0.25], [0.25], [1])


def test_what_is_read_by_name() -> None:
    assert numbers("sgd", {}, {"momentum": 0.5}).states == [0, 1]
    assert numbers("adamw", {}, {"amsgrad": True}).states == [2, len(rules.ADAMW.states)]
    assert numbers("adamw", betas=np.array([0.5, 0.25])).states == [2]
    # Ranks compare the text: every number is in it, and whole.
    assert "lr=0.30000000000000004" in repr(numbers("adamw", lr=0.1 + 0.2))
    changes = {"lr": 0.2, "weight_decay": 0.1, "maximize": True, "min_decay_ndim": 3}
    changes |= {"decoupled": True, "momentum": 0.6, "dampening": 0.1, "nesterov": True}
    changes |= {"betas": (0.9, 0.99), "eps": 0.0, "amsgrad": True}
    for rule, options in (("sgd", {**SGD, "momentum": 0.5}), ("adamw", ADAMW)):
        for name in options.keys() - {"decay_by_lr"}:
            changed = numbers(rule, options, {**options, name: changes[name]})
            assert repr(changed) != repr(numbers(rule, options, options)), name
            assert repr(numbers(rule, options)) != repr(numbers(rule, options, options))


def test_schedules_are_asked_for_the_step() -> None:
    asked: list[int] = []

    def rate(step: int) -> float:
        asked.append(step)
        return 0.5**step

    groups = [{**SGD, "lr": rate, "weight_decay": 0.25}, {**SGD, "weight_decay": rate}]
    found = _core.UpdateGroups("sgd", groups, 2)
    assert (found.lr, found.weight_decay, asked) == ([0.25, 0.1], [0.25, 0.25], [2, 2])
    found = _core.UpdateGroups("sgd", groups)
    assert (found.lr, found.weight_decay, asked) == ([0.0, 0.1], [0.25, 0.0], [2, 2])
    found = _core.UpdateGroups("sgd", groups, 1, 0.125)
    assert (found.lr, found.weight_decay, asked) == ([0.125, 0.125], [0.25, 0.5], [2, 2, 1])
    with pytest.raises(ZeroDivisionError):
        _core.UpdateGroups("sgd", [{**SGD, "lr": lambda step: 1 / step}], 0)
    with pytest.raises(TypeError, match=r"^lr: expected a number, got str"):
        _core.UpdateGroups("sgd", [{**SGD, "lr": lambda step: "1"}], 0)
    with pytest.raises(TypeError, match=r"^groups: expected a list of dicts"):
        _core.UpdateGroups("sgd", [[]])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "rule, changes, error, message",
    [
        ("adam", {}, ValueError, "^rule: expected 'sgd' or 'adamw', got 'adam'"),
        ("sgd", {"lr": -0.1}, ValueError, r"^lr: .* got -0\.1$"),
        ("sgd", {"lr": "0.1"}, TypeError, "^lr: expected a number, got str$"),
        ("sgd", {"lr": None}, TypeError, "^lr: expected a number"),
        ("sgd", {"weight_decay": np.inf}, ValueError, "^weight_decay: .*, got inf$"),
        ("sgd", {"momentum": -1}, ValueError, r"^momentum: .* at least 0, got -1\.0$"),
        ("sgd", {"dampening": np.nan}, ValueError, "^dampening: .* finite number, got nan$"),
        ("sgd", {"nesterov": True}, ValueError, r"^nesterov: .* momentum=0\.0, dampening=0\.0$"),
        ("sgd", {"min_decay_ndim": 1.5}, TypeError, "^min_decay_ndim: expected an integer"),
        ("sgd", {"nesterov": np.ones(2)}, ValueError, "ambiguous"),
        ("adamw", {"betas": 0.9}, ValueError, r"^betas: .* in \[0, 1\), got 0\.9$"),
        ("adamw", {"betas": (0.9,)}, ValueError, "^betas: "),
        ("adamw", {"betas": (0.9, np.nan)}, ValueError, "^betas: "),
        ("adamw", {"betas": ("a", "b")}, TypeError, "^betas: expected a number, got str$"),
        ("adamw", {"eps": np.nan}, ValueError, "^eps: "),
        ("adamw", {"lr": 2.0, "weight_decay": 0.5, "decoupled": True}, ValueError,
         r"got 1 - 2\.0 \* 0\.5 = 0\. The weight_decay of a penalty"),
        ("adamw", {"lr": 2.0, "weight_decay": 0.7}, ValueError, r"got 1 - 2\.0 \* 0\.7 = -0\.4\. "),
    ],
)  # fmt: skip
def test_numbers_that_do_not_fit(rule: str, changes: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        numbers(rule, **changes)


@pytest.mark.parametrize("rule, options", [("sgd", SGD), ("adamw", ADAMW)])
def test_an_option_that_is_missing(rule: str, options: dict[str, Any]) -> None:
    for name in options:
        fewer = {k: v for k, v in options.items() if k != name}
        with pytest.raises(KeyError, match=f"param_groups: a group lacks the option '{name}'"):
            _core.UpdateGroups(rule, [fewer])


def test_parameters_are_checked_without_a_plan() -> None:
    whole = np.ones(10)
    _core.check_parameters([], False)
    _core.check_parameters([whole[:5], whole[5:], np.ones((0, 2)), whole[::-1][:0]], False)
    _core.check_parameters([np.ones(3, np.uint16)], True)
    bad: list[tuple[Any, Any, str]] = [
        ([[1.0]], TypeError, r"^params\[0\]: expected a NumPy array, got list"),
        ([whole, np.ones(3, int)], TypeError, r"^params\[1\]: expected float32, float64"),
        ([np.ones(3, np.uint16)], TypeError, r"^params\[0\]: expected float32, float64"),
        ([np.ones(3, ">f8")], TypeError, r"^params\[0\]: "),
        ([read_only(whole)], ValueError, r"^params\[0\]: expected a writeable array"),
        ([np.lib.stride_tricks.as_strided(whole, (3, 3), (8, 8))], ValueError, "memory of their"),
        ([whole[:6], whole[5:]], ValueError, r"^params\[1\]: overlaps params\[0\]"),
    ]
    for params, error, message in bad:
        with pytest.raises(error, match=message):
            _core.check_parameters(params, False)


def test_plans_and_numbers_of_two_rules() -> None:
    sgd = plan()
    assert step(sgd, numbers()) == (None, False)
    with pytest.raises(ValueError, match=r"^groups: expected numbers of the plan's rule"):
        step(sgd, numbers("adamw"))
    with pytest.raises(ValueError, match=r"^groups: expected the states"):
        step(sgd, numbers(momentum=0.5))
    with pytest.raises(ValueError, match=r"^groups: expected the states"):
        step(plan("adamw"), numbers("adamw"))
    with pytest.raises(ValueError, match=r"^groups: expected the numbers of each group"):
        step(plan(groups=[0, 1]), numbers())
    with pytest.raises(TypeError, match="incompatible function arguments"):
        step(sgd, [(0.1, 0.0)])
    halves = [[np.zeros(3), None]]
    with pytest.raises(ValueError, match=r"^groups: expected the states"):
        step(plan(states=halves), numbers(momentum=0.5))
    two = plan(states=halves, groups=[1, 0])
    assert step(two, numbers("sgd", {}, {"momentum": 0.5})) == (None, False)
    with pytest.raises(ValueError, match=r"^states: expected at most 1 lists"):
        plan(states=[[None, None]] * 2)
    with pytest.raises(ValueError, match=r"^states\[0\]: expected a list with one array for each"):
        plan(states=[[None]])
    with pytest.raises(ValueError, match=r"^groups: expected one number for each parameter"):
        plan(groups=[0])


def test_states_and_masters_that_do_not_fit() -> None:
    """Of parameters of float64, float32 and float16, in this order."""
    params = [np.ones(3), np.ones(3, np.float32), np.ones(3, np.float16)]
    more: dict[str, Any] = {"params": params, "groups": [0] * 3, "counts": np.zeros(3, np.int64)}
    fit = [np.float64, np.float32, np.float32]
    plan(states=[[np.ones(3, dtype) for dtype in fit]], **more)
    bits = [np.ones(3, dtype) for dtype in (np.float64, np.uint16, np.uint16)]
    plan(states=[bits], **more)
    plan(masters=[None, None, np.ones(3, np.float32)], **more)
    for k, dtypes in enumerate(
        [[np.float32, np.uint16, np.float16], *[[np.float64, np.float16]] * 2]
    ):
        for dtype in dtypes:
            states = [np.ones(3, dtype if i == k else each) for i, each in enumerate(fit)]
            with pytest.raises(TypeError, match=rf"^states\[0\]\[{k}\]: expected the dtype of the"):
                plan(states=[states], **more)
    seconds = [np.ones(3), np.ones(3, np.uint16), np.ones(3, np.float32)]
    with pytest.raises(TypeError, match=r"^states\[1\]\[1\]: expected the dtype of the arithmetic"):
        plan("adamw", states=[bits, seconds], **more)
    for k, dtype in [(0, np.float64), (1, np.float32), (2, np.float16), (2, np.float64)]:
        masters = [np.ones(3, dtype) if i == k else None for i in range(3)]
        with pytest.raises(TypeError, match=rf"^masters\[{k}\]: expected float32 for a half"):
            plan(masters=masters, **more)
    for wrong in (np.ones(2, np.float32), np.ones((3, 1), np.float32)):
        with pytest.raises(ValueError, match=r"^states\[0\]\[1\]: expected shape \(3,?\)"):
            plan(states=[[np.ones(3), wrong, np.ones(3, np.float32)]], **more)


@pytest.mark.parametrize("rule", ["SGD", "AdamW"])
def test_an_optimizer_holds_no_state_before_its_first_step(rule: str) -> None:
    """Ranks that hold parts of a state make one of the whole, for its checks alone."""
    params = [np.ones(3, np.float16), np.ones((2, 2), np.float16)]
    options = {"momentum": 0.9} if rule == "SGD" else {}
    optimizer = getattr(ss, rule)(params, 0.1, **options)
    assert optimizer.slots() == {}
    optimizer.step([None, None])
    assert len(optimizer.slots()) == (2 if rule == "SGD" else 4)


def test_a_group_without_momentum_holds_none() -> None:
    params = [np.ones(3), np.ones(2)]
    sgd = ss.SGD([{"params": params[:1], "momentum": 0.9}, {"params": params[1:]}], 0.1)
    sgd.step([np.ones(3), np.ones(2)])
    assert sgd.slots().keys() == {(0, "momentum_buffer")}
    sgd.param_groups[1]["momentum"] = 0.5
    sgd.step([np.ones(3), np.ones(2)])
    np.testing.assert_array_equal(sgd.slots()[1, "momentum_buffer"], np.ones(2))
    np.testing.assert_allclose(sgd.slots()[0, "momentum_buffer"], np.full(3, 1.9))
