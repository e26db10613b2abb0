"""Parameters that FSDP2 or a mesh divides, beside PyTorch's own optimizers; run by ranks."""

import copy
import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

import softstep.torch as st

RULES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("AdamW", {"amsgrad": True}),
]


def model() -> Any:
    """Sizes that two ranks cannot divide evenly, and one of which a rank has nothing."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(7, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1), torch.nn.Linear(1, 1)]
    return torch.nn.Sequential(*layers).double()


def batch(step: int) -> Any:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(4, 7, generator=generator, dtype=torch.float64)


def train(net: Any, optimizer: Any, steps: range, max_norm: float | None = None) -> list[float]:
    norms = []
    for step in steps:
        optimizer.zero_grad()
        net(batch(step)).square().sum().backward()
        if max_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm)
            norms.append(float(norm.full_tensor() if isinstance(norm, DTensor) else norm))
        optimizer.step()
        if isinstance(optimizer, (st.SGD, st.AdamW)) and optimizer.extensions.max_norm is not None:
            norms.append(optimizer.last_step.norm)
    return norms


def sharded(**options: Any) -> Any:
    net = model()
    for layer in net:
        if isinstance(layer, torch.nn.Linear):
            fully_shard(layer, **options)
    fully_shard(net, **options)
    return net


def whole(tensors: Any) -> list[Any]:
    return [t.full_tensor() if isinstance(t, DTensor) else t for t in tensors]


def same(ours: Any, theirs: Any) -> None:
    for p, q in zip(whole(ours), whole(theirs), strict=True):
        torch.testing.assert_close(p.detach(), q.detach())


def check_fsdp(name: str, options: dict[str, Any], mesh: Any) -> None:
    """As PyTorch's on the shards and as one process; states are divided as the parameters are."""
    nets = [sharded(mesh=mesh) for _ in range(2)]
    ours = getattr(st, name)(nets[0].parameters(), 0.1, **options)
    theirs = getattr(torch.optim, name)(nets[1].parameters(), 0.1, **options)
    train(nets[0], ours, range(3))
    train(nets[1], theirs, range(3))
    same(nets[0].parameters(), nets[1].parameters())
    for p, q in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        for key, value in theirs.state[q].items():
            found = ours.state[p][key]
            assert type(found) is type(value), key
            if isinstance(value, DTensor):
                assert found.placements == value.placements and found.shape == value.shape
            same([found], [value])
    # Each goes on from the other's state, and a copy from its own.
    state = copy.deepcopy(theirs.state_dict())
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    ours.load_state_dict(state)
    train(nets[0], ours, range(3, 5))
    train(nets[1], theirs, range(3, 5))
    same(nets[0].parameters(), nets[1].parameters())


def check_checkpoint(name: str, options: dict[str, Any], mesh: Any) -> None:
    """PyTorch's tools for checkpoints read the state and give it back."""
    net, other = sharded(mesh=mesh), sharded(mesh=mesh)
    ours = getattr(st, name)(net.parameters(), 0.1, **options)
    train(net, ours, range(2))
    state = copy.deepcopy(get_optimizer_state_dict(net, ours))
    other.load_state_dict(copy.deepcopy(net.state_dict()))
    again = getattr(st, name)(other.parameters(), 0.5, **options)
    set_optimizer_state_dict(other, again, state)
    train(net, ours, range(2, 4))
    train(other, again, range(2, 4))
    same(net.parameters(), other.parameters())


def check_clipping(name: str, options: dict[str, Any], mesh: Any) -> None:
    """The norm is that of all shards; without FSDP on every rank, to the same numbers."""
    net, alone, clipped = sharded(mesh=mesh), model(), sharded(mesh=mesh)
    ours = getattr(st, name)(net.parameters(), 0.1, max_norm=0.5, **options)
    single = getattr(st, name)(alone.parameters(), 0.1, max_norm=0.5, **options)
    theirs = getattr(torch.optim, name)(clipped.parameters(), 0.1, **options)
    norms = [
        train(net, ours, range(3)),
        train(alone, single, range(3)),
        train(clipped, theirs, range(3), max_norm=0.5),
    ]
    torch.testing.assert_close(norms[0], norms[1])
    torch.testing.assert_close(norms[0], norms[2])
    same(net.parameters(), alone.parameters())
    same(net.parameters(), clipped.parameters())


