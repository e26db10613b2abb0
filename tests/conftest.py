"""Fixtures: `isa` runs a test for every level of this CPU, `rng` is seeded by the test's name.

`product_isa` runs it for the sub-levels too, which have the other kernels of their level. With
``--seed N`` everything that tests draw is drawn anew: a bound must not hold by a lucky seed.
"""

import sys
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep import _core
from tests.support.sanitizers import report_leaks


def on_level(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _core.active_isa()
    _core.use_isa(request.param)
    assert _core.active_isa() == request.param
    yield request.param
    _core.use_isa(before)


LEVELS = [isa for isa in ss.available_isas() if not isa.endswith(("_bf16", "_amx"))]
isa = pytest.fixture(on_level, params=LEVELS, name="isa")
product_isa = pytest.fixture(on_level, params=ss.available_isas(), name="product_isa")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="draw other numbers than by default")


def pytest_configure(config: pytest.Config) -> None:
    seed, default_rng = config.getoption("--seed"), np.random.default_rng

    def drawn_anew(given: Any = None) -> np.random.Generator:
        return default_rng([seed, given] if isinstance(given, int) else given)

    if seed:
        np.random.default_rng = drawn_anew


def pytest_unconfigure() -> None:
    report_leaks()


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(autouse=True)
def seed_torch(request: pytest.FixtureRequest) -> None:
    """PyTorch draws from one generator of the process, whose state no test knows."""
    if torch := sys.modules.get("torch"):
        seed = request.config.getoption("--seed")
        torch.manual_seed(zlib.crc32(request.node.name.encode()) + seed)


@pytest.fixture
def fast_switches() -> Iterator[None]:
    """Let Python threads take turns after 10 us instead of 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Of small work PyTorch's threads only wait for each other; on a busy machine, for minutes."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def assert_default_fp_mode() -> None:
    denormal, one = np.array(5e-324), np.array(1.0)
    assert denormal * one != 0, "denormals are flushed: FTZ or DAZ is set"
    assert one + 2.0**-53 == 1 and one + 1.5 * 2.0**-53 > 1, "the rounding mode is not nearest"
    with np.errstate(all="ignore"):
        assert np.isinf(one / 0), "division by zero traps"
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        one / 0


@pytest.fixture(autouse=True)
def check_fp_mode() -> Iterator[None]:
    """A call must leave the caller's floating-point control word as it was."""
    assert_default_fp_mode()
    yield
    assert_default_fp_mode()
