"""A right that was taken away is gone with the next request, on every way in, before the index has been touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ingest.pipeline import Ingestion
from ingest.reading import DocumentReader
from rag.access.acl import Acl
from rag.access.principals import EVERYONE_IN_TENANT, Principal, group, user
from rag.documents import IndexPoint, acl_id
from tests.fakes import GermanOrEnglish, MemoryIndex, WordEmbedder, WordEncoder
from tests.library import OPERATOR, REALM, SALES, SOURCE, TENANT, Library, Written, open_library, person
from tests.memory_source import MemorySource, chunker_by_line, parse_lines

SECRET = "moonshot"
ANN, BOB = user(REALM, "ann"), user(REALM, "bob")
PARTNERS = group(REALM, "/partners")
PLAN = Written("plan.txt", [f"The {SECRET} plan, part {part}." for part in (1, 2, 3)], frozenset({SALES, PARTNERS}))
MENU = Written("menu.txt", ["The menu of the canteen."], frozenset({EVERYONE_IN_TENANT}))


@dataclass(frozen=True)
class Reply:
    status: int
    text: str
    request_id: str


@dataclass
class World:
    """The open service, and Ann, who is in /sales by her token."""

    library: Library
    client: TestClient

    def ask(self, method: str, path: str, body: object = None, groups: tuple[str, ...] = ("/sales",)) -> Reply:
        reply = self.client.request(method, path, json=body, headers=person("ann", groups=groups))
        return Reply(reply.status_code, reply.text, reply.headers["x-request-id"])

    def index(self) -> MemoryIndex:
        return self.library.index

    def belong(self, *edges: tuple[Principal, Principal]) -> None:
        self.library.kustos.records.directory.replace(TENANT, "realm", edges)

    def everything_indexed(self) -> dict[str, IndexPoint]:
        return dict(self.library.index.stored)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    library = open_library(tmp_path / "home", PLAN, MENU)
    yield World(library, TestClient(library.app(), base_url="http://127.0.0.1"))
    library.kustos.records.catalog.close()


Look = Callable[[World], Reply]


def chat(*, stream: bool = False, earlier: bool = False) -> Look:
    before = [{"role": "user", "content": f"{SECRET}?"}, {"role": "assistant", "content": f"The {SECRET} plan [1]"}]
    question = {"role": "user", "content": "what is in the plan?"}
    body = {"model": "extractive", "stream": stream, "messages": [*(before if earlier else []), question]}
    return lambda world: world.ask("POST", "/v1/chat/completions", body)


WAYS_IN: Mapping[str, Look] = {
    "search": lambda world: world.ask("POST", "/v1/search", {"query": "plan"}),
    "narrowed search": lambda world: world.ask(
        "POST", "/v1/search", {"query": "plan", "narrow": {"document": [PLAN.id]}}
    ),
    "answer": chat(),
    "streamed answer": chat(stream=True),
    "follow-up question": chat(earlier=True),
    "list": lambda world: world.ask("GET", "/v1/documents"),
    "document": lambda world: world.ask("GET", f"/v1/documents/{PLAN.id}"),
    "cited passage": lambda world: world.ask("GET", f"/v1/documents/{PLAN.id}/passages/2"),
    "its neighbours": lambda world: world.ask("GET", f"/v1/documents/{PLAN.id}/passages/2?before=5&after=5"),
}
WAYS_OUT: Mapping[str, Acl] = {
    "taken from those who are allowed": Acl.of({BOB}),
    "denied in person": Acl.of({SALES}, {ANN}),
    "denied through a group": Acl.of({EVERYONE_IN_TENANT}, {SALES}),
    "nobody any more": Acl.nobody(),
}


def shows(reply: Reply) -> bool:
    """Whether there is anything of the plan in it. An error names the id that was asked for, and nothing else."""
    return SECRET in reply.text or PLAN.name in reply.text or (reply.status == 200 and PLAN.id in reply.text)


@pytest.mark.parametrize("out", WAYS_OUT)
@pytest.mark.parametrize("way", WAYS_IN)
def test_rc_09_and_fb_14_a_right_taken_away_is_gone_with_the_next_request(world: World, way: str, out: str) -> None:
    indexed = world.everything_indexed()
    assert shows(WAYS_IN[way](world))
    world.library.regrant(PLAN, WAYS_OUT[out])
    assert not shows(WAYS_IN[way](world))
    assert world.everything_indexed() == indexed, "the index must not have helped"


@pytest.mark.parametrize("way", WAYS_IN)
def test_rc_06_a_membership_that_ended_is_gone_with_the_next_request(world: World, way: str) -> None:
    world.library.regrant(PLAN, Acl.of({PARTNERS}))
    world.belong((ANN, group(REALM, "/office")), (group(REALM, "/office"), PARTNERS))
    assert shows(WAYS_IN[way](world))
    world.belong((ANN, group(REALM, "/office")))
    assert not shows(WAYS_IN[way](world))


def test_rc_01_a_group_that_the_token_no_longer_carries_does_not_count(world: World) -> None:
    body = {"query": "plan"}
    assert shows(world.ask("POST", "/v1/search", body, groups=("/sales",)))
    assert not shows(world.ask("POST", "/v1/search", body, groups=()))


def test_rc_14_and_sc_03_reading_a_revoked_document_by_id_is_like_reading_one_that_never_was(world: World) -> None:
    world.library.regrant(PLAN, Acl.nobody())
    never = "00000000-0000-4000-8000-000000000000"
    for path in ("/v1/documents/{}", "/v1/documents/{}/passages/2", "/v1/documents/{}/passages/2?before=1"):
        revoked, absent = (world.ask("GET", path.format(each)) for each in (PLAN.id, never))
        assert revoked.status == absent.status == 404
        told = [each.text.replace(each.request_id, "REQUEST") for each in (revoked, absent)]
        assert told[0].replace(PLAN.id, "ID") == told[1].replace(never, "ID")


def test_rc_09_every_query_in_a_row_of_grants_and_revocations_obeys_the_last_one(world: World) -> None:
    for _ in range(20):
        world.library.regrant(PLAN, Acl.nobody())
        assert not shows(WAYS_IN["search"](world))
        world.library.regrant(PLAN, Acl.of({SALES}))
        assert shows(WAYS_IN["search"](world))


def test_a_revocation_takes_nothing_else_away(world: World) -> None:
    world.library.regrant(PLAN, Acl.nobody())
    assert MENU.id in world.ask("POST", "/v1/search", {"query": "plan menu canteen"}).text
    assert world.ask("GET", f"/v1/documents/{MENU.id}").status == 200


# New enemies: rights and content that change one after the other, while the index hears of it late or in another order


def test_rc_07_what_comes_into_a_folder_after_the_revocation_is_hidden_though_the_index_has_the_rights_of_before(
    world: World,
) -> None:
    """Bob loses the folder, then a document is put into it; its points arrive with the folder's rights of before."""
    world.library.regrant(PLAN, Acl.of({BOB}))
    late = replace(PLAN, passages=[f"The {SECRET} plan, with figures."])
    world.library.add(replace(late, allow=frozenset({BOB})))
    stale = {
        identifier: replace(point, allow=(SALES,))
        for identifier, point in world.index().stored.items()
        if point.document_id == PLAN.id
    }
    world.index().upsert(list(stale.values()))
    for way, look in WAYS_IN.items():
        assert not shows(look(world)), way


