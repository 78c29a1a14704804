"""The realm of deploy/keycloak on a real Keycloak: its tokens are believed as they are, and no others."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import httpx
import jwt
import pytest
from keycloak import KeycloakError

from api.cli.doctor import Finding, examine
from api.cli.signed_in import SignedIn
from api.sign_in.oidc import Tokens
from api.tokens.auth import Identity
from rag.access import principals
from rag.errors import NotAuthenticated
from tests.integration.conftest import MODEL, NO_MODEL, CommandLine
from tests.keycloak_browser import browser, sign_in
from tests.keycloak_realm import CLIENTS, QUALIFIER, KeycloakRealm
from tests.security.watched import ROOT
from tests.services.keycloak import VERSION

ACCESS = """
kustos_access: 1
realm: hansekai
allow: [{group: %s}]
"""
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # with its challenge from RFC 7636, appendix B
PROOF = {"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256"}
OF_EVERY_ACCOUNT = {
    principals.group(QUALIFIER, "/accounts"),
    principals.realm_role(QUALIFIER, "offline_access"),
    principals.realm_role(QUALIFIER, "uma_authorization"),
}


@pytest.fixture(scope="module")
def identity(realm: KeycloakRealm) -> Identity:
    return realm.identity()


def expected(realm: KeycloakRealm, subject: str, *of_his_own: str) -> set[str]:
    default = principals.realm_role(QUALIFIER, f"default-roles-{realm.name}")
    return {principals.user(QUALIFIER, subject), default, *OF_EVERY_ACCOUNT, *of_his_own}


def role(name: str) -> str:
    return principals.realm_role(QUALIFIER, name)


def duty(name: str) -> str:
    return principals.client_role(QUALIFIER, "kustos", name)


def group(path: str) -> str:
    return principals.group(QUALIFIER, path)


@pytest.mark.parametrize(
    ("person", "of_his_own"),
    [
        ("anna", {role("mitarbeiter"), duty("reader"), group("/betrieb/fahrer/hamburg")}),
        ("lena", {role("mitarbeiter"), duty("reader"), duty("operator"), group("/verwaltung/it")}),
        ("katharina", {role("mitarbeiter"), role("geschaeftsfuehrung"), duty("reader"), group("/leitung")}),
        ("murat", {role("mitarbeiter"), duty("reader"), group("/betrieb/lager/hamburg"), group("/betriebsrat")}),
        ("grace", {duty("reader"), group("/felixstowe/sales")}),
        ("paul", {duty("reader")}),
    ],
)
def test_rm_06_a_real_token_names_exactly_what_its_person_has(
    realm: KeycloakRealm, identity: Identity, person: str, of_his_own: set[str]
) -> None:
    caller = identity.caller(realm.token(person))
    assert set(caller.principals) == expected(realm, realm.subject(person), *of_his_own)
    assert caller.subject == principals.user(QUALIFIER, realm.subject(person))


def test_rm_07_a_composite_role_names_what_it_is_composed_of(realm: KeycloakRealm, identity: Identity) -> None:
    realm.admin.create_realm_role({"name": "bereichsleitung"})
    realm.admin.add_composite_realm_roles_to_role("bereichsleitung", [realm.admin.get_realm_role("mitarbeiter")])
    person = realm.person(roles=["bereichsleitung"])
    assert {role("bereichsleitung"), role("mitarbeiter")} <= identity.caller(realm.token(person)).principals


def test_rm_01_a_group_of_the_same_name_elsewhere_is_another_one(realm: KeycloakRealm, identity: Identity) -> None:
    person = realm.person(groups=["/felixstowe"])
    other = realm.admin.create_group({"name": "felixstowe"}, parent=realm.admin.get_group_by_path("/betrieb")["id"])
    try:
        realm.admin.group_user_add(realm.subject(person), other)
        realm.leave(person, "/felixstowe")
        found = identity.caller(realm.token(person)).principals
    finally:
        realm.admin.delete_group(other)
    assert group("/betrieb/felixstowe") in found
    assert group("/felixstowe") not in found


@pytest.mark.parametrize(("client", "duties"), [("kustos-sync", set()), ("kustos-eval", {"reader", "evaluator"})])
def test_a_service_account_is_somebody_with_rights_of_his_own(
    realm: KeycloakRealm, identity: Identity, client: str, duties: set[str]
) -> None:
    subject = realm.admin.get_client_service_account_user(realm.client_id(client))["id"]
    caller = identity.caller(realm.service_token(client))
    assert set(caller.principals) == expected(realm, subject, *map(duty, duties))


def test_what_was_taken_away_is_missing_from_the_next_token(realm: KeycloakRealm, identity: Identity) -> None:
    person = realm.person(groups=["/leitung", "/betriebsrat"], roles=["mitarbeiter"], duties=["auditor"])
    assert {group("/leitung"), role("mitarbeiter"), duty("auditor")} <= identity.caller(realm.token(person)).principals
    realm.leave(person, "/leitung")
    realm.take_role(person, "mitarbeiter")
    realm.take_duty(person, "auditor")
    found = identity.caller(realm.token(person)).principals
    assert not {group("/leitung"), role("mitarbeiter"), duty("auditor")} & found
    assert group("/betriebsrat") in found


@pytest.mark.parametrize("take", ["disable", "end_sessions", "remove"])
def test_keycloak_tells_the_service_client_at_once_that_a_token_has_ended(realm: KeycloakRealm, take: str) -> None:
    """What introspection at each request will rely on: the token itself still verifies."""
    person = realm.person()
    token, service = realm.token(person), realm.openid("kustos-service")
    assert service.introspect(token)["active"] is True
    getattr(realm, take)(person)
    assert service.introspect(token)["active"] is False


def test_introspection_names_groups_and_roles_as_they_are_now(realm: KeycloakRealm) -> None:
    person = realm.person(groups=["/leitung"], roles=["mitarbeiter"])
    token, service = realm.token(person), realm.openid("kustos-service")
    before = service.introspect(token)
    realm.leave(person, "/leitung")
    realm.take_role(person, "mitarbeiter")
    after = service.introspect(token)
    assert ("/leitung" in before["groups"], "/leitung" in after["groups"]) == (True, False)
    assert ("mitarbeiter" in before["realm_access"]["roles"], "mitarbeiter" in after["realm_access"]["roles"]) == (
        True,
        False,
    )


@pytest.mark.parametrize("kind", ["refresh_token", "id_token"])
def test_tv_16_another_token_than_an_access_token_is_refused(
    realm: KeycloakRealm, identity: Identity, kind: str
) -> None:
    signed_in = realm.sign_in("anna")
    assert identity.caller(signed_in["access_token"])
    with pytest.raises(NotAuthenticated):
        identity.caller(signed_in[kind])


def test_tv_14_a_token_without_our_audience_is_refused(realm: KeycloakRealm) -> None:
    realm.add_client("kustos-no-audience", defaultClientScopes=["basic", "roles"])
    identity = realm.identity("kustos-no-audience")
    with pytest.raises(NotAuthenticated, match="another audience"):
        identity.caller(realm.token("anna", "kustos-no-audience"))


def test_tv_15_a_token_of_another_client_is_refused(realm: KeycloakRealm, identity: Identity) -> None:
    realm.add_client("somebody-else")
    with pytest.raises(NotAuthenticated, match="client that is not accepted"):
        identity.caller(realm.token("anna", "somebody-else"))


def test_what_kustos_itself_asks_with_opens_nothing_in_kustos(realm: KeycloakRealm, identity: Identity) -> None:
    with pytest.raises(NotAuthenticated):
        identity.caller(realm.service_token("kustos-service"))


def test_tv_13_a_token_of_another_realm_of_the_same_server_is_refused(realm: KeycloakRealm, identity: Identity) -> None:
    with pytest.raises(NotAuthenticated, match="issuer that is not accepted"):
        identity.caller(realm.admin.connection.token["access_token"])


def test_a_lightweight_token_is_refused_and_the_log_names_what_to_add(realm: KeycloakRealm) -> None:
    realm.add_client("kustos-light", attributes={"client.use.lightweight.access.token.enabled": "true"})
    with pytest.raises(NotAuthenticated):
        realm.identity("kustos-light").caller(realm.token("anna", "kustos-light"))


@pytest.mark.parametrize("client", CLIENTS)
def test_no_client_of_the_realm_takes_a_password(realm: KeycloakRealm, client: str) -> None:
    with pytest.raises(KeycloakError, match=r"not allowed for direct access|unauthorized_client"):
        realm.openid(client).token("anna", realm.password("anna"))


def test_every_installation_has_secrets_of_its_own(realm: KeycloakRealm) -> None:
    made = [realm.secret(client) for client in ("kustos-page", "kustos-sync", "kustos-eval", "kustos-service")]
    assert len(set(made)) == 4
    assert all(secret and len(secret) >= 32 and "$" not in secret for secret in made)
    assert realm.secret("kustos-cli") is None


def test_a_token_lives_five_minutes(realm: KeycloakRealm) -> None:
    claims = jwt.decode(realm.token("anna"), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 300


def test_a_person_signs_in_at_the_page_by_code_and_pkce(realm: KeycloakRealm, identity: Identity) -> None:
    person = realm.person(groups=["/leitung"])
    with browser() as client:
        caller = identity.caller(page_tokens(realm, client, person)["access_token"])
    assert group("/leitung") in caller.principals


def test_the_page_hears_that_a_session_was_ended_in_keycloak(realm: KeycloakRealm) -> None:
    person = realm.person()
    with heard() as (url, bodies), browser() as client, page_at(realm, url):
        signed_in = page_tokens(realm, client, person, url)
        realm.end_sessions(person)
        (body,) = bodies
    claims = jwt.decode(parse_qs(body)["logout_token"][0], options={"verify_signature": False})
    session = jwt.decode(signed_in["access_token"], options={"verify_signature": False})["sid"]
    assert (claims["sid"], claims["aud"], claims["sub"]) == (session, "kustos-page", realm.subject(person))


def page_tokens(
    realm: KeycloakRealm, client: httpx.Client, person: str, page: str = "http://127.0.0.1:8080"
) -> dict[str, str]:
    """What the page's server gets when a person signs in: the code flow from end to end."""
    verifier, callback = secrets.token_urlsafe(48), f"{page}/session/callback"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "client_id": "kustos-page", "response_type": "code", "scope": "openid", "state": "s", "redirect_uri": callback,
        "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    address = f"{realm.issuer}/protocol/openid-connect/auth?{httpx.QueryParams(asked)}"
    back = httpx.URL(sign_in(client, address, person, realm.password(person)))
    assert str(back).startswith(f"{callback}?"), back
    given = {
        "grant_type": "authorization_code", "code": back.params["code"], "redirect_uri": callback,
        "code_verifier": verifier, "client_id": "kustos-page", "client_secret": realm.secret("kustos-page"),
    }  # fmt: skip
    wrong = client.post(f"{realm.issuer}/protocol/openid-connect/token", data={**given, "client_secret": "wrong"})
    assert wrong.status_code == 401
    reply = client.post(f"{realm.issuer}/protocol/openid-connect/token", data=given)
    assert reply.status_code == 200, reply.text
    tokens: dict[str, str] = reply.json()
    return tokens


