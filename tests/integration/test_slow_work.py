"""Slow answers, and what goes on beside them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator

import anyio.to_thread
import httpx
import pytest

from api.errors import RETRY_AFTER_S
from api.slow_work import PICTURES_AT_A_TIME, PICTURES_OF_ONE, SlowWork
from rag.access.principals import EVERYONE_IN_TENANT
from rag.errors import ModelUnavailable, Overloaded
from tests.library import Library, Written, open_library, person

REPORT = Written("report.txt", ["The report about lorries."], frozenset({EVERYONE_IN_TENANT}))
ANN = person("ann")
PATIENCE_S = 30


class SlowModel:
    """Writes a piece and waits for `go_on` before the next one."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.writing = threading.Semaphore(0)

    def answer(self, *_: object) -> Iterator[str]:
        self.writing.release()
        assert self.go_on.wait(PATIENCE_S)
        yield "slow [1]"


@pytest.fixture
def library(tmp_path) -> Library:
    return open_library(tmp_path / "home", REPORT)


@pytest.fixture
def model(library) -> Iterator[SlowModel]:
    slow = SlowModel()
    library.answerer.answer = slow.answer  # type: ignore[method-assign]
    yield slow
    slow.go_on.set()


def run(
    library: Library, most: int, scene: Callable[[httpx.AsyncClient], Awaitable[None]], of_one: int | None = None
) -> None:
    """Plays `scene` with a service that writes `most` answers at a time."""

    async def played() -> None:
        app = library.app()
        app.state.answers = SlowWork("answers", most, most, of_one)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=ANN) as client:
            await asyncio.wait_for(scene(client), PATIENCE_S)

    asyncio.run(played())


def ask(client: httpx.AsyncClient, *, stream: bool = False, who: dict[str, str] = ANN) -> asyncio.Task[httpx.Response]:
    body = {"model": "extractive", "stream": stream, "messages": [{"role": "user", "content": "lorries"}]}
    return asyncio.create_task(client.post("/v1/chat/completions", json=body, headers=who))


async def written(model: SlowModel) -> None:
    while not model.writing.acquire(blocking=False):
        await asyncio.sleep(0)


@pytest.mark.parametrize("stream", [True, False])
def test_slow_answers_take_no_thread_from_searches_and_from_readiness(library, model, stream) -> None:
    async def scene(client: httpx.AsyncClient) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 2
        slow = [ask(client, stream=stream) for _ in range(3)]
        for _ in slow:
            await written(model)
        assert (await client.post("/v1/search", json={"query": "lorries"})).json()["passages"]
        assert (await client.get("/readyz")).status_code == 200
        model.go_on.set()
        assert [each.status_code for each in await asyncio.gather(*slow)] == [200, 200, 200]

    run(library, 3, scene)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_too_many_is_refused_at_once_and_one_after_the_others_is_not(library, model, stream) -> None:
    async def scene(client: httpx.AsyncClient) -> None:
        slow = ask(client, stream=stream)
        await written(model)
        refused = await ask(client, stream=stream)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["Retry-After"] == str(RETRY_AFTER_S)
        model.go_on.set()
        assert "slow" in (await slow).text
        assert "slow" in (await ask(client, stream=stream)).text

    run(library, 1, scene)


class SlowPen:
    def __init__(self) -> None:
        self.go_on = threading.Event()

    def png(self, *_: object) -> bytes:
        assert self.go_on.wait(PATIENCE_S)
        return b"a picture"


def test_sa_07_nobodys_slow_answers_shut_out_everybody_else(library, model) -> None:
    """Who reads slowly holds his places for as long as he likes."""

    async def scene(client: httpx.AsyncClient) -> None:
        slow = [ask(client) for _ in range(2)]
        for _ in slow:
            await written(model)
        refused = await ask(client)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        assert refused.headers["Retry-After"] == "2"
        other = ask(client, who=person("bob"))
        await written(model)
        model.go_on.set()
        assert [each.status_code for each in await asyncio.gather(*slow, other)] == [200] * 3
        assert (await ask(client)).status_code == 200

    run(library, 3, scene, of_one=2)


def test_sa_07_nobodys_pictures_shut_out_everybody_else(library) -> None:
    pen = SlowPen()

    async def scene(client: httpx.AsyncClient) -> None:
        client._transport.app.state.pages = pen  # type: ignore[attr-defined]
        document = (await client.get("/v1/documents")).json()["documents"][0]["id"]
        page = f"/v1/documents/{document}/pages/1"
        slow = [asyncio.create_task(client.get(page)) for _ in range(PICTURES_OF_ONE + 1)]
        done, _ = await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        assert [each.result().status_code for each in done] == [429]
        other = asyncio.create_task(client.get(page, headers=person("bob")))
        pen.go_on.set()
        assert (await other).status_code == 200
        assert sorted(each.status_code for each in await asyncio.gather(*slow)) == [*[200] * PICTURES_OF_ONE, 429]

    run(library, 1, scene)


def test_in_13_pages_that_are_slow_to_draw_stop_nothing_else_and_one_too_many_is_refused(library) -> None:
    pen = SlowPen()

    async def scene(client: httpx.AsyncClient) -> None:
        client._transport.app.state.pages = pen  # type: ignore[attr-defined]
        anyio.to_thread.current_default_thread_limiter().total_tokens = 2
        document = (await client.get("/v1/documents")).json()["documents"][0]["id"]
        page = f"/v1/documents/{document}/pages/1"
        people = [person(f"person {each}") for each in range(PICTURES_AT_A_TIME + 1)]
        slow = [asyncio.create_task(client.get(page, headers=each)) for each in people]
        done, _ = await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        assert [each.result().json()["error"]["code"] for each in done] == ["overloaded"]
        assert (await client.post("/v1/search", json={"query": "lorries"})).json()["passages"]
        pen.go_on.set()
        replies = await asyncio.gather(*slow)
        assert sorted(each.status_code for each in replies) == [*[200] * PICTURES_AT_A_TIME, 503]

    run(library, 1, scene)


def test_an_answer_that_fails_makes_room_for_the_next(library) -> None:
    async def scene(client: httpx.AsyncClient) -> None:
        library.answerer.failure = ModelUnavailable("gone")
        assert (await ask(client)).json()["error"]["code"] == "model_unavailable"
        library.answerer.failure = None
        assert (await ask(client)).status_code == 200

    run(library, 1, scene)


def test_an_answer_that_is_left_in_the_middle_makes_room_for_the_next() -> None:
    async def leave() -> None:
        answers = SlowWork("answers", 1, 1)
        first = answers.pieces(iter("ab"), "ann")
        assert await anext(first) == "a"
        with pytest.raises(Overloaded):
            await anext(answers.pieces(iter("c"), "bob"))
        await first.aclose()
        assert [each async for each in answers.pieces(iter("de"), "ann")] == ["d", "e"]

    asyncio.run(leave())
