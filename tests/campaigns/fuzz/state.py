"""States of optimizers, damaged, given to `load_state_dict`: refused as a whole or taken."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

import softstep as ss
from tests.campaigns.fuzz.arguments import Arena, Own, objects
from tests.campaigns.fuzz.bindings import Finding

# Into one optimizer, whose making takes longer.
LOADS = 16
KINDS = (KeyError, TypeError, ValueError, MemoryError, Own)


def optimizer(rng: random.Random) -> Any:
    """Return one that has made some steps."""
    values = np.random.default_rng(rng.getrandbits(32))
    shapes = [(3, 2), (4,), ()][: rng.randint(1, 3)]
    dtypes = [rng.choice([np.float32, np.float64, np.float16]) for _ in shapes]
    params = [
        np.asarray(values.normal(size=shape), dtype)
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
    if rng.random() < 0.5:
        more = {"momentum": rng.choice([0.0, 0.9]), "weight_decay": rng.choice([0.0, 0.1])}
        made: Any = ss.SGD(params, lr=0.1, **more)
    else:
        made = ss.AdamW(params, lr=0.1, amsgrad=rng.random() < 0.5)
    for _ in range(rng.randrange(3)):
        made.step([np.ones_like(param) for param in params])
    return made


def damage(rng: random.Random, arena: Arena, state: Any) -> Any:
    """Return the state with a part that is gone, of another kind, or renamed."""
    kind = rng.randrange(6)
    if not isinstance(state, dict) or not state or kind == 0:
        return objects(rng, arena)
    key = rng.choice(list(state))
    if kind == 1:
        return {name: value for name, value in state.items() if name != key}
    if kind == 2:
        return {**state, key: objects(rng, arena)}
    if kind == 3:
        return {**state, rng.choice(["", 7, None, "state.99.exp_avg", "x" * 99]): state[key]}
    if kind == 4 and isinstance(state[key], dict):
        return {**state, key: damage(rng, arena, state[key])}
    value = state[key]
    if isinstance(value, np.ndarray) and value.size < 100 and value.dtype.kind in "biuf":
        other = rng.choice(
            [
                value.astype("f8"),
                value[..., None],
                value.tolist(),
                value.ravel()[:0],
                value.repeat(2),
            ]
        )
        return {**state, key: other}
    return {**state, key: rng.choice([-1, 2**70, float("nan"), "1", None, [0.1] * 3])}


def held(made: Any) -> list[tuple[str, object]]:
    """Return all that must not change where a state is refused."""
    arrays = {name: np.asarray(value) for name, value in made.state_dict().items()}
    return [(name, repr(a) if a.dtype.hasobject else a.tobytes()) for name, a in arrays.items()]


def several(rng: random.Random) -> Iterator[str]:
    """Load damaged states of an optimizer into another one; yield what came of each."""
    arena = Arena(rng)
    whole, made = optimizer(rng).state_dict(), optimizer(rng)
    with np.errstate(all="ignore"):
        for _ in range(LOADS):
            state = whole
            for _ in range(rng.randint(0, 2)):
                state = damage(rng, arena, state)
            yield load(made, state)


def load(made: Any, state: Any) -> str:
    """Load a state; return "result", or the kind of a documented error."""
    before, params = held(made), [param.tobytes() for param in made.params]
    try:
        made.load_state_dict(state)
    except KINDS as error:
        if held(made) != before:
            raise Finding(f"a state was refused ({error}) and changed something") from error
        if [param.tobytes() for param in made.params] != params:
            raise Finding(f"a state was refused ({error}), and a parameter changed") from error
        return type(error).__name__
    except Exception as error:
        raise Finding(f"load_state_dict: {type(error).__name__}: {error}") from error
    _check_usable(made)
    return "result"


def _check_usable(made: Any) -> None:
    """What was taken must be good for a step and come back from `state_dict`."""
    again = made.state_dict()
    with np.errstate(all="ignore"):
        made.step([np.zeros_like(param) for param in made.params])
    made.load_state_dict(again)
