"""Markers and fixtures that the packages' tests take from their own conftest."""

from typing import Any

import numpy as np
import pytest


def pytest_configure(config: pytest.Config) -> None:
    for name in ("skip_xp_backends", "xfail_xp_backends", "array_api_backends"):
        config.addinivalue_line("markers", f"{name}: of SciPy, for other libraries' arrays")
    config.addinivalue_line("markers", "thread_unsafe: of scikit-learn, for tests in threads")


@pytest.fixture
def xp() -> Any:
    return np


@pytest.fixture
def global_random_seed() -> int:
    return 42


@pytest.fixture(params=[np.float32, np.float64])
def global_dtype(request: pytest.FixtureRequest) -> Any:
    return request.param
