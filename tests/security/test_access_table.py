"""The access table is complete, and no odd path, method or header leads past it (FB-16, TV-21, TV-22)."""

from __future__ import annotations

import logging

import pytest
from fastapi.testclient import TestClient
from starlette.routing import Route

from api.access_table import TABLE, Duty
from api.admission.doors import GuardedRoute
from api.app import OPENAPI
from api.tokens.demo_issuer import DemoIssuer
from tests.library import SALES, Written, address, open_library, person, token

PLAN = Written("plan.txt", ["The sales plan for hotels.", "Its second part."], allow=frozenset({SALES}))


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return open_library(tmp_path_factory.mktemp("home"), PLAN, failures_per_address=0, requests_per_subject=0).app()


@pytest.fixture(scope="module")
def client(app) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 4242))


PAGES = [each for each in TABLE if each.duty is Duty.PAGE]
SHOWN = {
    "nothing": {},
    "a reader's token": person("ann", groups=["/sales"]),
    "a cookie": {"Cookie": "__Host-kustos-session=x"},
}


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("row", PAGES, ids=lambda row: f"{row.method} {row.path}")
def test_fb_19_where_nobody_signs_in_at_the_page_its_addresses_are_closed_to_all(client, row, shown) -> None:
    assert client.request(row.method, row.path, headers=SHOWN[shown]).status_code == row.outsider


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "QUERY"])
def test_fb_16_another_method_is_no_way_round(client, row, method) -> None:
    if (method, row.path) in {(each.method, each.path) for each in TABLE} or (row.path, method) == (OPENAPI, "HEAD"):
        return  # the address takes this method too, by a row of its own
    response = client.request(
        method,
        address(row, PLAN),
        headers={"X-HTTP-Method-Override": row.method},
    )
    assert response.status_code == 405
    assert "sales plan" not in response.text


def test_every_route_of_the_app_has_a_row_and_every_row_a_route(app) -> None:
    routes = {(method, route.path) for route in app.routes for method in route.methods - {"HEAD"}}
    assert routes == {(row.method, row.path) for row in TABLE}


def test_every_route_checks_its_duty_but_the_public_description(app) -> None:
    plain = {route.path for route in app.routes if not isinstance(route, GuardedRoute)}
    assert plain == {"/openapi.json"}
    assert all(isinstance(route, Route) for route in app.routes), "a mounted app would have addresses of its own"


def test_the_description_lists_no_address_without_a_row(app) -> None:
    paths = {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}
    assert paths <= {(row.method, row.path) for row in TABLE}


@pytest.mark.parametrize(
    "path",
    [
        "/openapi.json%2f..%2fv1%2fdocuments",
        "//v1/documents",
        "/healthz/../v1/documents",
        "/V1/documents",
        "/v1/documents/",
        "/v1/documents;a=b",
        "/static/..%2f..%2fv1/documents",
        "/v1//documents",
        "/v1/documents.json",
        "/static/%2e%2e/app.py",
        "/static/../app.py",
        "/docs",
        "/redoc",
        "/metrics",
        "/.env",
    ],
)
def test_tv_22_an_odd_path_opens_nothing(client, path) -> None:
    response = client.get(path)
    assert response.status_code in {401, 404}
    assert response.json()["error"]["code"] in {"not_found", "not_authenticated"}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-User": "ann"},
        {"X-Auth-Request-User": "ann", "X-Auth-Request-Groups": "/sales"},
        {"X-Remote-User": "ann"},
        {"X-Api-Key": token(groups=["/sales"])},
        {"Cookie": f"token={token(groups=['/sales'])}"},
        {"Proxy-Authorization": f"Bearer {token(groups=['/sales'])}"},
        {"Authorization": f"Basic {token(groups=['/sales'])}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": token(groups=["/sales"])},
    ],
    ids=",".join,
)
def test_tv_21_identity_comes_from_the_one_header_only(client, headers) -> None:
    assert client.get("/v1/documents", headers=headers).status_code == 401


def test_tv_21_a_token_in_the_query_or_the_body_is_not_looked_at(client) -> None:
    good = token(groups=["/sales"])
    assert client.get("/v1/documents", params={"access_token": good, "token": good}).status_code == 401
    assert client.post("/v1/search", json={"query": "x", "access_token": good}).status_code == 401
    assert client.post("/v1/search", data={"access_token": good}).status_code == 401


def test_tv_21_the_schemes_name_has_no_case(client) -> None:
    assert client.get("/v1/documents", headers={"Authorization": f"bearer {token()}"}).status_code == 200


