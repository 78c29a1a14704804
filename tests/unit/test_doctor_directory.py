"""What `kustos doctor` says about the directory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.cli.doctor import Finding, _directory
from rag.access.groups import Group
from rag.bootstrap import Records, open_records
from rag.settings import Settings
from rag.stores.catalog_realm import Followed

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
