"""From a question to a cited answer for one caller. The model sees the question and the numbered passages only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rag.access.audit import Action, Purpose
from rag.access.scope import Caller
from rag.documents import Passage
from rag.ports import Answerer
from rag.retrieval import Request, Retrieval

PASSAGES_AN_ANSWER = 6
REFUSALS = {
    "de": "Dazu habe ich in den Dokumenten, die Sie lesen dürfen, nichts gefunden.",
    "en": "I found nothing about this in the documents that you may read.",
}
"""The same text whether nothing exists or nothing is permitted; no model is called for it."""
UNCITED = {
    "de": "Das Modell hat keine Quelle genannt; prüfen Sie die Antwort an:",
    "en": "The model named no source; check the answer against:",
}
SOURCES_OF_AN_UNCITED_ANSWER = 3
NO_MODEL = "none"
_CITATION = re.compile(r"\[(\d{1,4})\]")
_OPEN_CITATION = re.compile(r"\[\d{0,4}$")


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What a person asks. `previous` is his question before this one, which a short follow-up leans on."""

    text: str
    previous: str | None = None
    model: str = "text-general"
    limit: int = PASSAGES_AN_ANSWER


@dataclass(slots=True)
class Answer:
    """An answer in the making. Iterate `pieces` once; afterwards `cited` holds the passages that were really cited.

    Attributes:
        passages: what was released, numbered from 1 by position.
        model: public name of what writes, or `none` where the fixed refusal is given.
        language: ISO 639-1 code of the question.
        pieces: the text as it arises; a citation of a number that was not retrieved is taken out.
        cited: numbers cited so far, in order of first appearance.
    """

    passages: Sequence[Passage]
    model: str
    language: str
    pieces: Iterator[str] = field(repr=False)
    cited: list[int] = field(default_factory=list)

    def text(self) -> str:
        """The whole answer; consumes `pieces`."""
        return "".join(self.pieces)


class Answering:
    """Retrieves with today's rights for every question, then lets a model write."""

    def __init__(self, retrieval: Retrieval, choose: Callable[[str], Answerer]) -> None:
        """`choose` maps a public model name to what answers at this moment; it raises NotFound for an unknown name."""
        self._retrieval = retrieval
        self._choose = choose

    def ask(self, caller: Caller, inquiry: Inquiry, request_id: str) -> Answer:
        """Passages are retrieved, checked and audited when this returns; the text comes by iterating.

        Raises:
            BadInput: the question is empty or too long.
            NotFound: no such model.
            ModelUnavailable, StoreUnavailable: a part that is needed does not answer.
        """
        request = Request(inquiry.text, inquiry.limit)
        answerer = self._choose(inquiry.model)
        if inquiry.previous:
            request = Request(f"{inquiry.previous}\n{inquiry.text}"[:8_000], inquiry.limit)
        language = self._retrieval.language(inquiry.text)
        purpose = Purpose(Action.ANSWER, request_id, inquiry.text, answerer.model)
        passages = self._retrieval.search(caller, request, purpose)
        if not passages:
            return Answer((), NO_MODEL, language, iter([refusal(language)]))
        answer = Answer(passages, answerer.model, language, iter(()))
        answer.pieces = with_sources(
            checked_citations(answerer.answer(inquiry.text, passages, language), len(passages), answer.cited),
            len(passages),
            language,
            answer.cited,
        )
        return answer


def refusal(language: str) -> str:
    return REFUSALS.get(language, REFUSALS["en"])


def checked_citations(pieces: Iterator[str], known: int, cited: list[int]) -> Iterator[str]:
    """`pieces` without citations of passages that were not retrieved; numbers that stay are appended to `cited`.

    A citation may arrive cut in two, so an opening bracket at the end of a piece waits for the next one.
    """

    def check(match: re.Match[str]) -> str:
        number = int(match[1])
        if not 1 <= number <= known:
            return ""
        if number not in cited:
            cited.append(number)
        return match[0]

    held = ""
    for piece in pieces:
        held += piece
        open_citation = _OPEN_CITATION.search(held)
        ready, held = (held[: open_citation.start()], held[open_citation.start() :]) if open_citation else (held, "")
        if ready:
            yield _CITATION.sub(check, ready)
    if held:
        yield _CITATION.sub(check, held)


def with_sources(pieces: Iterator[str], known: int, language: str, cited: list[int]) -> Iterator[str]:
    """`pieces`, and where they cite nothing a line that says so and names the best passages, so that one can check."""
    yield from pieces
    if not cited:
        cited.extend(range(1, min(known, SOURCES_OF_AN_UNCITED_ANSWER) + 1))
        yield f"\n\n{UNCITED.get(language, UNCITED['en'])} {' '.join(f'[{number}]' for number in cited)}"
