"""How an API key is written: recognised by its form alone, kept as a digest, cut down wherever it is printed."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.access import api_keys
from rag.errors import NotAuthenticated

FORM = re.compile(r"kustos_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")


def test_a_key_has_the_form_that_scanners_look_for_and_its_id_in_it() -> None:
    made = [api_keys.mint() for _ in range(200)]
    assert all(FORM.fullmatch(each.text) for each in made)
    assert [api_keys.id_of(each.text) for each in made] == [each.id for each in made]
    assert len({each.id for each in made}) == len({each.text for each in made}) == 200


def test_the_form_is_fixed() -> None:
    """Keys that were given out keep working, and rules for secret scanners are written down elsewhere."""
    assert api_keys.id_of(f"kustos_{'0' * 12}_{'z' * 43}3Rh6vq") == "0" * 12


@given(st.integers(0, 68), st.sampled_from(string.ascii_letters + string.digits + "_- é"))
def test_one_wrong_character_is_noticed_without_asking_anybody(place, character) -> None:
    key = f"kustos_{'0' * 12}_{'z' * 43}3Rh6vq"
    changed = key[:place] + character + key[place + 1 :]
    if changed != key:
        with pytest.raises(NotAuthenticated) as caught:
            api_keys.id_of(changed)
        assert changed not in str(caught.value)


@pytest.mark.parametrize("text", ["", "kustos_", "kustos__", "eyJ.e30.e30", "kustos_\n", "kustos_" + "a" * 10_000_000])
def test_what_is_no_key_is_refused(text) -> None:
    with pytest.raises(NotAuthenticated):
        api_keys.id_of(text)


def test_the_digest_is_of_the_whole_key_and_of_no_other() -> None:
    key, other = api_keys.mint().text, api_keys.mint().text
    assert api_keys.is_digest_of(api_keys.digest(key), key)
    assert not api_keys.is_digest_of(api_keys.digest(key), other)
    assert not api_keys.is_digest_of(api_keys.NO_DIGEST, key)


def test_sc_15_a_key_is_cut_down_to_its_id_wherever_it_stands() -> None:
    key = api_keys.mint()
    printed = api_keys.redacted(f"GET /v1/documents/{key.text}?key={key.text} {key.text[:-9]}")
    assert printed.count(f"kustos_{key.id}_...") == 3
    assert key.text[21:] not in printed
    assert key.text[20:40] not in printed
