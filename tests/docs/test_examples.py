"""The examples run, and learn."""

import importlib.util
from pathlib import Path

import pytest

from tests.support.paths import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("digits_*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_digits(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    if path.stem != "digits_numpy":
        front_end = path.stem.removeprefix("digits_")
        pytest.importorskip(f"softstep.{front_end}", exc_type=ImportError)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main() > 0.95
    assert "test accuracy" in capsys.readouterr().out
