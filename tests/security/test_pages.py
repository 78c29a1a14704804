"""Pictures of pages over HTTP: a real folder, real sandboxed parsers, and people who may and may not look."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from fastapi.testclient import TestClient

from api.tokens.auth import AskedOfKeycloak
from api.tokens.freshness import Freshness
from api.tokens.introspection import Introspection
from ingest.bootstrap import filesystem_source
from tests.fake_keycloak import CLIENT, SECRET, fake_keycloak
from tests.library import REALM, Library, open_library, person

SALES, OTHERS = person("ann", groups=["/sales"]), person("bob", groups=["/hr"])
SOURCE = "share"


@dataclass
class Share:
    """A folder that a service has taken in."""

    folder: Path
    library: Library
    app: Any

    def sync(self) -> None:
        connector = filesystem_source(self.library.kustos.records.settings, SOURCE, self.folder)
        self.app.state.ingesting.sync(connector, root=str(self.folder))

    @property
    def client(self) -> TestClient:
        return TestClient(self.app, base_url="http://127.0.0.1")

    def document(self, name: str) -> str:
        listed = self.client.get("/v1/documents", headers=SALES).json()["documents"]
        return next(each["id"] for each in listed if each["source"].endswith(name))


def pdf(text: str, pages: int = 1) -> bytes:
    document = pymupdf.open()  # type: ignore[no-untyped-call]
    for number in range(pages):
        document.new_page().insert_text((72, 100 + 20 * number), f"{text} on page {number + 1}")  # type: ignore[attr-defined]
    return bytes(document.tobytes())  # type: ignore[no-untyped-call]


def rights(folder: Path, group: str) -> None:
    file = folder / "_access.yaml"
    file.write_text(f"kustos_access: 1\nrealm: {REALM}\nallow:\n  - group: {group}\n", encoding="utf-8")
    file.chmod(0o644)


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Share]:
    folder = tmp_path / "share"
    folder.mkdir()
    rights(folder, "/sales")
    (folder / "plan.pdf").write_bytes(pdf("The sales plan", 2))
    (folder / "note.txt").write_text("A note.", encoding="utf-8")
    library = open_library(tmp_path / "home")
    taken = Share(folder, library, library.app())
    taken.sync()
    yield taken
    taken.app.state.ingesting.close()


def size(picture: bytes) -> tuple[int, int]:
    pixels = pymupdf.Pixmap(io.BytesIO(picture).read())  # type: ignore[no-untyped-call]
    return pixels.width, pixels.height


def test_a_reader_sees_the_page_with_the_passage_marked(share: Share) -> None:
    address = f"/v1/documents/{share.document('plan.pdf')}/pages/1"
    plain = share.client.get(address, params={"width": 500}, headers=SALES)
    assert (plain.status_code, plain.headers["content-type"]) == (200, "image/png")
    assert plain.headers["cache-control"] == "no-store"
    assert size(plain.content)[0] == 600
    marked = share.client.get(address, params={"width": 500, "passage": 1}, headers=SALES)
    assert size(marked.content) == size(plain.content)
    assert marked.content != plain.content
    elsewhere = share.client.get(address, params={"width": 500, "passage": 2}, headers=SALES)
    assert elsewhere.status_code == 404
    assert "passage 2 of document" in elsewhere.json()["error"]["message"]
    assert "is on page 2, so it is not marked on 1" in elsewhere.json()["error"]["message"]


def test_fb_06_who_may_not_read_a_document_sees_no_page_and_not_that_it_is_there(share: Share) -> None:
    identifier = share.document("plan.pdf")
    hidden = share.client.get(f"/v1/documents/{identifier}/pages/1", headers=OTHERS)
    absent = share.client.get(f"/v1/documents/{identifier[:-4]}0000/pages/1", headers=OTHERS)
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert hidden.json()["error"]["message"].replace(identifier, "") == absent.json()["error"]["message"].replace(
        f"{identifier[:-4]}0000", ""
    )
    assert share.client.get(f"/v1/documents/{identifier}/pages/1").status_code == 401


def test_rc_01_a_right_taken_away_takes_the_pictures_too_also_those_that_were_drawn(share: Share) -> None:
    address = f"/v1/documents/{share.document('plan.pdf')}/pages/1"
    assert share.client.get(address, headers=SALES).status_code == 200
    rights(share.folder, "/hr")
    share.sync()
    assert share.client.get(address, headers=SALES).status_code == 404
    assert share.client.get(address, headers=OTHERS).status_code == 200


def test_rc_05_a_right_that_goes_while_a_page_is_drawn_takes_its_picture_with_it(share: Share) -> None:
    address = f"/v1/documents/{share.document('plan.pdf')}/pages/1"
    pen = share.app.state.pages

    class LatePen:
        def png(self, *page: Any) -> bytes:
            picture: bytes = pen.png(*page)
            rights(share.folder, "/hr")
            share.sync()
            return picture

    share.app.state.pages = LatePen()
    reply = share.client.get(address, headers=SALES)
    assert (reply.status_code, reply.headers["content-type"]) == (404, "application/json")


def test_rc_05_who_is_disabled_while_a_page_is_drawn_does_not_get_its_picture(share: Share) -> None:
    address = f"/v1/documents/{share.document('plan.pdf')}/pages/1"
    pen = share.app.state.pages
    with fake_keycloak() as keycloak:
        worth = AskedOfKeycloak(Introspection(keycloak.url, CLIENT, SECRET), Freshness(0.0))
        app = share.library.app(worth=worth)
        client = TestClient(app, base_url="http://127.0.0.1")
        assert client.get(address, headers=SALES).status_code == 200

        class LatePen:
            def png(self, *page: Any) -> bytes:
                picture: bytes = pen.png(*page)
                keycloak.active = False
                return picture

        app.state.pages = LatePen()
        reply = client.get(address, headers=SALES)
        assert (reply.status_code, reply.headers["content-type"]) == (401, "application/json")


def test_rc_13_a_page_that_was_changed_since_is_not_shown_under_the_rights_of_before(share: Share) -> None:
    address = f"/v1/documents/{share.document('plan.pdf')}/pages/2"
    (share.folder / "plan.pdf").write_bytes(pdf("Dismissals", 2))
    rights(share.folder, "/hr")
    reply = share.client.get(address, headers=SALES)
    assert reply.status_code == 404
    assert "another version" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "page", "query", "status"),
    [
        ("plan.pdf", "3", {}, 404),
        ("plan.pdf", "0", {}, 404),
        ("plan.pdf", "1.5", {}, 404),
        ("plan.pdf", "99999999999", {}, 404),
        ("plan.pdf", "1", {"passage": "77"}, 404),
        ("plan.pdf", "1", {"width": 100_000}, 422),
        ("plan.pdf", "1", {"width": -1}, 422),
        ("note.txt", "1", {}, 404),
    ],
)
def test_what_is_not_there_is_not_found_and_what_is_too_much_is_refused(
    share: Share, name: str, page: str, query: dict[str, object], status: int
) -> None:
    reply = share.client.get(f"/v1/documents/{share.document(name)}/pages/{page}", params=query, headers=SALES)  # type: ignore[arg-type]
    assert reply.status_code == status
    assert reply.json()["error"]["message"]
