"""The inputs of PyTorch's own optimizer tests (`optim_db`), ours beside its plain loop.

Every input of SGD and AdamW runs, with each implementation that can be asked for, in the situations
of PyTorch's test_optim. Not here: the other optimizers, which softstep.torch does not have; devices
other than the CPU (multi-GPU, mixed devices, capturable, peak memory); which of PyTorch's
implementations is chosen by default (test_defaults_changed_to_foreach).
"""

import copy
import io
import pickle
import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # PyTorch's helpers import it
import softstep.torch as st  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal import common_optimizers

OURS = {torch.optim.SGD: st.SGD, torch.optim.AdamW: st.AdamW}
INFOS = [info for info in common_optimizers.optim_db if info.optim_cls in OURS]


def inputs(*skip: str) -> list[Any]:
    """Each class with each of its inputs and implementations."""
    make = common_optimizers._get_optim_inputs_including_global_cliquey_kwargs
    return [
        pytest.param(info.optim_cls, one.kwargs, id=f"{info.optim_cls.__name__}, {one.desc}")
        for info in INFOS
        for one in make("cpu", torch.float32, info, skip=skip)
    ]


def errors() -> list[Any]:
    return [
        pytest.param(info.optim_cls, one, id=f"{info.optim_cls.__name__}, {text}")
        for info in INFOS
        for one in info.optim_error_inputs_func(device="cpu", dtype=torch.float32)
        for text in [one.optimizer_error_input.desc]
    ]


every_input = pytest.mark.parametrize(("cls", "kwargs"), inputs("differentiable"))


