"""Attacks on readiness, which anybody may ask for: it must cost little, and not be made to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, active_count

import anyio
import httpx
import numpy as np
import pytest
from starlette.types import ASGIApp

from api.readiness import KNOWN_S, PATIENCE_S, SharedLook
from api.schemas import Readiness
from rag.errors import Unavailable
from rag.ports import Embedder, Vectors
from tests.fakes import DIMENSION, Clock
from tests.houses import street
from tests.library import open_library, person

READY = Readiness(status="ready", admits=True, reason=None)
OUTSIDERS = 100


@dataclass
class World:
    """What a look finds, and when; `clock` stands still."""

    clock: Clock = field(default_factory=Clock)
    looks: int = 0
    outcome: Callable[[], Readiness] = lambda: READY
    released: Event = field(default_factory=Event)

    def look(self) -> Readiness:
        self.looks += 1
        return self.outcome()

    def hang(self) -> Readiness:
        self.released.wait(30)
        return READY


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.released.set()


def ask(shared: SharedLook, people: int = 1) -> list[Readiness | BaseException]:
    async def all_at_once() -> list[Readiness | BaseException]:
        return await asyncio.gather(*[shared.found() for _ in range(people)], return_exceptions=True)

    return asyncio.run(all_at_once())


def refused(told: list[Readiness | BaseException]) -> bool:
    return all(isinstance(each, Unavailable) for each in told)


def test_sa_07_one_look_is_for_all_who_ask_within_a_second(world: World) -> None:
    shared = SharedLook(world.look, world.clock)
    for looks in (1, 2):
        for _ in range(3):
            assert ask(shared, OUTSIDERS) == [READY] * OUTSIDERS
            assert world.looks == looks
        world.clock.now += KNOWN_S


def test_a_failure_is_noticed_by_the_next_look_and_so_is_its_end(world: World) -> None:
    shared = SharedLook(world.look, world.clock)
    assert ask(shared) == [READY]
    for outcome, ready in ((fail, False), (explode, False), (World.outcome, True)):
        world.outcome = outcome
        world.clock.now += KNOWN_S
        told = ask(shared, 3)
        assert told == [READY] * 3 if ready else refused(told)
        assert "/srv/index" not in str(told)
    assert world.looks == 4


def fail() -> Readiness:
    raise Unavailable("/srv/index is gone")


def explode() -> Readiness:
    raise ZeroDivisionError("/srv/index")


def test_sc_14_a_look_that_hangs_is_a_no_and_no_pile_of_threads(world: World) -> None:
    world.outcome = world.hang
    shared = SharedLook(world.look, world.clock, patience_s=0.01)
    assert refused(ask(shared))
    threads = active_count()
    for _ in range(3):
        world.clock.now += PATIENCE_S
        assert refused(ask(shared, OUTSIDERS))
    assert (world.looks, active_count()) == (1, threads)
    world.outcome = World.outcome
    world.released.set()
    assert next(told for _ in range(10_000) if not refused(told := ask(shared))) == [READY], (
        "and it ends with the hanging"
    )


@dataclass
class Service:
    """What listens, the model that it embeds with, and somebody who may come in."""

    app: ASGIApp
    look: SharedLook
    embedder: Embedder
    ann: dict[str, str]


@pytest.fixture(params=["one tenant", "several"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    if request.param == "one tenant":
        library = open_library(tmp_path)
        app = library.app()
        yield Service(app, app.state.look, library.kustos.embedder, person("ann"))
        library.kustos.close()
    else:
        with street(tmp_path) as found:
            north, _ = found.houses
            ann = {"Authorization": f"Bearer {north.token()}"}
            yield Service(found.front, found.front._look, north.kustos.embedder, ann)


def test_mt_07_sc_14_outsiders_at_readiness_take_no_place_from_a_probe_and_no_thread_from_people(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    embedding, released = Event(), Event()

    def embed(text: str) -> Vectors:
        asked.append(text)
        embedding.set()
        released.wait(30)
        return np.ones(DIMENSION, dtype=np.float32)

    monkeypatch.setattr(service.embedder, "embed_question", embed)
    service.look.patience_s = 60.0  # this machine may be busy, and no look hangs here but by this test

    async def scene() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 2
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            probes = [asyncio.create_task(client.get("/readyz")) for _ in range(OUTSIDERS)]
            while not embedding.is_set():
                await asyncio.sleep(0)
            documents = await client.get("/v1/documents", headers=service.ann)
            released.set()
            assert documents.status_code == 200
            assert [each.status_code for each in await asyncio.gather(*probes)] == [200] * OUTSIDERS

    asyncio.run(asyncio.wait_for(scene(), 60))
    assert asked == ["ready"]
