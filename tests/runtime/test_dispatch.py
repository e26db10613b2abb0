"""Which ISA level runs: the choice at import, the environment variable, agreement of the levels."""

import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

import softstep as ss
from softstep import _core
from tests.support.cases import assert_within, roundoff

X86 = ["x86_64_v2", "x86_64_v3", "x86_64_v4", "x86_64_v4_bf16", "x86_64_v4_amx"]
LEVELS = [*X86, "aarch64", "aarch64_bf16"]
REPORT = """
import json, numpy as np, softstep as ss
y = ss.softmax(np.linspace(-3, 3, 1000, dtype=np.float32))
print(json.dumps([ss.active_isa(), list(ss.available_isas()), y.sum().item()]))
"""


def start(isa: str | None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "SOFTSTEP_ISA"}
    if isa is not None:
        environment["SOFTSTEP_ISA"] = isa
    # No deadline but pytest's: on a machine that others use an import has taken over a minute.
    return subprocess.run(
        [sys.executable, "-c", REPORT], env=environment, capture_output=True, text=True
    )


def test_the_highest_level_is_the_default() -> None:
    process = start(None)
    assert process.returncode == 0, process.stderr
    active, available, total = json.loads(process.stdout)
    assert active == available[-1]
    assert available == list(ss.available_isas())
    assert total == pytest.approx(1, rel=1e-5)


def test_levels_are_in_order_and_belong_to_this_machine() -> None:
    available = list(ss.available_isas())
    assert available == [level for level in LEVELS if level in available]
    machine = platform.machine().lower()
    expected = {
        "x86_64": "x86_64_v2",
        "amd64": "x86_64_v2",
        "aarch64": "aarch64",
        "arm64": "aarch64",
    }
    assert available[0] == expected[machine]


@pytest.mark.parametrize("level", ss.available_isas())
def test_the_environment_lowers_the_level(level: str) -> None:
    process = start(level)
    assert process.returncode == 0, process.stderr
    active, available, total = json.loads(process.stdout)
    assert active == level
    assert level in available
    assert total == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("word", ["avx2", "X86_64_V3", "x86_64_v5", "1", " "])
def test_an_unknown_level_is_an_import_error(word: str) -> None:
    process = start(word)
    assert process.returncode != 0
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError") and "SOFTSTEP_ISA" in last
    assert word in last
    assert all(level in last for level in ss.available_isas())


def test_a_level_above_the_hardware_is_an_import_error() -> None:
    above = [level for level in LEVELS if level not in ss.available_isas()]
    assert above, "there is always one: no machine is both x86-64 and aarch64"
    for level in above:
        process = start(level)
        assert process.returncode != 0
        last = process.stderr.strip().splitlines()[-1]
        assert last.startswith("ImportError") and "SOFTSTEP_ISA" in last and level in last


def test_the_private_hook_refuses_an_unavailable_level() -> None:
    before = _core.active_isa()
    for word in ("x86_64_v9", "", *(level for level in LEVELS if level not in ss.available_isas())):
        with pytest.raises(ValueError):
            _core.use_isa(word)
        assert ss.active_isa() == before


def test_the_levels_agree(rng: np.random.Generator) -> None:
    """Not bit for bit (FMA, order of the sum), but within the rounding of each."""
    x = rng.normal(scale=3, size=(50, 1000)).astype(np.float32)
    before, results = _core.active_isa(), []
    for level in ss.available_isas():
        _core.use_isa(level)
        assert ss.active_isa() == level
        results.append(ss.log_softmax(x))
    _core.use_isa(before)
    for other in results[1:]:
        bound = 2 * roundoff(np.float32, 1000) * (1 + np.abs(results[0]))
        assert_within(other, results[0], bound)


def test_two_calls_give_the_same_bits(isa: str, rng: np.random.Generator) -> None:
    x = rng.normal(scale=3, size=(333, 77)).astype(np.float32)
    target = rng.integers(0, 77, 333)
    first = ss.cross_entropy_with_grad(x, target)
    second = ss.cross_entropy_with_grad(x, target)
    assert first[0] == second[0]
    assert first[1].tobytes() == second[1].tobytes()
