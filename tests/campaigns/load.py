"""Hours of mixed calls from many threads, with forks and programs, beside BLAS, torch and JAX.

    python -m tests.campaigns.load --seconds 1800 --busy 2

Every result has the bits of the first one, whoever computes it; memory, threads and open files do
not grow; no child waits for ever. At the end it says how long single calls take beside the load.
"""

import argparse
import gc
import hashlib
import os
import random
import select
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import softstep as ss
from tests.support.paths import importing_tests

Call = Callable[[], list[Any]]
CALLERS = 8
# Seconds: what a child may take on a busy machine, and between two looks at the process.
PATIENCE, EVERY = 120.0, 5.0
# What allocators and compilers keep may still come to them after the first third.
MOST_GROWTH = 32 << 20
# A fork during a product of OpenBLAS leaves that waiting for ever, in the parent.
NO_PRODUCT = threading.Lock()


def digest(arrays: list[Any]) -> str:
    joined = hashlib.blake2b(digest_size=8)
    for array in arrays:
        joined.update(np.ascontiguousarray(array).view(np.uint8).data)
    return joined.hexdigest()


def numpy_calls() -> dict[str, Call]:
    """Return calls of every family, small and large, on arrays that they do not change."""
    rng = np.random.default_rng(3)

    def logits(*shape: int, dtype: Any = np.float32) -> np.ndarray:
        return rng.normal(size=shape).astype(dtype)

    def loss(x: np.ndarray, axis: int = -1, **options: Any) -> Call:
        batch = np.delete(x.shape, axis)
        target = rng.integers(0, x.shape[axis], batch)
        return lambda: list(ss.cross_entropy_with_grad(x, target, axis=axis, **options))

    def step(kind: Any, **options: Any) -> Call:
        params, grads = [logits(300, 100), logits(100)], [logits(300, 100), logits(100)]

        def call() -> list[Any]:
            own = [param.copy() for param in params]
            optimizer = kind(own, lr=0.1, **options)
            for _ in range(3):
                optimizer.step(grads)
            return own

        return call

    def head() -> list[Any]:
        loss, gradients = ss.linear_cross_entropy_with_grad(hidden, weight, classes)
        return [loss, gradients.dhidden, gradients.dweight]

    few, many, planes = logits(64, 10), logits(256, 5000), logits(2, 21, 40, 40)
    half, hidden = logits(500, 1000, dtype=ml_dtypes.bfloat16), logits(200, 64)
    weight, classes = logits(3000, 64), rng.integers(0, 3000, 200)
    return {
        "softmax": lambda: [ss.softmax(few), ss.softmax(many, temperature=0.5)],
        "log_softmax": lambda: [ss.log_softmax(planes, axis=1)],
        "cross_entropy, few classes": loss(few, label_smoothing=0.1),
        "cross_entropy, many classes": loss(many),
        "cross_entropy, planes": loss(planes, axis=1),
        "cross_entropy, bfloat16": loss(half),
        "cross_entropy, float64": loss(logits(300, 70, dtype=np.float64), gamma=2.0),
        "linear_cross_entropy": head,
        "SGD": step(ss.SGD, momentum=0.9, weight_decay=0.01),
        "AdamW": step(ss.AdamW),
    }


def peer_calls() -> dict[str, Call]:
    """Return calls of the front ends, and of the peers' own threads."""
    import jax
    import torch
    from torch.nn import functional

    import softstep.jax
    import softstep.torch

    rng = np.random.default_rng(4)
    x, target = rng.normal(size=(128, 1000)).astype(np.float32), rng.integers(0, 1000, 128)
    left = rng.normal(size=(400, 400)).astype(np.float32)
    jitted = jax.jit(jax.value_and_grad(lambda x: softstep.jax.cross_entropy(x, target).mean()))

    def product() -> list[Any]:
        with NO_PRODUCT:
            left @ left
        return []

    def torch_loss() -> list[Any]:
        logits = torch.from_numpy(x).clone().requires_grad_()
        loss = softstep.torch.cross_entropy(logits, torch.from_numpy(target))
        loss.backward()
        return [loss.detach(), logits.grad]

    def beside(products: Callable[[], object]) -> Call:
        def call() -> list[Any]:
            products()
            return []

        return call

    return {
        "torch": torch_loss,
        "JAX": lambda: list(jitted(x)),
        "BLAS": product,
        "PyTorch's threads": beside(
            lambda: functional.softmax(torch.from_numpy(x) @ torch.from_numpy(x).T, dim=1)
        ),
        "JAX's threads": beside(lambda: jax.numpy.dot(left, left).block_until_ready()),
    }