@contextmanager
def page_at(realm: KeycloakRealm, url: str) -> Iterator[None]:
    """The page is at another address for the length of a block."""
    identifier = realm.client_id("kustos-page")
    realm.admin.update_client(identifier, {"rootUrl": url})
    try:
        yield
    finally:
        realm.admin.update_client(identifier, {"rootUrl": "http://127.0.0.1:8080"})


@contextmanager
def heard() -> Iterator[tuple[str, list[str]]]:
    """An address, and the bodies that were sent to its back channel for logouts."""
    bodies: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/session/backchannel-logout"
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:8080/session/callback/../x", "http://127.0.0.1:8080/", "https://evil.example/"]
)
def test_a_sign_in_leads_back_to_the_page_and_nowhere_else(realm: KeycloakRealm, uri: str) -> None:
    assert sign_in_page(realm, redirect_uri="http://127.0.0.1:8080/session/callback").status_code == 200
    assert sign_in_page(realm, redirect_uri=uri).status_code == 400


def test_a_sign_in_without_pkce_is_sent_back(realm: KeycloakRealm) -> None:
    callback = "http://127.0.0.1:8080/session/callback"
    sent = sign_in_page(realm, redirect_uri=callback, code_challenge="", code_challenge_method="")
    assert (sent.status_code, sent.headers["location"].split("?")[0]) == (302, callback)
    assert "error=invalid_request" in sent.headers["location"]


