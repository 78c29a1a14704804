"""Several tenants behind one address: who answers a request, whatever it says of itself (MT-02)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from api.readiness import KNOWN_S
from api.sign_in.page_guard import SESSION_COOKIE
from api.tenants import Tenants
from rag.access.api_keys import mint
from rag.errors import Misconfigured, StoreUnavailable
from rag.settings import Settings
from rag.stores.catalog import sqlite_url
from tests.fakes import Clock
from tests.houses import House, Street, issuer_of, street
from tests.library import segment

ASK = {"query": "hotel"}
Proof = Callable[[House], dict[str, str]]
PROOFS: dict[str, Proof] = {
    "token": lambda house: {"Authorization": f"Bearer {house.token()}"},
    "key as a bearer": lambda house: {"Authorization": f"Bearer {house.key()}"},
    "key in its own header": lambda house: {"X-API-Key": house.key()},
}
CLAIMS_OF_THE_REQUEST = {
    "X-Tenant": "south",
    "X-Tenant-Id": "south",
    "X-Kustos-Tenant": "south",
    "X-Forwarded-Host": "south.example",
    "X-Host": "south.example",
    "X-Original-Host": "south.example",
    "Forwarded": "host=south.example",
    "X-Forwarded-For": "127.0.0.1",
    "X-Original-URL": "https://south.example/v1/search",
    "Referer": "https://south.example/",
    "Origin": "https://south.example",
    "Cookie": "tenant=south",
}


@pytest.fixture(scope="module", params=["each has a catalog", "one catalog"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    home = tmp_path_factory.mktemp("street")
    shared = {"catalog_url": sqlite_url(home / "shared.db")} if request.param == "one catalog" else {}
    with street(home, base=Settings(failures_per_address=0, public_name="kustos.internal"), **shared) as found:
        yield found


@pytest.fixture
def north(both: Street) -> House:
    return both.houses[0]


@pytest.fixture
def south(both: Street) -> House:
    return both.houses[1]


def found(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [each["text"] for each in reply.json()["passages"]]


def error(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


@pytest.mark.parametrize("proof", PROOFS.values(), ids=PROOFS)
def test_mt_01_and_mt_02_what_a_request_proves_says_whose_documents_it_gets(both, proof) -> None:
    for house in both.houses:
        for host in (house.host, "127.0.0.1:8080", "kustos.internal", f"{house.host.upper()}:443", f"{house.host}."):
            reply = both.client(host).post("/v1/search", json=ASK, headers=proof(house))
            assert found(reply) == [f"The hotel of {house.name} is blue."]


@pytest.mark.parametrize("proof", PROOFS.values(), ids=PROOFS)
def test_mt_02_a_proof_of_one_at_the_host_of_another_is_403(both, north, proof, caplog) -> None:
    for host in ("south.example", "SOUTH.example:443", "south.example."):
        client, headers = both.client(host, **proof(north)), {"Host": host}
        assert error(client.post("/v1/search", json=ASK, headers=headers)) == (403, "not_allowed")
        assert error(client.get(f"/v1/documents/{north.document('plan')}", headers=headers)) == (403, "not_allowed")
    assert "came to another's host" in caplog.text


@pytest.mark.parametrize("name", CLAIMS_OF_THE_REQUEST)
def test_mt_02_nothing_that_a_request_says_of_itself_changes_whose_it_is(both, north, name) -> None:
    headers = PROOFS["token"](north) | {name: CLAIMS_OF_THE_REQUEST[name]}
    address = "/v1/search?tenant=south&tenant_id=south"
    reply = both.client("127.0.0.1").post(address, json=ASK, headers=headers)
    assert found(reply) == ["The hotel of north is blue."]
    assert (
        both.client("127.0.0.1").post("/v1/search", json={**ASK, "tenant": "south"}, headers=headers).status_code == 422
    )


def test_mt_02_a_claim_about_the_tenant_in_the_token_is_worth_nothing(both, north) -> None:
    token = north.token(tenant="south", organization={"south": {}}, groups=["/staff", "/south/staff"])
    reply = both.client("127.0.0.1").post("/v1/search", json=ASK, headers={"Authorization": f"Bearer {token}"})
    assert found(reply) == ["The hotel of north is blue."]


def test_mt_01_an_id_of_the_other_tenant_is_an_id_of_nothing(both, north, south) -> None:
    client = both.client(north.host, **PROOFS["token"](north))
    theirs, nobodys = (client.get(f"/v1/documents/{each}") for each in (south.document("plan"), south.document("none")))
    assert error(theirs) == error(nobodys) == (404, "not_found")
    assert client.get(f"/v1/documents/{north.document('plan')}").status_code == 200
    narrowed = client.post("/v1/search", json={**ASK, "narrow": {"document": [south.document("plan")]}})
    assert found(narrowed) == []


def test_mt_02_a_token_by_one_provider_that_names_the_other_is_believed_by_nobody(both, north, south) -> None:
    forged = north.token(iss=south.issuer)
    for host in (north.host, south.host, "127.0.0.1"):
        reply = both.client(host).post("/v1/search", json=ASK, headers={"Authorization": f"Bearer {forged}"})
        assert error(reply) == (401, "not_authenticated")


def bent(*parts: object) -> dict[str, str]:
    """The header with a token of these parts, and a signature that is none."""
    return {"Authorization": f"Bearer {'.'.join(map(segment, parts))}.eA"}


HEADER = {"alg": "RS256", "kid": "key-1", "typ": "JWT"}
DEEP = b'{"iss":' + b"[" * 6_000
TWICE = f'{{"iss":"{issuer_of("north")}","iss":"{issuer_of("south")}"}}'.encode()
UNKNOWN: dict[str, dict[str, str]] = {
    "nothing": {},
    "no bearer": {"Authorization": "Basic bm9ydGg6eA=="},
    "an empty token": {"Authorization": "Bearer "},
    "not a token": {"Authorization": "Bearer north"},
    "a made-up operator key": {"Authorization": f"Bearer {'o' * 43}"},
    "another issuer": bent(HEADER, {"iss": "https://id.example/realms/west"}),
    "an issuer with a slash": bent(HEADER, {"iss": issuer_of("north") + "/"}),
    "an issuer in capitals": bent(HEADER, {"iss": issuer_of("north").upper()}),
    "an issuer that looks alike": bent(HEADER, {"iss": "https://id.example/realms/nоrth"}),
    "a known issuer, unsigned": bent(HEADER, {"iss": issuer_of("north")}),
    "an issuer that is a list": bent(HEADER, {"iss": [issuer_of("north")]}),
    "an issuer that is an object": bent(HEADER, {"iss": {}}),
    "an issuer that is null": bent(HEADER, {"iss": None}),
    "no issuer": bent(HEADER, {}),
    "two issuers": bent(HEADER, TWICE),
    "an issuer in the header": bent({**HEADER, "iss": issuer_of("north")}, {}),
    "no object": bent(HEADER, ["iss"]),
    "nested deeply": bent(HEADER, DEEP),
    "a huge payload": bent(HEADER, {"iss": issuer_of("north"), "x": "x" * 20_000}),
    "four parts": bent(HEADER, {"iss": issuer_of("north")}, "eA"),
    "a key that nobody made": {"X-API-Key": mint().text},
    "a key with a wrong checksum": {"X-API-Key": mint().text[:-1] + "!"},
    "a token in the key's header": {"X-API-Key": bent(HEADER, {"iss": issuer_of("north")})["Authorization"]},
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_mt_02_what_nobody_knows_is_the_same_401_at_every_host(both, name) -> None:
    replies = [
        both.client(host).post("/v1/search", json=ASK, headers=UNKNOWN[name])
        for host in ("north.example", "south.example", "127.0.0.1")
    ]
    assert {each.status_code for each in replies} == {401}
    assert len({each.text for each in replies}) == 1
    told = [{key: value for key, value in each.headers.items() if key != "x-request-id"} for each in replies]
    assert told[0] == told[1] == told[2]


def test_mt_02_two_proofs_are_one_too_many_wherever_they_come_from(both, north, south) -> None:
    mixed = [
        [("Authorization", f"Bearer {north.token()}"), ("Authorization", f"Bearer {south.token()}")],
        [("Authorization", f"Bearer {north.token()}"), ("X-API-Key", south.key())],
        [("X-API-Key", north.key()), ("X-API-Key", south.key())],
    ]
    for headers in mixed:
        for host in ("north.example", "south.example", "127.0.0.1"):
            reply = both.client(host).request("GET", "/v1/models", headers=headers)
            assert error(reply) == (400, "bad_input")


def test_mt_02_two_hosts_are_one_too_many(both, north) -> None:
    hosts = [("Host", "north.example"), ("Host", "south.example")]
    reply = both.client("north.example").request("GET", "/v1/models", headers=[*hosts, *PROOFS["token"](north).items()])
    assert error(reply) == (400, "bad_input")


def test_mt_02_a_cookie_counts_at_the_host_that_gave_it_alone(both) -> None:
    client = both.client("south.example", Cookie=f"{SESSION_COOKIE}={'n' * 43}", **{"X-Kustos-Page": "1"})
    assert client.post("/v1/search", json=ASK).status_code == 401
    assert client.get("/session").json() == {"sign_in": False, "person": None}


def test_mt_02_the_operator_key_of_one_home_operates_that_home_alone(both, north, south) -> None:
    for house in (north, south):
        headers = {"Authorization": f"Bearer {house.local.key}"}
        status = both.client("127.0.0.1").get("/v1/operator/status", headers=headers)
        assert [each["documents"] for each in status.json()["sources"]] == [1]
        assert both.client("127.0.0.1").post("/v1/search", json=ASK, headers=headers).status_code == 401
    headers = {"Authorization": f"Bearer {north.local.key}"}
    assert error(both.client("south.example").get("/v1/operator/status", headers=headers)) == (403, "not_allowed")


def test_mt_01_keys_are_listed_and_revoked_by_their_own_tenant_alone(both, north, south) -> None:
    key = south.key()
    client = both.client("127.0.0.1", **PROOFS["token"](north))
    identifier = key.split("_")[1]
    assert identifier not in client.get("/v1/keys").text
    assert client.delete(f"/v1/keys/{identifier}").status_code == 404
    assert found(both.client("127.0.0.1", **{"X-API-Key": key}).post("/v1/search", json=ASK))


def test_pages_are_those_of_the_host(both) -> None:
    for house in both.houses:
        assert both.client(house.host).get("/").status_code == 200
        assert both.client(house.host).get("/openapi.json").status_code == 200
    for path in ("/", "/openapi.json", "/session", "/static/app.css"):
        assert error(both.client("127.0.0.1").get(path)) == (421, "wrong_host")


@pytest.mark.parametrize(
    "host", ["evil.example", "", "north.example.evil.example", "north.example@evil.example", "[", "☃"]
)
def test_a_host_that_nobody_has_is_not_answered_on_loopback(both, north, host) -> None:
    headers = {"Host": host.encode(), b"Authorization": f"Bearer {north.token()}".encode()}
    reply = both.client("127.0.0.1").post("/v1/search", json=ASK, headers=headers)
    assert error(reply) == (421, "wrong_host")


def test_one_health_and_one_readiness_for_all_and_who_is_not_ready_is_in_the_log_alone(tmp_path, caplog) -> None:
    clock = Clock()
    with street(tmp_path, clock=clock) as found:
        client = found.client("127.0.0.1")
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").json() == {"status": "ready", "admits": True, "reason": None}
        assert client.post("/readyz").status_code == 405
        index = found.houses[1].kustos.records.indexes
        live = index.live()
        assert live
        index.set_live("another", live[1])
        clock.now += KNOWN_S
        reply = client.get("/readyz")
        assert error(reply) == (503, "unavailable")
        assert "south" not in reply.text
        assert "tenant south" in caplog.text
        assert client.get("/healthz").status_code == 200


def test_mt_07_a_catalog_that_is_down_stops_its_own_tenant_alone(tmp_path, monkeypatch) -> None:
    with street(tmp_path) as found_street:
        north, south = found_street.houses
        keys = {each.name: each.key() for each in (north, south)}

        def down(_: str) -> None:
            raise StoreUnavailable("the catalog does not answer")

        monkeypatch.setattr(north.kustos.records.keys, "find", down)
        client = found_street.client("127.0.0.1")
        reply = client.post("/v1/search", json=ASK, headers={"X-API-Key": keys["south"]})
        assert found(reply) == ["The hotel of south is blue."]
        assert client.post("/v1/search", json=ASK, headers={"X-API-Key": mint().text}).status_code == 503


def test_tenants_that_one_issuer_or_host_would_choose_do_not_begin(both, north) -> None:
    with pytest.raises(Misconfigured, match="both be chosen"):
        Tenants([north.app, north.app], Settings())
