"""Whether two builds give the same bits: record the results of drawn calls with each, and compare.

    PYTHONPATH=old:. python tools/same_bits.py record old.txt
    PYTHONPATH=new:. python tools/same_bits.py record new.txt
    python tools/same_bits.py compare old.txt new.txt

A line is a call's name, a digest of all drawn inputs, and a digest of what the call returned and
wrote. Every call is made at each ISA level of the CPU and on 1, 2 and 3 threads. The calls are
those that the tests draw.
"""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from tests.support.cross_entropy_calls import calls

THREADS = (1, 2, 3)


def drawn(count: int, without: list[str]) -> list[tuple[Any, dict[str, Any]]]:
    found: list[tuple[Any, dict[str, Any]]] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(calls())
    def collect(call: tuple[Any, dict[str, Any]]) -> None:
        for name in without:
            call[1].pop(name, None)
        found.append(call)

    collect()
    return found


def digest(result: Any) -> str:
    """Return a digest of arrays, numbers, and what holds them."""
    sha = hashlib.sha1()

    def add(item: Any) -> None:
        if isinstance(item, dict):
            for key in sorted(item):
                sha.update(key.encode())
                add(item[key])
        elif isinstance(item, (tuple, list)):
            for one in item:
                add(one)
        elif item is None:
            sha.update(b"none")
        else:
            array = np.asarray(item)
            sha.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())

    add(result)
    return sha.hexdigest()[:16]


def record(path: Path, count: int, without: list[str]) -> None:
    inputs = drawn(count, without)
    # Only now: Hypothesis also draws from the constants in the source of loaded modules that lie
    # outside site-packages. With the two builds' own among them the inputs would differ.
    from recorded_calls import cross_entropies, others

    import softstep as ss
    from softstep import _core

    every = [*cross_entropies(inputs), *others(without)]
    drawing = digest(inputs)
    with path.open("w") as file, np.errstate(all="ignore"):
        for level in ss.available_isas():
            _core.use_isa(level)
            for threads in THREADS:
                with ss.threads(threads):
                    for name, run in every:
                        print(f"{level} {threads} {name} {drawing}\t{digest(run())}", file=file)


def compare(old: Path, new: Path) -> int:
    before, after = (
        dict(line.split("\t") for line in path.read_text().splitlines()) for path in (old, new)
    )
    kinds: dict[str, list[int]] = {}
    for name, value in before.items():
        counted = kinds.setdefault(name.split(" ")[2], [0, 0, 0])
        counted[0] += 1
        counted[1] += value != after.get(name)
    for name in after:
        level, _, call = name.split(" ", 2)
        kinds[call.split(" ")[0]][2] += after[name] != after[f"{level} 1 {call}"]
    print(f"{'calls':24} {'results':>8} {'differ':>8} {'differ by threads':>18}")
    for kind, (count, differ, by_threads) in kinds.items():
        print(f"{kind:24} {count:8} {differ:8} {by_threads:18}")
    missing = len(before.keys() ^ after.keys())
    print(f"{'only in one':24} {missing:8}")
    return int(missing > 0 or any(differ or by for _, differ, by in kinds.values()))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["record", "compare"])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--calls", type=int, default=1500, help="drawn calls of the cross-entropy")
    parser.add_argument("--without", nargs="*", default=[], help="options that one build lacks")
    arguments = parser.parse_args()
    if arguments.what == "record":
        record(arguments.files[0], arguments.calls, arguments.without)
        return 0
    return compare(*arguments.files)


if __name__ == "__main__":
    sys.exit(main())
