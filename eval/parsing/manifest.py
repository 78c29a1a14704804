"""What must become of each file of a folder, as a manifest says, and whether it did."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from eval.datasets import BadDataset
from eval.parsing.similarity import contains_about
from rag.errors import DocumentRefused, RefusalReason

COLUMNS = ("path", "kind", "expected")
FAILURES = frozenset((RefusalReason.PARSER_FAILED, RefusalReason.TIME_LIMIT, RefusalReason.UNREADABLE))
"""No answer to a file: a crash, a hang, or never looked at. Nothing is expected to end so."""
PASSWORD = "password required"  # noqa: S105  words of a manifest
READABLE = "readable"
MIN_PIECE = 12  # letters
NOTHING_READ = "None"
"""The snippet of a reference extractor that read nothing and wrote so."""
FOREIGN_ENCODINGS = ("utf-16-le", "utf-16-be")
SINGLE_BYTE = ("utf-8", "cp1252")

_WHITESPACE = re.compile(r"\s+")
_NO_LETTER = re.compile(r"[\W_]+")


class Kind(StrEnum):
    """What is to become of a file; docs/evaluation.md defines each."""

    OK = "ok"
    OCR = "ocr"
    PARTIAL = "partial"
    LEGACY = "legacy"
    REFUSE = "refuse"
    REFUSE_OR_PARTIAL = "refuse_or_partial"


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line of a manifest. `expected` is a snippet of the text for `ok` and `ocr`, a description for the others."""

    path: str
    kind: Kind
    expected: str

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.expected}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file: its text, or why there is none.

    `bare_text` is the text without what Kustos adds to it: the name of its column before each cell of a table.
    """

    text: str = ""
    bare_text: str = ""
    refusal: DocumentRefused | None = None

    def __str__(self) -> str:
        return f"refused: {self.refusal}" if self.refusal else f"text of {len(self.text):,} characters"


def load_manifest(path: Path) -> list[Expectation]:
    """Every line of a tab-separated manifest with at least the columns path, kind and expected.

    Raises:
        BadDataset: it cannot be read, a kind is unknown, a path is used twice or leads out of the folder.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadDataset(f"{path} cannot be read: {error}") from error
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    if missing := set(COLUMNS) - set(rows.fieldnames or ()):
        raise BadDataset(f"{path}:1: the header lacks {', '.join(sorted(missing))}")
    found: dict[str, Expectation] = {}
    for number, row in enumerate(rows, start=2):
        each = _expectation(row, f"{path}:{number}")
        if each.path in found:
            raise BadDataset(f"{path}:{number}: {each.path} is listed twice")
        found[each.path] = each
    if not found:
        raise BadDataset(f"{path}: there is no file in it")
    return list(found.values())


def _expectation(row: dict[str, str | None], where: str) -> Expectation:
    name, kind, expected = (row[column] or "" for column in COLUMNS)
    if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise BadDataset(f"{where}: {name!r} is no path under the folder")
    if kind not in set(Kind):
        raise BadDataset(f"{where}: kind {kind!r} is none of {', '.join(Kind)}")
    return Expectation(name, Kind(kind), expected)


def as_expected(each: Expectation, outcome: Outcome) -> bool:
    """Whether the manifest's demand on this file is met."""
    refusal = outcome.refusal
    if refusal and refusal.reason in FAILURES:
        return False
    match each.kind:
        case Kind.OK:
            return not refusal and (holds(outcome.text, each.expected) or holds(outcome.bare_text, each.expected))
        case Kind.OCR:
            return not refusal and recognised(outcome.text, each.expected)
        case Kind.REFUSE:
            return refusal is not None and _reason_fits(refusal.reason, each.expected)
        case Kind.PARTIAL:
            return not (refusal and each.expected.startswith(READABLE))
        case Kind.LEGACY | Kind.REFUSE_OR_PARTIAL:
            return True


def _reason_fits(reason: RefusalReason, expected: str) -> bool:
    """Where a password is missing the operator has to read so; the other reasons leave room."""
    return PASSWORD not in expected or reason is RefusalReason.ENCRYPTED


def holds(text: str, snippet: str) -> bool:
    """Whether the snippet is found after whitespace is normalised; and after what else readers differ in.

    A snippet is cut from another extractor's text. Where it is not found as it stands it is looked for in letters and
    digits alone, because bars between cells, hyphens at the end of a line, ligatures and bullets are that extractor's;
    and in two long pieces, because it may have left out what stands between: a chart, a note, the foot of a page.
    One that took the file for UTF-16 is read anew as the bytes it came from; one that says that nothing was read
    asks for any text.
    """
    if snippet == NOTHING_READ:
        return bool(text.strip())
    return any(_found(text, wanted) for wanted in (snippet, *_reread(snippet)))


def _found(text: str, snippet: str) -> bool:
    if _spaced(snippet) in _spaced(text):
        return True
    letters, there = _letters(snippet), _letters(text)
    return bool(letters) and (letters in there or _found_in_two(there, snippet.split()))


def _found_in_two(letters: str, words: Sequence[str]) -> bool:
    """Whether the words are there in two pieces, one behind the other, neither of them short."""
    halves = ((_letters(" ".join(words[:at])), _letters(" ".join(words[at:]))) for at in range(1, len(words)))
    return any(
        len(first) >= MIN_PIECE <= len(second) and 0 <= letters.find(first) <= letters.rfind(second) - len(first)
        for first, second in halves
    )


def recognised(text: str, snippet: str) -> bool:
    """Whether recognised text holds the snippet with at most a tenth of its characters wrong.

    In brackets a snippet is a description, which any word meets.
    """
    if snippet.startswith("("):
        return re.search(r"\w{3,}", text) is not None
    return contains_about(_letters(text), _letters(snippet))


def _spaced(text: str) -> str:
    return _WHITESPACE.sub(" ", text).strip()


def _letters(text: str) -> str:
    return _NO_LETTER.sub("", unicodedata.normalize("NFKC", text)).casefold()


def _reread(snippet: str) -> Iterator[str]:
    for foreign in FOREIGN_ENCODINGS:
        for own in SINGLE_BYTE:
            try:
                yield snippet.encode(foreign).decode(own)
            except UnicodeError:
                continue