def check_skipping() -> None:
    """One rank's infinity is every rank's, also where the others have no gradient at all."""
    net = sharded()
    ours = st.AdamW(net.parameters(), 0.1, skip_nonfinite=True)
    train(net, ours, range(1))
    before = [p.detach().clone() for p in whole(net.parameters())]
    net(batch(1)).sum().backward()
    if dist.get_rank() == 1:
        next(net.parameters()).grad.to_local().fill_(torch.inf)
    ours.step()
    assert ours.last_step.skipped and ours.last_step.norm == torch.inf
    same(net.parameters(), before)
    p = distribute_tensor(torch.ones(4), init_device_mesh("cpu", (2,)), [Shard(0)])
    p = torch.nn.Parameter(p)
    ours = st.SGD([p], 1.0, max_norm=1.0)
    if dist.get_rank() == 1:
        p.grad = DTensor.from_local(torch.tensor([3.0, 4.0]), p.device_mesh, p.placements)
    ours.step()
    assert ours.last_step.norm == 5.0


def check_placements() -> None:
    """Replicated and plain parameters count once; a gradient may be divided in another way."""
    mesh = init_device_mesh("cpu", (2,))
    start = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
    for other in ([Shard(0)], [Replicate()], [Shard(1)]):
        placements = [[Shard(0)], [Replicate()], [Shard(1)]]
        divided = [torch.nn.Parameter(distribute_tensor(start, mesh, way)) for way in placements]
        plain = torch.nn.Parameter(start.clone())
        ours = st.SGD([*divided, plain], 0.1, momentum=0.9, max_norm=2.0)
        twins = [torch.nn.Parameter(start.clone()) for _ in range(4)]
        single = st.SGD(twins, 0.1, momentum=0.9, max_norm=2.0)
        for _ in range(2):
            for p in divided:
                p.grad = distribute_tensor(start + 1, mesh, other)
            for p in (plain, *twins):
                p.grad = start + 1
            ours.step()
            single.step()
        assert abs(ours.last_step.norm - single.last_step.norm) < 1e-12
        same([*divided, plain], twins)


def check_half_precision() -> None:
    """States in float32, master copies, and what the state of PyTorch is on the way back."""
    mesh = init_device_mesh("cpu", (2,))
    start = torch.linspace(1, 2, 9).to(torch.bfloat16)
    for ways in ({}, {"master": True}):
        divided = torch.nn.Parameter(distribute_tensor(start, mesh, [Shard(0)]))
        alone = torch.nn.Parameter(start.clone())
        ours, single = (st.AdamW([p], 0.01, **ways) for p in (divided, alone))
        for step in range(4):
            grad = torch.linspace(-1, 1, 9).to(torch.bfloat16) * (step + 1)
            divided.grad = distribute_tensor(grad, mesh, [Shard(0)])
            alone.grad = grad
            ours.step()
            single.step()
            if step == 1:
                ours.load_state_dict(copy.deepcopy(ours.state_dict()))
        assert ours.state[divided]["exp_avg"].dtype is torch.float32
        assert torch.equal(whole([divided])[0], alone)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    size = dist.get_world_size()
    if size == 2:
        for rule, given in RULES:
            check_fsdp(rule, given, init_device_mesh("cpu", (2,)))
            check_checkpoint(rule, given, init_device_mesh("cpu", (2,)))
            check_clipping(rule, given, init_device_mesh("cpu", (2,)))
        check_skipping()
        check_placements()
        check_half_precision()
    else:  # replicas of shards
        for rule, given in RULES:
            mesh = init_device_mesh("cpu", (2, size // 2), mesh_dim_names=("replicate", "shard"))
            check_fsdp(rule, given, mesh)
            check_clipping(rule, given, mesh)
    dist.destroy_process_group()
    sys.stdout.write(f"rank of {size} checked\n")
    sys.stdout.flush()
    # All is checked: PyTorch now and then aborts where it takes down the threads of its meshes.
    os._exit(0)
