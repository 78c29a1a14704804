"""A tenant is removed: nothing of him is left but the audit, and nothing of another is touched (MT-05)."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rag.access.audit import Act
from rag.access.audit_chain import SEALED, Mark, Seal
from rag.bootstrap import WRITING, open_records
from rag.errors import NotAuthenticated, NotFound, StoreUnavailable
from rag.removal import Removed, is_there, remove_tenant
from rag.settings import Settings
from rag.stores.catalog import sqlite_url
from rag.stores.catalog_removal import tenants_in
from tests.fakes import WordEmbedder
from tests.houses import House, house, settings_of, street

Installed = Callable[[Path], dict[str, str]]
CATALOGS: dict[str, Installed] = {
    "each has a catalog": lambda _: {},
    "one catalog": lambda home: {"catalog_url": sqlite_url(home / "shared.db")},
}


@pytest.fixture(params=CATALOGS)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    return CATALOGS[request.param](tmp_path)


def settings(tmp_path: Path, name: str, shared: dict[str, str]) -> Settings:
    return settings_of(name, tmp_path, **shared)


def lived_in(tmp_path: Path, shared: dict[str, str]) -> dict[str, str]:
    """Both have documents, keys and an audit; the keys by name."""
    with street(tmp_path, **shared) as both:
        keys = {each.name: each.key() for each in both.houses}
        for each in both.houses:
            headers = {"Authorization": f"Bearer {each.token()}"}
            assert both.client(each.host, **headers).post("/v1/search", json={"query": "hotel"}).status_code == 200
        return keys


def removed(tmp_path: Path, name: str, shared: dict[str, str]) -> Removed:
    return remove_tenant(settings(tmp_path, name, shared), tmp_path / "installation", by="sys:local-operator")


def titles(each: House) -> list[str]:
    headers = {"Authorization": f"Bearer {each.token()}"}
    listed = TestClient(each.app, base_url=f"https://{each.host}", headers=headers).get("/v1/documents")
    return [about["id"] for about in listed.json()["documents"]]


def test_mt_05_nothing_is_left_and_who_comes_back_under_the_name_sees_nothing(tmp_path, shared) -> None:
    keys = lived_in(tmp_path, shared)
    told = removed(tmp_path, "north", shared)
    assert told.indexes == 1
    assert not (tmp_path / "north").exists()
    if shared:
        assert tenants_in(open_records(settings(tmp_path, "south", shared)).catalog) == {"south"}
    assert not is_there(settings(tmp_path, "north", shared))
    with house(settings(tmp_path, "north", shared), WordEmbedder()) as again:
        assert titles(again) == []
        assert again.kustos.points() == 0
        assert again.kustos.records.trail.verify().intact
        (only,) = again.kustos.records.trail.entries()
        assert (only.number, only.action) == (1, "list")
        with pytest.raises(NotAuthenticated):
            again.app.state.doors.keys.verified(keys["north"])
    with house(settings(tmp_path, "south", shared), WordEmbedder()) as other:
        assert titles(other) == [other.document("plan")]
        assert other.app.state.doors.keys.has(keys["south"].split("_")[1])
        assert other.kustos.records.trail.verify().intact


def test_mt_05_the_audit_is_kept_sealed_and_without_names(tmp_path, shared) -> None:
    lived_in(tmp_path, shared)
    told = removed(tmp_path, "north", shared)
    events = [json.loads(line) for line in (told.kept / "audit.jsonl").read_text().splitlines()]
    assert len(events) == told.records
    assert events[-1]["api"]["operation"] == Act.TENANT_REMOVED
    assert "user:ann" not in (told.kept / "audit.jsonl").read_text()
    seal, mac = Seal((told.kept / "key").read_bytes()), Mark().mac
    for each in events:
        fields = json.loads(each["raw_data"])
        assert len(fields) == len(SEALED)
        mac = seal.mac(mac, fields)
        assert mac == each["unmapped"]["mac"]
    assert (told.kept / "north.head").read_text().strip().endswith(mac)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (told.kept, *told.kept.iterdir())] == [
        0o700,
        0o600,
        0o600,
        0o600,
    ]


def test_mt_05_a_key_of_the_settings_is_kept_with_the_audit(tmp_path) -> None:
    given = {"audit_key": "k" * 40}
    lived_in(tmp_path, given)
    assert (removed(tmp_path, "north", given).kept / "key").read_text() == "k" * 40


def test_mt_05_who_is_served_or_written_is_not_removed(tmp_path, shared) -> None:
    with street(tmp_path, **shared), pytest.raises(StoreUnavailable, match="another Kustos process uses the index"):
        removed(tmp_path, "north", shared)
    records = open_records(settings(tmp_path, "north", shared))
    with records.catalog.lease(WRITING, "north"), pytest.raises(StoreUnavailable, match="another process is writing"):
        removed(tmp_path, "north", shared)
    assert not (tmp_path / "installation").exists()


def test_mt_05_a_removal_that_broke_off_is_done_by_the_next(tmp_path, shared, monkeypatch) -> None:
    lived_in(tmp_path, shared)
    with monkeypatch.context() as broken:
        broken.setattr(
            "rag.removal.remove_rows", lambda *_: (_ for _ in ()).throw(StoreUnavailable("the disk is full"))
        )
        with pytest.raises(StoreUnavailable, match="disk is full"):
            removed(tmp_path, "north", shared)
    assert is_there(settings(tmp_path, "north", shared))
    removed(tmp_path, "north", shared)
    assert not is_there(settings(tmp_path, "north", shared))


def test_mt_05_who_was_never_there_is_not_removed_and_begins_by_no_question(tmp_path, shared) -> None:
    lived_in(tmp_path, shared)
    with pytest.raises(NotFound, match="nothing of a tenant 'east'"):
        removed(tmp_path, "east", shared)
    assert not (tmp_path / "east").exists()
