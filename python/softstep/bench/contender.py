"""What a family hands to the harness: a problem, and contenders that solve it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from numpy.typing import NDArray

from softstep.bench.cases import Case

Outcome = Mapping[str, Any]

# As users write it: what the documentation shows. Best: the fastest way we know to call the peer,
# with outputs reused, in place, donated or the gradient written by hand.
WRITTEN, BEST = "as written", "best"


class Problem(Protocol):
    """Arrays that all contenders share, and the right result."""

    @property
    def expected(self) -> Mapping[str, NDArray[Any]]:
        """The float64 reference, one array for each name."""

    @property
    def tolerance(self) -> float:
        """Largest error, as `verify.error_of` measures it, of a right result."""

    @property
    def elements(self) -> int:
        """What the time per element is divided by."""

    @property
    def verified_calls(self) -> int:
        """After how many calls on restored arrays the result is ``expected``."""

    def restore(self) -> None:
        """Give every shared array that a contender may write its first values again."""


@dataclass(frozen=True)
class Call:
    """A contender, ready to be timed."""

    run: Callable[[], Any]
    # Takes what `run` returned last and gives arrays under the names of `Problem.expected`.
    result: Callable[[Any], Outcome]
    # Untimed, before each sample: restores what only this contender writes.
    prepare: Callable[[], None] = lambda: None
    # Instead of the problem's, for what solves another one: the roofline.
    expected: Mapping[str, Any] | None = None
    verified_calls: int | None = None
    # For arithmetic that is coarser by design: half precision throughout.
    tolerance: float | None = None
    # Report the memory that the first call takes: nothing is compiled in it.
    measures_memory: bool = False
    # How many calls one `run` makes, for what repeats them without Python.
    calls: int = 1


@dataclass(frozen=True)
class Contender:
    """One way to solve a problem. ``build`` is called once and may be slow (it may compile)."""

    peer: str
    mode: str
    detail: str
    build: Callable[[], Call]
    # Bytes that a call moves between memory and caches, where that is what is measured.
    moved_bytes: int = 0

    @property
    def label(self) -> str:
        """Its name in tables."""
        return f"{PEERS[self.peer].label}, {self.detail}"


Contenders = Callable[[Any, Any], Iterator[Contender]]


@dataclass(frozen=True)
class Peer:
    """Whose contender it is; ``modules`` must be importable."""

    label: str
    modules: tuple[str, ...] = ()


OWN, ROOFLINE = "softstep", "roofline"
# The roofline of a case that is too small for the memory to count.
KERNEL = "kernel, no Python"
PEERS = {
    OWN: Peer("softstep"),
    ROOFLINE: Peer("roofline"),
    "numpy": Peer("NumPy", ("numpy",)),
    "scipy": Peer("SciPy", ("scipy.special",)),
    "sklearn": Peer("scikit-learn", ("sklearn",)),
    "torch": Peer("PyTorch eager", ("torch",)),
    "torch.compile": Peer("torch.compile", ("torch",)),
    "jax": Peer("JAX jit", ("jax",)),
    "optax": Peer("optax jit", ("optax", "jax")),
}


def load_family(case: Case) -> ModuleType:
    """Import the module that builds ``case``."""
    return importlib.import_module(f"softstep.bench.families.{case.family}")
