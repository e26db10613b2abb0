"""`softstep bench`: what a user sees, and that a wrong contender is caught. No time is asserted."""

import json
import os
import signal
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softstep.bench.cases import CASES, Case, select
from softstep.bench.contender import BEST, KERNEL, OWN, PEERS, Call, Contender, load_family
from softstep.bench.measure import Settings, order_of_round
from softstep.bench.record import contenders_of, run_contenders
from softstep.bench.verify import error_of
from softstep.training.memory import RESET, with_peak

TINY = "cross_entropy-f32-64x10"
BRIEF = Settings(repeats=2, sample_s=1e-5, case_s=1.0)


def bench(*words: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "softstep", "bench", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, **keywords)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    folder = tmp_path_factory.mktemp("bench")
    words = ["--quick", "--cases", f"{TINY},softmax-f32-65536x10", "--peers", "numpy", "scipy"]
    files = ["--json", str(folder / "bench.json"), "--plot", str(folder / "bench.png")]
    process = bench(*words, *files)
    assert process.returncode == 0, process.stderr
    assert (folder / "bench.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((folder / "bench.json").read_text()), process.stdout


def test_the_document_says_where_and_what(document: tuple[dict[str, Any], str]) -> None:
    content, _ = document
    environment = content["environment"]
    assert environment["cpu"] and environment["isa"] and environment["threads"] >= 1
    assert {"softstep", "numpy", "scipy"} <= environment["versions"].keys()
    assert content["settings"]["peers"] == ["numpy", "scipy"]
    assert [case["name"] for case in content["cases"]] == [TINY, "softmax-f32-65536x10"]


def test_every_contender_was_right_and_timed(document: tuple[dict[str, Any], str]) -> None:
    for case in document[0]["cases"]:
        assert {entry["peer"] for entry in case["contenders"]} >= {OWN, "numpy", "scipy"}
        for entry in case["contenders"]:
            assert entry["status"] == "timed", entry["reason"]
            assert 0 <= entry["error"] <= 1e-3
            assert 2 <= len(entry["samples_ms"]) <= 4
            assert 0 < entry["best_ms"] == min(entry["samples_ms"]) <= entry["median_ms"]
            assert entry["median_ms"] == pytest.approx(np.median(entry["samples_ms"]))
            assert entry["page_faults_per_call"] >= 0 and entry["involuntary_switches"] >= 0
            assert len(entry["calls_per_sample"]) == len(entry["samples_ms"])
            alone = entry["detail"] == KERNEL  # which repeats its calls without Python
            if alone:
                assert entry["cold_ms"] is None and entry["cold_samples_ms"] == []
            else:
                assert entry["cold_ms"] == pytest.approx(np.median(entry["cold_samples_ms"]))
                assert len(entry["cold_samples_ms"]) >= 2 and min(entry["cold_samples_ms"]) > 0
            assert min(entry["calls_per_sample"]) >= 1
            assert (entry["peer"] == OWN) == ("alone_median_ms" in entry)


def test_the_tables_hold_the_roofline_and_the_ratios(document: tuple[dict[str, Any], str]) -> None:
    content, text = document
    roofline = content["cases"][1]["contenders"][0]
    assert roofline["peer"] == "roofline" and roofline["moved_bytes"] == 3 * 65536 * 10 * 4
    lines = [line for line in text.splitlines() if line.startswith("roofline, copy")]
    assert len(lines) == 1 and "100 %" in lines[0]
    summary = text[text.index("Peer's median time") :]
    assert f"{TINY}, in place" in summary and f"{TINY}, out=" in summary
    assert "Peer's median time / softstep's, cold" in summary
    assert "NumPy" in summary and "SciPy" in summary and "of roofline" in summary


def test_list_names_every_case_and_its_family() -> None:
    process = bench("--list")
    assert process.returncode == 0
    assert [line.split()[0] for line in process.stdout.splitlines()] == [c.name for c in CASES]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cases", "cross_entropi"], "--cases: no case or family is called 'cross_entropi'"),
        (["--peers", "tensorflow"], "--peers: expected none or some of numpy,"),
        (["--threads", "4096"], "--threads: expected at most the"),
        (["--repeats", "1"], "expected a whole number from 2"),
        (["--json", "no/such/folder/x.json"], "--json: expected a file in an existing folder"),
        (["--plot", "ratios.txt"], "--plot: expected a name that ends in .png"),
    ],
)
def test_bad_options_get_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    process = bench(*words, cwd=tmp_path)
    assert process.returncode == 2
    assert message in process.stderr and process.stderr.count("\n") == 1
    assert process.stdout == "" and not list(tmp_path.iterdir())


