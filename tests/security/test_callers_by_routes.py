"""Every kind of caller at every address gets what `api/access_table.py` says, and nobody a text that is not his (FB-19).

What is expected is made from the table's row and from three facts about the caller, so a route that is added is tested
by its row alone; a new kind of proof is one more line of `CALLERS`. The page's own addresses are in test_page_sessions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from fastapi.testclient import TestClient

from api.access_table import TABLE, Duty, Row
from api.sign_in.oidc import Client, Tokens
from api.sign_in.page_guard import PAGE_HEADER, SESSION_COOKIE
from api.sign_in.sealing import named
from api.sign_in.sessions import Sessions
from api.tokens.auth import Identity
from rag.access import principals
from rag.access.api_keys import ApiKey, KeyScope, digest, mint
from rag.stores.catalog_keys import CatalogKeys
from tests.library import (
    ISSUER,
    OPERATOR,
    REALM,
    SALES,
    TENANT,
    CurrentSubjects,
    Library,
    Written,
    address,
    issuer,
    open_library,
    person,
    token,
)

PLAN = Written("plan.txt", ["The sales plan for hotels.", "Its second part."], allow=frozenset({SALES}))
PAGE = "http://127.0.0.1"
SYNC, BOSS, EVE, OLGA = (principals.user(REALM, each) for each in ("sync", "boss", "eve", "olga"))
DUTIES = frozenset({Duty.OPERATOR, Duty.AUDITOR, Duty.EVALUATOR})
OPEN = {Duty.PUBLIC, Duty.DEMO}
Headers = Sequence[tuple[str, str]]


class OneSignIn:
    """An identity provider's answer to one sign-in at the page, Ann's."""

    name = "web"

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce

    def exchange(self, code: str, verifier: str, redirect: str) -> Tokens:
        identity = token(aud="web", typ="ID", nonce=self._nonce)
        return Tokens(token(groups=["/sales"]), "refresh", identity, int(time.time()) + 3600)


@dataclass
class World:
    """The service under test, with people signed in by every means."""

    library: Library
    client: TestClient
    cookie: str
    keys: dict[object, str] = field(default_factory=dict)

    def key(self, *scopes: KeyScope, of: str = SYNC, tenant: str = TENANT, **changes: object) -> str:
        """A key that is made once, because nobody may have many."""
        kind = (scopes, of, tenant, *changes)
        if kind not in self.keys:
            self.keys[kind] = self._made(*scopes, of=of, tenant=tenant, **changes)
        return self.keys[kind]

    def _made(self, *scopes: KeyScope, of: str, tenant: str, **changes: object) -> str:
        made, now = mint(), datetime.now(UTC)
        ends = now + timedelta(days=1)
        kept = ApiKey(made.id, tenant, of, "", frozenset(scopes), digest(made.text), now, "op", ends)
        CatalogKeys(self.library.kustos.records.catalog, tenant).add(replace(kept, **changes))  # type: ignore[arg-type]
        return made.text


@dataclass(frozen=True)
class Asker:
    """A kind of caller.

    Attributes:
        show: what he sends.
        refused: the status that he gets wherever he gets that far; None if he is known.
        duties: what he is trusted with.
        scopes: what his key is for; None if he has no key.
        reads: whether the rights behind him open the one document.
    """

    show: Callable[[World], Headers]
    refused: int | None = None
    duties: frozenset[Duty] = frozenset()
    scopes: frozenset[KeyScope] | None = None
    reads: bool = False


def bearer(text: str) -> Headers:
    return [("Authorization", f"Bearer {text}")]


def tokened(refused: int | None = None, *, reads: bool = False, **claims: object) -> Asker:
    return Asker(lambda _: bearer(token(**claims)), refused, reads=reads)


def on_duty(duty: Duty) -> Asker:
    return Asker(lambda _: list(person("dora", duties=[duty.value]).items()), duties=frozenset({duty}))


def keyed(*scopes: KeyScope, **more: bool) -> Asker:
    return Asker(lambda world: bearer(world.key(*scopes)), scopes=frozenset(scopes), **more)


def bad_key(make: Callable[[World], str]) -> Asker:
    return Asker(lambda world: bearer(make(world)), 401)


def with_cookie(refused: int | None = None, *, cookie: str = "", reads: bool = False, **headers: str) -> Asker:
    def show(world: World) -> Headers:
        sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return [("Cookie", f"{SESSION_COOKIE}={cookie or world.cookie}"), *sent]

    return Asker(show, refused, reads=reads)


OWN_PAGE = {PAGE_HEADER.replace("-", "_"): "1"}
SALES_CLAIM = {"groups": ["/sales"]}
NOW = int(time.time())
CALLERS: Mapping[str, Asker] = {
    "nobody": Asker(lambda _: [], 401),
    "garbage": Asker(lambda _: bearer("garbage"), 401),
    "another scheme": Asker(lambda _: [("Authorization", f"Basic {token(**SALES_CLAIM)}")], 401),
    "expired token": tokened(401, exp=NOW - 3600, **SALES_CLAIM),
    "token of another realm": tokened(401, iss=ISSUER.replace("acme", "other"), **SALES_CLAIM),
    "token for another audience": tokened(401, aud="account", **SALES_CLAIM),
    "token of another client": tokened(401, azp="unknown", **SALES_CLAIM),
    "refresh token": tokened(401, typ="Refresh", **SALES_CLAIM),
    "token without groups": tokened(401, groups=...),
    "two tokens": Asker(lambda _: [*bearer(token()), *bearer(token())], 400),
    "reader": tokened(reads=True, **SALES_CLAIM),
    "reader without rights": tokened(),
    "duties by realm role": tokened(realm_access={"roles": ["operator", "auditor", "evaluator"]}),
    "duties at another client": tokened(resource_access={"other": {"roles": ["operator", "auditor", "evaluator"]}}),
    "operator by role": on_duty(Duty.OPERATOR),
    "auditor": on_duty(Duty.AUDITOR),
    "evaluator": on_duty(Duty.EVALUATOR),
    "key to query": keyed(KeyScope.QUERY, reads=True),
    "key to push": keyed(KeyScope.PUSH),
    "key to evaluate": keyed(KeyScope.EVALUATE),
    "evaluator's key to evaluate": Asker(
        lambda world: bearer(world.key(KeyScope.EVALUATE, of=EVE)),
        duties=frozenset({Duty.EVALUATOR}),
        scopes=frozenset({KeyScope.EVALUATE}),
    ),
    "evaluator's key to query": Asker(
        lambda world: bearer(world.key(KeyScope.QUERY, of=EVE)),
        duties=frozenset({Duty.EVALUATOR}),
        scopes=frozenset({KeyScope.QUERY}),
    ),
    "operator's key to push": Asker(
        lambda world: bearer(world.key(KeyScope.PUSH, of=OLGA)),
        duties=frozenset({Duty.OPERATOR}),
        scopes=frozenset({KeyScope.PUSH}),
    ),
    "key in its own header": Asker(
        lambda world: [("X-API-Key", world.key(KeyScope.QUERY))], scopes=frozenset({KeyScope.QUERY}), reads=True
    ),
    "key of someone with every duty": Asker(
        lambda world: bearer(world.key(*KeyScope, of=BOSS)), duties=DUTIES, scopes=frozenset(KeyScope)
    ),
    "expired key": bad_key(lambda world: world.key(KeyScope.QUERY, expires_at=datetime.now(UTC))),
    "revoked key": bad_key(lambda world: world.key(KeyScope.QUERY, revoked_at=datetime.now(UTC))),
    "key with another secret": bad_key(lambda world: world.key(KeyScope.QUERY, digest=digest("x"))),
    "key that never was": bad_key(lambda _: mint().text),
    "key with a wrong character": bad_key(lambda world: world.key(KeyScope.QUERY)[:-1] + "-"),
    "key of another tenant": bad_key(lambda world: world.key(KeyScope.QUERY, tenant="other")),
    "key of a disabled account": Asker(
        lambda world: bearer(world.key(KeyScope.QUERY, of=principals.user(REALM, "gone"))),
        401,
        scopes=frozenset({KeyScope.QUERY}),
    ),
    "key and token": Asker(lambda world: [("X-API-Key", world.key(KeyScope.QUERY)), *bearer(token())], 400),
    "token in the key's header": Asker(lambda _: [("X-API-Key", token(**SALES_CLAIM))], 401),
    "the page": with_cookie(reads=True, **OWN_PAGE),
    "cookie without the page's header": with_cookie(403),
    "cookie from another site": with_cookie(403, **OWN_PAGE, Origin="https://evil.example"),
    "cookie sent across sites": with_cookie(403, **OWN_PAGE, Sec_Fetch_Site="cross-site"),
    "cookie and token": with_cookie(400, **OWN_PAGE, Authorization=f"Bearer {token()}"),
    "cookie and key": with_cookie(400, **OWN_PAGE, X_API_Key=mint().text),
    "cookie that never was": with_cookie(401, cookie="x" * 43, **OWN_PAGE),
}
BODIES = {
    "/v1/search": {"query": "hotels"},
    "/v1/chat/completions": {"model": "text-general", "messages": [{"role": "user", "content": "hotels"}]},
    "/v1/keys": {"name": "x"},
    "/v1/evaluations": {"queries": {"q": "hotels"}, "qrels": {"q": {PLAN.id: 1}}},
    "/v1/operator/ingest": {"source": "share", "path": "relative"},  # admitted, then refused: nothing is taken in here
    "/v1/operator/grants": {"person": "p", "principals": [], "minutes": 1, "reason": "r"},
    "/v1/audit/prune": {"before": "2000-01-01T00:00:00Z"},
    "/v1/audit/forget": {"person": "nobody"},
    "/demo/token": {"account": "anna"},
}
PARAMETERS = {
    "/v1/admin/explain": {"document": PLAN.id, "as": "sync"},
    "/v1/audit/who-saw": {"document": PLAN.id},
    "/v1/audit/what-saw": {"person": "ann"},
}
OF_THE_DOCUMENT = {"/v1/documents/{document_id}", "/v1/documents/{document_id}/passages/{ordinal}"}
NOT_THERE = {  # for whoever is admitted: a text has no pages, nobody has that key, break-glass is off, and there is no source 1
    "/v1/documents/{document_id}/pages/{number}": 404,
    "/v1/keys/{key_id}": 404,
    "/v1/operator/ingest": 400,
    **{each.path: 404 for each in TABLE if "/grants" in each.path or "/sources/" in each.path},
}
ROWS = [each for each in TABLE if each.duty is not Duty.PAGE]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    library = open_library(
        tmp_path_factory.mktemp("home"), PLAN, failures_per_address=0, requests_per_subject=0, requests_per_key=0
    )
    roles = {each: principals.client_role(REALM, "kustos", each) for each in DUTIES}
    subjects = CurrentSubjects(
        {
            SYNC: frozenset({SYNC, SALES}),
            BOSS: frozenset({BOSS, *roles.values()}),
            EVE: frozenset({EVE, roles[Duty.EVALUATOR]}),
            OLGA: frozenset({OLGA, roles[Duty.OPERATOR], SALES}),
        }
    )
    secret, identity = "s" * 43, Identity([issuer()])
    client = cast(Client, OneSignIn(named(secret, "nonce")))
    store = library.kustos.records.sessions
    sessions = Sessions(url=PAGE, issuer=ISSUER, client=client, identity=identity, store=store)
    cookie = sessions.complete(secret, {"state": named(secret, "state"), "iss": ISSUER, "code": "c"})
    app = library.app(subjects=subjects, sessions=sessions)
    return World(library, TestClient(app, base_url=PAGE, client=("127.0.0.1", 4242)), cookie)


def expected(row: Row, asker: Asker) -> int:
    """The status that the table gives this caller at this address."""
    if row.duty in OPEN:
        return row.outsider  # this app has no demo
    if asker.scopes is not None and row.scope not in asker.scopes:
        return 403
    if asker.refused is not None:
        return asker.refused
    if row.duty is not Duty.READER and row.duty not in asker.duties:
        return row.reader
    if row.path in OF_THE_DOCUMENT and not asker.reads:
        return 404
    return NOT_THERE.get(row.path, 200)


def asked(world: World, row: Row, headers: Headers):
    path = address(row, PLAN)
    body = BODIES.get(row.path) if row.method == "POST" else None
    return world.client.request(row.method, path, json=body, params=PARAMETERS.get(row.path), headers=list(headers))


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}")
def test_fb_19_each_caller_gets_at_each_address_what_the_table_says(world, row, caller) -> None:
    asker = CALLERS[caller]
    reply = asked(world, row, asker.show(world))
    assert reply.status_code == expected(row, asker)
    assert asker.reads or "sales plan" not in reply.text
    if reply.status_code == 401:
        assert reply.headers["www-authenticate"] == "Bearer"
        assert reply.json() == asked(world, row, []).json(), "every refusal of a proof is the same"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}")
def test_fb_19_the_key_of_this_machine_operates_and_does_nothing_else(world, row) -> None:
    reply = asked(world, row, bearer(OPERATOR.key))
    admitted = NOT_THERE.get(row.path, 200)
    assert reply.status_code == (row.outsider if row.duty in OPEN else admitted if row.duty is Duty.OPERATOR else 401)
    assert "sales plan" not in reply.text


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}")
def test_the_tables_columns_are_what_an_outsider_and_a_reader_see(world, row) -> None:
    assert asked(world, row, []).status_code == row.outsider
    reader = asked(world, row, CALLERS["reader"].show(world)).status_code
    assert reader == (404 if row.path.endswith("/pages/{number}") else row.reader)


def test_what_only_a_reader_sees_is_seen_by_every_reader(world) -> None:
    """The test above could otherwise pass because nobody sees anything."""
    row = next(each for each in ROWS if each.path == "/v1/search")
    readers = [name for name, asker in CALLERS.items() if asker.reads]
    replies = {name: asked(world, row, CALLERS[name].show(world)).text for name in readers}
    assert len(readers) == 4
    assert all("sales plan" in text for text in replies.values()), replies
