"""What may change between steps: who has gradients, how parameters lie, what is the default."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402
from tests.torch.optimizer_pairs import (  # noqa: E402
    HALVES,
    RULES,
    every_dtype,
    every_rule,
    normal,
    pair,
    same,
)


@every_dtype
@every_rule
def test_no_gradients_anywhere(name: str, options: Any, dtype: Any) -> None:
    """Nothing happens; and what comes later is as if there had been nothing before."""
    start = [normal(3, seed=1, dtype=dtype), normal(2, 2, seed=2, dtype=dtype)]
    ours, theirs, a, b = pair(name, start, **options)
    for optimizer in (ours, theirs):
        for _ in range(2):
            optimizer.step()
    assert not ours.state and all(map(torch.equal, a, start))
    for p, q in zip(a, b, strict=True):
        p.grad, q.grad = normal(*p.shape, dtype=dtype), normal(*p.shape, dtype=dtype)
    ours.step()
    theirs.step()
    same(a, b)
    limited = getattr(st, name)([torch.nn.Parameter(start[0])], 0.1, max_norm=1.0)
    limited.step()
    assert limited.last_step == (0.0, False)
    assert getattr(st, name)([torch.nn.Parameter(start[0])], 0.1).step(lambda: 5.0) == 5.0


@every_rule
def test_frozen_groups(name: str, options: Any) -> None:
    """A group that is frozen from the start, one that is thawed, one that freezes later."""
    results = []
    for module in (st, torch.optim):
        params = [torch.nn.Parameter(normal(4, seed=k)) for k in range(3)]
        params[0].requires_grad_(False)
        params[1].requires_grad_(False)
        groups = [{"params": [p], "weight_decay": 0.1} for p in params]
        optimizer = getattr(module, name)(groups, 0.1, **options)
        for step in range(6):
            params[1].requires_grad_(step >= 2)
            params[2].requires_grad_(step < 4)
            optimizer.zero_grad()
            if step != 5:
                (sum(p.pow(2).sum() for p in params)).backward()
            optimizer.step()
        assert params[0] not in optimizer.state
        results.append(params)
    same(*results)


def transposed(p: Any) -> Any:
    return p.data.t()


def moved(p: Any) -> Any:
    return p.data.clone()


def other_values(p: Any) -> Any:
    return p.data * 2


def other_order(p: Any) -> Any:
    return p.data.t().contiguous().t()


def half_of_it(p: Any) -> Any:
    return p.data[:2]


def same_place_other_dtype(p: Any) -> Any:
    """float16 and bfloat16 have one size, the first number the same address."""
    turned = {torch.float16: torch.bfloat16, torch.bfloat16: torch.float16}
    bits = p.data.to(turned[p.dtype]).view(torch.int16)
    p.data.view(torch.int16).copy_(bits)
    return p.data.view(turned[p.dtype])


@pytest.mark.parametrize("change", [transposed, moved, other_values, other_order])
@every_dtype
@every_rule
def test_memory_and_layout(name: str, options: Any, dtype: Any, change: Any) -> None:
    ours, theirs, a, b = pair(name, [normal(4, 4, dtype=dtype)], **options)
    for step in range(4):
        for (p,), optimizer in ((a, ours), (b, theirs)):
            p.grad = normal(4, 4, seed=step, dtype=dtype)
            optimizer.step()
            if step % 2:
                p.data = change(p)
        same(a, b)


def test_the_example_of_a_transposed_parameter() -> None:
    p = torch.nn.Parameter(torch.zeros(2, 2))
    optimizer = st.SGD([p], 1.0)
    p.grad = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    optimizer.step()
    p.data = p.data.t()
    optimizer.step()
    assert p.tolist() == [[-2.0, -5.0], [-5.0, -8.0]]


@pytest.mark.parametrize("change", [half_of_it, transposed])
def test_another_shape(change: Any) -> None:
    """As PyTorch without a state; with one of another shape, nothing is written."""
    ours, theirs, a, b = pair("SGD", [normal(4, 3)])
    for step in range(3):
        for (p,), optimizer in ((a, ours), (b, theirs)):
            p.grad = normal(*p.shape, seed=step)
            optimizer.step()
            if step == 0:
                p.grad = None
                p.data = change(p)
        same(a, b)
    for name, options in RULES[1:]:
        ours, _, (p,), _ = pair(name, [normal(4, 3)], **options)
        p.grad = normal(4, 3)
        ours.step()
        p.grad = None
        p.data = change(p)
        p.grad, before = normal(*p.shape), p.detach().clone()
        with pytest.raises(ValueError, match=r"expected shape"):
            ours.step()
        assert torch.equal(p, before)


@pytest.mark.parametrize(
    "old, new",
    [
        (torch.float32, torch.float64),
        (torch.float64, torch.float32),
        (torch.float32, torch.bfloat16),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float16),
    ],
    ids=str,
)
@every_rule
def test_another_dtype(name: str, options: Any, old: Any, new: Any) -> None:
    ours, theirs, a, b = pair(name, [normal(5, dtype=old)], **options)
    for step in range(4):
        for (p,), optimizer in ((a, ours), (b, theirs)):
            p.grad = normal(5, seed=step, dtype=p.dtype)
            optimizer.step()
            if step == 1:
                p.grad = None
                p.data = p.data.to(new)
                if optimizer is theirs:
                    for key, value in theirs.state[p].items():
                        if key != "step":
                            theirs.state[p][key] = value.to(new)
        same(a, b, half=old in HALVES)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_another_dtype_in_the_same_memory(dtype: Any) -> None:
    ours, theirs, a, b = pair("SGD", [normal(5, dtype=dtype)])
    for step in range(2):
        for (p,), optimizer in ((a, ours), (b, theirs)):
            p.grad = normal(5, seed=step, dtype=p.dtype)
            optimizer.step()
            if step == 0:
                p.grad = None
                address = p.data_ptr()
                p.data = same_place_other_dtype(p)
                assert p.data_ptr() == address and p.dtype is not dtype
        same(a, b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@every_rule
def test_a_master_copy_follows_a_parameter_that_is_replaced(
    name: str, options: Any, dtype: Any
) -> None:
    """Where the values are the same it keeps its digits."""
    start = normal(64, dtype=dtype)
    kept, moved, changed = (torch.nn.Parameter(start.clone()) for _ in range(3))
    for p in (kept, moved, changed):
        optimizer = getattr(st, name)([p], 1e-3, master=True, **options)
        for step in range(6):
            p.grad = normal(64, seed=step, dtype=dtype)
            optimizer.step()
            if step == 2 and p is moved:
                p.data = p.data.clone()
            if step == 2 and p is changed:
                p.data = p.data + 1
    assert torch.equal(kept, moved)
    torch.testing.assert_close(changed, kept + 1, rtol=2e-2, atol=2e-2)


@every_rule
def test_parameters_that_change_groups(name: str, options: Any) -> None:
    results = []
    for module in (st, torch.optim):
        params = [torch.nn.Parameter(normal(4, seed=k)) for k in range(3)]
        groups = [{"params": params[:1], "lr": 0.5}, {"params": params[1:]}]
        optimizer = getattr(module, name)(groups, 0.1, **options)
        for step in range(4):
            for k, p in enumerate(params):
                p.grad = normal(4, seed=10 * step + k)
            optimizer.step()
            if step == 1:
                first, second = optimizer.param_groups
                first["params"].append(second["params"].pop(0))
            if step == 2:
                optimizer.param_groups.reverse()
        results.append(params)
    same(*results)


@every_rule
def test_a_number_of_steps_that_is_written(name: str, options: Any) -> None:
    ours, theirs, a, b = pair(name, [normal(5)], **options)
    for step in range(4):
        for (p,), optimizer in ((a, ours), (b, theirs)):
            p.grad = normal(5, seed=step)
            optimizer.step()
            if step == 1 and name == "AdamW":
                optimizer.state[p]["step"].fill_(100)
    same(a, b)


@every_dtype
@every_rule
def test_the_default_device_and_dtype(name: str, options: Any, dtype: Any) -> None:
    """They are of what the caller makes; what is made here is named."""
    expected, _, (q,), _ = pair(name, [normal(5, dtype=dtype)], **options)
    ours, _, (p,), _ = pair(name, [normal(5, dtype=dtype)], **options)
    grads = [normal(5, seed=step, dtype=dtype) for step in range(3)]
    for grad in grads:
        q.grad = grad.clone()
        expected.step()
    torch.set_default_device("meta")
    torch.set_default_dtype(torch.float16)
    try:
        for grad in grads:
            p.grad = grad.clone()
            ours.step()
        state = {key: (value.device.type, value.dtype) for key, value in ours.state[p].items()}
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert torch.equal(p, q)
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    for key, found in state.items():
        assert found == ("cpu", torch.float32 if key == "step" else wide)


def test_the_number_of_steps_is_float64_by_default() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        ours, theirs, (p,), (q,) = pair("AdamW", [normal(5)])
        for w, optimizer in ((p, ours), (q, theirs)):
            w.grad = normal(5)
            optimizer.step()
        assert ours.state[p]["step"].dtype is theirs.state[q]["step"].dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
