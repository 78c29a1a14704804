"""The service over HTTP: replies, limits, headers, errors, and what happens when a client leaves."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from fastapi.testclient import TestClient

from api.errors import RETRY_AFTER_S
from api.middleware import MAX_BODY_BYTES
from api.openai_chat import Head
from api.readiness import KNOWN_S, SharedLook, look
from api.routes import chat as chat_route
from api.slow_work import SlowWork
from rag.access.acl import Acl
from rag.access.principals import EVERYONE_IN_TENANT
from rag.errors import StoreUnavailable
from rag.stores.catalog_realm import Followed
from tests.fakes import Clock, MemoryAudit
from tests.integration.serving import served
from tests.library import OPERATOR, REALM, SALES, Library, Written, open_library, person

REPORT = Written(
    "report.txt",
    [f"Part {number} of the report about lorries." for number in range(1, 8)],
    frozenset({EVERYONE_IN_TENANT}),
    title="Report",
    heading="Fleet",
)
PLAN = Written("plan.txt", ["The plan for lorries."], frozenset({SALES}), title="Plan")
ANN = person("ann")
UUID = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def library(tmp_path) -> Library:
    return open_library(tmp_path / "home", REPORT, PLAN)


@pytest.fixture
def client(library) -> TestClient:
    return TestClient(library.app(), base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_search_gives_ranked_passages_and_no_scores(client) -> None:
    reply = client.post("/v1/search", json={"query": "report about lorries", "limit": 3}, headers=ANN).json()
    assert set(reply) == {"passages", "took_ms"}
    assert [each["rank"] for each in reply["passages"]] == [1, 2, 3]
    first = reply["passages"][0]
    assert set(first) == {
        "document", "source", "title", "page", "heading_path", "passage", "text", "confidence", "rank", "language"
    }  # fmt: skip
    assert (first["source"], first["title"], first["heading_path"]) == (REPORT.uri, "Report", ["Fleet"])


def test_search_can_be_narrowed_and_never_widened(client) -> None:
    def titles(narrow: dict) -> set[str]:
        reply = client.post("/v1/search", json={"query": "lorries", "narrow": narrow}, headers=ANN)
        return {each["title"] for each in reply.json()["passages"]}

    assert titles({"document": [REPORT.id]}) == {"Report"}
    assert titles({"document": [PLAN.id]}) == set()
    assert titles({"source_name": ["elsewhere"]}) == set()
    assert titles({"source_name": ["share"], "language": ["en"]}) == {"Report"}


def test_documents_are_listed_in_pages_of_what_one_may_read(client) -> None:
    headers = person("ann", groups=["/sales"])
    first = client.get("/v1/documents", params={"limit": 1}, headers=headers).json()
    second = client.get("/v1/documents", params={"limit": 1, "after": first["next"]}, headers=headers).json()
    third = client.get("/v1/documents", params={"limit": 1, "after": second["next"]}, headers=headers).json()
    assert [each["title"] for page in (first, second, third) for each in page["documents"]] == ["Plan", "Report"]
    assert third["next"] is None
    assert [each["title"] for each in client.get("/v1/documents", headers=ANN).json()["documents"]] == ["Report"]


def test_a_document_says_what_it_is_and_not_who_may_read_it(client) -> None:
    reply = client.get(f"/v1/documents/{REPORT.id}", headers=ANN).json()
    assert (reply["id"], reply["source"], reply["source_name"], reply["passages"]) == (
        REPORT.id,
        REPORT.uri,
        "share",
        7,
    )
    assert not [name for name in reply if "acl" in name or "allow" in name]


def test_an_id_is_the_same_in_every_spelling(client) -> None:
    for spelling in (REPORT.id.upper(), REPORT.id.replace("-", ""), f"{{{REPORT.id}}}"):
        assert client.get(f"/v1/documents/{spelling}", headers=ANN).json()["id"] == REPORT.id


@pytest.mark.parametrize(
    ("ordinal", "query", "ordinals"),
    [
        ("1", "", [1]),
        ("4", "?before=1&after=2", [3, 4, 5, 6]),
        ("1", "?before=3", [1]),
        ("7", "?after=3&before=1", [6, 7]),
    ],
)
def test_a_passage_comes_with_its_neighbours(client, ordinal, query, ordinals) -> None:
    reply = client.get(f"/v1/documents/{REPORT.id}/passages/{ordinal}{query}", headers=ANN).json()
    assert [each["passage"] for each in reply["passages"]] == ordinals
    assert reply["passage"] == int(ordinal)
    assert reply["document"]["title"] == "Report"


@pytest.mark.parametrize("ordinal", ["0", "8", "-1", "1.5", "x", "", "٣", "9" * 30, "1%00"])
def test_a_passage_that_is_not_there_is_not_found_even_if_its_neighbours_are(client, ordinal) -> None:
    response = client.get(f"/v1/documents/{REPORT.id}/passages/{ordinal}?before=5", headers=ANN)
    assert response.status_code == 404


def test_sc_20_the_audit_knows_of_an_answer_before_its_first_byte(tmp_path) -> None:
    audit = MemoryAudit()
    library = open_library(tmp_path / "home", REPORT, audit=audit)
    app, seen = library.app(), []

    async def send(message) -> None:
        seen.append((message["type"], len(audit.records)))

    body = json.dumps({"model": "extractive", "stream": True, "messages": [{"role": "user", "content": "lorries"}]})
    _call(app, body.encode(), send, headers=ANN)
    assert seen[0] == ("http.response.start", 1)
    assert [count for _, count in seen[:-3]] == [1] * (len(seen) - 3), "the text"
    assert [count for _, count in seen[-3:]] == [2] * 3, "the citations, the mark of the end, the end"


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("And of lorries?", "Is there a report?\nAnd of lorries?"),
        ("What does the report say about lorries, all parts together?",) * 2,
    ],
)
def test_what_is_searched_is_what_is_answered_and_what_the_audit_is_told(tmp_path, question, asked) -> None:
    audit = MemoryAudit()
    library = open_library(tmp_path / "home", REPORT, audit=audit)
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    said = [
        ("system", "Ignored."), ("user", "Long ago."), ("user", "Is there a report?"), ("assistant", "Yes [1]."),
        ("user", question),
    ]  # fmt: skip
    messages = [{"role": role, "content": text} for role, text in said]
    reply = client.post("/v1/chat/completions", json={"model": "extractive", "messages": messages}, headers=ANN)
    assert reply.status_code == 200
    assert library.answerer.asked == [asked]
    expected = client.post("/v1/search", json={"query": asked, "limit": 6}, headers=ANN).json()["passages"]
    answered, _, searched = audit.records
    assert answered.purpose.question == searched.purpose.question == asked
    assert answered.released == searched.released
    assert [each["passage"] for each in expected] == [each.chunk.ordinal for each in library.answerer.seen[0]]


@pytest.mark.parametrize("stream", [True, False])
def test_rc_05_a_passage_revoked_while_the_model_writes_is_not_sent_with_the_citations(library, stream) -> None:
    def answer(question, passages, language):
        yield "first [1] "
        library.regrant(REPORT, Acl.nobody())
        yield "second [2]"

    library.answerer.answer = answer  # type: ignore[method-assign]
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    body = {"model": "extractive", "stream": stream, "messages": [{"role": "user", "content": "lorries"}]}
    text = client.post("/v1/chat/completions", json=body, headers=ANN).text
    assert "[2]" in text
    assert "of the report" not in text
    assert json.dumps({"citations": []}) in text.replace(":[", ": [")


def _call(app, body: bytes, send, *, headers, receive_after=None) -> None:
    """One POST to the chat over bare ASGI; after the body comes what `receive_after` gives, by default never anything."""
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": "/v1/chat/completions", "raw_path": b"/v1/chat/completions", "query_string": b"",
        "root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"),
                    *((name.lower().encode(), value.encode()) for name, value in headers.items())],
    }  # fmt: skip
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if messages:
            return messages.pop(0)
        if receive_after is None:
            await asyncio.Event().wait()
        return await receive_after()

    asyncio.run(app(scope, receive, send))


def test_sa_08_generation_ends_when_the_client_leaves_a_stream(library) -> None:
    gone = threading.Event()

    async def leave():
        while not gone.is_set():
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    sent = []

    async def send(message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            gone.set()
            await asyncio.Event().wait()  # a client that takes nothing more

    body = json.dumps({"model": "extractive", "stream": True, "messages": [{"role": "user", "content": "lorries"}]})
    _call(library.app(), body.encode(), send, headers=ANN, receive_after=leave)
    assert library.answerer.closed
    assert len(sent) == 2, "one start, one piece, then nothing"


def test_sa_08_generation_ends_when_the_client_leaves_before_the_whole_answer(library) -> None:
    async def leave():
        return {"type": "http.disconnect"}

    sent = []

    async def send(message) -> None:
        sent.append(message)

    body = json.dumps({"model": "extractive", "messages": [{"role": "user", "content": "lorries"}]})
    _call(library.app(), body.encode(), send, headers=ANN, receive_after=leave)
    assert library.answerer.closed
    assert sent[0]["status"] == chat_route.CLIENT_CLOSED


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/nothing", {}, 404, "not_found"),
        ("GET", "/v1/search", {}, 405, "method_not_allowed"),
        ("GET", "/v1/documents", {}, 401, "not_authenticated"),
        ("GET", "/v1/documents/x", {"headers": ANN}, 404, "not_found"),
        ("GET", "/v1/documents?limit=0", {"headers": ANN}, 422, "invalid_request"),
        ("GET", "/v1/documents?after=%00", {"headers": ANN}, 422, "invalid_request"),
        ("POST", "/v1/search", {"headers": ANN, "json": {"query": " "}}, 400, "bad_input"),
        ("POST", "/v1/search", {"headers": ANN, "json": {}}, 422, "invalid_request"),
        ("POST", "/v1/search", {"headers": ANN, "json": []}, 422, "invalid_request"),
        ("POST", "/v1/search", {"headers": ANN}, 422, "invalid_request"),
        ("POST", "/v1/search", {"headers": ANN, "content": b"{"}, 422, "invalid_request"),
        ("POST", "/v1/search", {"headers": ANN, "content": b"\xff"}, 400, "bad_request"),
        ("POST", "/v1/search", {"headers": ANN, "content": b"[" * 100_000}, 400, "bad_request"),
        ("POST", "/v1/search", {"headers": ANN, "content": b'{"query": "a", "query": "b"}'}, 400, "bad_request"),
        (
            "POST",
            "/v1/search",
            {"headers": ANN, "content": b'{"query": "a", "narrow": {"document": ["a"], "document": ["b"]}}'},
            400,
            "bad_request",
        ),
        (
            "POST",
            "/v1/search",
            {"headers": {**ANN, "Content-Length": "2", "Transfer-Encoding": "chunked"}},
            400,
            "bad_request",
        ),
        (
            "POST",
            "/v1/search",
            {"headers": ANN, "content": b'{"query": "\\ud800", "\\udfff": 1}'},
            422,
            "invalid_request",
        ),
        ("POST", "/v1/search", {"headers": ANN, "content": b"x" * (MAX_BODY_BYTES + 1)}, 413, "too_large"),
        ("POST", "/v1/search", {"headers": {**ANN, "Content-Length": "-5"}}, 413, "too_large"),
        ("GET", "/healthz", {"headers": {"Host": "evil.example"}}, 421, "wrong_host"),
        ("GET", "/healthz", {"headers": {"Host": ""}}, 421, "wrong_host"),
    ],
)
def test_every_error_has_one_shape_an_id_and_the_headers_of_a_reply(
    client, method, path, options, status, code
) -> None:
    if "content" in options:
        options = {**options, "headers": {**options["headers"], "Content-Type": "application/json"}}
    response = client.request(method, path, **options)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["code"] == code
    assert UUID.fullmatch(response.headers["x-request-id"])
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in response.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "query", "missing"),
        ({"query": "x", "filter": 1}, "filter", "leave it out"),
        ({"query": "x", "limit": 500}, "limit", "must be 100 or less"),
        ({"query": "x", "narrow": {"language": []}}, "narrow.language", "must not be empty"),
        ("text", None, "JSON object"),
    ],
)
def test_a_422_names_the_field_and_what_to_do(client, body, param, words) -> None:
    error = client.post("/v1/search", json=body, headers=ANN).json()["error"]
    assert error["param"] == param
    assert words in error["message"]


def test_sa_08_a_body_without_a_length_is_cut_off_at_the_limit(client) -> None:
    def endless():
        for _ in range(MAX_BODY_BYTES // 10_000 + 2):
            yield b" " * 10_000

    headers = {**ANN, "Content-Type": "application/json"}
    assert client.post("/v1/search", content=endless(), headers=headers).status_code == 413


def test_sc_10_the_request_id_is_ours(client) -> None:
    answers = [client.get("/healthz", headers={"X-Request-Id": "mine"}) for _ in range(2)]
    ids = {each.headers["x-request-id"] for each in answers}
    assert len(ids) == 2
    assert "mine" not in ids


def test_what_nobody_foresaw_is_a_500_without_a_word_about_it(library, caplog) -> None:
    library.index.candidates = _explode  # type: ignore[method-assign]
    client = TestClient(library.app(), base_url="http://127.0.0.1", raise_server_exceptions=False)
    response = client.post("/v1/search", json={"query": "lorries"}, headers=ANN)
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal"
    assert "boom" not in response.text
    assert response.headers["x-request-id"] in caplog.text
    assert "boom" in caplog.text


def _explode(*_):
    raise ZeroDivisionError("boom")


def test_i6_an_index_that_is_down_is_a_503_with_nothing_of_its_inside(library, client) -> None:
    library.index.down = True
    response = client.post("/v1/search", json={"query": "lorries"}, headers=ANN)
    assert response.status_code == 503
    assert response.headers["retry-after"] == str(RETRY_AFTER_S)
    assert "/srv/index" not in response.text


def test_readiness_needs_all_parts_and_says_nothing_of_them(library, client) -> None:
    app, clock = client.app, Clock()
    app.state.look = SharedLook(lambda: look([(library.kustos, app.state.doors)]), clock)
    assert client.get("/readyz").json() == {"status": "ready", "admits": True, "reason": None}
    library.index.down = True
    clock.now += KNOWN_S
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "index" not in response.text
    assert client.get("/healthz").json() == {"status": "alive"}


def test_a_service_whose_index_was_replaced_is_not_ready(library) -> None:
    def replaced() -> None:
        raise StoreUnavailable("the documents were re-indexed")

    app = replace(library, kustos=replace(library.kustos, check_index=replaced)).app()
    service = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    assert service.get("/readyz").status_code == 503


def test_the_operator_sees_counts(client) -> None:
    told = client.get("/v1/operator/status", headers={"Authorization": f"Bearer {OPERATOR.key}"}).json()
    assert (told["passages"], told["index_points"]) == (8, 8)
    assert told["sources"][0]["documents"] == 2


def explained(client, **query: str):
    return client.get("/v1/admin/explain", params=query, headers={"Authorization": f"Bearer {OPERATOR.key}"})


def test_explain_tells_the_rule_the_chain_and_the_entry(client) -> None:
    told = explained(client, document=PLAN.id, **{"as": "ann"}).json()
    assert (told["allowed"], told["rule"], told["chains"]) == (
        True,
        "allow_matches",
        [["kc:acme:user:ann", str(SALES)]],
    )
    assert (told["origin"], told["problem"]) == ("plan.txt", None)
    assert told["rights_since"] <= told["as_of"]
    assert explained(client, document=PLAN.uri, **{"as": "ann"}).json()["document"] == PLAN.id


def test_explain_says_what_the_entry_names_in_vain(tmp_path) -> None:
    library, now = open_library(tmp_path, PLAN, realm=REALM), datetime.now(UTC)
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    asked = {"document": PLAN.id, "as": "ann"}
    assert explained(client, **asked).json()["in_vain"] == {}, "nothing is known of Keycloak's groups"
    library.kustos.records.realm.set_followed(Followed("", 0, now, now))
    assert [*explained(client, **asked).json()["in_vain"]] == [str(SALES)]


def test_explain_knows_no_made_up_person_document_or_time(client) -> None:
    assert explained(client, document=PLAN.id, **{"as": "nobody"}).status_code == 404
    assert explained(client, document="nothing", **{"as": "ann"}).status_code == 404
    assert explained(client, document=PLAN.id, **{"as": "ann", "at": "2999-01-01T00:00:00Z"}).status_code == 400
    assert explained(client, document=PLAN.id, **{"as": "ann", "at": "2026-01-01T00:00:00"}).status_code == 422
    assert explained(client, document=PLAN.id, **{"as": "ann", "at": "2020-01-01T00:00:00Z"}).status_code == 404


def test_ui_10_and_pi_03_the_page_is_served_with_its_strict_policy(client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    )
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_description_has_examples_and_names_no_other_server(client) -> None:
    text = client.get("/openapi.json").text
    assert "Hotelübernachtung" in text
    assert "http://" not in text.replace("http://127.0.0.1", "")


def test_over_a_real_server_no_header_tells_what_it_is(library) -> None:
    with served(library.app()) as url, httpx.Client(base_url=url, trust_env=False) as client:
        response = client.get("/healthz")
        assert "server" not in response.headers
        spoofed = client.get("/demo/accounts", headers={"X-Forwarded-For": "127.0.0.1"})
    assert spoofed.status_code == 404


def test_ft_each_piece_of_a_stream_arrives_when_it_is_made(library) -> None:
    """The second piece is made only after the first was received: a buffered stream would never end here."""
    received = threading.Event()

    def answer(question, passages, language):
        yield "first [1] "
        assert received.wait(30)
        yield "second"

    library.answerer.answer = answer  # type: ignore[method-assign]
    body = {"model": "extractive", "stream": True, "messages": [{"role": "user", "content": "lorries"}]}
    with (
        served(library.app()) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
        client.stream("POST", "/v1/chat/completions", json=body, headers=ANN) as response,
    ):
        lines = (line for line in response.iter_lines() if line)
        assert "first" in next(lines)
        received.set()
        rest = list(lines)
    assert "second" in rest[0]
    assert rest[-1] == "data: [DONE]"


def test_pi_06_a_forged_citation_is_in_no_list(library) -> None:
    library.answerer.answer = lambda *_: iter(["as [1] says, and [9] too"])  # type: ignore[method-assign]
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    body = {"model": "extractive", "messages": [{"role": "user", "content": "lorries"}]}
    message = client.post("/v1/chat/completions", json=body, headers=ANN).json()["choices"][0]["message"]
    assert [each["number"] for each in message["kustos"]["citations"]] == [1]
    assert "[9]" not in message["content"]


def test_the_answer_is_closed_even_if_nobody_reads_the_stream() -> None:
    closed = []

    def answer():
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(True)

    async def read_one() -> None:
        pieces = SlowWork("answers", 32, 32).pieces(answer(), "ann")
        first = await anext(pieces)
        stream = chat_route.events(Head("id", 0, "m"), first, pieces, dict)
        await anext(stream)
        await stream.aclose()

    asyncio.run(read_one())
    assert closed == [True]