def test_tv_21_two_tokens_are_one_too_many(client) -> None:
    twice = [("Authorization", f"Bearer {token()}"), ("Authorization", f"Bearer {token(groups=['/sales'])}")]
    assert client.get("/v1/documents", headers=twice).status_code == 400


def test_sa_01_nobody_asks_on_behalf_of_another(client) -> None:
    headers = {**person("nobody"), "X-On-Behalf-Of": "ann", "X-Forwarded-User": "ann"}
    assert client.post("/v1/search", json={"query": "sales plan"}, headers=headers).json()["passages"] == []


def test_a_refusal_comes_before_the_body_is_read(client) -> None:
    response = client.post("/v1/search", content=b"{not json", headers={"Content-Type": "application/json"})
    assert response.status_code == 401


@pytest.mark.parametrize("duties", [[], ["auditor"], ["evaluator"]])
def test_sa_10_a_duty_that_is_missing_is_said_before_the_body_is_read(client, duties) -> None:
    headers = {**person("ann", duties=duties), "Content-Type": "application/json"}
    refused = client.post("/v1/operator/ingest", content=b"{not json", headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")


@pytest.fixture
def demo(tmp_path) -> DemoIssuer:
    accounts = tmp_path / "accounts.yaml"
    accounts.write_text(
        "realm: acme\naccounts:\n"
        "  - {name: anna, subject: 00000000-0000-0000-0000-000000000001, display_name: Anna, email: a@acme.example,\n"
        "     about: Sales, roles: [], groups: [/sales]}\n",
        encoding="utf-8",
    )
    return DemoIssuer.create(tmp_path / "home", accounts)


def demo_client(tmp_path, demo, peer="127.0.0.1") -> TestClient:
    app = open_library(tmp_path / "home", PLAN).app(demo)
    return TestClient(app, base_url="http://127.0.0.1:8080", client=(peer, 4242))


def test_a_sample_account_signs_in_at_this_machine_and_reads_what_it_may(tmp_path, demo) -> None:
    client = demo_client(tmp_path, demo)
    (account,) = client.get("/demo/accounts").json()["accounts"]
    signed_in = client.post("/demo/token", json={"account": account["name"]})
    headers = {"Authorization": f"Bearer {signed_in.json()['token']}"}
    assert [each["title"] for each in client.get("/v1/documents", headers=headers).json()["documents"]] == ["plan.txt"]
    assert signed_in.headers["x-kustos-demo"] == "1"
    assert signed_in.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("127.0.0.1", {"Origin": "http://127.0.0.1:8080"}, 200),
        ("::1", {}, 200),
        ("10.0.0.7", {}, 403),
        ("testclient", {}, 403),
        ("127.0.0.1", {"Origin": "https://evil.example"}, 403),
        ("127.0.0.1", {"Origin": "null"}, 403),
        ("127.0.0.1", {"Origin": "http://127.0.0.1:9999"}, 403),
        ("127.0.0.1", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("127.0.0.1", {"Sec-Fetch-Site": "same-site"}, 403),
        ("10.0.0.7", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.7"}, 403),
        ("127.0.0.1", {"X-Forwarded-Proto": "https"}, 403),
        ("127.0.0.1", {"Forwarded": "for=10.0.0.7"}, 403),
        ("127.0.0.1", {"Host": "evil.example"}, 421),
        ("127.0.0.1", {"Content-Type": "text/plain"}, 422),
    ],
)
def test_ui_07_another_site_or_machine_gets_no_sample_token(tmp_path, demo, peer, headers, status) -> None:
    client = demo_client(tmp_path, demo, peer)
    content_type = {"Content-Type": "application/json"}
    response = client.post("/demo/token", content=b'{"account": "anna"}', headers={**content_type, **headers})
    assert response.status_code == status
    assert ("token" in response.json()) is (status == 200)
    assert "access-control-allow-origin" not in response.headers


def test_an_unknown_account_gets_no_token(tmp_path, demo) -> None:
    assert demo_client(tmp_path, demo).post("/demo/token", json={"account": "root"}).status_code == 404


def test_tv_13_another_installations_demo_is_not_believed(tmp_path, demo) -> None:
    other = DemoIssuer.create(tmp_path / "other", tmp_path / "accounts.yaml")
    response = demo_client(tmp_path, demo).get(
        "/v1/documents", headers={"Authorization": f"Bearer {other.token('anna')}"}
    )
    assert response.status_code == 401


def test_without_the_demo_its_tokens_are_worth_nothing(client, demo) -> None:
    assert client.get("/v1/documents", headers={"Authorization": f"Bearer {demo.token('anna')}"}).status_code == 401


def test_the_demo_says_loudly_that_it_is_on(tmp_path, demo, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        open_library(tmp_path / "home").app(demo)
    assert "DEMO" in caplog.text
