"""load_state_dict of what is no state of this optimizer, or PyTorch's."""

from typing import Any

import numpy as np
import pytest

import softstep as ss

OPTIONS: dict[str, dict[str, Any]] = {"SGD": {"momentum": 0.9}, "AdamW": {"betas": (0.8, 0.99)}}


@pytest.mark.parametrize("rule", OPTIONS)
@pytest.mark.parametrize("nested", [False, True])
def test_what_is_no_state_of_this_rule_changes_nothing(rule: str, nested: bool) -> None:
    optimizer = getattr(ss, rule)([np.ones(3)], 0.1, **OPTIONS[rule])
    other = next(name for name in OPTIONS if name != rule)
    foreign = getattr(ss, other)([np.ones(3)], 0.1, **OPTIONS[other])
    for one in (optimizer, foreign):
        one.step([np.ones(3)])
    good, theirs = optimizer.state_dict(), foreign.state_dict()
    no_states: list[tuple[Any, type[Exception]]] = [
        ({"weight": np.ones(3)}, KeyError),
        ({}, KeyError),
        ({f"optim.{key}": value for key, value in good.items()}, KeyError),
        (None, TypeError),
        ([1], TypeError),
        ("abc", TypeError),
        (np.ones(3), TypeError),
        (theirs, ValueError),
        ({key: value for key, value in theirs.items() if key.startswith("state.")}, ValueError),
        ({key: value for key, value in theirs.items() if "state" not in key}, ValueError),
        ({**good, "param_groups.0.maximize": "no"}, TypeError),
    ]
    for state, error in no_states:
        given = {"optimizer": state} if nested and error is KeyError else state
        with pytest.raises(error, match=r"^(.?state|maximize: )"):
            optimizer.load_state_dict(given)
        after = optimizer.state_dict()
        assert after.keys() == good.keys()
        for key, value in good.items():
            np.testing.assert_array_equal(after[key], value, err_msg=key)


def test_steps_of_torch_are_the_steps_done() -> None:
    """A schedule goes on where it was."""
    torch = pytest.importorskip("torch")
    p = torch.nn.Parameter(torch.ones(3))
    theirs = torch.optim.AdamW([p, torch.nn.Parameter(torch.ones(2))])
    for _ in range(5):
        p.grad = torch.ones(3)
        theirs.step()
    steps: list[int] = []
    adamw = ss.AdamW([np.zeros(3, np.float32), np.zeros(2, np.float32)], 0.1)
    adamw.load_state_dict(theirs.state_dict())
    adamw.lr = lambda step: steps.append(step) or 0.1  # type: ignore[func-returns-value]
    adamw.step([np.ones(3, np.float32), np.ones(2, np.float32)])
    assert steps == [5] and adamw.steps == 6
