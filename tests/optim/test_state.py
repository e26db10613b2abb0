"""state_dict: through a file and back, to PyTorch and back, refused where it does not fit."""

import copy
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
CASES = [*OPTIONS.items(), ("AdamW", {**OPTIONS["AdamW"], "amsgrad": True})]
SHAPES: list[tuple[int, ...]] = [(7,), (2, 5), (), (3,)]


def grads_of(rng: np.random.Generator, dtype: Any = np.float32) -> list[Any]:
    """The last parameter never has one."""
    return [*arrays(rng, SHAPES[:-1], dtype), None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize(("rule", "options"), CASES)
def test_state_survives_a_file(
    isa: str, rng: np.random.Generator, rule: str, options: Any, dtype: Any, tmp_path: Path
) -> None:
    def optimizer(params: list[Any]) -> Any:
        rate = schedules.warmup(schedules.cosine(0.1, 10), 3)
        ways: dict[str, Any] = {"stochastic_rounding": dtype == np.float16, "seed": 5}
        groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.03}]
        return getattr(ss, rule)(groups, rate, **options, **ways)

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
@pytest.mark.parametrize(("rule", "options"), CASES)
def test_state_of_half_precision_survives_a_file(
    rng: np.random.Generator, rule: str, options: Any, ways: Any, tmp_path: Path
) -> None:
    params = arrays(rng, SHAPES, np.float16)
    first = getattr(ss, rule)(params, 0.01, **options, **ways)
    first.step(grads_of(rng, np.float16))
    np.savez(tmp_path / "state.npz", **first.state_dict())
    copies = [p.copy() for p in params]
    resumed = getattr(ss, rule)(copies, 0.01, **options, **ways)
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
@pytest.mark.parametrize(("rule", "options"), CASES)
def test_a_run_moves_from_torch_and_back(
    rng: np.random.Generator, rule: str, options: Any, dtype: Any
) -> None:
    """Two steps there, two here, two there again, beside a run that stays in PyTorch."""
    pytest.importorskip("torch")
    start = arrays(rng, SHAPES, dtype)
    groups = [{"params": start[:2]}, {"params": start[2:], "lr": 0.03}]
    moves, stays = (TorchOptimizer(rule, groups, 0.1, **options) for _ in range(2))

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
    back = TorchOptimizer(rule, [{"params": params[:2]}, {"params": params[2:]}], 9.0, **options)
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
        wrong += [({"state.0.step": -3}, "step")]
    for change, message in wrong:
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict({**good, **change})
        after = optimizer.state_dict()
        assert after.keys() == good.keys()
        for key, value in good.items():
            np.testing.assert_array_equal(after[key], value, err_msg=key)
    if rule == "AdamW":
        with pytest.raises(KeyError, match="max_exp_avg_sq"):
            optimizer.load_state_dict({**good, "param_groups.0.amsgrad": True})
        with pytest.raises(KeyError, match="exp_avg_sq"):
            optimizer.load_state_dict({k: v for k, v in good.items() if k != "state.0.exp_avg_sq"})


def test_options_that_a_state_lacks_stay(rng: np.random.Generator) -> None:
    params = arrays(rng, SHAPES, np.float32)
    sgd = ss.SGD([{"params": params[:1], "lr": 0.3}, {"params": params[1:]}], 0.1, momentum=0.9)
    sgd.load_state_dict({"step": 3, "param_groups.1.momentum": 0.5})
    assert sgd.steps == 3
    assert [group["lr"] for group in sgd.param_groups] == [0.3, 0.1]
    assert [group["momentum"] for group in sgd.param_groups] == [0.9, 0.5]


