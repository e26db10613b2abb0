"""softstep.jax where arrays are sharded: shard_map, and programs that XLA divides."""

import os
import subprocess
import sys

from tests.jax.front_end import jax  # noqa: F401  a skip where it is missing


def test_four_devices() -> None:
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    run = subprocess.run(
        [sys.executable, "-m", "tests.jax.devices_check"],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert run.stdout == "all checked\n", run.stderr[-4000:]
