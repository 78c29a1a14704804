"""The realm in deploy/keycloak is what its page says: least privilege, no secret, and the sample company's people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.keycloak_realm.check import everybody, faults
from tests.keycloak_realm import CLIENTS, QUALIFIER, REALM_FILE

TEXT = REALM_FILE.read_text(encoding="utf-8")
REALM: dict[str, Any] = json.loads(TEXT)
COMPANY = yaml.safe_load((Path(__file__).parents[2] / "examples" / "accounts.yaml").read_text(encoding="utf-8"))
BY_NAME = {each["clientId"]: each for each in REALM["clients"]}
PEOPLE = {each["username"]: each for each in REALM["users"] if "serviceAccountClientId" not in each}
SERVICES = {each["serviceAccountClientId"]: each for each in REALM["users"] if "serviceAccountClientId" in each}
OF_ALL = "/accounts"


def test_the_checks_find_nothing_to_say() -> None:
    assert faults(REALM, "kustos", frozenset(CLIENTS)) == []


def test_the_file_holds_no_secret_no_password_and_no_key() -> None:
    assert not re.search(r'"(secret|credentials|value|privateKey|secretData|clientSecret)"', TEXT)
    assert "components" not in REALM
    # What is left out is made by Keycloak; "${NAME}" would become a secret that everybody knows wherever it is not set.
    assert set(re.findall(r"\$\{[^}]*\}", TEXT)) == {"${client_id}", "${client_admin-cli}"}


@pytest.mark.parametrize("name", BY_NAME)
def test_no_client_has_a_flow_that_it_does_not_need(name: str) -> None:
    flows = ("standardFlowEnabled", "implicitFlowEnabled", "directAccessGrantsEnabled", "serviceAccountsEnabled")
    on = {flow for flow in flows if BY_NAME[name][flow]}
    assert on == (
        {"standardFlowEnabled"} if name == "kustos-page" else {"serviceAccountsEnabled"} if name in SERVICES else set()
    )
    device = BY_NAME[name].get("attributes", {}).get("oauth2.device.authorization.grant.enabled") == "true"
    assert device == (name == "kustos-cli")


def test_only_what_cannot_keep_a_secret_is_public() -> None:
    assert {name for name, client in BY_NAME.items() if client["publicClient"]} == {"kustos-cli", "admin-cli"}
    assert {name for name, client in BY_NAME.items() if client["bearerOnly"]} == {"kustos"}


def test_sign_in_leads_back_to_the_page_of_this_machine_until_somebody_says_otherwise() -> None:
    assert BY_NAME["kustos-page"]["redirectUris"] == ["/session/callback"]
    assert BY_NAME["kustos-page"]["rootUrl"] == "http://127.0.0.1:8080"
    assert not [name for name, each in BY_NAME.items() if each["redirectUris"] and name != "kustos-page"]


def test_the_service_client_has_three_roles_and_no_audience_of_ours() -> None:
    assert SERVICES["kustos-service"]["clientRoles"] == {
        "realm-management": ["view-users", "query-groups", "view-events"]
    }
    assert "kustos" not in BY_NAME["kustos-service"]["defaultClientScopes"]
    assert "realmRoles" not in SERVICES["kustos-service"]


def test_nobody_else_administers_anything() -> None:
    others = [each for each in REALM["users"] if each.get("serviceAccountClientId") != "kustos-service"]
    assert all(set(each.get("clientRoles", {})) <= {"kustos"} for each in others)


def test_the_audience_goes_to_our_clients_only() -> None:
    assert "kustos" not in REALM["defaultDefaultClientScopes"]
    carry = {name for name, each in BY_NAME.items() if "kustos" in each["defaultClientScopes"]}
    assert carry == set(CLIENTS)


def test_no_session_outlives_the_day() -> None:
    assert (REALM["accessTokenLifespan"], REALM["ssoSessionMaxLifespan"]) == (300, 36_000)
    assert all(each["optionalClientScopes"] == [] for each in REALM["clients"])  # no offline_access
    assert (REALM["revokeRefreshToken"], REALM["refreshTokenMaxReuse"]) == (True, 0)


def test_passwords_cannot_be_tried_without_end_and_accounts_are_made_by_administrators() -> None:
    assert (REALM["bruteForceProtected"], REALM["registrationAllowed"]) == (True, False)


def test_removals_can_be_followed() -> None:
    assert REALM["eventsEnabled"]
    assert REALM["adminEventsEnabled"]


def test_the_people_are_the_sample_company_with_their_subjects_roles_and_groups() -> None:
    assert {
        (each["username"], each["id"], *each["realmRoles"][1:], *each["groups"][1:]) for each in PEOPLE.values()
    } == {(each["name"], each["subject"], *each["roles"], *each["groups"]) for each in COMPANY["accounts"]}
    for each in PEOPLE.values():
        assert (each["realmRoles"][0], each["groups"][0]) == (REALM["defaultRole"]["name"], OF_ALL)


def test_duties_are_those_of_the_sample_company_and_nobody_has_two() -> None:
    duties = {each["name"]: each.get("duties", []) for each in COMPANY["accounts"]}
    assert {name: each["clientRoles"]["kustos"][1:] for name, each in PEOPLE.items()} == duties
    assert sorted(map(tuple, duties.values()))[-3:] == [("auditor",), ("evaluator",), ("operator",)]
    assert max(map(len, duties.values())) == 1


def test_the_groups_are_those_of_the_sample_company() -> None:
    assert set(paths(REALM["groups"])) - {OF_ALL} == set(COMPANY["groups"])


def paths(groups: list[dict[str, Any]], above: str = "") -> Iterator[str]:
    for each in groups:
        yield f"{above}/{each['name']}"
        yield from paths(each.get("subGroups", []), f"{above}/{each['name']}")


def test_every_account_has_a_group_because_keycloak_leaves_an_empty_list_out_of_the_token() -> None:
    assert REALM["defaultGroups"] == [OF_ALL]
    with_tokens = [each for each in REALM["users"] if each.get("serviceAccountClientId") != "kustos-service"]
    assert all(OF_ALL in each["groups"] for each in with_tokens)


def test_what_every_account_has_stands_in_no_right_of_the_sample_company() -> None:
    of_all = {each.rsplit(":", 1)[-1] for each in everybody(REALM, "kustos", frozenset(CLIENTS), QUALIFIER)}
    assert of_all == {"default-roles-kustos", OF_ALL}
    company = Path(__file__).parents[2] / "examples" / "company"
    written = "".join(each.read_text(encoding="utf-8") for each in company.rglob("*access.yaml"))
    assert not [name for name in of_all if name in written]
