"""state_dict: through a file and back, to PyTorch and back, refused where it does not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep import schedules
from tests.support.optimizer_cases import TorchOptimizer, arrays
from tests.support.paths import ROOT

OPTIONS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01},
    "AdamW": {"betas": (0.8, 0.99), "weight_decay": 0.01},
}
SHAPES: list[tuple[int, ...]] = [(7,), (2, 5), (), (3,)]


def grads_of(rng: np.random.Generator, dtype: Any = np.float32) -> list[Any]:
    """The last parameter never has one."""
    return [*arrays(rng, SHAPES[:-1], dtype), None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("rule", OPTIONS)
def test_state_survives_a_file(
    isa: str, rng: np.random.Generator, rule: str, dtype: Any, tmp_path: Path
) -> None:
    def optimizer(params: list[Any]) -> Any:
        rate = schedules.warmup(schedules.cosine(0.1, 10), 3)
        ways: dict[str, Any] = {"stochastic_rounding": dtype == np.float16, "seed": 5}
        groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.03}]
        return getattr(ss, rule)(groups, rate, **OPTIONS[rule], **ways)

    params = arrays(rng, SHAPES, dtype)
    first = optimizer(params)
    for _ in range(2):
        first.step(grads_of(rng, dtype))
    np.savez(tmp_path / "state.npz", **first.state_dict())
    copies = [p.copy() for p in params]
    resumed = optimizer(copies)
    with np.load(tmp_path / "state.npz") as state:
        resumed.load_state_dict(dict(state))
    assert resumed.steps == 2 and resumed.param_groups[1]["lr"] == 0.03
    for _ in range(2):
        grads = grads_of(rng, dtype)
        grads[3] = np.asarray(grads[0][:3])
        first.step(grads)
        resumed.step(grads)
    for p, q in zip(params, copies, strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("ways", [{"master": True}, {"state_dtype": "bfloat16"}], ids=str)
@pytest.mark.parametrize("rule", OPTIONS)
def test_state_of_half_precision_survives_a_file(
    rng: np.random.Generator, rule: str, ways: Any, tmp_path: Path
) -> None:
    params = arrays(rng, SHAPES, np.float16)
    first = getattr(ss, rule)(params, 0.01, **OPTIONS[rule], **ways)
    first.step(grads_of(rng, np.float16))
    np.savez(tmp_path / "state.npz", **first.state_dict())
    copies = [p.copy() for p in params]
    resumed = getattr(ss, rule)(copies, 0.01, **OPTIONS[rule], **ways)
    with np.load(tmp_path / "state.npz") as state:
        resumed.load_state_dict(dict(state))
    for _ in range(3):
        grads = grads_of(rng, np.float16)
        first.step(grads)
        resumed.step(grads)
    for p, q in zip(params, copies, strict=True):
        np.testing.assert_array_equal(p, q)


def test_the_keys_are_the_paths_of_torch(rng: np.random.Generator) -> None:
    adamw = ss.AdamW(arrays(rng, SHAPES, np.float32), 0.1, **OPTIONS["AdamW"])
    assert not [key for key in adamw.state_dict() if key.startswith("state.")]
    adamw.step(grads_of(rng))
    state = adamw.state_dict()
    names = {f"state.{k}.{name}" for k in range(3) for name in ("step", "exp_avg", "exp_avg_sq")}
    assert {key for key in state if key.startswith("state.")} == names
    assert state["step"] == 1 and state["state.1.step"] == 1
    assert state["param_groups.0.lr"] == 0.1 and state["param_groups.0.weight_decay"] == 0.01
    np.testing.assert_array_equal(state["param_groups.0.betas"], [0.8, 0.99])
    np.testing.assert_array_equal(state["param_groups.0.params"], range(4))
    before = state["state.1.exp_avg"].copy()
    adamw.step(grads_of(rng))  # copies: they do not follow
    np.testing.assert_array_equal(state["state.1.exp_avg"], before)
    sgd = ss.SGD(arrays(rng, SHAPES, np.float32), schedules.constant(0.1), momentum=0.9)
    sgd.step(grads_of(rng))
    assert {f"state.{k}.momentum_buffer" for k in range(3)} <= sgd.state_dict().keys()
    assert "param_groups.0.lr" not in sgd.state_dict()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", OPTIONS)
def test_a_run_moves_from_torch_and_back(rng: np.random.Generator, rule: str, dtype: Any) -> None:
    """Two steps there, two here, two there again, beside a run that stays in PyTorch."""
    pytest.importorskip("torch")
    start = arrays(rng, SHAPES, dtype)
    groups = [{"params": start[:2]}, {"params": start[2:], "lr": 0.03}]
    moves, stays = (TorchOptimizer(rule, groups, 0.1, **OPTIONS[rule]) for _ in range(2))

    def step_all(*optimizers: Any) -> None:
        for _ in range(2):
            grads = grads_of(rng, dtype)
            for optimizer in optimizers:
                optimizer.step(grads)

    step_all(moves, stays)
    params = [p.copy() for p in moves.params]
    here = getattr(ss, rule)([{"params": params[:2]}, {"params": params[2:]}], 9.0)
    here.load_state_dict(moves.optimizer.state_dict())
    assert here.param_groups[1]["lr"] == 0.03
    step_all(here, stays)
    back = TorchOptimizer(
        rule, [{"params": params[:2]}, {"params": params[2:]}], 9.0, **OPTIONS[rule]
    )
    # The recipe as the page shows it.
    source = (ROOT / "docs" / "optimizers.md").read_text("utf-8")
    recipe: dict[str, Any] = {}
    exec(source[source.index("def as_torch") :].partition("```")[0], recipe)
    back.optimizer.load_state_dict(recipe["as_torch"](here.state_dict(), back.optimizer))
    step_all(back, stays)
    for p, q in zip(back.params, stays.params, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-6 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("rule", OPTIONS)
def test_a_state_that_does_not_fit_changes_nothing(rng: np.random.Generator, rule: str) -> None:
    params = arrays(rng, SHAPES, np.float32)
    optimizer = getattr(ss, rule)(params, 0.1, **OPTIONS[rule])
    optimizer.step(grads_of(rng))
    good = optimizer.state_dict()
    name = "momentum_buffer" if rule == "SGD" else "exp_avg"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({f"state.1.{name}": np.zeros((5, 2), np.float32)}, rf"state\['state\.1\.{name}'\]: expec"),
        ({f"state.1.{name}": np.zeros((2, 5))}, rf"state\['state\.1\.{name}'\]: expected float32"),
        ({f"state.4.{name}": np.zeros(3, np.float32)}, "there are 4 parameters"),
        ({"param_groups.0.lr": -1.0}, "^lr: "),
        ({"param_groups.0.lr": 200.0}, r"^lr \* weight_decay: "),
        ({"param_groups.0.params": np.arange(3)}, "expected 4 parameters, got 3"),
        ({"param_groups.1.lr": 0.1}, "expected 1 groups"),
        ({"step": -1}, "^state.*step"),
    ]
    if rule == "AdamW":
        wrong += [({"param_groups.0.amsgrad": True}, "amsgrad"), ({"state.0.step": -3}, "step")]
    for change, message in wrong:
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict({**good, **change})
        after = optimizer.state_dict()
        assert after.keys() == good.keys()
        for key, value in good.items():
            np.testing.assert_array_equal(after[key], value, err_msg=key)
    if rule == "AdamW":
        with pytest.raises(KeyError, match="exp_avg_sq"):
            optimizer.load_state_dict({k: v for k, v in good.items() if k != "state.0.exp_avg_sq"})


def test_options_that_a_state_lacks_stay(rng: np.random.Generator) -> None:
    params = arrays(rng, SHAPES, np.float32)
    sgd = ss.SGD([{"params": params[:1], "lr": 0.3}, {"params": params[1:]}], 0.1, momentum=0.9)
    sgd.load_state_dict({"step": 3, "param_groups.1.momentum": 0.5})
    assert sgd.steps == 3
    assert [group["lr"] for group in sgd.param_groups] == [0.3, 0.1]
    assert [group["momentum"] for group in sgd.param_groups] == [0.9, 0.5]
