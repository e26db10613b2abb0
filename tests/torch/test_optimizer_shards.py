"""Parameters that are divided among processes: FSDP2 and other DTensors, on gloo."""

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from tests.support.ranks import launch  # noqa: E402

CHECK = Path(__file__).with_name("shards_check.py")


@pytest.mark.skipif(
    importlib.util.find_spec("torch.distributed.fsdp._fully_shard") is None,
    reason="this PyTorch has no fully_shard",
)
@pytest.mark.parametrize("size", [2, 4])
def test_as_torch_on_the_local_shard(size: int) -> None:
    assert launch("gloo", size, CHECK).count(f"rank of {size} checked") == size
