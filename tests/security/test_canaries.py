"""Oracle O1: every document holds a canary in text, title, heading and uri; no byte that leaves the service holds one
that its receiver may not see. All routes, errors and streams included, and the log, which may hold none at all.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from rag.access.acl import Acl, permits
from rag.access.principals import EVERYONE_IN_TENANT, group, realm_role, user
from rag.errors import ModelUnavailable
from tests.library import OPERATOR, REALM, Library, Written, open_library, person, token

CANARY = re.compile(r"CANARY-[a-z-]+-[0-9a-f]{32}")
ANN, SALES, MANAGERS = user(REALM, "ann"), group(REALM, "/sales"), realm_role(REALM, "managers")

CELLS = {
    "everyone": Acl.of(allow={EVERYONE_IN_TENANT}),
    "nobody": Acl.nobody(),
    "sales": Acl.of(allow={SALES}),
    "sales-not-ann": Acl.of(allow={SALES}, deny={ANN}),
    "managers": Acl.of(allow={MANAGERS}),
    "ann-alone": Acl.of(allow={ANN}),
    "deny-only": Acl.of(deny={ANN}),
}
READERS = {
    "ann": {"subject": "ann", "groups": ["/sales"], "principals": {ANN, SALES, EVERYONE_IN_TENANT}},
    "bob": {"subject": "bob", "groups": ["/sales"], "principals": {user(REALM, "bob"), SALES, EVERYONE_IN_TENANT}},
    "eve": {"subject": "eve", "groups": [], "principals": {user(REALM, "eve"), EVERYONE_IN_TENANT}},
}


def _document(cell: str, acl: Acl) -> Written:
    canary = f"CANARY-{cell}-{uuid.uuid4().hex}"
    return Written(
        name=f"{canary}.txt",
        passages=[f"The rate for hotels, part {part}, {canary}." for part in range(1, 4)],
        allow=acl.allow,
        deny=acl.deny,
        title=f"Hotels {canary}",
        heading=f"Rates {canary}",
    )


DOCUMENTS = {cell: _document(cell, acl) for cell, acl in CELLS.items()}


def canary_of(cell: str) -> str:
    found = CANARY.search(DOCUMENTS[cell].title)
    assert found
    return found[0]


def visible_to(reader: str) -> set[str]:
    return {canary_of(cell) for cell, acl in CELLS.items() if permits(READERS[reader]["principals"], acl).allowed}


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Library:
    return open_library(tmp_path_factory.mktemp("home"), *DOCUMENTS.values())


def calls(headers: dict[str, str]):
    """Every way to ask that there is, right and wrong, about every document, hidden ones by their ids and names too."""
    for limit in (1, 10, 100):
        yield "POST", "/v1/search", {"json": {"query": "rate for hotels", "limit": limit}}
    for document in DOCUMENTS.values():
        name = document.title
        yield "POST", "/v1/search", {"json": {"query": name}}
        yield "POST", "/v1/search", {"json": {"query": "hotels", "narrow": {"document": [document.id]}}}
        yield "GET", f"/v1/documents/{document.id}", {}
        yield "GET", f"/v1/documents/{document.id.upper()}", {}
        yield "GET", f"/v1/documents?after={quote(document.uri)}", {}
        for ordinal in ("0", "1", "2", "4", "-1", "x"):
            yield "GET", f"/v1/documents/{document.id}/passages/{ordinal}?before=10&after=10", {}
        for stream in (False, True):
            yield "POST", "/v1/chat/completions", {"json": chat("rate for hotels", stream=stream)}
            yield "POST", "/v1/chat/completions", {"json": chat("more?", previous=name, stream=stream)}
    for wrong in ({}, {"query": ""}, {"query": "x", "narrow": {"acl": ["x"]}}, {"query": "x" * 9_000}, "text", None):
        yield "POST", "/v1/search", {"json": wrong}
    yield "POST", "/v1/chat/completions", {"json": chat("hotels", model="no-such-model")}
    yield "POST", "/v1/chat/completions", {"content": b"{", "headers": {"Content-Type": "application/json"}}
    for path in ("/", "/static/main.js", "/static/nothing", "/openapi.json", "/healthz", "/readyz", "/v1/models"):
        yield "GET", path, {}
    for path in ("/v1/documents", "/v1/documents?limit=1", "/v1/documents?limit=0", "/v1/documents/no-id", "/nothing"):
        yield "GET", path, {}
    for path in ("/v1/operator/status", "/demo/accounts", "/v1/search"):
        yield "GET", path, {}
    yield "GET", f"/v1/admin/explain?document={DOCUMENTS['nobody'].id}&as=ann", {}


def chat(question: str, *, previous: str | None = None, stream: bool = False, model: str = "text-general"):
    earlier = [{"role": "user", "content": previous}, {"role": "assistant", "content": "yes"}] if previous else []
    return {"model": model, "stream": stream, "messages": [*earlier, {"role": "user", "content": question}]}


def leaks(client: TestClient, headers: dict[str, str], allowed: set[str]) -> tuple[list[str], set[str]]:
    """Calls whose reply holds a canary that is neither allowed nor in the request itself, and all allowed ones seen."""
    found, seen = [], set()
    for method, path, options in calls(headers):
        sent = f"{path} {json.dumps(options.get('json'))}"
        response = client.request(method, path, **{**options, "headers": {**options.get("headers", {}), **headers}})
        everything = response.text + str(response.headers.raw) + str(response.status_code)
        canaries = set(CANARY.findall(everything))
        seen |= canaries & allowed
        if canaries - allowed - set(CANARY.findall(sent)):
            found.append(f"{method} {path}: {sorted(canaries - allowed)}")
    return found, seen


@pytest.mark.parametrize("reader", READERS)
def test_i1_no_byte_of_a_hidden_document_reaches_a_reader(library, reader, caplog) -> None:
    client = TestClient(library.app(), base_url="http://127.0.0.1", raise_server_exceptions=False)
    headers = person(READERS[reader]["subject"], groups=READERS[reader]["groups"])
    with caplog.at_level(logging.DEBUG):
        found, seen = leaks(client, headers, visible_to(reader))
    assert found == []
    assert seen == visible_to(reader), "the scan would be blind if nothing visible came either"
    assert _in_log(caplog) == set(), "SC-15"


def test_i2_without_a_token_nothing_comes_at_all(library, caplog) -> None:
    client = TestClient(library.app(), base_url="http://127.0.0.1", raise_server_exceptions=False)
    with caplog.at_level(logging.DEBUG):
        found, _ = leaks(client, {}, set())
    assert found == []
    assert _in_log(caplog) == set()


def test_rm_15_the_operator_sees_no_text_and_no_title(library) -> None:
    client = TestClient(library.app(), base_url="http://127.0.0.1", raise_server_exceptions=False)
    headers = {"Authorization": f"Bearer {OPERATOR.key}"}
    found, _ = leaks(client, headers, set())
    assert [each for each in found if "/v1/admin/explain" not in each] == [], "that names the address: see below"


def test_explain_names_a_hidden_document_to_the_operator_by_its_address_alone(library) -> None:
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    hidden = DOCUMENTS["sales-not-ann"]
    told = client.get(
        "/v1/admin/explain",
        params={"document": hidden.id, "as": "ann"},
        headers={"Authorization": f"Bearer {OPERATOR.key}"},
    ).json()
    assert (told["allowed"], told["rule"], told["matched"]) == (False, "deny_matches", [ANN])
    assert hidden.title not in json.dumps(told)
    assert hidden.passages[0] not in json.dumps(told)


def test_sc_15_no_token_is_logged(library, caplog) -> None:
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    good = token(groups=["/sales"])
    with caplog.at_level(logging.DEBUG):
        client.get("/v1/documents", params={"token": good}, headers={"Authorization": f"Bearer {good}"})
        client.get("/v1/documents", headers={"Authorization": f"Bearer {good}x"})
        client.get("/v1/documents", headers={"Authorization": f"Bearer {OPERATOR.key}"})
    assert "/v1/documents" in _log(caplog)
    assert good not in _log(caplog)
    assert OPERATOR.key not in _log(caplog)


def test_sc_16_an_error_in_the_middle_of_an_answer_shows_nothing_of_it(library, caplog) -> None:
    library.answerer.failure, library.answerer.fails_after = RuntimeError(canary_of("nobody")), 1
    try:
        client = TestClient(library.app(), base_url="http://127.0.0.1", raise_server_exceptions=False)
        headers = person("ann", groups=["/sales"])
        bodies = [
            client.post("/v1/chat/completions", json=chat("rate for hotels", stream=stream), headers=headers).text
            for stream in (True, False)
        ]
    finally:
        library.answerer.failure = None
    assert all(canary_of("nobody") not in body and "Traceback" not in body for body in bodies)
    assert all('"code": "internal"' in body for body in bodies)


def test_sc_16_what_a_model_says_about_its_failure_stays_inside(library) -> None:
    library.answerer.failure, library.answerer.fails_after = ModelUnavailable("http://10.0.0.5:11434 is down"), 1
    try:
        client = TestClient(library.app(), base_url="http://127.0.0.1", raise_server_exceptions=False)
        headers = person("ann", groups=["/sales"])
        body = client.post("/v1/chat/completions", json=chat("rate for hotels", stream=True), headers=headers).text
    finally:
        library.answerer.failure = None
    assert "10.0.0.5" not in body
    assert '"code": "model_unavailable"' in body


def test_fb_06_hidden_and_absent_documents_have_the_same_answer(library) -> None:
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    headers = person("eve")
    hidden, absent = DOCUMENTS["sales"].id, str(uuid.uuid4())
    for tail in ("", "/passages/1", "/passages/1?before=3&after=3", "/passages/99", "/passages/x"):
        replies = [client.get(f"/v1/documents/{each}{tail}", headers=headers) for each in (hidden, absent, "no-id")]
        shown = [_comparable(reply, each) for reply, each in zip(replies, (hidden, absent, "no-id"), strict=True)]
        assert shown[0] == shown[1]
        assert shown[0][0] == shown[2][0] == 404


def test_sc_01_a_reader_cannot_tell_whether_hidden_documents_exist(tmp_path) -> None:
    """Oracle O3: the same requests with and without documents that Eve may not read have the same answers."""
    few = open_library(tmp_path / "few", DOCUMENTS["everyone"])
    many = open_library(tmp_path / "many", *DOCUMENTS.values())
    headers = person("eve")
    answers = []
    for library in (few, many):
        client = TestClient(library.app(), base_url="http://127.0.0.1")
        answers.append(
            [
                client.get("/v1/documents", headers=headers).json(),
                client.get("/v1/documents?limit=1", headers=headers).json(),
                client.post("/v1/search", json={"query": "rate for hotels"}, headers=headers).json()["passages"],
                client.post("/v1/chat/completions", json=chat("hotels"), headers=headers).json()["choices"],
            ]
        )
    assert answers[0] == answers[1]


def test_rc_a_right_taken_away_in_the_catalog_holds_in_the_next_request(tmp_path) -> None:
    library = open_library(tmp_path, DOCUMENTS["sales"])
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    headers = person("bob", groups=["/sales"])
    ask = {"json": {"query": "hotels"}, "headers": headers}
    assert client.post("/v1/search", **ask).json()["passages"]
    library.regrant(DOCUMENTS["sales"], Acl.of(allow={MANAGERS}))
    assert client.post("/v1/search", **ask).json()["passages"] == []
    assert client.get(f"/v1/documents/{DOCUMENTS['sales'].id}", headers=headers).status_code == 404


def _comparable(response, identifier: str):
    headers = {
        name: value for name, value in response.headers.items() if name not in {"x-request-id", "content-length"}
    }
    return response.status_code, response.text.replace(identifier, "ID"), headers


def _log(caplog) -> str:
    """The log of the service, stack traces included. The test's own client also logs, namely the addresses it calls."""
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    return "\n".join(map(logging.Formatter().format, ours))


def _in_log(caplog) -> set[str]:
    return set(CANARY.findall(_log(caplog)))
