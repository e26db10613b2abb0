"""Parameters that are divided among processes: FSDP2 and other DTensors, on gloo."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from tests.support.ranks import launch  # noqa: E402

CHECK = Path(__file__).with_name("shards_check.py")


@pytest.mark.parametrize("size", [2, 4])
def test_as_torch_on_the_local_shard(size: int) -> None:
    assert launch("gloo", size, CHECK).count(f"rank of {size} checked") == size