def plain(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Of PyTorch's, the loop over parameters."""
    return {**copy.deepcopy(kwargs), "foreach": False, "fused": False}


def parameters(dtype: Any) -> list[Any]:
    """Of a small model, not contiguous, without dimensions, without elements."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 2), (3,), (10, 5, 2), (), (0,)]
    tensors = [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]
    tensors[2] = tensors[2][..., 0]
    return [t.detach().requires_grad_() for t in tensors]


def step(params: list[Any], optimizer: Any, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    optimizer.zero_grad()
    for p in params:
        real = p.real if p.is_complex() else p
        grad = torch.randn(real.shape, generator=generator, dtype=torch.float64).to(real.dtype)
        if number != 3:  # a step without a gradient does nothing
            p.grad = (
                torch.complex(grad, grad.flip(0) if grad.dim() else grad)
                if p.is_complex()
                else grad
            )
    optimizer.step()


def same(ours: Any, theirs: Any, params: list[Any], others: list[Any]) -> None:
    for p, q in zip(params, others, strict=True):
        torch.testing.assert_close(p.detach(), q.detach())
        for key, value in theirs.state[q].items():
            if value is not None:
                torch.testing.assert_close(ours.state[p][key], value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
@every_input
def test_steps_and_states(cls: Any, kwargs: dict[str, Any], dtype: Any) -> None:
    """As test_foreach_matches_forloop and test_fused_matches_forloop, and test_complex."""
    if dtype.is_complex and kwargs.get("fused"):
        pytest.skip("PyTorch's fused step refuses complex parameters")
    params, others = parameters(dtype), parameters(dtype)
    ours = OURS[cls](params, **copy.deepcopy(kwargs))
    theirs = cls(others, **plain(kwargs))
    for number in range(7):
        step(params, ours, number)
        step(others, theirs, number)
        same(ours, theirs, params, others)


@every_input
def test_states_and_copies(cls: Any, kwargs: dict[str, Any]) -> None:
    """As test_state_dict_deterministic, test_save_load_equality_with_weights_only and others."""
    params = parameters(torch.float32)
    ours = OURS[cls](params, **copy.deepcopy(kwargs))
    for number in range(3):
        step(params, ours, number)
    buffer = io.BytesIO()
    torch.save(ours.state_dict(), buffer)
    buffer.seek(0)
    kept = copy.deepcopy(ours.state_dict())
    others = [p.detach().clone().requires_grad_() for p in params]
    loaded = OURS[cls](others, **copy.deepcopy(kwargs))
    loaded.load_state_dict(torch.load(buffer, weights_only=True))
    torch.testing.assert_close(loaded.state_dict()["state"], kept["state"], rtol=0, atol=0)
    copies = [copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))]
    public = [{k for k in vars(o) if not k.startswith("_")} for o in (ours, *copies)]
    assert public[0] == public[1] == public[2]
    for number in range(4, 6):
        step(params, ours, number)
        step(others, loaded, number)
        for other in copies:
            step(other.param_groups[0]["params"], other, number)
    for other in (loaded, *copies):
        for p, q in zip(params, other.param_groups[0]["params"], strict=True):
            assert torch.equal(p, q)


@every_input
def test_older_states(cls: Any, kwargs: dict[str, Any]) -> None:
    """As test_can_load_older_state_dict and test_load_nontensor_step."""
    params = parameters(torch.float32)
    ours = OURS[cls](params, **copy.deepcopy(kwargs))
    step(params, ours, 0)
    for flag in ("maximize", "foreach", "fused", "differentiable", "decoupled", "amsgrad"):
        state = copy.deepcopy(ours.state_dict())
        for group in state["param_groups"]:
            group.pop(flag, None)
        for values in state["state"].values():
            if flag == "amsgrad":
                values.pop("max_exp_avg_sq", None)
            if torch.is_tensor(values.get("step")):
                values["step"] = values["step"].item()
        ours.load_state_dict(state)
        step(params, ours, 1)


@every_input
def test_nothing_to_do(cls: Any, kwargs: dict[str, Any]) -> None:
    """As test_step_is_noop_when_params_have_no_grad and test_step_is_noop_for_empty_grads."""
    params = parameters(torch.float32)
    before = [p.detach().clone() for p in params]
    ours = OURS[cls](params, **copy.deepcopy(kwargs))
    ours.step()
    assert ours.step(lambda: 1) == 1
    assert all(map(torch.equal, params, before))
    empty = [torch.randn(0, 2, requires_grad=True)]
    empty[0].grad = torch.zeros(0, 2)
    OURS[cls](empty, **copy.deepcopy(kwargs)).step()


@every_input
def test_hooks(cls: Any, kwargs: dict[str, Any]) -> None:
    """As test_step_post_hook, test_step_pre_hook, test_step_all_hooks: each once, in order."""
    params = parameters(torch.float32)
    ours, calls = OURS[cls](params, **copy.deepcopy(kwargs)), []
    ours.register_step_pre_hook(lambda *_: calls.append("before"))
    ours.register_step_post_hook(lambda *_: calls.append("after"))
    step(params, ours, 0)
    assert calls == ["before", "after"]


@pytest.mark.parametrize(("cls", "error"), errors())
def test_errors(cls: Any, error: Any) -> None:
    given = error.optimizer_error_input
    params = given.params
    if params is None:
        params = [torch.nn.Parameter(torch.ones(1, 1))]
        params[0].grad = torch.ones(1, 1)
    is_warning = issubclass(error.error_type, Warning)
    expect: Any = pytest.warns if is_warning else pytest.raises

    def made() -> Any:
        return OURS[cls](params, **given.kwargs)

    if error.error_on is common_optimizers.OptimizerErrorEnum.CONSTRUCTION_ERROR:
        with expect(error.error_type, match=error.error_regex):
            made()
    else:
        optimizer = made()
        with expect(error.error_type, match=error.error_regex):
            optimizer.step()


@pytest.mark.parametrize(
    ("cls", "kwargs"), [p for p in inputs("foreach", "fused") if "differentiable" in p.id]
)
def test_differentiable(cls: Any, kwargs: dict[str, Any]) -> None:
    """PyTorch's own step, of which there is a gradient."""
    results = []
    for kind in (OURS[cls], cls):
        leaf = torch.ones(3, dtype=torch.float64, requires_grad=True)
        p = leaf * 2
        p.retain_grad()
        p.grad = torch.linspace(1, 2, 3, dtype=torch.float64)
        optimizer = kind([torch.zeros(1, requires_grad=True)], **copy.deepcopy(kwargs))
        optimizer.param_groups[0]["params"] = [p]
        optimizer.step()
        p.sum().backward()
        results.append((p.detach(), leaf.grad))
    torch.testing.assert_close(*results)
