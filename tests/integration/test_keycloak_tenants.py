"""Two realms of a real Keycloak, two tenants behind one address: every door opens for its own people alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from api.admission.local_operator import LocalOperator
from api.server import listen
from api.service import Service, open_service
from api.sign_in.page_guard import SESSION_COOKIE
from api.tenants import Tenants
from connectors.filesystem import FilesystemConnector
from rag.settings import Settings
from rag.tenants import read_tenants
from tests.fakes import WordEmbedder
from tests.integration.serving import served_at
from tests.integration.test_keycloak import page_at
from tests.keycloak_browser import browser, sign_in
from tests.keycloak_realm import CLIENTS, TEST_CLIENT, KeycloakRealm, imported

LEADERS = "/leitung"
OF_THE_PAGE = {"X-Kustos-Page": "1"}
ASK = {"query": "hotel"}
TABLE = """
[{name}]
issuer = "{realm.issuer}"
jwks_url = "{realm.issuer}/protocol/openid-connect/certs"
realm = "{name}"
clients = {clients}
service_secret = "{service}"
page_url = "{page}"
page_secret = "{secret}"
"""


@dataclass
class Company:
    """A realm, the page's address, a leader, and the open service once there is one."""

    name: str
    realm: KeycloakRealm
    page: str
    person: str
    services: list[Service] = field(default_factory=list)

    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.realm.token(self.person)}"}

    def table(self) -> str:
        clients = str([*CLIENTS, TEST_CLIENT]).replace("'", '"')
        service, secret = (self.realm.secret(each) for each in ("kustos-service", "kustos-page"))
        values = {"service": service, "secret": secret, "page": self.page}
        return TABLE.format(name=self.name, realm=self.realm, clients=clients, **values)

    def enter(self, client: httpx.Client) -> None:
        begun = client.get(f"{self.page}/session/login")
        back = sign_in(client, begun.headers["location"], self.person, self.realm.password(self.person))
        assert back.startswith(f"{self.page}/session/callback?")
        assert client.get(back).headers["location"] == "/"


@dataclass
class Both:
    url: str
    north: Company
    south: Company

    @property
    def each(self) -> tuple[tuple[Company, Company], ...]:
        return (self.north, self.south), (self.south, self.north)