def sign_in_page(realm: KeycloakRealm, **more: str) -> httpx.Response:
    asked = {"client_id": "kustos-page", "response_type": "code", "scope": "openid", "state": "s"}
    parameters = {key: value for key, value in {**asked, **PROOF, **more}.items() if value}
    return httpx.get(f"{realm.issuer}/protocol/openid-connect/auth", params=parameters, trust_env=False)


def test_the_device_flow_begins_for_the_command_line_alone(realm: KeycloakRealm) -> None:
    address = f"{realm.issuer}/protocol/openid-connect/auth/device"
    assert httpx.post(address, data={"client_id": "kustos-cli"}, trust_env=False).status_code == 400  # without PKCE
    begun = httpx.post(address, data={"client_id": "kustos-cli", **PROOF}, trust_env=False)
    assert begun.status_code == 200
    assert {"device_code", "user_code", "verification_uri"} <= set(begun.json())
    secret = realm.secret("kustos-page") or ""
    refused = httpx.post(address, data={"client_id": "kustos-page", "client_secret": secret}, trust_env=False)
    assert refused.status_code in (400, 401)


def test_a_person_signs_in_on_the_command_line_by_a_code_that_he_confirms(
    realm: KeycloakRealm, identity: Identity
) -> None:
    person = realm.person(roles=["mitarbeiter"])
    with browser() as client:
        address = f"{realm.issuer}/protocol/openid-connect/auth/device"
        begun = client.post(address, data={"client_id": "kustos-cli", **PROOF})
        device = {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": begun.json()["device_code"],
            "client_id": "kustos-cli",
            "code_verifier": VERIFIER,
        }
        sign_in(client, begun.json()["verification_uri_complete"], person, realm.password(person))
        reply = client.post(f"{realm.issuer}/protocol/openid-connect/token", data=device)
    assert reply.status_code == 200, reply.text
    assert role("mitarbeiter") in identity.caller(reply.json()["access_token"]).principals


