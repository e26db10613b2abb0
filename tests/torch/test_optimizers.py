"""softstep.torch's SGD and AdamW beside PyTorch's: steps, states, schedulers, scales."""

import copy
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import softstep.torch as st  # noqa: E402

PAIRS = {"SGD": (st.SGD, torch.optim.SGD), "AdamW": (st.AdamW, torch.optim.AdamW)}
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "dampening": 0.5, "maximize": True}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("AdamW", {}),
    ("AdamW", {"betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.3}),
    ("AdamW", {"maximize": True, "amsgrad": True}),
]


def parameters(dtype: Any = torch.float64) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    normal = lambda *s: torch.randn(*s, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
    strided = normal(6, 8)[:, ::2]
    tensors = [normal(3, 4), normal(5, 7).t(), strided, normal(()), normal(0), normal(33)]
    return [torch.nn.Parameter(t) if t is not strided else leaf(t) for t in tensors]


def leaf(t: Any) -> Any:
    return t.detach().requires_grad_()


def set_grads(params: list[Any], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for k, p in enumerate(params):
        grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
        p.grad = None if (k, step) in ((0, 0), (3, 2)) else grad  # comes late; pauses


def assert_same(ours: list[Any], theirs: list[Any], **tolerance: Any) -> None:
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p.detach(), q.detach(), **tolerance)


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_steps_and_states(name: str, options: dict[str, Any]) -> None:
    ours, theirs = parameters(), parameters()
    a, b = (c(p, 0.1, **options) for c, p in zip(PAIRS[name], (ours, theirs), strict=True))
    for step in range(4):
        set_grads(ours, step)
        set_grads(theirs, step)
        versions = [p._version for p in ours]
        a.step()
        b.step()
        assert_same(ours, theirs)
        moved = [p._version > v for p, v in zip(ours, versions, strict=True)]
        assert all(m or p.grad is None for m, p in zip(moved, ours, strict=True))
        set_grads(theirs, step)
        assert_same([p.grad for p in ours if p.grad is not None],
                    [p.grad for p in theirs if p.grad is not None], rtol=0, atol=0)  # fmt: skip
    for p, q in zip(ours, theirs, strict=True):
        for key, value in b.state[q].items():
            if value is not None:
                torch.testing.assert_close(a.state[p][key], value)


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
@pytest.mark.parametrize("back", [False, True])
def test_states_are_interchangeable(name: str, options: dict[str, Any], back: bool) -> None:
    first, second = PAIRS[name][:: -1 if back else 1]
    one, two, whole = parameters(), parameters(), parameters()
    a, b, reference = first(one, 0.1, **options), second(two, 0.5), first(whole, 0.1, **options)
    for step in range(2):
        for params, optimizer in ((one, a), (whole, reference)):
            set_grads(params, step)
            optimizer.step()
    with torch.no_grad():
        for p, q in zip(two, one, strict=True):
            p.copy_(q)
    b.load_state_dict(pickle.loads(pickle.dumps(a.state_dict())))
    for step in range(2, 4):
        for params, optimizer in ((two, b), (whole, reference)):
            set_grads(params, step)
            optimizer.step()
    assert_same(two, whole)


@pytest.mark.parametrize("name", list(PAIRS))
def test_groups_schedulers_and_copies(name: str) -> None:
    results = []
    for cls in PAIRS[name]:
        params = parameters()
        groups = [{"params": params[:2], "weight_decay": 0.2}, {"params": params[2:4], "lr": 0.01}]
        optimizer = cls(groups, lr=0.1)
        optimizer.add_param_group({"params": params[4:], "lr": torch.tensor(0.3)})
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        calls = []
        optimizer.register_step_post_hook(lambda *_: calls.append(1))  # noqa: B023
        for step in range(3):
            set_grads(params, step)
            optimizer.step()
            scheduler.step()
        assert len(calls) == 3
        other = pickle.loads(pickle.dumps(optimizer))
        clone = copy.deepcopy(optimizer)
        assert other.state_dict()["param_groups"] == clone.state_dict()["param_groups"]
        results.append(params)
    assert_same(*results)


@pytest.mark.parametrize("name", list(PAIRS))
def test_moved_memory_and_replaced_states(name: str) -> None:
    """A new address, or a new state tensor, is used and not the old memory."""
    results = []
    for cls in PAIRS[name]:
        params = parameters()
        optimizer = cls(params, 0.1, **({"momentum": 0.9} if name == "SGD" else {}))
        for step in range(4):
            set_grads(params, step)
            optimizer.step()
            if step == 1:
                params[1].data = params[1].data.clone()
                state = optimizer.state[params[5]]
                key = "momentum_buffer" if name == "SGD" else "exp_avg"
                state[key] = torch.zeros_like(state[key])
        results.append(params)
    assert_same(*results)


@pytest.mark.parametrize("name", list(PAIRS))
def test_closures_and_gradient_scales(name: str) -> None:
    ours, _ = PAIRS[name]
    w, plain = (torch.full((40,), 2.0, requires_grad=True) for _ in range(2))
    optimizer, reference = ours([w], 0.1), ours([plain], 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for infinite in (False, True, False):
        optimizer.zero_grad()
        scaler.scale(w.square().sum()).backward()
        if infinite:
            w.grad[3] = torch.inf
        before, grad = w.detach().clone(), w.grad.clone()
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(w.grad, grad)
        assert torch.equal(w, before) == infinite == optimizer.last_step.skipped
        if not infinite:
            reference.step(lambda: reference.zero_grad() or plain.square().sum().backward())
    torch.testing.assert_close(w, plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", list(PAIRS))
def test_half_precision_moves(name: str, dtype: Any) -> None:
    """Every element moves as its float32 copy, is rounded once, and small steps count."""
    ours, theirs = PAIRS[name]
    start = torch.linspace(1, 2, 67).to(dtype)
    half, wide = leaf(start.clone()), leaf(start.float())
    a, b = ours([half], 0.1, master=True), theirs([wide], 0.1)
    for step in range(5):
        half.grad = torch.randn(67, generator=torch.Generator().manual_seed(step)).to(dtype)
        wide.grad = half.grad.float()
        a.step()
        b.step()
    torch.testing.assert_close(half.float(), wide.detach().to(dtype).float(), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(a.state[half]["master"], wide.detach(), rtol=1e-5, atol=1e-6)
    copied = leaf(half.clone())
    c = ours([copied], 0.1, master=True)
    c.load_state_dict(a.state_dict())
    assert torch.equal(c.state[copied]["master"], a.state[half]["master"])
    for p, optimizer in ((half, a), (copied, c)):
        p.grad = torch.ones_like(p)
        optimizer.step()
    assert torch.equal(half, copied)
    p = torch.ones(4000, dtype=dtype, requires_grad=True)
    optimizer = st.SGD([p], 1e-4, stochastic_rounding=True)
    for _ in range(100):
        p.grad = torch.ones_like(p)
        optimizer.step()
    assert abs(p.float().mean().item() - 0.99) < 2e-3


def test_clipping_and_skipping() -> None:
    w = torch.zeros(2, requires_grad=True)
    optimizer = st.SGD([w], 1.0, max_norm=1.0, skip_nonfinite=True)
    w.grad = torch.tensor([3.0, 4.0])
    optimizer.step()
    assert optimizer.last_step == (5.0, False)
    torch.testing.assert_close(w.detach(), torch.tensor([-0.6, -0.8]))
    w.grad = torch.tensor([torch.nan, 1.0])
    optimizer.step()
    assert optimizer.last_step.skipped
    torch.testing.assert_close(w.detach(), torch.tensor([-0.6, -0.8]))


def test_decoupled_decay_and_refusals() -> None:
    w = torch.tensor([1.0], requires_grad=True)
    w.grad = torch.tensor([0.0])
    st.SGD([w], 0.1, weight_decay=0.5, momentum=0.9, decoupled=True).step()
    torch.testing.assert_close(w.detach(), torch.tensor([0.95]))
    with pytest.raises(ValueError, match="the decay factor"):
        st.SGD([w], 1.0, weight_decay=1.0)
    with pytest.raises(ValueError, match="max_norm: expected a number above 0"):
        st.AdamW([w], max_norm=0.0)
    with pytest.raises(ValueError, match="master: "):
        st.AdamW([w], master=True, stochastic_rounding=True)
    table = torch.nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    st.SGD(table.parameters(), 0.5).step()  # PyTorch's own step
    with pytest.raises(RuntimeError, match="need dense CPU tensors"):
        st.SGD(table.parameters(), 0.5, max_norm=1.0).step()


def test_inference_tensors_change_in_inference_mode_alone() -> None:
    """As PyTorch's."""
    for kind in (st.SGD, st.AdamW, torch.optim.SGD):
        with torch.inference_mode():
            w = torch.ones(3)
            w.grad = torch.ones(3)
        with pytest.raises(RuntimeError, match="inference tensor"):
            kind([w], 0.1).step()
        with torch.inference_mode():
            w.fill_(1.0)
            kind([w], 0.1).step()
        assert (w < 1).all()
