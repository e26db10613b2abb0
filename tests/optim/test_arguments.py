"""Arguments of the optimizers that are of another kind: an error that names them."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep import schedules

FLAGS = ("maximize", "decoupled", "decay_by_lr", "master", "stochastic_rounding", "skip_nonfinite")
OF_RULE = {"SGD": (*FLAGS, "nesterov"), "AdamW": (*FLAGS, "amsgrad")}


@pytest.mark.parametrize("value", ["no", "", b"1", None])
@pytest.mark.parametrize(("rule", "name"), [(r, n) for r, ns in OF_RULE.items() for n in ns])
def test_a_flag_that_is_a_text(rule: str, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{name}: expected True or False, got "):
        getattr(ss, rule)([np.ones(3)], 0.1, **{name: value})


def test_a_flag_of_a_step_that_is_a_text() -> None:
    w: Any = np.ones(3)
    no: Any = "no"
    with pytest.raises(TypeError, match=r"^zero_grads: expected True or False, got str"):
        ss.SGD([w], 0.1).step([np.ones(3)], zero_grads=no)
    np.testing.assert_array_equal(w, 1)


@pytest.mark.parametrize("rule", OF_RULE)
@pytest.mark.parametrize("seed", [1.5, "7", None])
def test_a_seed_that_is_no_integer(rule: str, seed: Any) -> None:
    with pytest.raises(TypeError, match=r"^seed: expected an integer, got "):
        getattr(ss, rule)([np.ones(3)], 0.1, seed=seed)


@pytest.mark.parametrize("params", [None, 1.0])
def test_parameters_that_are_no_list(params: Any) -> None:
    for function in (ss.SGD, ss.AdamW, ss.l2_penalty):
        with pytest.raises(TypeError, match=r"^params: expected "):
            function(params, 0.1)


@pytest.mark.parametrize("value", ["0.5", None, [1.0]])
def test_a_number_that_is_none(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^lam: expected a number, got "):
        ss.l2_penalty(np.ones(3), value)
    for schedule in (schedules.constant, lambda v: schedules.cosine(v, 3)):
        with pytest.raises(TypeError, match=r"^initial: expected a number, got "):
            schedule(value)


@pytest.mark.parametrize("rule", OF_RULE)
def test_an_option_of_the_groups_is_not_set_beside_them(rule: str) -> None:
    optimizer = getattr(ss, rule)([np.ones(3)], 0.1)
    for name in optimizer.param_groups[0]:
        if name not in ("params", "lr"):
            with pytest.raises(AttributeError, match=name):
                setattr(optimizer, name, 0.5)
    optimizer.lr, optimizer.max_norm = 0.2, 1.0
    assert optimizer.param_groups[0]["lr"] == 0.2
