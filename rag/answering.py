"""From a question to a cited answer for one caller. The model sees the question and the numbered passages only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rag.access.audit import Action, Purpose
from rag.access.scope import Caller
from rag.documents import Passage, Question
from rag.ports import Answerer
from rag.retrieval import MAX_QUESTION_CHARACTERS, Request, Retrieval

PASSAGES_AN_ANSWER = 6
REFUSALS = {
    "de": "Dazu habe ich in den Dokumenten, die Sie lesen dürfen, nichts gefunden.",
    "en": "I found nothing about this in the documents that you may read.",
}
"""The same text whether nothing exists or nothing is permitted; no model is called for it."""
UNCITED = {
    "de": "Das Sprachmodell hat keine Quelle genannt. Bitte prüfen Sie die Antwort anhand dieser Stellen:",
    "en": "The language model named no source. Please check the answer against these passages:",
}
SOURCES_OF_AN_UNCITED_ANSWER = 3
NO_MODEL = "none"
FOLLOW_UP_CHARACTERS = 50
"""A question shorter than this leans on the one before it if it says so; longer ones bring their own words."""
BARE_CHARACTERS = 20
"""A question shorter than this leans on the one before it in any case."""
_LEANING = re.compile(
    r"^(und|aber|oder|auch|wieso|warum|and|but|or|also|why|what about|how about)\b|"
    r"\b(da(für|von|mit|zu|bei|nach|rüber|gegen|ran|raus)|dort|dies(e[rsnm]?)?|er|es|ihn|ihm|ihr|ihre[rsnm]?|"
    r"it|its|this|these|those|they|them|their|there|he|she|his|her)\b",
    re.IGNORECASE,
)
UNKNOWN = "[?]"
"""Stands where a citation named nothing that was retrieved. Cut out without a trace, `[1[9]]` would become `[1]`."""
_CITATION = re.compile(r"\[([\d\s,;]{1,60})\]")
_OPEN_CITATION = re.compile(r"\[[\d\s,;]{0,60}$")
_NUMBER = re.compile(r"\d+")
# What a reader of Markdown would fetch or render: `](` of links and images, `]:` of their definitions, tags, autolinks.
_LINK = re.compile(r"\](?=[(:])")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_OPEN_MARKUP = re.compile(r"(?:\[\d{1,4})?\]$|<$")


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What a person asks. `previous` is the question that he asked before, which a short follow-up leans on."""

    text: str
    previous: str | None = None
    model: str = "text-general"
    limit: int = PASSAGES_AN_ANSWER


@dataclass(frozen=True, slots=True)
class Understood:
    """An inquiry that is encoded, with what will answer it. `language`: ISO 639-1 code of the question."""

    request: Request
    question: Question
    language: str
    answerer: Answerer


@dataclass(slots=True)
class Answer:
    """An answer in the making. Iterate `pieces` once; afterwards `cited` holds the passages that were really cited.

    Attributes:
        passages: what was released, numbered from 1 by position.
        model: public name of what writes, or `none` where the fixed refusal is given.
        language: ISO 639-1 code of the question.
        pieces: the text as it arises; a citation of a number that was not retrieved becomes `[?]`.
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

    def understood(self, inquiry: Inquiry) -> Understood:
        """All of an answer that does not depend on who asks: it reads nothing but the question.

        Raises:
            BadInput: the question is empty or too long.
            NotFound: no such model.
            ModelUnavailable: the embedding model does not answer.
        """
        request = Request(searched(inquiry), inquiry.limit)
        answerer, language = self._choose(inquiry.model), self._retrieval.language(inquiry.text)
        return Understood(request, self._retrieval.question(request), language, answerer)

    def answer(self, caller: Caller, asked: Understood, request_id: str) -> Answer:
        """Passages are retrieved, checked and audited when this returns; the text comes by iterating.

        Raises:
            StoreUnavailable: catalog or index does not answer.
        """
        request, answerer, language = asked.request, asked.answerer, asked.language
        purpose = Purpose(Action.ANSWER, request_id, request.text, answerer.model)
        passages = self._retrieval.search_for(caller, asked.question, request.limit, purpose)
        if not passages:
            return Answer((), NO_MODEL, language, iter([refusal(language)]))
        answer = Answer(passages, answerer.model, language, iter(()))
        answer.pieces = with_sources(
            defused(checked_citations(answerer.answer(request.text, passages, language), len(passages), answer.cited)),
            len(passages),
            language,
            answer.cited,
        )
        return answer


def searched(inquiry: Inquiry) -> str:
    """What is searched for, answered and audited: the question, one that leans on the previous one behind that."""
    room = MAX_QUESTION_CHARACTERS - len(inquiry.text) - 1
    if not inquiry.previous or not _leans(inquiry.text.strip()):
        return inquiry.text
    return f"{inquiry.previous[:room]}\n{inquiry.text}"


def _leans(text: str) -> bool:
    if len(text) >= FOLLOW_UP_CHARACTERS:
        return False
    return 0 < len(text) < BARE_CHARACTERS or bool(_LEANING.search(text))


def refusal(language: str) -> str:
    return REFUSALS.get(language, REFUSALS["en"])


def checked_citations(pieces: Iterator[str], known: int, cited: list[int]) -> Iterator[str]:
    """`pieces` in which every citation is of a passage that was retrieved; those numbers are appended to `cited`.

    A list as in `[1, 2]` becomes `[1] [2]`, without its unknown numbers; a citation of unknown ones becomes `[?]`.
    """

    def check(match: re.Match[str]) -> str:
        numbers = [int(each) for each in _NUMBER.findall(match[1])]
        if not numbers:
            return match[0]
        retrieved = [each for each in dict.fromkeys(numbers) if 1 <= each <= known]
        cited.extend(each for each in retrieved if each not in cited)
        return " ".join(f"[{each}]" for each in retrieved) or UNKNOWN

    return _rewritten(pieces, _OPEN_CITATION, lambda text: _CITATION.sub(check, text))


def defused(pieces: Iterator[str]) -> Iterator[str]:
    """`pieces` without Markdown links, images and definitions, and without HTML tags; all stays readable (PI-02)."""
    return _rewritten(pieces, _OPEN_MARKUP, lambda text: _TAG.sub("‹", _LINK.sub("] ", text)))


def _rewritten(pieces: Iterator[str], begun: re.Pattern[str], rewrite: Callable[[str], str]) -> Iterator[str]:
    """`pieces` rewritten as if they were one text: what `begun` finds at a piece's end waits for the next one."""
    held = ""
    for piece in pieces:
        held += piece
        open_end = begun.search(held)
        ready, held = (held[: open_end.start()], held[open_end.start() :]) if open_end else (held, "")
        if ready:
            yield rewrite(ready)
    if held:
        yield rewrite(held)


def with_sources(pieces: Iterator[str], known: int, language: str, cited: list[int]) -> Iterator[str]:
    """`pieces`, and where they cite nothing a line that says so and names the best passages, so that one can check."""
    yield from pieces
    if not cited:
        cited.extend(range(1, min(known, SOURCES_OF_AN_UNCITED_ANSWER) + 1))
        yield f"\n\n{UNCITED.get(language, UNCITED['en'])} {' '.join(f'[{number}]' for number in cited)}"
