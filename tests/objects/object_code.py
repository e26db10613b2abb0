"""Loops in the machine code of an object file, by objdump: what they compute and spill."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MACHINES = {62: "x86_64", 183: "aarch64"}  # the numbers of ELF


@dataclass(frozen=True)
class Dialect:
    jump: re.Pattern[str]
    fma: re.Pattern[str]  # of whole vectors
    vector: re.Pattern[str]
    stack: re.Pattern[str]
    frame: re.Pattern[str]  # sets up a register that points into the stack
    framed: re.Pattern[str]
    prefetch: re.Pattern[str]
    store: re.Pattern[str]  # of a vector register


X86 = Dialect(
    jump=re.compile(r"j\w+\s+([0-9a-f]+)"),
    fma=re.compile(r"(vfn?m(add|sub)\d+p[sd]|vdpbf16ps)\s"),
    vector=re.compile(r"%([xyz])mm\d+"),
    stack=re.compile(r"\(%rsp"),
    frame=re.compile(r"mov\s+%rsp,%rbp"),
    framed=re.compile(r"\(%r[bs]p"),
    prefetch=re.compile(r"prefetch"),
    store=re.compile(r"vmov\w+\s+%[xyz]mm\d+,"),
)
AARCH64 = Dialect(
    jump=re.compile(r"(?:b(?:\.\w+)?|cbn?z\s+\w+,|tbn?z\s+\w+, #\d+,)\s+([0-9a-f]+)\b"),
    fma=re.compile(r"(fml[as]|bfmmla)\s+v\d+\.[24][sd]"),
    vector=re.compile(r"\b([vq])\d+\b"),
    stack=re.compile(r"\[sp\b"),
    frame=re.compile(r"mov\s+x29, sp"),
    framed=re.compile(r"\[(sp|x29)\b"),
    prefetch=re.compile(r"prfm"),
    store=re.compile(r"st[rpu]+\s+[qv]\d+"),
)


@dataclass(frozen=True)
class Loop:
    """A jump back over instructions, without such a loop inside that multiplies and adds."""

    function: str
    instructions: tuple[str, ...]
    dialect: Dialect
    stack: re.Pattern[str]

    @property
    def multiply_adds(self) -> int:
        return sum(bool(self.dialect.fma.match(i)) for i in self.instructions)

    @property
    def widths(self) -> set[str]:
        """Of the registers of the multiply-adds."""
        used = [i for i in self.instructions if self.dialect.fma.match(i)]
        return {letter for i in used for letter in self.dialect.vector.findall(i)}

    @property
    def on_stack(self) -> list[str]:
        """Vector instructions with an operand in the stack."""
        return [
            i for i in self.instructions if self.stack.search(i) and self.dialect.vector.search(i)
        ]

    @property
    def spilled(self) -> list[str]:
        """Those of them that put a register there: a constant is only taken from it."""
        return [i for i in self.on_stack if self.dialect.store.match(i)]

    @property
    def streams(self) -> bool:
        """Whether it prefetches: the sweeps of long rows do."""
        return any(self.dialect.prefetch.match(i) for i in self.instructions)

    @property
    def calls(self) -> list[str]:
        return [i for i in self.instructions if re.match(r"(call|bl)\s", i)]


def machine(path: Path) -> str:
    return MACHINES[int.from_bytes(path.read_bytes()[18:20], "little")]


def tool(name: str, path: Path) -> str | None:
    """The binutils that know the processor of the file."""
    return shutil.which(f"{machine(path)}-linux-gnu-{name}") or shutil.which(name)


@cache
def disassembly(path: Path) -> str:
    command = [tool("objdump", path) or "objdump", "-dC", "--no-show-raw-insn", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def functions(path: Path) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """(name, [(address, instruction)])."""
    for part in re.split(r"\n(?=[0-9a-f]+ <)", disassembly(path)):
        header = re.match(r"[0-9a-f]+ <(.*)>:\n", part)
        if header:
            lines = re.findall(r"^\s+([0-9a-f]+):\t(.*?)\s*$", part, re.MULTILINE)
            yield header[1], [(int(address, 16), text) for address, text in lines]


def innermost_loops(path: Path) -> Iterator[Loop]:
    dialect = X86 if machine(path) == "x86_64" else AARCH64
    for name, code in functions(path):
        framed = any(dialect.frame.match(text) for _, text in code)
        multiply_adds = [address for address, text in code if dialect.fma.match(text)]
        back = []
        for address, text in code:
            jump = dialect.jump.match(text)
            if jump and code[0][0] <= int(jump[1], 16) <= address:
                back.append((int(jump[1], 16), address))
        for first, last in back:
            inside = tuple(text for address, text in code if first <= address <= last)
            nested = [
                (a, b) for a, b in back if (a, b) != (first, last) and first <= a and b <= last
            ]
            if any(a <= at <= b for at in multiply_adds for a, b in nested):
                continue
            yield Loop(name, inside, dialect, dialect.framed if framed else dialect.stack)
