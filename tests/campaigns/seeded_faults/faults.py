"""Small faults in C++: where they can be put, and what each makes of its line."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What is compiled for the level, and run by tests that need NumPy alone.
FOLDERS = ("kernels", "ops", "bindings", "parallel", "dispatch")
# Instructions of other CPUs and other backends, and what decides on speed alone.
SPARED = {
    "product_bf16", "product_amx", "product_bfmmla", "openmp", "serial", "cgroup", "cost",
    "tile_limits", "kernel_alone", "near_blocks", "stream",
}  # fmt: skip
# Lines that are no code, that the compiler checks, or that decide on speed alone.
NO_CODE = re.compile(
    r"^\s*(//|#)|static_assert|template|requires|\busing\b|constexpr|m\.def"
    r"|fetch|ahead|pause|spin\("
)
# Of the kernels: the order says what a NaN gives. Elsewhere these are std::max of sizes.
SWAPPED = r"(?<!:)\b(max|min)(<[^<>]*>)?\(([^(),]+), ([^(),]+)\)"

# A pattern and what takes its place.
Edit = tuple[str, str]
EDITS: dict[str, list[Edit]] = {
    "sign": [(r" \+ ", " - "), (r" - ", " + "), (r" \+= ", " -= "), (r" -= ", " += ")],
    "bound": [
        (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "),
        (r" - 1\b", ""), (r" \+ 1\b", ""),
    ],
    "stride": [
        (r" \* (\w+[.])*\w*(stride|step|lead|items)\w*(\[\w+\])?", ""),
        (r"(\w+[.])*\w*stride\w*(?=[,)])", "1"),
    ],
    "NaN": [
        (SWAPPED, r"\1\2(\4, \3)"), (r" == ", " != "), (r" != ", " == "),
        (r"!\(([^()]+) >= ", r"(\1 < "), (r"!\(([^()]+) > ", r"(\1 <= "),
    ],
    "factor": [(r" \* ", " / "), (r" / ", " * "), (r"\bT\(1\)", "T(2)"), (r"\bT\(0\)", "T(1)")],
    "logic": [
        (r" && ", " || "), (r" \|\| ", " && "), (r" & ", " | "), (r" \| ", " & "),
        (r"\btrue\b", "false"), (r"\bfalse\b", "true"), (r"(?<=[( ])!(?=\w)", ""),
    ],
    "race": [
        (r"^\s+(const )?std::(lock_guard|scoped_lock|unique_lock)\b.*;$", ""),
        (r"(?<!int )(?<!\+)\bworker\b(?=[\]),])", "0"), (r"\.exchange\(true, ", ".load("),
    ],
    "statement": [
        (r"^\s+(?!return|throw|break|continue|delete)[\w:.>\[\]-]+(<[^;]*>)?\(.*\);$", ";"),
        (r"^\s+[\w.\[\]>-]+ [-+*|]?= .*;$", ";"),
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """A line of a file that is written otherwise."""

    kind: str
    path: str
    line: int
    before: str
    after: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}: {self.kind}"
        return f"{place}\n    - {self.before.strip()}\n    + {self.after.strip()}"


def code_of(line: str) -> str:
    """Return the line without its comment, or nothing where it is no code."""
    return "" if NO_CODE.search(line) else line.partition(" //")[0]


def in_text(code: str, at: int) -> bool:
    return code.count('"', 0, at) % 2 == 1


def condition(code: str) -> str | None:
    """Return the condition of an `if` that ends on its line."""
    start = code.find("if (") + 4
    depth = 1
    for at in range(start, len(code)) if start > 3 else ():
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if not depth:
            return code[start:at]
    return None


def faults_of_line(code: str, following: str) -> Iterator[tuple[str, str]]:
    """Yield the kind of each fault of the line, and what the line becomes."""
    for kind, edits in EDITS.items():
        for pattern, instead in edits:
            for match in re.finditer(pattern, code):
                if not in_text(code, match.start()):
                    yield kind, code[: match.start()] + match.expand(instead) + code[match.end() :]
    asked = condition(code)
    if asked and "constexpr" not in code:
        checks = "throw" in code or following.lstrip().startswith("throw")
        # The values of a condition that is not computed would be unused.
        never = f"if (({asked}) && false)"
        always = f"if (!({asked}))"
        kind, instead = ("check", never) if checks else ("logic", always)
        yield kind, code.replace(f"if ({asked})", instead)


def all_faults(cpp: Path) -> list[Fault]:
    """Return every fault that can be put into the sources, in their order."""
    found = []
    for folder in FOLDERS:
        for path in sorted([*(cpp / folder).glob("*.hpp"), *(cpp / folder).glob("*.cpp")]):
            if path.stem in SPARED:
                continue
            lines = path.read_text().splitlines()
            for number, (line, following) in enumerate(
                zip(lines, [*lines[1:], ""], strict=True), 1
            ):
                name = path.relative_to(cpp.parent).as_posix()
                for kind, after in faults_of_line(code_of(line), following):
                    if after != line:
                        found.append(Fault(kind, name, number, line, after))
    return found


def drawn(faults: list[Fault], seed: int) -> Iterator[Fault]:
    """Yield all faults, a kind after the other, each kind in an order of its own."""
    rng = random.Random(seed)
    kinds: dict[str, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(fault.kind, []).append(fault)
    for same in kinds.values():
        rng.shuffle(same)
    while kinds:
        for kind in sorted(kinds):
            yield kinds[kind].pop()
        kinds = {kind: same for kind, same in kinds.items() if same}