def test_the_service_client_reads_people_and_changes_nothing(realm: KeycloakRealm) -> None:
    token = realm.service_token("kustos-service")
    address = f"{realm.server.url}/admin/realms/{realm.name}"
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client:
        readable = [f"users/{realm.subject('anna')}/groups", "groups", "admin-events", "events"]
        assert [client.get(f"{address}/{each}").status_code for each in readable] == [200] * 4
        assert client.get(f"{address}/clients").status_code == 403
        assert client.put(f"{address}/users/{realm.subject('anna')}", json={"enabled": False}).status_code == 403
        assert client.post(f"{address}/groups", json={"name": "mine"}).status_code == 403


@pytest.mark.skipif(not MODEL.is_dir(), reason=NO_MODEL)
def test_kustos_serve_answers_each_person_from_what_his_token_allows(realm: KeycloakRealm, tmp_path: Path) -> None:
    command_line = CommandLine(tmp_path / "home")
    share(tmp_path / "share", drivers="/betrieb/fahrer/hamburg", management="/leitung")
    assert command_line.run("ingest", str(tmp_path / "share"), "--source", "share").returncode == 0
    page = {"KUSTOS_PAGE_SECRET": realm.secret("kustos-page") or ""}
    with serving(command_line, **realm.environment(), **page) as client:
        assert found(client, realm.token("anna")) == ["drivers.txt"]
        assert found(client, realm.token("katharina")) == ["management.txt"]
        assert found(client, realm.token("paul")) == []
        assert search(client, realm.service_token("kustos-service")).status_code == 401
        url = str(client.base_url).rstrip("/")
        with browser() as katharina, page_at(realm, url):
            begun = katharina.get(f"{url}/session/login")
            back = sign_in(katharina, begun.headers["location"], "katharina", realm.password("katharina"))
            assert katharina.get(back).status_code == 303
            listed = katharina.get(f"{url}/v1/documents", headers={"X-Kustos-Page": "1"}).json()
            assert [each["title"] for each in listed["documents"]] == ["management.txt"]
        person = realm.person(groups=["/leitung"])
        assert found(client, realm.token(person)) == ["management.txt"]
        realm.leave(person, "/leitung")
        assert found(client, realm.token(person)) == []


def share(folder: Path, **groups: str) -> None:
    for name, path in groups.items():
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.txt").write_text("A hotel may cost 120 euros a night.", encoding="utf-8")
        access = folder / name / "_access.yaml"
        access.write_text(ACCESS % path, encoding="utf-8")
        access.chmod(0o644)


def search(client: httpx.Client, token: str) -> httpx.Response:
    return client.post("/v1/search", json={"query": "hotel"}, headers={"Authorization": f"Bearer {token}"})


def found(client: httpx.Client, token: str) -> list[str]:
    reply = search(client, token)
    assert reply.status_code == 200, reply.text
    return [httpx.URL(each["source"]).path.rsplit("/", 1)[-1] for each in reply.json()["passages"]]


