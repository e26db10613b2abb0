"""Read an .arff file: a header that names the columns, above comma-separated rows."""

from __future__ import annotations

import codecs
import re

from softstep.cli.data.dialect import (
    SAMPLE_LINES,
    Dialect,
    Reading,
    find_dialect,
    is_comment,
)
from softstep.cli.data.header import Header, unique
from softstep.cli.data.source import Source
from softstep.cli.data.table import Table
from softstep.cli.data.text import read_rows
from softstep.cli.errors import InputError

HEADER_BYTES, COMMENT = 1 << 24, "%"
ATTRIBUTE = re.compile(r"@attribute\s+('[^']*'|\"[^\"]*\"|[^\s{]+)\s*(.*)", re.IGNORECASE)


def read_arff(source: Source, reading: Reading, quiet: bool) -> Table:
    """Read the rows below ``@data``; the label is the column called class, or else the last."""
    start = source.start(HEADER_BYTES)
    whole = len(start) < HEADER_BYTES
    encoding = find_dialect(source.name, start, whole, reading)[0].encoding
    lines = codecs.getincrementaldecoder(encoding)().decode(start, whole).splitlines()
    names, above, read = [], 0, 0
    for line in lines:
        read += 1
        above += bool(line.strip()) and not is_comment(line, COMMENT)
        if match := ATTRIBUTE.match(line.strip()):
            names.append(match[1].strip("'\""))
        elif line.strip().lower().startswith("@data"):
            break
    else:
        raise InputError(f"{source.name}: expected a line @data, got none")
    rows = [line for line in lines[read:] if line.strip() and not is_comment(line, COMMENT)]
    sample = rows[:SAMPLE_LINES]
    if any(line.lstrip().startswith("{") for line in sample):
        raise InputError(f"{source.name}: expected rows of all values, got sparse ones in braces")
    quote = "'" if any("'" in line for line in sample) else '"'
    separator = "," if any("," in line for line in sample) else "\t"
    dialect = Dialect(encoding, reading.separator or separator, COMMENT, quote, padded=True)
    return read_rows(source, dialect, Header(unique(names), True, above), sample, quiet)