def test_rc_08_new_content_is_hidden_where_only_its_points_were_written_before_the_crash(world: World) -> None:
    """Points of a version that never became current: nobody is given them, not even those who may read the document."""
    (old, *_) = [point for point in world.index().stored.values() if point.document_id == PLAN.id]
    never_committed = "11111111-1111-4111-8111-111111111111"
    world.index().upsert([replace(old, chunk_id=never_committed)])
    assert never_committed not in WAYS_IN["search"](world).text
    assert '"passages":3' in world.ask("GET", f"/v1/documents/{PLAN.id}").text


def test_rc_09_points_that_were_moved_in_the_catalog_alone_obey_the_new_place(world: World) -> None:
    writer = world.library.kustos.records.writer
    closed = Written("closed", [], frozenset())
    world.library.regrant(closed, Acl.nobody())
    writer.regovern({PLAN.id: acl_id(TENANT, SOURCE, closed.name)})
    for way, look in WAYS_IN.items():
        assert not shows(look(world)), way
    assert MENU.id in world.ask("POST", "/v1/search", {"query": "plan menu canteen"}).text


def test_rc_13_a_file_created_anew_at_the_same_path_inherits_nothing_from_the_one_before(world: World) -> None:
    """Same path, same content, so the same chunk ids; other rights; and the index never hears of the deletion."""
    source = MemorySource(source="folder")
    ingestion = _ingestion(world)
    source.write("x.txt", f"The {SECRET} plan.", "open folder")
    source.rights["open folder"] = Acl.of({SALES})
    ingestion.sync(source)
    search = {"query": "plan", "narrow": {"source_name": ["folder"]}}
    assert shows(world.ask("POST", "/v1/search", search))
    stale = dict(world.index().stored)
    source.delete("x.txt")
    ingestion.sync(source)
    source.write("x.txt", f"The {SECRET} plan.", "closed folder")
    source.rights["closed folder"] = Acl.of({BOB})
    ingestion.sync(source)
    world.index().stored.update(stale)
    assert not shows(world.ask("POST", "/v1/search", search))
    assert "folder" not in world.ask("GET", "/v1/documents").text


def test_loosening_may_lag_in_search_but_not_for_long_and_is_there_at_once_by_id(world: World) -> None:
    world.library.regrant(PLAN, Acl.nobody())
    _ingestion(world).follow()
    world.library.regrant(PLAN, Acl.of({SALES}))
    assert world.ask("GET", f"/v1/documents/{PLAN.id}").status == 200
    assert not shows(WAYS_IN["search"](world))
    _ingestion(world).follow()
    assert shows(WAYS_IN["search"](world))


def _ingestion(world: World) -> Ingestion:
    return Ingestion(
        TENANT,
        world.library.kustos.records.writer,
        world.index(),
        embedder=WordEmbedder(),
        lexical=WordEncoder(),
        reader=DocumentReader(TENANT, parse_lines, chunker_by_line(), GermanOrEnglish()),
    )


def test_rc_12_a_source_that_an_operator_forgets_is_gone_for_everybody(world: World) -> None:
    operator = {"Authorization": f"Bearer {OPERATOR.key}"}
    address = f"/v1/operator/sources/{SOURCE}"
    assert SECRET in world.ask("POST", "/v1/search", {"query": SECRET}).text
    assert world.ask("DELETE", address).status == 403
    assert world.client.delete(address, headers=operator).json() == {"source": SOURCE, "items": 2}
    assert '"passages":[]' in world.ask("POST", "/v1/search", {"query": SECRET}).text
    assert world.index().stored == {}
    assert world.client.delete(address, headers=operator).status_code == 404