@pytest.mark.parametrize("rule", OPTIONS)
def test_a_schedule_that_a_constant_replaces_is_said(rng: np.random.Generator, rule: str) -> None:
    def made(rate: Any, decay: Any) -> Any:
        params = arrays(rng, SHAPES)
        groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.2}]
        return getattr(ss, rule)(groups, rate, weight_decay=decay)

    state = made(0.25, 0.125).state_dict()
    scheduled = made(schedules.constant(0.1), lambda step: 0.5)
    with pytest.warns(UserWarning) as said:
        scheduled.load_state_dict(state)
    assert [str(one.message).partition(" was a schedule")[0] for one in said] == [
        f"load_state_dict: param_groups[{i}][{name!r}]"
        for i, name in [(0, "lr"), (0, "weight_decay"), (1, "weight_decay")]
    ]
    assert all(one.filename == __file__ for one in said)
    assert scheduled.lr == 0.25 and scheduled.param_groups[1]["weight_decay"] == 0.125
    # Nothing is said where nothing is replaced, or before the state is known to fit.
    made(0.5, 0.5).load_state_dict(state)
    scheduled = made(schedules.constant(0.1), 0.5)
    scheduled.load_state_dict(made(schedules.constant(0.1), 0.25).state_dict())
    assert callable(scheduled.lr)
    with pytest.raises(ValueError, match="step"):
        scheduled.load_state_dict({**state, "step": -1})
    assert callable(scheduled.lr)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_dampening_after_a_first_step_that_was_skipped(dtype: Any) -> None:
    """The first real gradient starts the buffer undamped, also after a state was loaded or made."""
    options: dict[str, Any] = {"momentum": 0.5, "dampening": 0.5, "skip_nonfinite": True}
    ones, bad = np.ones(2, dtype), np.array([np.nan, 1], dtype)
    for between in ("nothing", "a state", "a copy"):
        p = np.zeros(2, dtype)
        sgd = ss.SGD([p], 1.0, **options)
        assert sgd.step([bad]).skipped and "state.0.momentum_buffer" not in sgd.state_dict()
        if between == "a state":
            state, sgd = sgd.state_dict(), ss.SGD([p], 1.0, **options)
            sgd.load_state_dict(state)
        elif between == "a copy":
            sgd = copy.deepcopy(sgd)
            (p,) = sgd.params
        for expected in (-1, -2):  # b = 1, b = 1/2 + 1/2
            sgd.step([ones])
            np.testing.assert_array_equal(p, expected)


def test_amsgrad_comes_and_goes(rng: np.random.Generator) -> None:
    """Switched on later, the largest moment is that from then on; off, it is kept for later."""
    params = arrays(rng, SHAPES)
    adamw = ss.AdamW([{"params": params[:2], "amsgrad": True}, {"params": params[2:]}], 0.1)
    adamw.step(grads_of(rng, np.float64))
    names = {key for key in adamw.state_dict() if "max_exp" in key}
    assert names == {"state.0.max_exp_avg_sq", "state.1.max_exp_avg_sq"}
    adamw.param_groups[0]["amsgrad"], adamw.param_groups[1]["amsgrad"] = False, True
    adamw.step(grads_of(rng, np.float64))
    state = adamw.state_dict()
    np.testing.assert_array_equal(state["state.2.max_exp_avg_sq"], state["state.2.exp_avg_sq"])
    assert (state["state.1.max_exp_avg_sq"] < state["state.1.exp_avg_sq"]).all()
    other = ss.AdamW([{"params": params[:2]}, {"params": params[2:]}], 0.1)
    other.load_state_dict(state)
    assert other.state_dict().keys() == state.keys()


STEPS = [-1, 2**70, float("inf"), float("nan"), 0.5, "1e3", np.inf, 2**53 + 1, b""]
NO_NUMBERS = [object(), [1, 2], np.ones((2, 3)), 1j, slice(1)]


@pytest.mark.parametrize(
    ("steps", "error"), [(n, ValueError) for n in STEPS] + [(n, TypeError) for n in NO_NUMBERS]
)
@pytest.mark.parametrize("key", ["step", "state.0.step"])
def test_numbers_of_steps_that_are_none(key: str, steps: Any, error: type[Exception]) -> None:
    """The first step after it would fail, or arrays are taken before the number is refused."""
    optimizer = ss.AdamW([np.ones(3, np.float32)], lr=0.1)
    optimizer.step([np.ones(3, np.float32)])
    before = {name: np.array(value) for name, value in optimizer.state_dict().items()}
    other = {**before, "state.0.exp_avg": np.full(3, 9, np.float32), key: steps}
    with pytest.raises(error, match=r"state\['.*step'\]: expected"):
        optimizer.load_state_dict(other)
    after = optimizer.state_dict()
    assert all(np.array_equal(after[name], value) for name, value in before.items())


def test_a_state_without_end() -> None:
    nested: Any = {}
    for _ in range(5000):
        nested = {"step": nested}
    with pytest.raises(ValueError, match="levels"):
        ss.SGD([np.ones(3)], lr=0.1).load_state_dict(nested)


def test_an_option_that_is_a_huge_array() -> None:
    """As a list it would take all memory there is."""
    optimizer = ss.SGD([np.ones(3)], lr=0.1)
    huge = np.broadcast_to(0.1, (2**20, 2**20))
    with pytest.raises(ValueError, match=r"state\['param_groups.0.lr'\]: expected an option"):
        optimizer.load_state_dict({"param_groups.0.lr": huge})
