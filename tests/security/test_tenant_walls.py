"""Nothing of one tenant comes to another in one process: random queries, every object in memory, a thousand at once."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random, SystemRandom
from types import FunctionType, MethodType, ModuleType

import httpx
import pytest
from fastapi.routing import APIRoute

from api import logs
from api.access_table import TABLE, Duty
from api.tenants import _is_page
from rag.access.scope import AccessScope
from rag.documents import Question
from rag.errors import StoreUnavailable, Unavailable
from rag.stores.catalog import sqlite_url
from tests.effort import times
from tests.fakes import WordEmbedder
from tests.houses import NAMES, STAFF, House, Street, street
from tests.security import tenant_walls
from tests.security.tenant_walls import CrossHit, walked

QUERIES = times(1_000)
SEED = int(os.environ.get("KUSTOS_TEST_SEED") or SystemRandom().randrange(2**32))
ASK = {"query": "hotel"}
REQUESTS = 1_000


@pytest.mark.parametrize("kind", tenant_walls.INDEXES)
def test_mt_01_random_queries_of_two_tenants_who_have_everything_in_common_never_cross(kind, tmp_path) -> None:
    hits = walked(kind, tmp_path, QUERIES, SEED)
    assert hits["search"] > QUERIES
    assert min(hits["list"], hits["read"], hits["read nothing"]) > 0


def test_the_check_above_can_fail_because_it_sees_one_hit_of_the_other(tmp_path) -> None:
    opened = tenant_walls.Street(tmp_path, tenant_walls.INDEXES["edge"](tmp_path), SEED)
    with pytest.raises(CrossHit):
        opened._own("search", "north", "south", says_so=True)
    with pytest.raises(CrossHit):
        opened._own("search", "north", "north", says_so=False)
    opened.close()


def test_mt_06_an_index_takes_no_query_of_another_tenant(tmp_path) -> None:
    with street(tmp_path) as both:
        north, _ = both.houses
        reader = north.kustos.gate._reader
        asked = Question(dense=(0.1,) * WordEmbedder.profile.dimension, lexical=None, language="en", narrow={})
        scope = AccessScope("south", "ann", frozenset({STAFF}))
        with pytest.raises(StoreUnavailable, match="of one tenant to the index of another"):
            reader.candidates(scope, asked, 5)
        assert reader.candidates(AccessScope("north", "ann", frozenset({STAFF})), asked, 5)


# MT-03: what one process remembers

SHARED = {"WordEmbedder", "NoGrants", "Moment"}
"""Of our own, and on purpose: the embedding model, the type of a column, and what stands for no break-glass."""
OURS = ("api.", "rag.", "ingest.", "tests.")


def reachable(begin: object) -> dict[int, object]:
    """Every object of our own classes and every container that `begin` leads to, by id.

    Modules, classes and a function's globals are the program and not what it remembers; they are the same for all.
    """
    found, waiting = dict[int, object](), [begin]
    while waiting:
        each = waiting.pop()
        if id(each) in found or isinstance(each, ModuleType | type | str | bytes | int | float | APIRoute):
            continue
        found[id(each)] = each
        if isinstance(each, FunctionType):
            waiting.extend(cell.cell_contents for cell in each.__closure__ or () if cell != type(cell)())
            waiting.extend(each.__defaults__ or ())
        elif isinstance(each, MethodType):
            waiting.append(each.__self__)
        else:
            waiting.extend(gc.get_referents(each))
    return found


def remembering(each: object) -> bool:
    """Whether an object is one of ours that can change."""
    kind = type(each)
    frozen = getattr(getattr(kind, "__dataclass_params__", None), "frozen", False)
    return kind.__module__.startswith(OURS) and not frozen and not issubclass(kind, str | int)


def test_mt_03_no_object_of_one_tenants_application_can_be_reached_from_the_others(tmp_path) -> None:
    with street(tmp_path) as both:
        north, south = both.houses
        asked(both, north, south)
        ours, theirs = reachable(north.app), reachable(south.app)
        kinds = {type(each).__name__ for each in ours.values() if remembering(each)}
        assert {"Gate", "Directory", "PlacesNow", "CatalogReader", "SlowWork", "Failures", "ApiKeys"} <= kinds, kinds
        assert id(south.app) not in ours
        assert in_common(ours, theirs) <= SHARED
        south.app.state.answers = north.app.state.answers
        assert in_common(ours, reachable(south.app)) == SHARED | {"SlowWork"}, "it sees one object of both"


def in_common(ours: dict[int, object], theirs: dict[int, object]) -> set[str]:
    return {type(ours[each]).__name__ for each in ours.keys() & theirs.keys() if remembering(ours[each])}


def asked(both: Street, *houses: House) -> None:
    for each in houses:
        client = both.client(each.host, Authorization=f"Bearer {each.token()}")
        assert client.post("/v1/search", json=ASK).json()["passages"][0]["text"].endswith("is blue.")
        assert client.get("/v1/documents").status_code == 200


def test_mt_03_a_then_b_then_a_answers_each_with_his_own(tmp_path) -> None:
    with street(tmp_path) as both:
        for _ in range(3):
            for each in both.houses:
                for headers in ({"Authorization": f"Bearer {each.token()}"}, {"X-API-Key": each.key()}):
                    client = both.client("127.0.0.1", **headers)
                    (passage,) = client.post("/v1/search", json=ASK).json()["passages"]
                    assert passage["text"] == f"The hotel of {each.name} is blue."
                    (listed,) = client.get("/v1/documents").json()["documents"]
                    assert listed["id"] == each.document("plan")
                    answer = client.post(
                        "/v1/chat/completions",
                        json={"model": "extractive", "messages": [{"role": "user", "content": "Which hotel is blue?"}]},
                    )
                    assert f"hotel of {each.name}" in answer.text


# MT-04: a thousand at once


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """The service's log as it would stand on stderr."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.WithoutKeys(logs.FORMAT))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.setLevel(before)
    root.removeHandler(handler)


