"""A key to push starts the sync of a source that was brought in before, and nothing else: no folder, no option, no name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.admission.key_issue import issue
from rag.access import principals
from rag.access.api_keys import KeyScope, id_of
from rag.access.audit import Act
from tests.library import OPERATOR, REALM, CurrentSubjects, Library, open_library, person

KEY = {"Authorization": f"Bearer {OPERATOR.key}"}
JOB = principals.user(REALM, "job")
OPERATES = principals.client_role(REALM, "kustos", "operator")
EVERYONE = "kustos_access: 1\nrealm: acme\nallow: [everyone]\n"


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    written(folder, "_access.yaml", EVERYONE)
    written(folder, "salaries.txt", "The canteen opens at eleven.")
    return folder


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return open_library(tmp_path / "home")


@pytest.fixture
def subjects() -> CurrentSubjects:
    return CurrentSubjects({JOB: frozenset({JOB, OPERATES})})


@pytest.fixture
def client(library: Library, subjects: CurrentSubjects, share: Path) -> TestClient:
    client = TestClient(library.app(subjects=subjects), base_url="http://127.0.0.1")
    brought_in = client.post("/v1/operator/ingest", json={"source": "share", "path": str(share)}, headers=KEY)
    assert '"done"' in brought_in.text
    return client


def written(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    (folder / name).chmod(0o644)


def key(library: Library, *scopes: KeyScope, of: str = JOB) -> dict[str, str]:
    made, _ = issue(library.kustos.records, of, scopes, name="", days=1, by="op")
    return {"X-API-Key": made.text}


def synced(client: TestClient, headers: dict[str, str], source: str = "share", **more: Any) -> tuple[int, Any, str]:
    """Status, last event, and the whole text."""
    reply = client.post(f"/v1/operator/sources/{source}/sync", headers=headers, **more)
    last = reply.text.strip().rpartition("\n")[2]
    return reply.status_code, json.loads(last), reply.text


def found(client: TestClient, text: str) -> str:
    return client.post("/v1/search", json={"query": text}, headers=person("ann")).text


def test_a_job_brings_a_known_source_up_to_date(client: TestClient, library: Library, share: Path) -> None:
    written(share, "news.txt", "The forklift is new.")
    status, last, _ = synced(client, key(library, KeyScope.PUSH))
    assert (status, last["event"]) == (200, "done")
    assert (last["report"]["listed"], last["report"]["written"]) == (2, 1)
    assert "forklift" in found(client, "forklift")


def test_sa_03_what_a_job_is_told_names_no_file(client: TestClient, library: Library, share: Path) -> None:
    written(share, "closure of Harburg.pdf", "%PDF-1.7\nand nothing else")
    written(share, "board.txt", "The board meets on Monday.")
    _, last, text = synced(client, key(library, KeyScope.PUSH))
    assert last["report"]["refused"] == 1
    assert {type(each) for each in last["report"].values()} <= {int, float}
    assert not [each for each in ("Harburg", "board", "salaries", str(share)) if each in text]
    (share / "_access.yaml").unlink()
    for each in share.iterdir():
        each.unlink()
    share.rmdir()
    _, failed, text = synced(client, key(library, KeyScope.PUSH))
    assert (failed["event"], failed["code"]) == ("failed", "source_unavailable")
    assert str(share) not in text


def test_sa_09_a_key_to_push_names_no_folder_and_confirms_nothing(
    client: TestClient, library: Library, share: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    written(other, "_access.yaml", EVERYONE)
    written(other, "secret.txt", "A secret of another folder.")
    pushing = key(library, KeyScope.PUSH)
    asked = {"source": "share", "path": str(other), "moved": True, "confirm_deletions": True}
    assert synced(client, pushing, json=asked, params=asked)[1]["report"]["listed"] == 1
    assert "another folder" not in found(client, "secret")
    assert client.post("/v1/operator/ingest", json=asked, headers=pushing).status_code == 403
    assert synced(client, pushing, source="other")[0] == 404


def test_rm_15_without_the_role_of_an_operator_a_key_to_push_starts_nothing(
    client: TestClient, library: Library, subjects: CurrentSubjects
) -> None:
    pushing = key(library, KeyScope.PUSH)
    assert synced(client, pushing)[0] == 200
    subjects.held[JOB] = frozenset({JOB})
    assert synced(client, pushing)[0] == 403
    subjects.held[JOB] = frozenset({JOB, OPERATES})
    assert synced(client, key(library, KeyScope.QUERY, KeyScope.EVALUATE))[0] == 403


def test_a_folder_that_has_become_a_link_is_not_followed(
    client: TestClient, library: Library, share: Path, tmp_path: Path
) -> None:
    share.rename(tmp_path / "moved")
    share.symlink_to(tmp_path / "moved")
    assert synced(client, key(library, KeyScope.PUSH))[0] == 403


def test_whoever_starts_a_sync_is_on_record(client: TestClient, library: Library, share: Path) -> None:
    pushing = key(library, KeyScope.PUSH)
    synced(client, pushing)
    *_, last = (each for each in library.kustos.records.trail.entries() if each.action == Act.INGEST)
    assert last.about == "share"
    assert json.loads(last.detail) == {"path": str(share), "client": f"key:{id_of(pushing['X-API-Key'])}"}
    assert library.kustos.records.trail.names()[last.person] == JOB
