"""Each thing that can be missing or unsafe in a realm is found, and named with what to do, starting from one that is right."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.cli.doctor import Finding, examine
from api.keycloak_realm.administration import RealmReader
from api.keycloak_realm.check import PROFILE, Fault, everybody, faults, read_export
from rag.access.acl import Acl
from rag.access.principals import EVERYONE_IN_TENANT, Principal
from rag.bootstrap import open_records
from rag.errors import Misconfigured
from rag.settings import Settings
from tests.keycloak_realm import CLIENTS, REALM_FILE
from tests.library import Written, open_library

Realm = dict[str, Any]
Change = Callable[[Realm], object]
RIGHT: Realm = json.loads(REALM_FILE.read_text(encoding="utf-8"))


def changed(*changes: Change) -> Realm:
    realm = copy.deepcopy(RIGHT)
    for change in changes:
        change(realm)
    return realm


def client(realm: Realm, name: str = "kustos-page") -> dict[str, Any]:
    return next(each for each in realm["clients"] if each["clientId"] == name)


def scope(realm: Realm, name: str) -> dict[str, Any]:
    return next(each for each in realm["clientScopes"] if each["name"] == name)


def mapper(realm: Realm, kind: str) -> dict[str, Any]:
    return next(m for s in realm["clientScopes"] for m in s["protocolMappers"] if m["protocolMapper"] == kind)


def without(kind: str) -> Change:
    def change(realm: Realm) -> None:
        for each in realm["clientScopes"]:
            each["protocolMappers"] = [m for m in each["protocolMappers"] if m["protocolMapper"] != kind]

    return change


def page(**settings: Any) -> Change:
    return lambda realm: client(realm).update(settings)


def attribute(name: str, value: str) -> Change:
    return lambda realm: client(realm).setdefault("attributes", {}).update({name: value})


def config(kind: str, **settings: str) -> Change:
    return lambda realm: mapper(realm, kind)["config"].update(
        {key.replace("_", "."): value for key, value in settings.items()}
    )


def adds(kind: str, where: str = "", **settings: str) -> Change:
    """Another mapper: of the page itself, or of a scope."""
    made = {"name": "mine", "protocolMapper": kind, "config": {k.replace("_", "."): v for k, v in settings.items()}}

    def change(realm: Realm) -> None:
        owner = scope(realm, where) if where else client(realm)
        owner.setdefault("protocolMappers", []).append(made)

    return change


def profile(policy: str = "", **edited_by: list[str]) -> Change:
    declared = [{"name": name, "permissions": {"edit": editors}} for name, editors in edited_by.items()]
    text = json.dumps({"attributes": declared, **({"unmanagedAttributePolicy": policy} if policy else {})})
    return lambda realm: realm.update(components={PROFILE: [{"config": {"kc.user.profile.config": [text]}}]})


def found(realm: Realm, *clients: str) -> list[Fault]:
    return faults(realm, "kustos", frozenset(clients or CLIENTS))


FROM_ATTRIBUTE = adds("oidc-usermodel-attribute-mapper", user_attribute="department", claim_name="groups")
AUDIENCE, GROUPS = "oidc-audience-mapper", "oidc-group-membership-mapper"
WRONG = [
    (page(implicitFlowEnabled=True), "implicit flow"),
    (page(directAccessGrantsEnabled=True), "direct access grants"),
    (page(redirectUris=["https://kustos.example/*"]), "https://kustos.example/* has a wildcard"),
    (page(redirectUris=["*"]), "wildcard"),
    (page(redirectUris=["http://kustos.example/session/callback"]), "not https"),
    (page(webOrigins=["*"]), "every origin"),
    (page(attributes={}), "PKCE"),
    (attribute("pkce.code.challenge.method", "plain"), "PKCE"),
    (attribute("client.use.lightweight.access.token.enabled", "true"), "lightweight"),
    (page(enabled=False), "kustos-page is missing or disabled"),
    (lambda realm: realm["clients"].remove(client(realm)), "kustos-page is missing or disabled"),
    (lambda realm: realm["clients"].remove(client(realm, "kustos")), "no client kustos"),
    (lambda realm: client(realm)["defaultClientScopes"].remove("kustos"), "as audience"),
    (without(AUDIENCE), "as audience"),
    (config(AUDIENCE, included_client_audience="other"), "as audience"),
    (config(AUDIENCE, access_token_claim="false"), "as audience"),
    (config(AUDIENCE, introspection_token_claim="false"), "as audience"),
    (without(GROUPS), "puts groups into the access token"),
    (config(GROUPS, claim_name="teams"), "puts groups into the access token"),
    (config(GROUPS, access_token_claim="false"), "puts groups into the access token"),
    (config(GROUPS, full_path="false"), "without their path"),
    (adds(GROUPS, claim_name="groups", full_path="false"), "without their path"),
    (without("oidc-usermodel-realm-role-mapper"), "puts realm roles"),
    (without("oidc-sub-mapper"), "puts the subject"),
    (lambda realm: realm.update(sslRequired="none"), "in the clear"),
    (lambda realm: realm["groups"][1]["subGroups"].append({"name": "a/b"}), "the group named a/b has a slash"),
    (adds("oidc-hardcoded-claim-mapper", claim_name="groups", claim_value="/leitung"), "everybody's token"),
    (adds("oidc-hardcoded-claim-mapper", "profile", claim_name="realm_access.roles"), "everybody's token"),
    (adds("oidc-usermodel-attribute-mapper", user_attribute="email", claim_name="groups"), "people edit themselves"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_is_missing_or_unsafe_is_wrong(change: Change, words: str) -> None:
    assert [each for each in found(changed(change)) if each.state == "wrong" and words in each.detail]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda realm: realm.update(registrationAllowed=True), "anybody can make an account"),
        (lambda realm: realm.update(bruteForceProtected=False), "brute force"),
        (lambda realm: realm.update(accessTokenLifespan=3600), "live 3600 s"),
        (lambda realm: realm.update(defaultGroups=[]), "no default group"),
    ],
)
def test_what_somebody_may_have_meant_is_a_note(change: Change, words: str) -> None:
    (fault,) = found(changed(change))
    assert fault.state == "note"
    assert words in fault.detail


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ([FROM_ATTRIBUTE], "note"),  # not declared, and undeclared attributes are off
        ([FROM_ATTRIBUTE, profile("ENABLED")], "wrong"),
        ([FROM_ATTRIBUTE, profile("ADMIN_EDIT")], "note"),
        ([FROM_ATTRIBUTE, profile("ENABLED", department=["admin"])], "note"),
        ([FROM_ATTRIBUTE, profile(department=["admin", "user"])], "wrong"),
        ([adds("oidc-usermodel-attribute-mapper", user_attribute="username", claim_name="sub")], "note"),
        (
            [
                adds("oidc-usermodel-attribute-mapper", user_attribute="username", claim_name="sub"),
                lambda realm: realm.update(editUsernameAllowed=True),
            ],
            "wrong",
        ),
    ],
)
def test_rm_11_an_attribute_makes_no_principal_if_people_edit_it_themselves(changes: list[Change], state: str) -> None:
    (fault,) = found(changed(*changes))
    assert fault.state == state
    assert "mine fills" in fault.detail


def test_a_mapper_that_makes_no_principal_is_nobodys_business() -> None:
    assert found(changed(adds("oidc-usermodel-attribute-mapper", user_attribute="email", claim_name="email"))) == []


def test_a_mapper_that_can_be_asked_for_counts_as_danger_but_not_as_help() -> None:
    optional = changed(
        FROM_ATTRIBUTE,
        lambda realm: client(realm)["defaultClientScopes"].remove("kustos"),
        lambda realm: client(realm).update(optionalClientScopes=["kustos"]),
        adds("oidc-hardcoded-claim-mapper", "kustos", claim_name="groups"),
    )
    words = " ".join(each.detail for each in found(optional, "kustos-page"))
    assert "as audience" in words
    assert "everybody's token" in words


def off(**settings: Any) -> Change:
    flows = ("standardFlowEnabled", "implicitFlowEnabled", "directAccessGrantsEnabled", "serviceAccountsEnabled")
    return page(**dict.fromkeys(flows, False), **settings)


@pytest.mark.parametrize(
    ("name", "change"),
    [("kustos", page()), ("kustos-page", off()), ("kustos-page", page(bearerOnly=True)),
     ("kustos-page", off(attributes={"standard.token.exchange.enabled": "false"}))],
)  # fmt: skip
def test_a_client_that_asks_for_no_tokens_gets_no_advice_but_to_name_others(name: str, change: Change) -> None:
    """With KUSTOS_CLIENTS empty it is the bearer-only one; mappers would not bring it any token."""
    (fault,) = found(changed(change, without(AUDIENCE)), name)
    assert fault.state == "wrong"
    assert fault.detail.startswith(f"client {name}: asks for no tokens")
    assert "name those that do in KUSTOS_CLIENTS" in fault.detail


def test_a_client_that_asks_for_no_tokens_beside_one_that_does_is_a_note() -> None:
    (fault,) = found(RIGHT, "kustos", "kustos-page")
    assert fault.state == "note"
    assert fault.detail.startswith("client kustos: asks for no tokens")


@pytest.mark.parametrize(
    "change",
    [
        off(attributes={"oauth2.device.authorization.grant.enabled": "true"}),
        off(attributes={"standard.token.exchange.enabled": "true"}),
        lambda realm: [client(realm).pop(each) for each in ("standardFlowEnabled", "directAccessGrantsEnabled")],
    ],
    ids=["device", "exchange", "unsaid"],
)
def test_a_client_that_may_ask_for_tokens_is_told_what_they_lack(change: Change) -> None:
    words = " ".join(each.detail for each in found(changed(change, without(AUDIENCE)), "kustos-page"))
    assert "as audience" in words
    assert "asks for no tokens" not in words


def test_clients_whose_tokens_are_refused_anyway_may_do_as_they_like() -> None:
    unsafe = changed(page(implicitFlowEnabled=True, redirectUris=["*"]))
    assert found(unsafe, "kustos-cli") == []


def test_everybody_has_the_default_role_its_parts_and_the_default_groups_with_those_above() -> None:
    def composed(realm: Realm) -> None:
        realm["roles"]["realm"] = [
            {
                "name": "default-roles-kustos",
                "composites": {"realm": ["staff"], "client": {"account": ["view-profile"]}},
            },
            {"name": "staff", "composites": {"realm": ["default-roles-kustos"], "client": {"kustos": ["reader"]}}},
        ]
        realm["defaultGroups"] = ["/company/all"]

    with_role = adds("oidc-hardcoded-role-mapper", role="guest")
    assert everybody(changed(composed, with_role), "kustos", frozenset(CLIENTS), "acme") == {
        "kc:acme:role:default-roles-kustos",
        "kc:acme:role:staff",
        "kc:acme:role:guest",
        "kc:acme:client:kustos:role:reader",
        "kc:acme:group:/company",
        "kc:acme:group:/company/all",
    }


def test_everybody_has_the_roles_of_the_default_groups_too() -> None:
    def given(realm: Realm) -> None:
        realm["defaultGroups"] = ["/company/all"]
        realm["groups"] = [{"name": "company", "path": "/company", "realmRoles": ["guest"], "subGroups": [
            {"name": "all", "path": "/company/all", "clientRoles": {"kustos": ["reader"]}},
            {"name": "few", "path": "/company/few", "realmRoles": ["boss"]},
        ]}]  # fmt: skip

    held = everybody(changed(given), "kustos", frozenset(CLIENTS), "acme")
    assert {"kc:acme:role:guest", "kc:acme:client:kustos:role:reader"} <= held
    assert "kc:acme:role:boss" not in held


def by_default_role(realm: Realm) -> None:
    default = next(each for each in realm["roles"]["realm"] if each["name"] == realm["defaultRole"]["name"])
    default.setdefault("composites", {}).setdefault("client", {})["kustos"] = ["operator"]


def by_default_group(realm: Realm) -> None:
    (path,) = realm["defaultGroups"]
    group = next(each for each in realm["groups"] if f"/{each['name']}" == path)
    group["clientRoles"] = {"kustos": ["operator"]}


@pytest.mark.parametrize(
    "change", [by_default_role, by_default_group, adds("oidc-hardcoded-role-mapper", role="kustos.operator")]
)
def test_rm_16_a_duty_that_every_account_has_is_wrong(change: Change) -> None:
    assert [each for each in found(changed(change)) if each.state == "wrong" and "the duty operator" in each.detail]


def test_a_role_of_that_name_at_another_client_is_no_duty() -> None:
    change = adds("oidc-hardcoded-role-mapper", role="other.operator")
    assert not [each for each in found(changed(change)) if "duty" in each.detail]


def test_somebody_with_two_duties_is_named() -> None:
    def given(realm: Realm) -> None:
        lena = next(each for each in realm["users"] if each["username"] == "lena")
        lena["clientRoles"]["kustos"] += ["auditor"]

    (fault,) = found(changed(given))
    assert fault.state == "note"
    assert "lena has the duties auditor and operator" in fault.detail


def realm_findings(home: Path, export: Path | None, **given: Any) -> list[Finding]:
    provider = {"issuer": "https://id.example/realms/kustos", "realm": "acme", "clients": CLIENTS}
    certs = f"{provider['issuer']}/protocol/openid-connect/certs"
    settings = Settings(home=home, models_dir=home, ollama_url="", **{"jwks_url": certs, **provider, **given})
    return [each for each in examine(settings, export) if each.check == "realm"]


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's keys are another check's concern, which would ask the network."""
    monkeypatch.setattr("api.cli.doctor.usable_keys", lambda _: 1)
    monkeypatch.setattr("api.cli.doctor.issuer_named", lambda settings: settings.issuer)