def test_threads_bind_the_whole_process(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    words = ["--quick", "--cases", TINY, "--peers", "none", "--json", str(file)]
    process = bench(*words, "--threads", "1", env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert process.returncode == 0, process.stderr
    environment = json.loads(file.read_text())["environment"]
    assert environment["cpus"] == environment["threads"] == 1
    assert "OMP_NUM_THREADS" not in environment["variables"]


def test_an_interrupt_keeps_the_finished_cases(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    words = ["--cases", TINY, "softmax", "--peers", "none", "--repeats", "100", "--json", str(file)]
    command = [sys.executable, "-m", "softstep", "bench", *words]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores the signal, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout and process.stderr
    while not process.stdout.readline().startswith("samples of each"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "1 of 6 cases were finished" in errors and "Traceback" not in errors
    assert [case["name"] for case in json.loads(file.read_text())["cases"]] == [TINY]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(dtype: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    case = Case("small", "cross_entropy", "", {"dtype": dtype, "shape": (70, 1000), "axis": -1})
    problem = load_family(case).build(**case.options)
    peers = {name: None for name in ("numpy", "scipy", "sklearn")}
    if find_spec("torch"):
        peers["torch"] = import_module("torch")
    contenders = list(contenders_of(case, problem, peers))
    # NumPy converts each element: it is no contender.
    assert {c.peer for c in contenders} == {"roofline", OWN, *({"torch"} & peers.keys())}
    for entry in run_contenders(problem, contenders, BRIEF):
        assert entry.status == "timed", f"{entry.contender.label}: {entry.reason}"
        if entry.contender.peer == OWN:
            assert entry.error is not None and 0 < entry.error <= problem.tolerance


def test_heads_are_right() -> None:
    options = {"rows": 32, "width": 32, "classes": 500}
    case = Case("small", "linear_cross_entropy", "", options)
    problem = load_family(case).build(**options)
    peers = {name: import_module(name) for name in ("numpy", "torch") if find_spec(name)}
    for contender in contenders_of(case, problem, peers):
        call = contender.build()
        error = error_of(call.result(call.run()), call.expected or problem.expected)
        assert error <= problem.tolerance, contender.label


@pytest.mark.skipif(not RESET.exists(), reason="the system forgets no peak")
def test_the_peak_of_a_call() -> None:
    size = 64 << 20  # more than an allocator keeps

    def allocate_and_free() -> int:
        return int(np.ones(size, np.uint8)[-1])

    result, peak = with_peak(allocate_and_free)
    assert result == 1 and peak is not None and 0.9 * size < peak < 1.5 * size


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("rule", ["SGD", "AdamW"])
def test_optimizers_are_right_before_they_are_timed(rule: str, whole: bool, dtype: str) -> None:
    shapes = ((30, 40), (7,), (3000,))
    options = {"rule": rule, "shapes": shapes, "dtype": dtype, "whole": whole}
    case = Case("small", "optimizer", "", options)
    problem = load_family(case).build(**case.options)
    peers: dict[str, Any] = {"numpy": None}
    if dtype == "float32" and find_spec("torch"):  # torch's fused float16 steps are not right
        peers["torch"] = import_module("torch")
    contenders = list(contenders_of(case, problem, peers))
    for entry in run_contenders(problem, contenders, Settings(repeats=0)):
        assert entry.status == "timed", f"{entry.contender.label}: {entry.reason}"
    # Parameters that were left where they are would not have passed.
    far = error_of(problem.outcome(problem.first), problem.expected)
    assert far > 4 * problem.tolerance


def test_a_wrong_or_failing_contender_is_not_timed() -> None:
    case = select([TINY])[0]
    problem = load_family(case).build(**case.options)
    calls = []

    def slightly_wrong() -> tuple[float, Any]:
        calls.append(1)
        gradient = problem.expected["dlogits"].copy()
        gradient[5, 3] *= 1.001
        return problem.expected["loss"], gradient

    def fails() -> Any:
        raise RuntimeError("no such luck\nand more")

    contenders = [
        Contender("numpy", BEST, "wrong", lambda: Call(slightly_wrong, problem.outcome)),
        Contender("numpy", BEST, "fails", lambda: Call(fails, problem.outcome)),
        *(c for c in contenders_of(case, problem, {}) if c.peer == OWN),
    ]
    entries = run_contenders(problem, contenders, BRIEF)
    assert [entry.status for entry in entries] == ["wrong", "failed", *["timed"] * 3]
    assert len(calls) == 1 and entries[0].samples is None
    assert "expected at most" in entries[0].reason
    assert entries[1].reason == "RuntimeError: no such luck"
    assert all(entry.samples and len(entry.samples.seconds) == 2 for entry in entries[2:])


@pytest.mark.parametrize(
    ("got", "wrong"),
    [([1.0, 2.0], False), ([1.0, np.nan], True), ([1.0, 2.1], True), ([1.0], True), (None, True)],
)
def test_the_error_of_a_result(got: Any, wrong: bool) -> None:
    assert (error_of({"y": got}, {"y": np.array([1.0, 2.0])}) > 1e-3) == wrong


def test_rounds_are_balanced() -> None:
    orders = [order_of_round(3, number) for number in range(6)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert orders[1] == orders[0][::-1] and orders[3] == orders[2][::-1]
    assert {order[0] for order in orders[::2]} == {0, 1, 2}


def test_every_case_has_its_own_name_and_contenders_of_known_peers() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        assert load_family(case).CONTENDERS.keys() <= PEERS.keys()
