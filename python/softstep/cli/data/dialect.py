"""How a text table is written: encoding, separator, comments, found in its first lines."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from softstep.cli.data.column import measured, parsed
from softstep.cli.errors import InputError

# Bytes and lines at the start of a file that it is judged by.
SAMPLE_BYTES, SAMPLE_LINES = 1 << 18, 200
# In the order of preference where two fit as well.
SEPARATORS = ("\t", ";", ",", "|")
SPACES = " "
NAMES = {"\t": "tab", SPACES: "spaces"}
BY_NAME = {
    "tab": "\t",
    "\\t": "\t",
    "space": SPACES,
    "spaces": SPACES,
    "comma": ",",
    "semicolon": ";",
}
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Also with points between thousands, which alone say nothing.
THOUSANDS = r"[1-9]\d{0,2}(?:\.\d{3})+"
DECIMAL_COMMA = re.compile(rf"[+-]?(?:\d*|{THOUSANDS}),\d+(?:[eE][+-]?\d+)?")
GROUPED = re.compile(rf"[+-]?{THOUSANDS}(,\d+)?")
# What csv can be told that a cell may be long.
LONGEST = 2**31 - 1
# A first line that is only for spreadsheets.
EXCEL_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """What the user said about the file; what is None is found out."""

    separator: str | None = None
    header: bool | None = None
    encoding: str | None = None
    comment: str | None = None


@dataclass(frozen=True)
class Dialect:
    """The way in which a text table is written."""

    encoding: str
    separator: str
    # Lines that begin with it are comments; "" where there are none.
    comment: str
    quote: str = '"'
    # Spaces around the cells.
    padded: bool = False
    decimal_comma: bool = False
    # Lines before the table.
    skipped: int = 0

    @property
    def plain(self) -> bool:
        """Whether the bytes can be parsed as they are, but for their separator."""
        utf8 = self.encoding in ("utf-8", "utf-8-sig")
        return utf8 and not (self.comment or self.padded or self.separator == SPACES)

    def described(self) -> list[str]:
        """Return what is not as in every file."""
        said = []
        if self.separator != ",":
            said.append(f"separated by {NAMES.get(self.separator, repr(self.separator))}")
        if self.encoding not in ("utf-8", "utf-8-sig"):
            said.append(f"read as {self.encoding}")
        if self.comment == "#":
            said.append("lines with # left out")
        if self.quote == "'":
            said.append("quoted by '")
        if self.decimal_comma:
            said.append("decimal commas")
        return said


def find_dialect(
    source: str, start: bytes, whole: bool, reading: Reading
) -> tuple[Dialect, list[str]]:
    """Judge the ``start`` of a file, which is the ``whole`` of it or not; return its lines, too."""
    encoding = reading.encoding or _encoding(source, start)
    try:
        # Refuses what is known to Python and is no encoding of texts, as hex.
        io.TextIOWrapper(io.BytesIO(), encoding)
        text = codecs.getincrementaldecoder(encoding)().decode(start, whole)
    except (UnicodeError, LookupError) as error:
        raise InputError(f"{source}: --encoding {encoding}: {error}") from error
    if "\0" in text:
        raise InputError(f"{source}: expected text, got bytes that are none")
    lines = text.splitlines()
    lines = (lines if whole or len(lines) == 1 else lines[:-1])[:SAMPLE_LINES]
    excel = EXCEL_LINE.fullmatch(lines[0]) if lines else None
    skipped = 1 if excel else 0
    comment = _comment(lines) if reading.comment is None else reading.comment
    table = [line for line in lines[skipped:] if line.strip() and not is_comment(line, comment)]
    if reading.separator is not None:
        separator = BY_NAME.get(reading.separator.lower(), reading.separator)
    else:
        separator = excel[1] if excel else _separator(table)
    quote = _quote(table, separator)
    dialect = Dialect(encoding, separator, comment, quote, skipped=skipped)
    cells = [cell for row in cut(table, dialect) for cell in row]
    padded = separator != SPACES and any(
        re.search(rf"{re.escape(separator)} |[^\s] +{re.escape(separator)}|^ | $", line)
        for line in table
    )
    comma = _decimal_comma(cells, separator)
    return Dialect(encoding, separator, comment, quote, padded, comma, skipped), lines[skipped:]


def is_comment(line: str, comment: str) -> bool:
    """Return whether ``line`` is one."""
    return bool(comment) and line.lstrip().startswith(comment)


def cut(lines: Sequence[str], dialect: Dialect) -> list[list[str]]:
    """Return the cells of ``lines``, without the spaces around them."""
    spaces = dialect.separator == SPACES
    if spaces:
        lines = [
            " ".join(line.split()) if dialect.quote not in line else line.strip() for line in lines
        ]
    rows = rows_of(lines, dialect)
    return [pointed(row) if dialect.decimal_comma else row for row in rows]


def rows_of(lines: Iterable[str], dialect: Dialect) -> Iterator[list[str]]:
    """Yield the cells of each row, without the spaces around them, however long they are."""
    reader = csv.reader(
        lines, delimiter=dialect.separator, quotechar=dialect.quote, skipinitialspace=True
    )
    while True:
        # The limit is that of the whole process.
        limit = csv.field_size_limit(LONGEST)
        try:
            row = next(reader)
        except StopIteration:
            return
        finally:
            csv.field_size_limit(limit)
        yield [cell.strip() for cell in row]


def pointed(cells: Sequence[str]) -> list[str]:
    """Return numbers with decimal commas with points instead, anything else as it is.

    Points alone are between thousands only where other cells have a comma, too.
    """
    grouped = any(match and match[1] for match in map(GROUPED.fullmatch, cells))
    return [
        cell.replace(".", "").replace(",", ".")
        if DECIMAL_COMMA.fullmatch(cell) or (grouped and GROUPED.fullmatch(cell))
        else cell
        for cell in cells
    ]


def _encoding(source: str, start: bytes) -> str:
    for mark, encoding in MARKS:
        if start.startswith(mark):
            return encoding
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return western(start)
    return "utf-8"


def western(content: bytes) -> str:
    """Return the encoding of text from before UTF-8; Windows' has signs where Latin-1 has none."""
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252" if any(0x80 <= byte < 0xA0 for byte in content) else "latin-1"


