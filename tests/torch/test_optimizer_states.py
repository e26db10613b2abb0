"""States that are loaded through hooks, copied, pickled, or not made by a step that was skipped."""

import copy
import io
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402
from tests.torch.optimizer_pairs import (  # noqa: E402
    every_dtype,
    every_rule,
    normal,
    pair,
    same,
)

WAYS: list[dict[str, Any]] = [
    {"max_norm": 0.5},
    {"skip_nonfinite": True},
    {"master": True},
    {"stochastic_rounding": True, "seed": 7},
]


def swapped(_: Any, state: dict[str, Any]) -> dict[str, Any]:
    """A hook that gives each of two parameters the other's state."""
    return {**state, "state": {0: state["state"][1], 1: state["state"][0]}}


@every_dtype
@every_rule
def test_a_hook_that_swaps_states(name: str, options: Any, dtype: Any) -> None:
    """The state that PyTorch's machinery hands over is the one to load, in its own precision."""
    if name == "SGD" and not options:
        pytest.skip("has no state")
    grads = [torch.full((1,), g, dtype=dtype) for g in (1.0009765625, 5.0)]
    for prepend in (False, True):
        ours, _, params, _ = pair(name, [torch.zeros(1, dtype=dtype)] * 2, **options)
        for p, grad in zip(params, grads, strict=True):
            p.grad = grad.clone()
        ours.step()
        state = copy.deepcopy(ours.state_dict())
        ours.register_load_state_dict_pre_hook(swapped, prepend=prepend)
        ours.load_state_dict(state)
        for key, value in ours.state[params[0]].items():
            assert (
                torch.equal(value, state["state"][1][key])
                and value.dtype is state["state"][1][key].dtype
            )
            assert torch.equal(ours.state[params[1]][key], state["state"][0][key])
            assert value.data_ptr() != state["state"][1][key].data_ptr()
        ours.step()  # a plan of the states that were loaded


@every_rule
def test_hooks_before_and_after(name: str, options: Any) -> None:
    """One that edits in place, and one that runs on what was loaded and has the last word."""
    if name == "SGD" and not options:
        pytest.skip("has no state")
    key = "momentum_buffer" if name == "SGD" else "exp_avg"
    ours, _, (p,), _ = pair(name, [normal(3, dtype=torch.bfloat16)], **options)
    p.grad = normal(3, dtype=torch.bfloat16)
    ours.step()
    state = copy.deepcopy(ours.state_dict())
    seen = []

    def before(_: Any, state: Any) -> None:
        state["param_groups"][0]["lr"] = 0.25

    def after(optimizer: Any) -> None:
        seen.append(optimizer.state[p][key].dtype)
        optimizer.state[p][key] = torch.full((3,), 4.0)

    ours.register_load_state_dict_pre_hook(before)
    ours.register_load_state_dict_post_hook(after)
    ours.load_state_dict(state)
    assert seen == [torch.float32] and ours.param_groups[0]["lr"] == 0.25
    assert ours.state[p][key].tolist() == [4.0] * 3
    with pytest.raises(ValueError, match="different number of parameter groups"):
        ours.load_state_dict({"state": {}, "param_groups": [{"params": []}] * 2})
    other = copy.deepcopy(ours)  # nothing of a load is left behind
    assert other.state[other.param_groups[0]["params"][0]][key].tolist() == [4.0] * 3


