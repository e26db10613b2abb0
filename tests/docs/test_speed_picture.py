"""The landing page's picture, of the README as it is now."""

import importlib.util
from types import ModuleType

import pytest

from tests.support.paths import ROOT


@pytest.fixture
def speed_picture() -> ModuleType:
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location(
        "speed_picture", ROOT / "docs" / "_ext" / "speed_picture.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_bar_has_its_cell(speed_picture: ModuleType) -> None:
    cases = speed_picture.results((ROOT / "README.md").read_text("utf-8"))
    assert not set(speed_picture.ROWS) - set(cases)
    assert cases["f32 8192 x 1000"]["PyTorch"].split()[0] in [
        text.get_text() for text in speed_picture.draw(cases, "black").axes[0].texts
    ]