@pytest.mark.usefixtures("no_keys")
def test_doctor_finds_an_export_that_is_right_good(tmp_path: Path) -> None:
    (finding,) = realm_findings(tmp_path, REALM_FILE)
    assert finding.state == "good"


@pytest.mark.usefixtures("no_keys")
def test_doctor_names_what_an_export_lacks(tmp_path: Path) -> None:
    export = tmp_path / "export.json"
    export.write_text(json.dumps(changed(without(AUDIENCE))), encoding="utf-8")
    (finding,) = realm_findings(tmp_path, export)
    assert finding.state == "wrong"
    assert finding.detail.startswith(f"clients {', '.join(sorted(CLIENTS))}: no mapper names kustos as audience:")
    assert finding.detail.endswith(
        "add the mapper 'Audience' with the included client audience kustos in the client scope that they share"
    )


@pytest.mark.usefixtures("no_keys")
def test_doctor_names_an_audience_that_no_token_will_have_once_and_those_that_tokens_do_have(tmp_path: Path) -> None:
    (finding,) = realm_findings(tmp_path, REALM_FILE, audience="kustoss")
    assert finding.state == "wrong"
    assert "no mapper names kustoss as audience, they name kustos: " in finding.detail
    assert "correct KUSTOS_AUDIENCE" in finding.detail


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize(
    ("allow", "wrong"),
    [
        ("kc:acme:role:default-roles-kustos", True),
        ("kc:acme:group:/accounts", True),
        ("kc:acme:group:/leitung", False),
        ("kc:other:group:/accounts", False),
        (EVERYONE_IN_TENANT, False),
    ],
)
def test_rm_16_doctor_names_documents_for_what_every_account_has(tmp_path: Path, allow: str, wrong: bool) -> None:
    library = open_library(tmp_path, Written("a.txt", ["A"], frozenset({Principal(allow)})))
    library.kustos.close()
    found = [each for each in realm_findings(tmp_path, REALM_FILE) if each.state == "wrong"]
    assert bool(found) == wrong
    assert not wrong or found[0].detail == f"1 document for {allow}, which every account of the realm has"


