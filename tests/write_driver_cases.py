"""Write the cases of the driver over the kernel tables: `python tests/write_driver_cases.py FILE`.

tests/driver reads the file. The driver_cases*.py make the inputs, and from the reference what is
expected and within which bounds.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import driver_cases
import driver_cases_cross_entropy
import driver_cases_elements
from driver_case import Case, as_bytes


def write(path: Path, cases: Iterable[Case]) -> None:
    with path.open("wb") as file:
        file.write(b"softstep driver cases 1\n")
        for case in cases:
            for part in as_bytes(case):
                file.write(part + b"\n")


def every_case() -> Iterable[Case]:
    yield from driver_cases.every_case()
    yield from driver_cases_cross_entropy.every_case()
    yield from driver_cases_elements.every_case()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]), every_case())
