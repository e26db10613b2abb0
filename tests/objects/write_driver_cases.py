"""Write the driver's cases: `python -m tests.objects.write_driver_cases FILE`.

driver/ reads the file. The driver_cases*.py make the inputs, and from the reference what is
expected and within which bounds.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from tests.objects import driver_cases, driver_cases_cross_entropy, driver_cases_elements
from tests.objects.driver_case import Case, as_bytes


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
