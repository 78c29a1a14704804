"""Original files in the place of the corpus documents that were cut from them: measures reading together with search.

Where a corpus document was cut out of a file is found by its letters and digits, as whoever cut it may have changed
whitespace, hyphens and bullets. A passage of the file then stands for every document that it holds half of, or that
holds half of it. One that stands for none is passed over: the corpus does not judge it, as it has no such text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from connectors.base import AccessEntry, Item, Listing, Sink
from eval.datasets import BadDataset, CorpusDocument
from eval.parsing.similarity import about_span
from ingest.content import Content
from ingest.extraction import Extraction, extracted_text
from rag.access.acl import Acl
from rag.access.principals import EVERYONE_IN_TENANT
from rag.documents import Chunk
from rag.errors import DocumentRefused
from rag.ports import OnProgress

SOURCE = "originals"
ALIKE = 80.0  # per cent of the letters and digits
HALF = 0.5
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document stands in an original: its name, and the character span in its extracted text."""

    name: str
    start: int
    end: int


class Originals:
    """Files as a source that everyone may read. Implements `connectors.base.Connector`.

    Attributes:
        documents: id of each corpus document that was cut from one of the files, and where.
    """

    source = SOURCE

    def __init__(self, extractions: Mapping[str, Extraction], corpus: Sequence[CorpusDocument]) -> None:
        self._extractions = extractions
        texts = {name: extracted_text(each)[0] for name, each in extractions.items()}
        self.documents = located({each.id: each.text for each in corpus}, texts)

    def list(self, cursor: str = "") -> Listing:
        """Every file."""
        access = AccessEntry(SOURCE, Acl.of(allow={EVERYONE_IN_TENANT}), origin=SOURCE)
        items = (Item(name, name, name, _LONG_AGO, name, SOURCE) for name in self._extractions)
        return Listing(tuple(items), {SOURCE: access})

    def fetch(self, item: Item, into: Sink) -> None:
        """The file's name: it was read already, see `parse`."""
        into.write(item.item_id.encode())

    def watch(self, stop: threading.Event, interval_s: float) -> Iterator[None]:
        """Nothing: the files do not change."""
        return iter(())

    def parse(self, content: Content, name: str) -> Extraction:
        """What was read out of the file that `fetch` named."""
        return self._extractions[content.read().decode()]

    def stands_for(self, name: str, chunk: Chunk) -> Sequence[str]:
        """Documents that the chunk of a file holds half of, or that hold half of it, the largest share first."""
        shares = {each: _share(chunk, place) for each, place in self.documents.items() if place.name == name}
        return sorted((each for each, share in shares.items() if share >= HALF), key=lambda each: -shares[each])


def _share(chunk: Chunk, place: Place) -> float:
    """Of the shorter of the two."""
    shared = min(chunk.end, place.end) - max(chunk.start, place.start)
    return shared / min(chunk.end - chunk.start, place.end - place.start)


def read_originals(
    folder: Path, corpus: Sequence[CorpusDocument], parse: Callable[[bytes, str], Extraction], on_progress: OnProgress
) -> Originals:
    """Every file in `folder`, read.

    Raises:
        BadDataset: a file is refused, or no document of the corpus is found in any.
    """
    extractions = {}
    for path in files_in(folder):
        try:
            extractions[path.name] = parse(path.read_bytes(), path.name)
        except DocumentRefused as refusal:
            raise BadDataset(f"{path} cannot be read: {refusal}") from refusal
        on_progress(1)
    originals = Originals(extractions, corpus)
    if not originals.documents:
        raise BadDataset(f"{folder}: no document of the corpus is found in any of its {len(extractions)} files")
    return originals


def files_in(folder: Path) -> Sequence[Path]:
    """The files directly in the folder."""
    return sorted(each for each in folder.iterdir() if each.is_file())


def located(documents: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, Place]:
    """Those of the documents that are found in one of the texts, each at the place that is most like it."""
    letters = {name: _Letters(text) for name, text in texts.items()}
    found = {}
    for identifier, text in documents.items():
        wanted = _Letters(text).text
        places = [(*span, name) for name, each in letters.items() if (span := about_span(each.text, wanted, ALIKE))]
        if places:
            _, start, end, name = max(places)
            found[identifier] = Place(name, *letters[name].span(start, end))
    return found


class _Letters:
    """Letters and digits of a text, small, and where each of them stands in it."""

    def __init__(self, text: str) -> None:
        kept = [(at, small) for at, char in enumerate(text) if char.isalnum() for small in char.lower()]
        self.text = "".join(small for _, small in kept)
        self._places = [at for at, _ in kept]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The same stretch in the text."""
        return self._places[start], self._places[end - 1] + 1
