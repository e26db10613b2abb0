"""The examples run as programs, and print what their pages claim."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ranks
from tests.support.paths import ROOT, importing_tests

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FRONT_ENDS = re.compile(r"^(?:import|from) (softstep\.\w+)", re.MULTILINE)
# A window would wait to be closed; threads of BLAS and PyTorch that spin slow each other down.
ENVIRONMENT = {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def output_of(path: Path) -> str:
    for front_end in FRONT_ENDS.findall(path.read_text("utf-8")):
        pytest.importorskip(front_end, exc_type=ImportError)
    environment = {**importing_tests(), **ENVIRONMENT}
    run = subprocess.run(
        [sys.executable, str(path)], env=environment, capture_output=True, text=True, timeout=200
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def number(pattern: str, output: str) -> float:
    match = re.search(pattern, output)
    assert match, f"no {pattern!r} in {output!r}"
    return float(match[1])


@pytest.fixture(autouse=True)
def data() -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if path.stem.startswith("digits_")], ids=lambda p: p.stem
)
def test_digits(path: Path) -> None:
    if path.stem == "digits_jax":
        pytest.importorskip("optax")
    assert number(r"test accuracy ([\d.]+)", output_of(path)) > 0.95


def test_a_resumed_training_ends_with_the_same_weights() -> None:
    output = output_of(ROOT / "examples/trainer_torch.py")
    assert number(r"validation accuracy ([\d.]+)", output) > 0.95
    assert "weights of the resumed training equal: True" in output


def test_segmentation() -> None:
    output = output_of(ROOT / "examples/segmentation.py")
    assert number(r"accuracy of the test pixels ([\d.]+)", output) > 0.9


def test_language_model_head() -> None:
    output = output_of(ROOT / "examples/language_model_head.py")
    perplexity = number(r"held-out words (\d+)", output)
    assert perplexity < number(r"by their frequencies (\d+)", output) / 2
    dense, small = re.findall(r"loss ([\d.]+)", output)
    assert dense == small


def test_distillation() -> None:
    output = output_of(ROOT / "examples/distillation.py")
    assert number(r"distilled ([\d.]+)", output) > number(r"60 labels ([\d.]+)", output) + 0.05


def test_class_weights() -> None:
    output = output_of(ROOT / "examples/class_weights.py")
    found = [int(share) for share in re.findall(r"found (\d+)%", output)]
    plain, focal, some, balanced = found
    assert max(plain, focal) < some < balanced
    alarms = [float(share) for share in re.findall(r"alarms ([\d.]+)%", output)]
    assert alarms[0] < alarms[2] < alarms[3]


def test_gradient_accumulation() -> None:
    output = output_of(ROOT / "examples/gradient_accumulation.py")
    whole, parts, _ = re.findall(r"\d\.\d{6}", output)
    assert whole == parts
    assert number(r"error of the gradient: (\S+);", output) < 1e-13
    assert number(r"of the mean of means: (\d+)%", output) > 1


def test_preference_optimization() -> None:
    output = output_of(ROOT / "examples/preference_optimization.py")
    assert number(r"right order: ([\d.]+)", output) > 0.9
    ours, theirs = (float(loss) for loss in re.findall(r"loss ([\d.]+)", output))
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert number(r"of a gradient: ([\de.-]+);", output) < 1e-4
    small, large = (float(size) for size in re.findall(r"(\d+) MiB more", output))
    assert large - small > number(r"one pass: (\d+) MiB", output)


def test_many_processes_print_once_what_one_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "examples/digits_mpi.py"
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    many = [line for line in ranks.launch("mpi", 2, path).splitlines() if line.startswith("loss")]
    assert many == output_of(path).splitlines()


def test_every_example_has_a_test() -> None:
    source = Path(__file__).read_text("utf-8")
    others = [p.stem for p in EXAMPLES if not p.stem.startswith("digits_")]
    assert not [name for name in others if f"examples/{name}.py" not in source]