def test_mt_04_a_thousand_requests_at_once_bear_the_right_tenant_everywhere(tmp_path: Path, written) -> None:
    random = Random(SEED)
    names = (*NAMES, "west")
    with street(tmp_path, names) as all_of_them:
        by_name = {each.name: each for each in all_of_them.houses}
        proofs = {
            each.name: ({"Authorization": f"Bearer {each.token()}"}, {"X-API-Key": each.key()})
            for each in by_name.values()
        }
        before = {name: len(list(each.kustos.records.trail.entries())) for name, each in by_name.items()}
        plan = [random.choice(names) for _ in range(REQUESTS)]
        replies = asyncio.run(at_once(all_of_them, [(name, random.choice(proofs[name])) for name in plan]))
        request_ids: dict[str, str] = {}
        answered = Counter[str]()
        for name, reply in zip(plan, replies, strict=True):
            request_ids[reply.headers["X-Request-Id"]] = name
            if reply.status_code != 503:  # a machine that is busy with other things lets some wait for too long
                assert [each["text"] for each in reply.json()["passages"]] == [f"The hotel of {name} is blue."], SEED
                answered[name] += 1
        assert len(request_ids) == REQUESTS
        assert min(answered[name] for name in names) > REQUESTS // 10
        for name, each in by_name.items():
            entries = list(each.kustos.records.trail.entries())[before[name] :]
            searched = [entry for entry in entries if entry.action == "search"]
            assert len(searched) == answered[name]
            assert {entry.tenant for entry in entries} == {name}
            assert {request_ids[entry.request_id] for entry in searched} == {name}
            assert each.kustos.records.trail.verify().intact
    assert lines_by_tenant(written.getvalue(), request_ids) == answered


async def at_once(street_: Street, asked_: list[tuple[str, dict[str, str]]]) -> list[httpx.Response]:
    transport = httpx.ASGITransport(street_.front)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await asyncio.gather(*(client.post("/v1/search", json=ASK, headers=headers) for _, headers in asked_))