@pytest.mark.parametrize("ways", [{}, *WAYS], ids=str)
@every_dtype
@every_rule
def test_copies_go_on_to_the_same_bits(name: str, options: Any, dtype: Any, ways: Any) -> None:
    p = torch.nn.Parameter(normal(50, dtype=dtype))
    ours = getattr(st, name)([p], 0.1, **options, **ways)

    def step(optimizer: Any, w: Any, number: int) -> None:
        w.grad = normal(50, seed=number, dtype=dtype)
        if number == 2 and "skip_nonfinite" in ways:
            w.grad[3] = torch.inf
        optimizer.step()

    for number in range(3):
        step(ours, p, number)
    buffer = io.BytesIO()
    torch.save(ours, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    copies = [copy.deepcopy(ours), pickle.loads(pickle.dumps(ours)), loaded]
    for other in copies:
        assert other.last_step == ours.last_step and other.extensions == ours.extensions
        public = [{k for k in vars(o) if not k.startswith("_")} for o in (ours, other)]
        assert public[0] == public[1]
    for number in range(3, 6):
        step(ours, p, number)
    for other in copies:
        (q,) = other.param_groups[0]["params"]
        for number in range(3, 6):
            step(other, q, number)
        assert torch.equal(p, q)
        for key, value in ours.state[p].items():
            assert torch.equal(value, other.state[q][key])


@every_dtype
def test_dampening_after_a_first_step_that_was_skipped(dtype: Any) -> None:
    """The first real gradient starts the buffer undamped, whoever skipped the steps before."""

    def made() -> tuple[Any, Any]:
        p = torch.nn.Parameter(torch.zeros(2, dtype=dtype))
        return p, st.SGD([p], 1.0, momentum=0.5, dampening=0.5, skip_nonfinite=True)

    def skipped(p: Any, optimizer: Any) -> None:
        p.grad = torch.tensor([torch.nan, 1.0], dtype=dtype)
        optimizer.step()
        assert optimizer.last_step.skipped and p.tolist() == [0.0, 0.0]

    def goes_on(p: Any, optimizer: Any) -> None:
        for expected in (-1.0, -2.0):  # b = 1, b = 1/2 + 1/2
            p.grad = torch.ones(2, dtype=dtype)
            optimizer.step()
            assert p.tolist() == [expected] * 2

    p, optimizer = made()
    skipped(p, optimizer)
    assert not optimizer.state_dict()["state"]
    goes_on(p, optimizer)
    p, optimizer = made()
    skipped(p, optimizer)
    p.data = p.data.clone()  # another plan
    skipped(p, optimizer)
    goes_on(p, optimizer)
    p, optimizer = made()
    skipped(p, optimizer)
    q, other = made()
    other.load_state_dict(optimizer.state_dict())
    goes_on(q, other)
    p, optimizer = made()
    skipped(p, optimizer)
    other = copy.deepcopy(optimizer)
    goes_on(other.param_groups[0]["params"][0], other)
    p, optimizer = made()  # an error
    p.grad = torch.ones(2, dtype=dtype)
    optimizer.param_groups[0]["lr"] = -1.0
    with pytest.raises(ValueError, match=r"^lr: "):
        optimizer.step()
    optimizer.param_groups[0]["lr"] = 1.0
    assert not optimizer.state
    goes_on(p, optimizer)
    p, optimizer = made()  # the scaler's way
    optimizer.found_inf, optimizer.grad_scale = torch.tensor(1.0), torch.tensor(1.0)
    p.grad = torch.ones(2, dtype=dtype)
    optimizer.step()
    del optimizer.found_inf, optimizer.grad_scale
    goes_on(p, optimizer)


@every_dtype
def test_a_step_that_was_skipped_is_not_counted(dtype: Any) -> None:
    p = torch.nn.Parameter(torch.zeros(2, dtype=dtype))
    optimizer = st.AdamW([p], 0.1, skip_nonfinite=True, master=True)
    p.grad = torch.tensor([torch.inf, 1.0], dtype=dtype)
    optimizer.step()
    assert not optimizer.state
    p.grad = torch.ones(2, dtype=dtype)
    optimizer.step()
    assert optimizer.state[p]["step"].item() == 1
    p.grad = torch.tensor([torch.inf, 1.0], dtype=dtype)
    optimizer.step()
    assert optimizer.state[p]["step"].item() == 1


@every_dtype
@pytest.mark.parametrize("decoupled", [True, False])
def test_amsgrad(dtype: Any, decoupled: bool) -> None:
    """Gradients that become small, so that the largest moment is an old one; natively."""
    params = [normal(7, 5, dtype=dtype), normal(3, dtype=dtype)]
    ours, theirs, a, b = pair("AdamW", params, amsgrad=True, betas=(0.5, 0.5), weight_decay=0.1)
    for step in range(6):
        for p, q in zip(a, b, strict=True):
            p.grad = normal(*p.shape, seed=step, dtype=dtype) * 0.25**step
            q.grad = p.grad.clone()
        ours.step()
        theirs.step()
        same(a, b)
    for p, q in zip(a, b, strict=True):
        state = ours.state[p]
        assert (
            set(state)
            == set(theirs.state[q])
            == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
        )
        assert (state["max_exp_avg_sq"] > state["exp_avg_sq"]).any()
        wide = torch.float64 if dtype is torch.float64 else torch.float32
        assert state["max_exp_avg_sq"].dtype is wide
        same([state["max_exp_avg_sq"].to(dtype)], [theirs.state[q]["max_exp_avg_sq"]])
    limited = st.AdamW(a, 0.1, amsgrad=True, max_norm=1.0)  # its own step could not
    limited.step()
    assert limited.last_step.norm > 0


def test_amsgrad_in_one_group_and_later_in_the_other() -> None:
    params = [torch.nn.Parameter(normal(4, seed=k)) for k in range(2)]
    ours = st.AdamW([{"params": params[:1], "amsgrad": True}, {"params": params[1:]}], 0.1)
    for step in range(4):
        for k, p in enumerate(params):
            p.grad = normal(4, seed=10 * step + k) * 0.1**step
        ours.step()
        assert "max_exp_avg_sq" in ours.state[params[0]]
        assert ("max_exp_avg_sq" in ours.state[params[1]]) == (step >= 2)
        if step == 1:
            ours.param_groups[1]["amsgrad"] = True
    largest = ours.state[params[1]]["max_exp_avg_sq"]
    assert (largest >= ours.state[params[1]]["exp_avg_sq"]).all() and (largest > 0).all()


def test_amsgrad_keeps_a_nan() -> None:
    """As torch.maximum, from a gradient and from a state that is loaded."""
    ours, theirs, a, b = pair("AdamW", [normal(4)], amsgrad=True)
    for step in range(3):
        for (p,), optimizer in ((a, ours), (b, theirs)):
            p.grad = normal(4, seed=step)
            if step == 0:
                p.grad[1] = torch.nan
            if step == 1:
                optimizer.state[p]["max_exp_avg_sq"][2] = torch.nan
            optimizer.step()
    assert torch.isnan(a[0]).tolist() == [False, True, True, False]
    torch.testing.assert_close(a[0].detach(), b[0].detach(), equal_nan=True)
