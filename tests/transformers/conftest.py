"""Models so small that one thread is enough."""

import pytest


@pytest.fixture(autouse=True)
def one_thread(one_torch_thread: None) -> None:
    pass