@pytest.mark.usefixtures("no_keys")
def test_doctor_says_how_the_realm_could_be_checked(tmp_path: Path) -> None:
    (finding,) = realm_findings(tmp_path, None)
    assert finding.state == "note"
    assert "kustos doctor --realm FILE" in finding.detail


@pytest.mark.usefixtures("no_keys")
@pytest.mark.loopback
def test_doctor_says_that_keycloak_does_not_answer(tmp_path: Path) -> None:
    certs = "http://127.0.0.1:9/realms/kustos/protocol/openid-connect/certs"  # nothing listens there (discard)
    (finding,) = realm_findings(tmp_path, None, jwks_url=certs, service_secret="s")
    assert finding.state == "wrong"
    assert "Keycloak cannot be asked at http://127.0.0.1:9: " in finding.detail


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"clients": []}', "\udcff"])
def test_a_file_that_holds_no_realm_is_refused_in_words(tmp_path: Path, text: str) -> None:
    export = tmp_path / "export.json"
    export.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(Misconfigured, match="the export"):
        read_export(export)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"jwks_url": "https://id.example/keys"}, "not an address of Keycloak's"),
        ({"service_secret": ""}, "KUSTOS_SERVICE_SECRET"),
        ({"jwks_url": "http://id.example/realms/a/protocol/openid-connect/certs"}, "must begin with https://"),
    ],
)
def test_keycloak_is_asked_only_where_it_is_known_to_be(given: dict[str, str], words: str) -> None:
    certs = "https://id.example/auth/realms/a/protocol/openid-connect/certs"
    settings = {"issuer": "https://id.example", "realm": "a", "jwks_url": certs, "service_secret": "s", **given}
    with pytest.raises(Misconfigured, match=words):
        RealmReader.of(Settings(**settings))


def test_documents_are_counted_by_the_principals_that_allow_them(tmp_path: Path) -> None:
    one, two = Principal("kc:acme:role:one"), Principal("kc:acme:role:two")
    library = open_library(
        tmp_path,
        Written("a.txt", ["A"], frozenset({one})),
        Written("b.txt", ["B"], frozenset({one, two})),
        Written("c.txt", ["C"], frozenset({two}), deny=frozenset({one})),
    )
    library.regrant(Written("c.txt", ["C"], frozenset()), Acl.nobody())
    status = open_records(Settings(home=tmp_path)).status
    assert status.documents_allowing({one, two, Principal("kc:acme:role:three")}) == {one: 2, two: 1}