def lines_by_tenant(text: str, request_ids: dict[str, str]) -> Counter[str]:
    """How many lines about answered requests bear each tenant's name; whatever line bears one bears the right one."""
    found = Counter[str]()
    for line in text.splitlines():
        if about := re.search(r"^\[(\w+)\] .* POST /v1/search (\d+) \d+ ms ([0-9a-f]{32})$", line):
            assert request_ids[about[3]] == about[1]
            found[about[1]] += about[2] == "200"
    return found


# MT-07: one tenant takes nobody else's place


def test_mt_07_a_limit_that_one_tenant_has_used_up_is_nobody_elses(tmp_path) -> None:
    with street(tmp_path, requests_per_subject=2) as both:
        north, south = both.houses
        replies = [search(both, north).status_code for _ in range(4)]
        assert replies == [200, 200, 429, 429]
        assert search(both, south).status_code == 200


def search(both: Street, each: House) -> httpx.Response:
    return both.client("127.0.0.1", Authorization=f"Bearer {each.token()}").post("/v1/search", json=ASK)


def test_mt_07_failures_at_one_tenant_turn_nobody_elses_401_into_429(tmp_path) -> None:
    with street(tmp_path, failures_per_address=2) as both:
        north, south = both.houses
        wrong = {each.name: {"Authorization": f"Bearer {each.token(aud='another')}"} for each in (north, south)}
        client = both.client("127.0.0.1")
        told = [client.post("/v1/search", json=ASK, headers=wrong["north"]).status_code for _ in range(4)]
        assert told == [401, 401, 429, 429]
        assert client.post("/v1/search", json=ASK, headers=wrong["south"]).status_code == 401


@pytest.mark.parametrize("queue", ["answers", "drawings", "evaluations"])
def test_mt_07_queues_are_each_tenants_own(tmp_path, queue) -> None:
    with street(tmp_path) as both:
        north, south = (getattr(each.app.state, queue) for each in both.houses)
        assert north is not south


def test_mt_07_one_tenant_takes_documents_in_while_another_does(tmp_path) -> None:
    with street(tmp_path, catalog_url=sqlite_url(tmp_path / "shared.db")) as both:
        north, south = both.houses
        with north.ingesting._alone(), south.ingesting._alone():
            with pytest.raises(Unavailable, match="another sync is running"):
                north.ingesting.forget("share")
            assert [search(both, each).status_code for each in (north, south)] == [200, 200]


def test_mt_07_a_tenant_whose_places_are_all_taken_is_refused_alone(tmp_path) -> None:
    with street(tmp_path) as both:
        north, south = both.houses
        north.app.state.doors.proofs._running = 10_000
        assert search(both, north).status_code == 503
        assert search(both, south).status_code == 200


def test_mt_07_threads_that_one_tenant_holds_are_his_own(tmp_path) -> None:
    """Forty requests of one that hang in his catalog leave the other's threads alone."""
    with street(tmp_path) as both:
        north, south = both.houses
        released, hanging = threading.Event(), threading.Semaphore(0)
        models = north.kustos.answerers.names

        def hang() -> list[str]:
            hanging.release()
            released.wait(120)
            return models()

        object.__setattr__(north.kustos.answerers, "names", hang)

        async def flood() -> int:
            transport = httpx.ASGITransport(both.front)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client:
                ours, theirs = ({"Authorization": f"Bearer {each.token()}"} for each in (north, south))
                waiting = [asyncio.create_task(client.get("/v1/models", headers=ours)) for _ in range(60)]
                await asyncio.get_running_loop().run_in_executor(None, lambda: [hanging.acquire() for _ in range(40)])
                try:
                    reply = await asyncio.wait_for(client.post("/v1/search", json=ASK, headers=theirs), 30)
                finally:
                    released.set()
                assert {each.status_code for each in await asyncio.gather(*waiting)} == {200}
                return reply.status_code

        assert asyncio.run(asyncio.wait_for(flood(), 120)) == 200


def test_every_address_of_people_and_operators_is_chosen_by_proof() -> None:
    by_host = {Duty.PUBLIC, Duty.PAGE, Duty.DEMO}
    for row in TABLE:
        assert _is_page(row.path) == (row.duty in by_host), row.path