def _comment(lines: Sequence[str]) -> str:
    """Return "#" or "%" if some lines are comments with it, not rows that happen to begin so."""
    for sign in ("#", "%"):
        found = [line for line in lines if is_comment(line, sign)]
        first = bool(found) and found[0] is lines[0]
        if len(found) < len(lines) and (
            first or any(not re.search("[,;\t|]", line) for line in found)
        ):
            return sign
    return ""


def _separator(lines: Sequence[str]) -> str:
    """Return the separator under which the lines have as many cells, and the most numbers."""
    scores = {}
    for separator in (*SEPARATORS, SPACES):
        rows = cut(lines, Dialect("utf-8", separator, "", _quote(lines, separator)))
        # Cells after the last separator of a line may be missing in the header.
        widths = Counter(len(row) for row in rows)
        width, count = widths.most_common(1)[0] if widths else (1, 0)
        if width > 1:
            cells = [cell for row in rows[1:] or rows for cell in row]
            numbers = sum(
                parsed(cell) is not None or bool(DECIMAL_COMMA.fullmatch(cell)) for cell in cells
            )
            regular = count >= 0.9 * (len(rows) - 1)
            scores[separator] = (
                regular,
                # The spaces within some cells are in each row as well.
                len(rows[0]) == width,
                round(numbers / max(1, len(cells)), 2),
                separator != SPACES,
            )
    return max(scores, key=lambda separator: scores[separator]) if scores else ","


def _quote(lines: Sequence[str], separator: str) -> str:
    """Return "'" if it is around cells, and not just a sign in some as in O'Brien."""
    cut_at = r"\s" if separator == SPACES else re.escape(separator)
    if any(re.search(rf'(?:^|{cut_at})\s*"', line) for line in lines):
        return '"'
    begins = [len(re.findall(rf"(?:^|{cut_at})\s*'", line)) for line in lines]
    ends = [len(re.findall(rf"'\s*(?:{cut_at}|$)", line)) for line in lines]
    return "'" if begins == ends and any(begins) else '"'


def _decimal_comma(cells: Sequence[str], separator: str) -> bool:
    """Return whether numbers have a comma and none a point."""
    commas = [cell for cell in cells if DECIMAL_COMMA.fullmatch(cell)]
    points = sum("." in cell and parsed(cell) is not None for cell in cells)
    # Between quotes a comma is one between thousands, unless it cannot be.
    grouped = separator == "," and all(measured(cell) is not None for cell in commas)
    return bool(commas) and points == 0 and not grouped
