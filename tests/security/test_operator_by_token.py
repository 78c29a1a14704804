"""The operator's role is not the machine: what it may bring in is what somebody at the machine has brought in before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.library import OPERATOR, Library, open_library, person

KEY = {"Authorization": f"Bearer {OPERATOR.key}"}
OLGA = person("olga", groups=["/interns"], duties=["operator"])
DENIES = "kustos_access: 1\nrealm: acme\nallow: [everyone]\ndeny:\n  - group: /interns\n"
ALLOWS = "kustos_access: 1\nrealm: acme\nallow: [everyone]\n"


@pytest.fixture
def share(tmp_path) -> Path:
    team = tmp_path / "share" / "team"
    team.mkdir(parents=True)
    for path, text in (
        (team.parent / "_access.yaml", DENIES),
        (team / "_access.yaml", ALLOWS),
        (team / "pay.txt", "The pay of the board is a secret."),
    ):
        path.write_text(text)
        path.chmod(0o644)
    return team.parent


@pytest.fixture
def library(tmp_path) -> Library:
    return open_library(tmp_path / "home")


@pytest.fixture
def client(library) -> TestClient:
    return TestClient(library.app(), base_url="http://127.0.0.1")


def brought_in(client: TestClient, headers: dict[str, str], source: str, path: Path, **more: object) -> tuple[int, str]:
    """Status of the answer, and its last event."""
    body = {"source": source, "path": str(path), **more}
    reply = client.post("/v1/operator/ingest", json=body, headers=headers)
    last = reply.text.strip().rpartition("\n")[2]
    return reply.status_code, json.loads(last).get("event", "")


def found(client: TestClient, headers: dict[str, str]) -> str:
    return client.post("/v1/search", json={"query": "pay of the board"}, headers=headers).text


def test_rm_15_an_operator_cannot_take_a_folder_out_from_under_a_denial_above_it(client, share) -> None:
    assert brought_in(client, KEY, "share", share) == (200, "done")
    assert "secret" in found(client, person("ann"))
    assert "secret" not in found(client, OLGA)
    for source, path, more in (
        ("mine", share / "team", {}),
        ("share", share / "team", {"moved": True, "confirm_deletions": True}),
    ):
        assert brought_in(client, OLGA, source, path, **more)[0] == 403
        assert "secret" not in found(client, OLGA)


def test_rm_15_an_operator_cannot_bring_in_what_is_mounted_below_a_source(client, share) -> None:
    brought_in(client, KEY, "share", share)
    assert brought_in(client, OLGA, "share", share, cross_mounts=True)[0] == 403


def test_an_operator_brings_a_known_source_up_to_date_also_by_a_link_to_it(client, share, tmp_path) -> None:
    brought_in(client, KEY, "share", share)
    (tmp_path / "link").symlink_to(share)
    (share / "team" / "pay.txt").write_text("The pay of the board is no longer what it was.")
    assert brought_in(client, OLGA, "share", tmp_path / "link") == (200, "done")
    assert "no longer" in found(client, person("ann"))


def test_a_source_that_was_forgotten_is_a_new_one(client, share) -> None:
    brought_in(client, KEY, "share", share)
    assert client.delete("/v1/operator/sources/share", headers=OLGA).status_code == 200
    assert brought_in(client, OLGA, "share", share)[0] == 403


@pytest.mark.parametrize("path", ["/nul\0", "/loop"])
def test_a_path_that_is_none_is_no_fault_of_the_service(client, path) -> None:
    reply = client.post("/v1/operator/ingest", json={"source": "share", "path": path}, headers=OLGA)
    assert reply.status_code in (403, 422)


def test_the_record_of_a_sync_says_which_folder_and_how(client, share) -> None:
    brought_in(client, KEY, "share", share, moved=True)
    told = client.get("/v1/audit/events", headers=person("aud", duties=["auditor"])).text.splitlines()[0]
    detail = json.loads(told)["unmapped"]["detail"]
    assert (detail["path"], detail["moved"], detail["cross_mounts"]) == (str(share), 1, 0)
