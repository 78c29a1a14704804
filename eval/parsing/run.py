"""Reads the files of a manifest as Kustos reads them, judges what became of each, and compares with references."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from eval.datasets import BadDataset
from eval.parsing.content import Content, extracted, full_text, markdown, plain_text
from eval.parsing.manifest import Expectation, Kind, Outcome, as_expected
from eval.parsing.measures import Scores, mean_scores, scores
from ingest.extraction import Extraction, extracted_text
from rag.errors import DocumentRefused
from rag.ports import OnProgress

KUSTOS = "kustos"
OF_SHEETS = frozenset({".xlsx", ".xlsb", ".xls", ".ods"})

Parse = Callable[[bytes, str], Extraction]
Read = Callable[[Path], Content]


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of one file. `extraction` is None where it was refused."""

    expectation: Expectation
    outcome: Outcome
    seconds: float
    extraction: Extraction | None = None

    @property
    def as_expected(self) -> bool:
        return as_expected(self.expectation, self.outcome)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One file that has a reference: what each reader reached, by the reader's name."""

    path: str
    kind: Kind
    scores: Mapping[str, Scores]

    def as_json(self) -> dict[str, object]:
        others = {name: each.as_json() for name, each in self.scores.items() if name != KUSTOS}
        return {"path": self.path, "kind": self.kind.value, **self.scores[KUSTOS].as_json(), **others}


@dataclass(frozen=True, slots=True)
class ParsingReport:
    """What became of all files.

    Attributes:
        seconds: wall time of reading them all, without the comparison.
        peak_bytes: resident memory of the largest process that read.
        compared: files with a reference; None where no references were asked for.
    """

    readings: Sequence[Reading]
    seconds: float
    peak_bytes: int
    compared: Sequence[Comparison] | None = None

    @property
    def differing(self) -> list[Reading]:
        return [each for each in self.readings if not each.as_expected]

    @property
    def slowest(self) -> Reading:
        return max(self.readings, key=lambda each: each.seconds)

    def means(self) -> dict[str, Scores]:
        """Means over the `ok` files with a reference, by reader."""
        fine = [each.scores for each in self.compared or () if each.kind is Kind.OK]
        return {name: mean_scores(each[name] for each in fine) for name in (fine[0] if fine else ())}

    def as_json(self) -> dict[str, object]:
        told: dict[str, object] = {
            "files": len(self.readings),
            "as_expected": len(self.readings) - len(self.differing),
            "differing": [
                {"path": each.expectation.path, "expected": str(each.expectation), "got": str(each.outcome)}
                for each in self.differing
            ],
            "seconds": self.seconds,
        }
        if self.compared is not None:
            told["reference"] = [each.as_json() for each in self.compared]
            told["means"] = {name: each.as_json() for name, each in self.means().items()}
        return told


def load_references(folder: Path, expectations: Sequence[Expectation]) -> dict[str, Content]:
    """By path of a file what it should read like: `NAME.md` or `NAME.txt` in `folder` for a file called NAME.

    Raises:
        BadDataset: there is none, or one cannot be read.
    """
    found = {}
    for each in expectations:
        of_sheets = Path(each.path).suffix in OF_SHEETS
        forms: dict[str, Callable[[str], Content]] = {".md": partial(markdown, of_sheets=of_sheets), ".txt": plain_text}
        for form, read in forms.items():
            path = folder / (Path(each.path).name + form)
            if path.is_file() and each.kind is not Kind.REFUSE:
                found[each.path] = read(_text(path))
    if not found:
        raise BadDataset(f"{folder}: there is no reference for any file of the manifest")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadDataset(f"{path} cannot be read: {error}") from error


def read_all(
    folder: Path, expectations: Sequence[Expectation], parse: Parse, *, workers: int, on_progress: OnProgress
) -> list[Reading]:
    """Reads every file, so many at a time.

    Raises:
        BadDataset: a file is not there; nothing was read.
        Unavailable: no parser process can be started.
    """
    missing = [each.path for each in expectations if not (folder / each.path).is_file()]
    if missing:
        raise BadDataset(f"{folder} lacks {len(missing)} of the files in the manifest, the first is {missing[0]}")

    def read(each: Expectation) -> Reading:
        reading = _reading(folder, each, parse)
        on_progress(1)
        return reading

    with ThreadPoolExecutor(workers) as threads:
        return list(threads.map(read, expectations))


def _reading(folder: Path, each: Expectation, parse: Parse) -> Reading:
    path = folder / each.path
    data, started = path.read_bytes(), perf_counter()
    try:
        extraction = parse(data, path.name)
    except DocumentRefused as refusal:
        return Reading(each, Outcome(refusal=refusal), perf_counter() - started)
    seconds = perf_counter() - started
    text, _ = extracted_text(extraction)
    return Reading(each, Outcome(text, full_text(extracted(extraction))), seconds, extraction)


def peak_bytes_of_children() -> int:
    """Resident memory of the largest child process that has ended."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit


def compare(
    folder: Path,
    readings: Sequence[Reading],
    references: Mapping[str, Content],
    others: Mapping[str, Read],
    on_progress: OnProgress,
) -> list[Comparison]:
    """Measures Kustos and the other readers on every file that has a reference. What was refused is empty."""
    found = []
    for each in readings:
        if (reference := references.get(each.expectation.path)) is None:
            continue
        contents = {KUSTOS: extracted(each.extraction) if each.extraction else ()}
        contents |= {name: read(folder / each.expectation.path) for name, read in others.items()}
        measured = {name: scores(content, reference) for name, content in contents.items()}
        found.append(Comparison(each.expectation.path, each.expectation.kind, measured))
        on_progress(1)
    return found
