"""A column of a table: numbers, or texts; and how texts are read as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What stands for a missing value; "None" does not, which is a category as often as not.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "nan", "NaN", "NAN", "-nan", "NULL", "null", "?")
# What stands for one among numbers, in any case; among texts it may be a category.
NO_NUMBER = {
    *(text.lower() for text in MISSING),
    *("-", "--", "---", ".", "..", "*", "??", "n.a.", "n/d", "nd", "nat", "none", "nil", "missing"),
    *("unknown", "undefined", "\\n", "(null)", "<null>", "-1.#ind", "1.#qnan"),
    *("#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!"),
}
TRUTHS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
# A column of texts with so large a part of numbers is one of numbers with mistakes in it.
MOSTLY = 0.9
# A currency or a percent sign, commas between thousands.
MARKED = re.compile(r"([+-]?)[$€£¥]? ?([+-]?(?:[1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.\d+)?) ?%?")

Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Numbers:
    """Numbers, NaN where one is missing."""

    name: str
    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[Any]) -> Numbers:
        """Return the column of these rows."""
        return replace(self, values=self.values[rows])

    def missing(self) -> NDArray[np.bool_]:
        """Return where a value is missing."""
        return np.asarray(np.isnan(self.values))

    def tidied(self, missing: Iterable[str]) -> Numbers:
        """Return the column with the numbers among ``missing`` as missing values."""
        found = (parsed(text) for text in missing)
        numbers = [number for number in found if number is not None and number == number]
        if not numbers:
            return self
        return replace(self, values=np.where(np.isin(self.values, numbers), np.nan, self.values))

    def texts(self) -> Texts:
        """Return the column as texts: 3.0 is "3"."""
        distinct, codes = np.unique(self.values, return_inverse=True)
        signed = np.where(np.isnan(self.values), np.intp(-1), codes.reshape(-1))
        names = tuple(map(number_text, distinct[~np.isnan(distinct)].tolist()))
        return Texts(self.name, np.asarray(signed, np.int32), names)


@dataclass(frozen=True)
class Texts:
    """Texts: ``levels[code]``, of which each is there once; code -1 where one is missing."""

    name: str
    codes: Codes
    levels: tuple[str, ...]
    # Those that were taken for a missing one.
    marks: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, cells: Iterable[str]) -> Texts:
        """Return the column of these cells."""
        known: dict[str, int] = {}
        codes = [known.setdefault(cell, len(known)) for cell in cells]
        return cls(name, np.array(codes, np.int32), tuple(known))

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[Any]) -> Texts:
        """Return the column of these rows."""
        return replace(self, codes=self.codes[rows])

    def missing(self) -> NDArray[np.bool_]:
        """Return where a text is missing."""
        return self.codes < 0

    def texts(self) -> Texts:
        """Return the column itself."""
        return self

    def cells(self) -> list[str]:
        """Return the text of each row, "" where it is missing."""
        levels = np.array([*self.levels, ""], dtype=object)
        return [str(cell) for cell in levels[self.codes]]

    def recoded(self, levels: Sequence[str | None]) -> Texts:
        """Return the column with new ``levels`` in place of the old; None is a missing one."""
        known: dict[str, int] = {}
        codes = [-1 if level is None else known.setdefault(level, len(known)) for level in levels]
        recoded = np.array([*codes, -1], np.int32)[self.codes]
        return replace(self, codes=recoded, levels=tuple(known))

    def tidied(self, missing: Iterable[str]) -> Texts:
        """Return the column without spaces around its texts, and the ``missing`` ones as such."""
        none = {text.strip() for text in missing}
        stripped = [level.strip() for level in self.levels]
        marks = tuple(sorted({level for level in stripped if level and level in none}))
        tidy = self.recoded([None if level in none else level for level in stripped])
        return replace(tidy, marks=marks)

    def used(self) -> Texts:
        """Return the column with the levels that occur, the others left out."""
        found = np.bincount(self.codes + 1, minlength=len(self.levels) + 1)[1:]
        pairs = zip(self.levels, found, strict=True)
        return self.recoded([level if count else None for level, count in pairs])

    def numbers(self) -> Numbers | None:
        """Return the column as numbers, if its texts are truth values, or numbers but for gaps."""
        lower = [level.lower() for level in self.levels]
        if set(lower) <= TRUTHS.keys():
            values: list[float | None] = [TRUTHS[text] for text in lower]
        else:
            values = [np.nan if text in NO_NUMBER else measured(text) for text in lower]
        if None in values or set(lower) <= NO_NUMBER:
            return None
        return Numbers(self.name, np.array([*values, np.nan], np.float64)[self.codes])

    def odd_row(self) -> int | None:
        """Return the first row without a number, if nearly all of the others have one."""
        found = [level.lower() in NO_NUMBER or measured(level) is not None for level in self.levels]
        good = np.array([*found, True])[self.codes]
        present = ~self.missing()
        share = float(np.mean(good[present])) if present.any() else 1.0
        return int(np.argmin(good)) if MOSTLY <= share < 1 else None


Column = Numbers | Texts


def interpreted(column: Column) -> Column:
    """Return a tidied column as a feature: numbers if it can be read so."""
    if isinstance(column, Numbers):
        return column
    used = column.used()
    if not used.levels:
        return Numbers(column.name, np.full(len(column), np.nan))
    return used.numbers() or used


def parsed(text: str) -> float | None:
    """Return the number that a text is, or None."""
    # Python reads 1_2 as 12, which would merge two classes.
    if "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def measured(text: str) -> float | None:
    """Return the number that a text is, also one like 1,234 or $5 or 12.5 %, or None."""
    number = parsed(text)
    marked = MARKED.fullmatch(text) if number is None else None
    return number if marked is None else parsed("".join(marked.groups()).replace(",", ""))


def number_text(value: float) -> str:
    """Return a number as a class or a category is called: 3.0 is 3."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