@pytest.fixture(scope="module")
def both(realm: KeycloakRealm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    home = tmp_path_factory.mktemp("tenants")
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    with ExitStack() as stack:
        second = stack.enter_context(imported(realm.server))
        companies = [
            Company(name, each, f"http://{host}:{port}", each.person(groups=[LEADERS]))
            for name, each, host in (("north", realm, "127.0.0.1"), ("south", second, "localhost"))
        ]
        for each in companies:
            stack.enter_context(page_at(each.realm, each.page))
        yield stack.enter_context(serving(home, companies, port))


@contextmanager
def serving(home: Path, companies: list[Company], port: int) -> Iterator[Both]:
    """As `api.service.serve_tenants` does it, with an embedder that counts words."""
    file = home / "tenants.toml"
    file.touch(0o600)
    file.write_text("".join(each.table() for each in companies), encoding="utf-8")
    base = Settings(home=home / "home", tenants=str(file), tenant="", port=port)
    embedder = WordEmbedder()
    with ExitStack() as stack:
        for each, settings in zip(companies, read_tenants(base).values(), strict=True):
            each.services.append(stack.enter_context(open_service(settings, embedder)))
            take_in(home, each)
        front = Tenants([each.services[0].app for each in companies], base)
        url = stack.enter_context(served_at(lambda _: front, port))
        yield Both(url, *companies)


def take_in(home: Path, company: Company) -> None:
    """A document under the same path, of the same name, for the group of the same name."""
    folder = home / company.name / "share"
    folder.mkdir(parents=True)
    (folder / "plan.txt").write_text(f"The hotel of {company.name} is blue.", encoding="utf-8")
    access = f"kustos_access: 1\nrealm: {company.name}\nallow:\n  - group: {LEADERS}\n"
    (folder / "_access.yaml").write_text(access, encoding="utf-8")
    company.services[0].ingesting.sync(FilesystemConnector("share", folder, max_bytes=1_000_000), root=str(folder))


def texts(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [each["text"] for each in reply.json()["passages"]]


def test_mt_02_a_token_of_each_realm_opens_its_own_tenant_and_403_at_the_others_host(both: Both) -> None:
    for ours, theirs in both.each:
        assert texts(httpx.post(f"{ours.page}/v1/search", json=ASK, headers=ours.bearer())) == [
            f"The hotel of {ours.name} is blue."
        ]
        refused = httpx.post(f"{theirs.page}/v1/search", json=ASK, headers=ours.bearer())
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")


def test_mt_01_and_mt_02_a_person_who_signed_in_at_one_page_is_nobody_at_the_other(both: Both) -> None:
    for ours, theirs in both.each:
        with browser() as client:
            ours.enter(client)
            asked = client.post(f"{ours.page}/v1/search", json=ASK, headers=OF_THE_PAGE)
            assert texts(asked) == [f"The hotel of {ours.name} is blue."]
            carried = {**OF_THE_PAGE, "Cookie": f"{SESSION_COOKIE}={client.cookies[SESSION_COOKIE]}"}
            assert httpx.post(f"{theirs.page}/v1/search", json=ASK, headers=carried).status_code == 401
            assert httpx.get(f"{theirs.page}/session", headers=carried).json() == {"sign_in": True, "person": None}
            assert httpx.post(f"{theirs.page}/session/logout", headers=carried).status_code == 200
            still = client.post(f"{ours.page}/v1/search", json=ASK, headers=OF_THE_PAGE)
            assert still.status_code == 200, "nobody has signed out but at the other page"


def test_mt_02_a_logout_token_says_whose_session_has_ended_whatever_host_it_comes_to(both: Both) -> None:
    for ours, theirs in both.each:
        address = f"{theirs.page}/session/backchannel-logout"
        ours.realm.admin.update_client(
            ours.realm.client_id("kustos-page"), {"attributes": {"backchannel.logout.url": address}}
        )
        somebody = replace(ours, person=ours.realm.person(groups=[LEADERS]))
        with browser() as client:
            somebody.enter(client)
            assert signed_in(somebody) == 1
            somebody.realm.end_sessions(somebody.person)
            assert signed_in(somebody) == 0, "the logout was heard"


def signed_in(company: Company) -> int:
    """How many sessions the company's service keeps of its person."""
    subject = company.realm.subject(company.person)
    with company.services[0].kustos.records.catalog.reading() as connection:
        kept = connection.exec_driver_sql("SELECT subject FROM sessions").scalars().all()
    return sum(each.endswith(subject) for each in kept)


def test_mt_01_keys_are_for_people_of_their_own_realm(both: Both) -> None:
    for ours, theirs in both.each:
        body = {"name": "notebook", "scopes": ["query"], "days": 1}
        made = httpx.post(f"{ours.page}/v1/keys", json=body, headers=ours.bearer())
        assert made.status_code in (200, 201), made.text
        key = {"X-API-Key": made.json()["key"]}
        assert texts(httpx.post(f"{ours.page}/v1/search", json=ASK, headers=key)) == [
            f"The hotel of {ours.name} is blue."
        ]
        assert httpx.post(f"{theirs.page}/v1/search", json=ASK, headers=key).status_code == 403


def test_commands_reach_their_own_tenant_though_another_has_his_page_at_this_machine(both: Both) -> None:
    for ours, theirs in both.each:
        local = LocalOperator.load(ours.services[0].kustos.records.settings.home)
        headers = {"Authorization": f"Bearer {local.key}"}
        assert httpx.get(f"{theirs.page}/v1/operator/status", headers=headers).status_code == 200


def test_mt_04_what_each_did_stands_in_his_own_audit(both: Both) -> None:
    for ours, _ in both.each:
        httpx.post(f"{ours.page}/v1/search", json=ASK, headers=ours.bearer())
        trail = ours.services[0].kustos.records.trail
        assert trail.verify().intact
        assert {each.tenant for each in trail.entries()} == {ours.name}
        assert {name.split(":")[1] for name in trail.names().values()} == {ours.name}
