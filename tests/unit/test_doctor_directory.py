"""What `kustos doctor` says about the directory."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.cli.doctor import Finding, _directory
from rag.access.groups import Group
from rag.access.principals import EVERYONE_IN_TENANT, group, realm_role, user
from rag.bootstrap import Records, open_records
from rag.settings import Settings
from rag.stores.catalog_realm import Followed
from tests.library import Written, open_library

SETTINGS = Settings(
    issuer="https://id.example/realms/acme",
    jwks_url="https://id.example/realms/acme/protocol/openid-connect/certs",
    realm="acme",
    service_secret="s",
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    given = {name: getattr(SETTINGS, name) for name in SETTINGS.__slots__}
    return Settings(**{**given, "home": tmp_path})


def told(settings: Settings) -> list[tuple[str, str]]:
    findings: list[Finding] = list(_directory(settings))
    return [(each.state, each.detail) for each in findings]


def follow(records: Records, at: datetime) -> None:
    records.realm.set_followed(Followed("", 0, at, at))


def test_a_directory_that_was_never_read_or_lags_is_named(settings: Settings) -> None:
    records = open_records(settings)
    assert told(Settings(home=settings.home)) == []
    assert [state for state, _ in told(settings)] == ["note"]
    follow(records, datetime.now(UTC) - timedelta(hours=2))
    assert [state for state, _ in told(settings)] == ["note"]
    follow(records, datetime.now(UTC))
    assert [state for state, _ in told(settings)] == ["good"]


def test_rm_05_a_path_whose_group_was_made_anew_is_named_with_the_command_that_binds_it(settings: Settings) -> None:
    records = open_records(settings)
    follow(records, datetime.now(UTC))
    records.realm.set_groups([Group("1", "sales", "/sales", None)], whole=True)
    records.realm.set_groups([Group("2", "sales", "/sales", None)], whole=True)
    assert "kustos directory rebind /sales" in told(settings)[0][1]


def test_a_command_that_is_named_holds_a_path_of_several_words_as_one(settings: Settings) -> None:
    records = open_records(settings)
    follow(records, datetime.now(UTC))
    for number in ("1", "2"):
        above, below = Group(number, "Außendienst", "/Außendienst", None), "/Außendienst/Süd & Übersee"
        records.realm.set_groups([above, Group(f"{number}1", "Süd & Übersee", below, number)], whole=True)
    commands = [shlex.split(detail.split(": ")[-1]) for _, detail in told(settings) if "rebind" in detail]
    assert commands == [["kustos", "directory", "rebind", path] for path in ("/Außendienst", below)]


def test_rights_for_groups_that_keycloak_does_not_have_are_named(settings: Settings) -> None:
    sales, capital, typo = (group(*each) for each in (("acme", "/sales"), ("acme", "/Sales"), ("acne", "/sales")))
    open_library(
        settings.home,
        Written("a.txt", ["Hotels."], allow=frozenset({sales, EVERYONE_IN_TENANT})),
        Written("b.txt", ["Hotels."], allow=frozenset({capital, user("acme", "ann"), realm_role("acme", "chief")})),
        Written("c.txt", ["Hotels."], allow=frozenset({sales}), deny=frozenset({capital, typo})),
    )
    records = open_records(settings)
    records.realm.set_groups([Group("1", "sales", "/sales", None)], whole=True)
    assert not [detail for _, detail in told(settings) if "documents with rights" in detail], (
        "the groups are not read yet"
    )
    follow(records, datetime.now(UTC))
    named = [detail for state, detail in told(settings) if state == "note"]
    assert [each.split(", ")[0] for each in named] == [
        f"2 documents with rights for {capital}",
        f"1 document with rights for {typo}",
    ]
    assert ("capitals" in named[0], "KUSTOS_REALM" in named[1]) == (True, True)