@contextmanager
def serving(command_line: CommandLine, **environment: str) -> Iterator[httpx.Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", "from api.cli import main; main()", "serve", "--port", str(port)],
        env=command_line.environment(KUSTOS_PAGE_URL=f"http://127.0.0.1:{port}", **environment),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            await_ready(client, process)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def await_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while True:
        assert process.poll() is None
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            assert time.monotonic() < until
        time.sleep(0.05)


def told(realm: KeycloakRealm, home: Path, **environment: str) -> list[Finding]:
    secret = realm.secret("kustos-service") or ""
    environment = {"KUSTOS_CLIENTS": ",".join(CLIENTS), "KUSTOS_SERVICE_SECRET": secret, **environment}
    findings = examine(realm.settings(home, **environment))
    return [each for each in findings if each.check == "realm"]


def test_doctor_finds_the_realm_as_it_is_imported_in_order(realm: KeycloakRealm, tmp_path: Path) -> None:
    with realm.service_may("view-realm", "view-clients"):
        findings = told(realm, tmp_path)
    assert [(each.state, each.detail) for each in findings] == [
        ("good", f"{realm.name} gives kustos-cli, kustos-eval, kustos-page, kustos-sync what Kustos needs")
    ]


def test_doctor_names_what_a_running_realm_lacks(realm: KeycloakRealm, tmp_path: Path) -> None:
    realm.add_client("kustos-loose", implicitFlowEnabled=True, redirectUris=["*"], defaultClientScopes=["basic"])
    with realm.service_may("view-realm", "view-clients"):
        findings = told(realm, tmp_path, KUSTOS_CLIENTS="kustos-loose")
    words = " ".join(each.detail for each in findings if each.state == "wrong")
    for expected_words in ("wildcard", "implicit flow", "direct access grants", "audience", "groups", "realm roles"):
        assert expected_words in words


def test_rm_02_doctor_names_a_group_whose_path_is_that_of_another(realm: KeycloakRealm, tmp_path: Path) -> None:
    """Keycloak gives both the same full path, so a token cannot tell them apart."""
    made = realm.admin.create_group({"name": "felixstowe/sales"})
    try:
        person = realm.person()
        realm.admin.group_user_add(realm.subject(person), made)
        assert group("/felixstowe/sales") in realm.identity().caller(realm.token(person)).principals
        with realm.service_may("view-realm", "view-clients"):
            findings = told(realm, tmp_path)
    finally:
        realm.admin.delete_group(made)
    assert [each.state for each in findings] == ["wrong"]
    assert "felixstowe/sales" in findings[0].detail


def test_rm_16_doctor_names_a_duty_that_a_default_group_gives_to_every_account(
    realm: KeycloakRealm, tmp_path: Path
) -> None:
    group, client, duty = realm.group_id("/accounts"), realm.client_id("kustos"), realm.duty("operator")
    realm.admin.assign_group_client_roles(group, client, [duty])
    try:
        with realm.service_may("view-realm", "view-clients"):
            findings = told(realm, tmp_path)
    finally:
        realm.admin.delete_group_client_roles(group, client, [duty])
    assert [each.state for each in findings] == ["wrong"]
    assert "every account has the duty operator" in findings[0].detail


def test_doctor_says_what_it_may_not_see_and_how_it_could(realm: KeycloakRealm, tmp_path: Path) -> None:
    (finding,) = told(realm, tmp_path)
    assert finding.state == "note"
    assert "view-realm and view-clients" in finding.detail
    (wrong,) = told(realm, tmp_path, KUSTOS_SERVICE_SECRET="not-the-secret-of-this-realm")
    assert wrong.state == "wrong"
    assert "does not accept the service client" in wrong.detail
    assert "KUSTOS_SERVICE_SECRET" in wrong.detail


@pytest.mark.parametrize(("audience", "state", "words"), [("kustos", "good", "accepted"), ("x", "wrong", "'x': ")])
def test_tv_14_doctor_tries_the_token_of_whoever_has_signed_in(
    realm: KeycloakRealm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audience: str, state: str, words: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = realm.settings(tmp_path, KUSTOS_AUDIENCE=audience)
    given = realm.sign_in(realm.person())
    ends_at = int(time.time()) + given["expires_in"]
    SignedIn.at(settings)._keep(Tokens(given["access_token"], given["refresh_token"], "", ends_at), "T")
    (finding,) = [each for each in examine(settings) if each.check == "sign-in"]
    assert finding.state == state
    assert words in finding.detail


def test_what_keycloak_exports_reads_like_what_was_imported(realm: KeycloakRealm, tmp_path: Path) -> None:
    export = tmp_path / "export.json"
    export.write_text(json.dumps(realm.admin.export_realm(export_clients=True, export_groups_and_role=True)))
    settings = realm.settings(tmp_path, KUSTOS_CLIENTS=",".join(CLIENTS))
    findings = [each for each in examine(settings, export) if each.check == "realm"]
    assert [each.state for each in findings] == ["good"]


def test_the_server_is_the_pinned_one(realm: KeycloakRealm) -> None:
    assert realm.admin.get_server_info()["systemInfo"]["version"] == VERSION
