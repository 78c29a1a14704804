"""Answers without any language model: the sentences that fit the question best, quoted and cited."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rag.documents import Passage
from rag.models.prompt import without_citations
from rag.ports import Embedder

MODEL = "extractive"
SENTENCES = 4
PASSAGES_READ = 4
SENTENCES_READ = 48
MIN_CHARACTERS = 20
MIN_WORDS = 4
CLOSE_ENOUGH = 0.06  # cosine below the best sentence at which a further one still adds something
INTRODUCTIONS = {
    "de": "Zurzeit antwortet kein Sprachmodell. Diese Sätze, wörtlich aus Ihren Dokumenten zitiert, "
    "passen am besten zu Ihrer Frage:",
    "en": "No language model is answering at the moment. These sentences, quoted from your documents, "
    "fit your question best:",
}
QUOTES = {"de": ("„", "“"), "en": ("“", "”")}

_BOUNDARY = re.compile(r"([.!?…][\"“”»)]*)\s+(?=[\"„“»(]?[A-ZÄÖÜ0-9])")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|Dr|Prof|Hr|Fr|Nr|Abs|Art|Ziff|Anl|bzw|ggf|inkl|zzgl|evtl|vgl|ca|max|min|Tel|Str|St|Mr|Mrs|Ms"
    r"|No|vs|e\.g|i\.e)\.$"
)
_DAY = re.compile(r"(?:^|\s)\d{1,2}\.$")
_MONTH = re.compile(r"Jan|Feb|Mär|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez")


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    number: int  # of the passage, from 1
    same_language: bool


class ExtractiveAnswerer:
    """Quotes instead of writing. Deterministic; says in the question's language that it does."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def model(self) -> str:
        return MODEL

    def answer(self, question: str, passages: Sequence[Passage], language: str) -> Iterator[str]:
        """An introduction, then one quoted sentence with its citation per line. No quotation can hold one (PI-06).

        Raises:
            ModelUnavailable: the embedding model that ranks the sentences does not answer.
        """
        yield INTRODUCTIONS.get(language, INTRODUCTIONS["en"]) + "\n"
        opening, closing = QUOTES.get(language, QUOTES["en"])
        for sentence in self._best(question, passages, language):
            yield f"\n- {opening}{without_citations(sentence.text)}{closing} [{sentence.number}]"

    def _best(self, question: str, passages: Sequence[Passage], language: str) -> list[_Sentence]:
        sentences = [
            _Sentence(text, number, passage.chunk.language == language)
            for number, passage in enumerate(passages[:PASSAGES_READ], start=1)
            for text in split_sentences(passage.chunk.text)
            if _states_something(text)
        ][:SENTENCES_READ] or [_Sentence(passages[0].chunk.text.strip(), 1, True)]
        # In the question's language where the best passages have any: a reader should not have to translate.
        if any(each.same_language for each in sentences):
            sentences = [each for each in sentences if each.same_language]
        vectors = self._embedder.embed_documents([each.text for each in sentences])
        scores = vectors @ self._embedder.embed_question(question)
        order = sorted(range(len(sentences)), key=lambda at: (-float(scores[at]), at))
        floor = float(scores[order[0]]) - CLOSE_ENOUGH
        chosen = {sentences[at].text: sentences[at] for at in order if float(scores[at]) >= floor}
        return list(chosen.values())[:SENTENCES]


def _states_something(sentence: str) -> bool:
    """Whether a sentence can be an answer. A question is closest to the question asked, and says nothing."""
    return len(sentence) >= MIN_CHARACTERS and len(sentence.split()) >= MIN_WORDS and not sentence.endswith("?")


def split_sentences(text: str) -> list[str]:
    """Sentences of `text` in order, without surrounding white space. Line ends separate, abbreviations do not."""
    sentences: list[str] = []
    for line in _BOUNDARY.sub(r"\1\n", text).splitlines():
        piece = line.strip()
        if sentences and piece and _goes_on(sentences[-1], piece):
            sentences[-1] = f"{sentences[-1]} {piece}"
        elif piece:
            sentences.append(piece)
    return sentences


def _goes_on(sentence: str, following: str) -> bool:
    """Whether the full stop at the end of `sentence` belongs to an abbreviation or to the day of a date."""
    return bool(_ABBREVIATION.search(sentence) or (_DAY.search(sentence) and _MONTH.match(following)))
