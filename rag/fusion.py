"""One ranking out of the two legs of a hybrid search, that is not worse than either leg alone.

The figures behind every choice here are in docs/decisions/0006-fusion.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import fsum

from rag.documents import Candidate


def fuse(candidates: Sequence[Candidate], language: str, covers: Callable[[str], bool]) -> list[Candidate]:
    """The candidates in order of the mean of their two z-scores, best first.

    Scores of each leg are brought to mean 0 and deviation 1 over all candidates. One that only the lexical leg found
    gets the lowest dense score that was found, as every passage has some similarity; one that only the dense leg found
    gets the lexical score 0, which is what BM25 gives to a text without a word of the question.

    A leg that cannot judge a candidate has no say over it:

    * BM25 compares words, so it cannot judge a text in another language than the question's. What it finds there (a
      name, a number) may lift the text, but what it misses does not count against it.
    * An embedder that does not know the language of question or text cannot judge it at all.

    Args:
        language: ISO 639-1 code of the question.
        covers: whether the embedder knows a language.

    Ties are broken by chunk id, so the order does not depend on how the engine happens to store the points.
    """
    dense = _standardised(_with_lowest([each.dense for each in candidates]))
    lexical = _standardised([each.lexical or 0.0 for each in candidates])
    has_dense = any(each.dense is not None for each in candidates)
    has_lexical = any(each.lexical is not None for each in candidates)

    def total(at: int) -> float:
        text_language = candidates[at].language
        if not has_dense or (has_lexical and not (covers(language) and covers(text_language))):
            return lexical[at]
        if not has_lexical:
            return dense[at]
        mixed = (dense[at] + lexical[at]) / 2
        return mixed if text_language == language else max(mixed, dense[at])

    order = sorted(range(len(candidates)), key=lambda at: (-total(at), candidates[at].chunk_id))
    return [candidates[at] for at in order]


def _with_lowest(scores: Sequence[float | None]) -> list[float]:
    lowest = min((score for score in scores if score is not None), default=0.0)
    return [lowest if score is None else score for score in scores]


def _standardised(scores: Sequence[float]) -> list[float]:
    if not scores:
        return []
    # fsum rounds once, so the result does not depend on the order of the candidates either.
    mean = fsum(scores) / len(scores)
    deviation = (fsum((score - mean) ** 2 for score in scores) / len(scores)) ** 0.5
    return [(score - mean) / deviation if deviation else 0.0 for score in scores]
