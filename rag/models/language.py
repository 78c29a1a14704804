"""Which language a text is in: small words first, letter statistics (lingua) where they do not decide.

Share of questions of xquad_de, htwg_de, xquad_en and clapnq_en whose language is found, with German and English
configured: lingua alone .992 .946 .990 1.000, langdetect .982 1.000 .992 .990, this 1.000 four times; paragraphs are
1.000 with all three. Lingua takes `Was sind ECTS?` for English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lingua import IsoCode639_1, Language, LanguageDetectorBuilder

from rag.errors import Misconfigured

MAX_CHARACTERS = 2_000  # more tells nothing new
_SMALL_WORDS = {
    "de": "aber als am an auch auf aus bei bin bis da das dass dem den der des die durch ein eine einem einen einer "
    "eines er es für gibt hat haben ich ihr im in ist kann kein keine man mein meine mit muss nach nicht nur "
    "oder sein sich sie sind so soll über um und uns unser vom von vor wann warum was welche welchem welchen "
    "welcher welches wenn wer werden wie wieviel wird wo wofür wohin woher worden wurde wurden zu zum zur",
    "en": "a about an and are as at be been but by can did do does for from had has have how i if in is it its many "
    "may much must my no not of on or our should that the their there these they this to was we were what "
    "when where which who whom whose why will with would you your",
    "es": "al como con cuál cuándo cuánto de del dónde el en es está la las lo los no para pero por qué quién se su "
    "un una y",
    "fr": "au aux avec ce ces comment dans de des du elle en est et il la le les où par pas pour quand que quel "
    "quelle qui se son sont sur un une",
    "it": "al che chi come con da dei del della di dove e gli ha i il in è la le non per perché quale quando quanto "
    "si sono un una",
    "nl": "aan bij dat de die een en er het hoe in is kan met naar niet of om op te van voor waar waarom wanneer "
    "wat welke wie wordt zijn",
}
_WORD = re.compile(r"[^\W\d_]+")


class LinguaDetector:
    """Detects among the configured languages only."""

    def __init__(self, languages: Sequence[str]) -> None:
        """`languages`: ISO 639-1 codes; the first is the answer where a text does not tell.

        Raises:
            Misconfigured: no language, or a code that the detector does not know.
        """
        if not languages:
            raise Misconfigured("KUSTOS_LANGUAGES is empty; name at least one language, for instance de,en")
        self._default = languages[0]
        # A language without a list would lose to one that shares a word with it, so all have one or none counts.
        listed = all(code in _SMALL_WORDS for code in languages)
        self._small_words = {code: frozenset(_SMALL_WORDS[code].split()) for code in languages} if listed else {}
        self._lingua = LanguageDetectorBuilder.from_iso_codes_639_1(*map(_code, languages)).build()

    def detect(self, text: str) -> str:
        """ISO 639-1 code of the most likely language; the first configured one where the text does not tell."""
        text = text[:MAX_CHARACTERS]
        if language := self._by_small_words(text):
            return language
        found = self._lingua.detect_language_of(text)
        return found.iso_code_639_1.name.lower() if found else self._default

    def _by_small_words(self, text: str) -> str | None:
        """The language with strictly the most small words, each occurrence counted; None if there is no such one."""
        words = [word.lower() for word in _WORD.findall(text)]
        counts = {code: sum(word in known for word in words) for code, known in self._small_words.items()}
        most = max(counts.values(), default=0)
        leaders = [code for code, count in counts.items() if count == most]
        return leaders[0] if len(leaders) == 1 else None


def _code(language: str) -> IsoCode639_1:
    known = {each.iso_code_639_1.name.lower(): each.iso_code_639_1 for each in Language.all()}
    if language not in known:
        raise Misconfigured(f"KUSTOS_LANGUAGES has {language!r}; known are {', '.join(sorted(known))}")
    return known[language]
