"""What every LexicalEncoder must do."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.documents import SparseVector
from rag.errors import Misconfigured
from rag.models.lexical import LANGUAGES, Bm25Encoder
from rag.ports import LexicalEncoder

ENCODER: LexicalEncoder = Bm25Encoder(("de", "en"))


def terms(text: str, *languages: str) -> set[int]:
    return set(ENCODER.question(text, languages or ("de",)).indices)


def assert_well_formed(vector: SparseVector) -> None:
    assert list(vector.indices) == sorted(set(vector.indices))
    assert len(vector.indices) == len(vector.values)
    assert all(0 <= index < 2**32 for index in vector.indices)
    assert all(value > 0 for value in vector.values)


@pytest.mark.parametrize(
    ("one", "other", "language"),
    [
        ("Verträge", "Vertrag", "de"),
        ("Prüfungsordnungen", "Prüfungsordnung", "de"),
        ("Lieferungen", "LIEFERUNG", "de"),
        ("Gebuehren", "Gebühr", "de"),
        ("MUELLER", "Müller", "de"),
        ("Strasse", "Straße", "de"),
        ("invoices", "Invoice", "en"),
        ("shipping", "shipped", "en"),
    ],
)
def test_forms_and_spellings_of_a_word_meet(one: str, other: str, language: str) -> None:
    assert terms(one, language) == terms(other, language) != set()


@pytest.mark.parametrize(
    ("one", "other"), [("Vertrag", "Auftrag"), ("Ware", "war"), ("Quelle", "Qülle"), ("DHL-4711", "DHL-4712")]
)
def test_different_words_stay_different(one: str, other: str) -> None:
    assert terms(one) != terms(other)


def test_a_question_meets_a_passage_in_the_passages_language() -> None:
    passage = ENCODER.document("Die Verträge mit den Spediteuren enden im März.", "de")
    assert terms("Vertrag Spediteur", "de", "en") & set(passage.indices) >= terms("Vertrag Spediteur", "de")


def test_a_question_holds_the_terms_of_all_its_languages_once_each() -> None:
    both = ENCODER.question("Welche Verträge laufen? Which contracts?", ("de", "en"))
    assert set(both.indices) == terms("Welche Verträge laufen? Which contracts?", "de") | terms(
        "Welche Verträge laufen? Which contracts?", "en"
    )
    assert set(both.values) == {1.0}


def test_stop_words_carry_nothing() -> None:
    assert terms("der die das und", "de") == set()
    assert terms("the of and", "en") == set()


def test_a_language_without_stemmer_is_indexed_word_by_word() -> None:
    assert len(terms("the cats and the cat", "ja")) == len({"the", "cats", "and", "cat"})
    assert set(ENCODER.document("umowa umowy", "pl").indices) == terms("umowa umowy", "pl")


def test_a_word_that_is_said_more_often_weighs_more_and_a_longer_passage_makes_it_weigh_less() -> None:
    def weight(text: str) -> float:
        vector = ENCODER.document(text, "de")
        (term,) = terms("Vertrag")
        return dict(zip(vector.indices, vector.values, strict=True))[term]

    assert weight("Vertrag Vertrag Lager") > weight("Vertrag Lager Lager")
    assert weight("Vertrag Lager") > weight("Vertrag " + "Lager Halle Tor " * 50)


@pytest.mark.parametrize("text", ["", "   ", "\n", "!?… — §", "😀"])
def test_a_text_without_letters_or_digits_has_no_terms(text: str) -> None:
    assert ENCODER.document(text, "de") == ENCODER.question(text, ("de", "en")) == SparseVector((), ())


@given(st.text(max_size=300), st.sampled_from(["de", "en", "pl", ""]))
def test_any_text_gives_a_well_formed_vector_and_the_same_one_again(text: str, language: str) -> None:
    document = ENCODER.document(text, language)
    assert_well_formed(document)
    assert_well_formed(ENCODER.question(text, (language, "en")))
    assert document == Bm25Encoder(("de", "en")).document(text, language)


@given(st.text(alphabet=" \t\n!\"#$%&'()*+,-./:;<=>?@[]^{|}~§°€", max_size=80))
def test_signs_alone_make_no_term(text: str) -> None:
    assert not re.search(r"\w", text)
    assert ENCODER.document(text, "de").indices == ()


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_language_that_is_promised_is_known_to_the_engine(language: str) -> None:
    assert Bm25Encoder((language,)).document("1234", language).indices


def test_no_language_at_all_is_refused() -> None:
    with pytest.raises(Misconfigured, match="KUSTOS_LANGUAGES"):
        Bm25Encoder(())