@dataclass(frozen=True)
class State:
    """What must not grow."""

    memory: int
    threads: int
    files: int

    @classmethod
    def now(cls) -> "State":
        fields = dict(
            line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
        )
        files = len(os.listdir("/proc/self/fd"))
        return cls(int(fields["VmRSS"].split()[0]) << 10, int(fields["Threads"]), files)


class Load:
    """The calls, what they gave first, and what was found."""

    def __init__(self, seed: int) -> None:
        self.calls = numpy_calls()
        self.own = list(self.calls)
        self.calls |= peer_calls()
        self.first = {name: digest(call()) for name, call in self.calls.items()}
        self.counts, self.findings = Counter[str](), list[str]()
        self._seed, self._ended = seed, threading.Event()

    def check(self, name: str, found: str) -> None:
        self.counts[name] += 1
        if found != self.first[name]:
            self.findings.append(f"{name}: {found} after {self.first[name]}")

    def call_on(self, caller: int) -> None:
        rng, names = random.Random(f"{self._seed} {caller}"), list(self.calls)
        while not self._ended.is_set():
            name = rng.choice(names)
            try:
                self.check(name, digest(self.calls[name]()))
            except Exception as error:
                self.findings.append(f"{name}: {type(error).__name__}: {error}")

    def fork(self, name: str) -> None:
        """Call in a forked child, whose other threads are gone."""
        reader, writer = os.pipe()
        with warnings.catch_warnings(), NO_PRODUCT:
            warnings.simplefilter("ignore")  # of JAX, which the child does not call
            child = os.fork()
        if not child:
            try:
                os.write(writer, digest(self.calls[name]()).encode())
            finally:
                os._exit(0)
        os.close(writer)
        if select.select([reader], [], [], PATIENCE)[0]:
            self.check(name, os.read(reader, 100).decode())
        else:
            self.findings.append(f"{name}: a forked child has not ended after {PATIENCE} s")
            os.kill(child, 9)
        os.close(reader)
        os.waitpid(child, 0)

    def program(self, name: str) -> None:
        """Call in a program of its own."""
        words = [sys.executable, "-m", "tests.campaigns.load", "--one", name]
        ended = subprocess.run(
            words, env=importing_tests(), capture_output=True, text=True, timeout=PATIENCE
        )
        self.check(name, ended.stdout.strip() or ended.stderr)

    def run(self, seconds: float) -> list[State]:
        """Let all call; return what the process was at each look."""
        callers = [threading.Thread(target=self.call_on, args=(k,)) for k in range(CALLERS)]
        for caller in callers:
            caller.start()
        states, end, rng = list[State](), time.monotonic() + seconds, random.Random(self._seed)
        try:
            while time.monotonic() < end:
                self.fork(rng.choice(self.own))
                if rng.random() < 0.2:
                    self.program(rng.choice(self.own))
                time.sleep(min(EVERY, max(0.0, end - time.monotonic())))
                gc.collect()
                states.append(State.now())
        finally:
            self._ended.set()
            for caller in callers:
                caller.join()
        return states


def growth(states: list[State]) -> list[str]:
    """Return what is larger in the last third than it was in the second."""
    third = len(states) // 3
    if not third:
        return ["too few looks at the process to tell of growth: give it more --seconds"]
    middle, last = states[third : 2 * third], states[2 * third :]
    found = []
    for name, allowed in (("memory", MOST_GROWTH), ("threads", 0), ("files", 0)):
        before, after = (max(getattr(state, name) for state in part) for part in (middle, last))
        print(f"  {name}: {before} in the second third, {after} in the last")
        if after > before + allowed:
            found.append(f"{name} grew from {before} to {after}")
    return found


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Let other processes take the cores."""
    words = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(words) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def latencies(calls: dict[str, Call], seconds: float) -> None:
    """Print how long a call takes, of one caller."""
    for name, call in calls.items():
        taken, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            start = time.perf_counter()
            call()
            taken.append(1e6 * (time.perf_counter() - start))
        half, most = np.percentile(taken, [50, 99])
        print(f"  {name}: median {half:.1f} us, 99th percentile {most:.1f} us ({len(taken)} calls)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--busy", type=int, default=2, help="other processes that compute")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(digest(numpy_calls()[arguments.one]()))
        return 0
    load = Load(arguments.seed)
    with busy(arguments.busy):
        states = load.run(arguments.seconds)
        print(f"beside {arguments.busy} busy processes:")
        latencies({name: load.calls[name] for name in load.own}, arguments.seconds / 180)
    findings = [*load.findings, *growth(states)]
    for finding in findings[:20]:
        print(f"FINDING {finding}")
    for name, count in sorted(load.counts.items()):
        print(f"  {name}: {count}")
    total = load.counts.total()
    print(f"{total} calls in {arguments.seconds:.0f} s, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
