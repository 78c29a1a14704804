"""Which language a question or a passage is taken for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import Misconfigured
from rag.models.language import LinguaDetector
from rag.ports import LanguageDetector

GERMAN_ENGLISH: LanguageDetector = LinguaDetector(("de", "en"))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Wie viele Urlaubstage habe ich?", "de"),
        ("Was sind ECTS?", "de"),
        ("Was ist das Assessmentsemester?", "de"),
        ("Wer ist der General Manager der Broncos?", "de"),
        ("Kündigungsfrist", "de"),
        ("Reisekosten Bahnfahrt erstatten", "de"),
        ("How many vacation days do I have?", "en"),
        ("How are Ergänzungsschulen funded?", "en"),
        ("Where is Energiprojekt AB based?", "en"),
        ("travel expense reimbursement", "en"),
        ("WHAT WAS THE NAME OF THE STORM", "en"),
    ],
)
def test_questions_are_recognised_even_with_words_of_the_other_language(text: str, language: str) -> None:
    assert GERMAN_ENGLISH.detect(text) == language


@pytest.mark.parametrize("text", ["", "   ", "4711", "§ 3", "😀", "!?"])
def test_a_text_that_does_not_tell_gets_the_first_configured_language(text: str) -> None:
    assert GERMAN_ENGLISH.detect(text) == "de"
    assert LinguaDetector(("en", "de")).detect(text) == "en"


def test_with_one_language_everything_is_in_it() -> None:
    assert LinguaDetector(("de",)).detect("How many vacation days do I have?") == "de"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Faktura została wysłana do klienta, a to był błąd.", "pl"),
        ("Invoices are sent to the customer by the end of the month.", "en"),
    ],
)
def test_a_language_without_a_list_of_small_words_does_not_lose_to_one_that_has(text: str, language: str) -> None:
    assert LinguaDetector(("en", "pl", "de")).detect(text) == language


@given(st.text(max_size=400))
def test_any_text_is_in_one_of_the_configured_languages_and_always_the_same(text: str) -> None:
    found = GERMAN_ENGLISH.detect(text)
    assert found in {"de", "en"}
    assert GERMAN_ENGLISH.detect(text) == found


@pytest.mark.parametrize("languages", [(), ("xx",), ("de", "german")])
def test_languages_that_cannot_be_are_refused_when_the_service_starts(languages: tuple[str, ...]) -> None:
    with pytest.raises(Misconfigured, match="KUSTOS_LANGUAGES"):
        LinguaDetector(languages)
