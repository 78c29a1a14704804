"""How like its reference a reading is: its text, the cells of its tables, the order of its parts. All from 0 to 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from eval.parsing.content import Content, Row, full_text
from eval.parsing.similarity import about_at, similarity

DIGITS = 4
MIN_LINE_CHARS = 4  # shorter lines stand in a text by chance


@dataclass(frozen=True, slots=True)
class Scores:
    """Measures of one file, or their means. None where the reference has no table, or no two lines to put in order."""

    text: float | None
    cells: float | None
    order: float | None

    def as_json(self) -> dict[str, float | None]:
        return {"text_similarity": self.text, "table_cell_f1": self.cells, "reading_order": self.order}


def scores(content: Content, reference: Content) -> Scores:
    """All three measures of a reading."""
    text = similarity(full_text(content), full_text(reference))
    return Scores(round(text, DIGITS), cell_f1(content, reference), reading_order(content, reference))


def mean_scores(all_scores: Iterable[Scores]) -> Scores:
    """The mean of each measure over the files that have it."""
    several = list(all_scores)
    return Scores(*(_mean(values) for values in _columns(several)))


def _columns(several: Sequence[Scores]) -> Sequence[list[float | None]]:
    return ([e.text for e in several], [e.cells for e in several], [e.order for e in several])


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), DIGITS) if known else None


def cell_f1(content: Content, reference: Content) -> float | None:
    """F1 of the cells that are not empty, over all tables. None where the reference has no table.

    Rows of reading and reference are laid beside each other in order, so that the most cells agree; a cell is found
    where the row beside it holds one of the same text. So a cell in the wrong row counts as missing and as wrong.
    """
    wanted, found = _rows(reference), _rows(content)
    if not wanted:
        return None
    total = sum(map(len, wanted)) + sum(map(len, found))
    return round(2 * _most_agreeing(wanted, found) / total, DIGITS)


def _rows(content: Content) -> list[Row]:
    return [row for block in content for row in block.rows]


def _most_agreeing(wanted: Sequence[Row], found: Sequence[Row]) -> int:
    """The weight of the heaviest common subsequence (Needleman and Wunsch, 1970, without a price of gaps)."""
    bags = [Counter(row) for row in found]
    above = [0] * (len(found) + 1)
    for row in wanted:
        bag, line = Counter(row), [0]
        for at, other in enumerate(bags):
            line.append(max(line[at], above[at + 1], above[at] + (bag & other).total()))
        above = line
    return above[-1]


def reading_order(content: Content, reference: Content) -> float | None:
    """Share of pairs of lines that stand in the order of the reference (Kendall's tau, moved to 0 to 1).

    Over the lines and rows that occur once in the reference and are found in the reading, also with a tenth of their
    characters wrong; what is missing counts in the text similarity. None where fewer than two are found.
    """
    text = full_text(content)
    lines = [line for block in reference for line in block.lines if len(line) >= MIN_LINE_CHARS]
    often = Counter(lines)
    places = [_place(text, line) for line in lines if often[line] == 1]
    known = [place for place in places if place is not None]
    pairs = list(combinations(known, 2))
    return round(sum(first <= second for first, second in pairs) / len(pairs), DIGITS) if pairs else None


def _place(text: str, line: str) -> int | None:
    """Where a line stands; None also where it stands more than once, as nobody can say which one is meant."""
    if text.count(line) > 1:
        return None
    place = text.find(line)
    return place if place >= 0 else about_at(text, line)
