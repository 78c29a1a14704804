"""How alike two texts are, by rapidfuzz, the only module that knows it."""

from __future__ import annotations

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

ABOUT = 90.0  # per cent of the characters


def similarity(text: str, reference: str) -> float:
    """1 minus the edits (Levenshtein, 1966) from one text to the other over the length of the longer; 1 is equal."""
    return float(Levenshtein.normalized_similarity(text, reference))


def contains_about(text: str, part: str) -> bool:
    """Whether some stretch of the text is the part with at most a tenth of its characters wrong."""
    return about_at(text, part) is not None


def about_at(text: str, part: str) -> int | None:
    """Where in the text the stretch most like the part begins; None where there is none alike enough."""
    found = about_span(text, part)
    return None if found is None else found[1]


def about_span(text: str, part: str, about: float = ABOUT) -> tuple[float, int, int] | None:
    """How like the part, in per cent, the stretch of the text is that is most like it, its start and its end.

    None where there is none alike enough.
    """
    if not part or len(part) > len(text) / (about / 100):
        return None
    found = fuzz.partial_ratio_alignment(part, text, score_cutoff=about)
    return None if found is None else (float(found.score), int(found.dest_start), int(found.dest_end))
