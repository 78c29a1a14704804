"""From a question to the passages that answer it, for one caller: encode, ask through the gate, fuse, release."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rag.access.audit import Purpose
from rag.access.gate import Gate
from rag.access.scope import AccessScope, Caller
from rag.documents import Document, Passage, Question
from rag.errors import BadInput
from rag.fusion import fuse
from rag.ports import Embedder, LanguageDetector, LexicalEncoder

MAX_QUESTION_CHARACTERS = 8_000
MAX_PASSAGES = 100
DEPTH = 100  # candidates a leg, see docs/decisions/0006-fusion.md


class Mode(StrEnum):
    """Which legs search. `hybrid` is for people; single legs are for measuring."""

    HYBRID = "hybrid"
    DENSE = "dense"
    LEXICAL = "lexical"


@dataclass(frozen=True, slots=True)
class Request:
    """One search. `narrow` maps a field to accepted values and can only narrow what the caller may read."""

    text: str
    limit: int = 10
    narrow: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mode: Mode = Mode.HYBRID

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise BadInput("the question is empty")
        if len(self.text) > MAX_QUESTION_CHARACTERS:
            raise BadInput(f"the question has {len(self.text)} characters; at most {MAX_QUESTION_CHARACTERS} are read")
        if not 1 <= self.limit <= MAX_PASSAGES:
            raise BadInput(f"limit is {self.limit}; it must be between 1 and {MAX_PASSAGES}")


class Retrieval:
    """Searches on behalf of callers. It holds no reader: everything passes the gate."""

    def __init__(
        self,
        gate: Gate,
        embedder: Embedder,
        lexical: LexicalEncoder,
        detector: LanguageDetector,
        covers: Callable[[str], bool],
    ) -> None:
        """`covers` tells whether the embedder knows a language, given by its ISO 639-1 code."""
        self._gate = gate
        self._embedder = embedder
        self._lexical = lexical
        self._detector = detector
        self._covers = covers

    def language(self, text: str) -> str:
        """ISO 639-1 code of the language that `text` is most likely in."""
        return self._detector.detect(text)

    def question(self, request: Request) -> Question:
        """The request as vectors. Needs no rights: it reads nothing but the question.

        Raises:
            ModelUnavailable: the embedding model does not answer.
        """
        language, dense = self.language(request.text), None
        if request.mode is not Mode.LEXICAL:
            dense = tuple(self._embedder.embed_question(request.text).tolist())
        lexical = None
        if request.mode is not Mode.DENSE:
            lexical = self._lexical.question(request.text, (language,))
        return Question(dense, lexical, language, request.narrow)

    def search(self, caller: Caller, request: Request, purpose: Purpose) -> list[Passage]:
        """The best passages for the request that the caller may read now, best first; none if there are none.

        Raises:
            BadFilter: `narrow` names an unknown field.
            ModelUnavailable, StoreUnavailable: a part that is needed does not answer.
        """
        return self.search_for(caller, self.question(request), request.limit, purpose)

    def search_for(self, caller: Caller, question: Question, limit: int, purpose: Purpose) -> list[Passage]:
        """As `search`, for a question that is encoded already."""
        scope = self._gate.scope_for(caller, purpose)
        return [] if scope is None else self.search_as(scope, question, limit, purpose)

    def search_as(self, scope: AccessScope, question: Question, limit: int, purpose: Purpose) -> list[Passage]:
        """As `search_for`, for a scope that the gate has made already."""
        ranked, stale = self._ranked(scope, question, max(DEPTH, limit))
        return self._gate.release(scope, ranked[:limit], purpose, stale)

    def documents_for(self, caller: Caller, request: Request, purpose: Purpose) -> list[Document]:
        """The documents of the best passages that the caller may read now, in the order of each one's best passage.

        Of all passages that a search looks at, and at most `request.limit` documents. No text leaves.

        Raises:
            ModelUnavailable, StoreUnavailable: a part that is needed does not answer.
        """
        question, scope = self.question(request), self._gate.scope_for(caller, purpose)
        if scope is None:
            return []
        ranked, stale = self._ranked(scope, question, DEPTH)
        return self._gate.ranking(scope, ranked, request.limit, purpose, stale)

    def _ranked(self, scope: AccessScope, question: Question, depth: int) -> tuple[list[str], int]:
        """Ids of chunks, best first, and how many the index proposed in vain."""
        confirmed = self._gate.candidates(scope, question, depth)
        ranked = fuse(confirmed.candidates, question.language, self._covers)
        return [each.chunk_id for each in ranked], confirmed.stale_index
