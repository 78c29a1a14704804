"""What is missing or unsafe in a Keycloak realm, read off its representation. No vendor; I/O only to read an export.

The representation is that of an export (`RealmRepresentation`). The file in deploy/keycloak, what `kc.sh export` writes
and what `administration` puts together from a running server have the same shape. Only clients whose tokens Kustos
accepts are looked at; what others do is refused by `api.tokens.auth`. The rules follow RFC 9700 (best practice for
OAuth 2.0) and Keycloak's own advice for production.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from api.loopback import LOOPBACK_NAMES
from rag.access import principals
from rag.access.principals import Principal
from rag.errors import BadPrincipal, Misconfigured

Realm = Mapping[str, Any]
Client = Mapping[str, Any]
Mapper = Mapping[str, Any]
MAX_TOKEN_S = 900
"""Life of an access token beyond which it is worth a word: what a token says may be that old where nobody asks anew."""
DUTIES = frozenset({"operator", "auditor", "evaluator"})
"""Roles of our client that open more than reading."""
RIGHTS = ("groups", "realm_access", "resource_access", "sub")
"""Claims that principals are made of."""
HARDCODED = ("oidc-hardcoded-claim-mapper", "oidc-hardcoded-role-mapper")
BY_ATTRIBUTE = ("oidc-usermodel-attribute-mapper", "oidc-usermodel-property-mapper")
NO_TOKENS = (
    "asks for no tokens, because it is bearer-only or has no flow on; name those that do in KUSTOS_CLIENTS, which "
    "means the client named by KUSTOS_AUDIENCE where it is empty"
)
PROFILE = "org.keycloak.userprofile.UserProfileProvider"
FLOWS = ("standardFlowEnabled", "implicitFlowEnabled", "directAccessGrantsEnabled", "serviceAccountsEnabled")
GRANTS = (".grant.enabled", "token.exchange.enabled")
"""How attributes end that switch on what is no flow of the above: devices, CIBA, exchange."""
EDITABLE = frozenset({"email", "firstName", "lastName"})
"""Attributes that people edit themselves under Keycloak's user profile as it comes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to mend (`wrong`) or to know (`note`), in a sentence that says what to do."""

    state: Literal["wrong", "note"]
    detail: str


def read_export(file: Path) -> Realm:
    """The realm in a file that Keycloak exported.

    Raises:
        Misconfigured: it cannot be read, or holds none.
    """
    try:
        realm = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"the export {file} cannot be read: {error}") from error
    if not isinstance(realm, dict) or "clients" not in realm or "clientScopes" not in realm:
        raise Misconfigured(f"the export {file} holds no realm with its clients; export those too")
    return realm


def faults(realm: Realm, audience: str, clients: Set[str]) -> list[Fault]:
    """Everything that is missing or unsafe for a service with this audience that accepts tokens of these clients.

    What is so of several clients is said once, with their names.
    """
    there = {each["clientId"]: each for each in realm.get("clients", ())}
    accepted = [there[name] for name in sorted(clients) if name in there and there[name].get("enabled", True)]
    found = list(_of_realm(realm))
    named = {name for each in accepted for mapper in _always(realm, each) for name in _given(mapper)}
    if audience not in there and (audience in named or not named):  # else the setting is wrong, which is said below
        found.append(Fault("wrong", f"there is no client {audience}; add one, bearer-only, for the roles of Kustos"))
    for name in sorted(clients - {each["clientId"] for each in accepted}):
        found.append(Fault("wrong", f"client {name} is missing or disabled, and KUSTOS_CLIENTS names it"))
    found += _of_duties(realm, audience, clients)
    silent = Fault("note" if any(map(_asks, accepted)) else "wrong", NO_TOKENS)
    of_clients: dict[Fault, list[str]] = {}
    for client in accepted:
        for fault in dict.fromkeys(_of_client(realm, client, audience) if _asks(client) else [silent]):
            of_clients.setdefault(fault, []).append(client["clientId"])
    return found + [Fault(each.state, f"{_named(names)}: {each.detail}") for each, names in of_clients.items()]


def _asks(client: Client) -> bool:
    """Whether there can be tokens that were issued to this client. Keycloak leaves the standard flow on unless told."""
    attributes = client.get("attributes") or {}
    granted = any(name.endswith(GRANTS) and value == "true" for name, value in attributes.items())
    flows = any(client.get(each, each == "standardFlowEnabled") for each in FLOWS)
    return not client.get("bearerOnly") and (flows or granted)


def _named(clients: Sequence[str]) -> str:
    return f"client{'s' if len(clients) > 1 else ''} {', '.join(clients)}"


def led_elsewhere(realm: Realm, name: str, page: str, path: str, origin: str) -> Iterator[Fault]:
    """That sign-in through the client of this name may not lead back to `path` of the page, if so.

    Addresses are resolved and compared as Keycloak does. Its own `origin` stands in for a root URL that is not set.
    """
    for client in realm.get("clients", ()):
        if client["clientId"] != name:
            continue
        root = client.get("rootUrl") or origin
        allowed = [root + each if each.startswith("/") else each for each in client.get("redirectUris") or ()]
        if not any(_matches(each, page + path) for each in allowed):
            yield Fault(
                "wrong",
                f"client {name}: sign-in may lead back to {', '.join(allowed) or 'no address'}, but the page of "
                f"KUSTOS_PAGE_URL={page} needs {page}{path}; set the client's root URL to {page} and its redirect "
                f"address to {path}, or correct KUSTOS_PAGE_URL",
            )


def _matches(allowed: str, address: str) -> bool:
    """Whether an allowed redirect address lets this one pass: on this machine, one without a port allows any port."""
    if allowed.endswith("*"):
        return address.startswith(allowed[:-1])
    url = urlsplit(address)
    name = url.netloc.removesuffix(f":{url.port}")
    here = url.scheme == "http" and name in LOOPBACK_NAMES
    return allowed == address or (here and allowed == f"http://{name}{url.path}")


def everybody(realm: Realm, audience: str, clients: Set[str], name: str) -> frozenset[Principal]:
    """Principals that every account of the realm has, made a minute ago or not, qualified by `name`.

    They come from the default role, from the default groups with those above them and the roles of these, each role
    with what it is composed of, and from roles that a mapper puts into every token.
    """
    made = [_role(name, audience, client, role) for client, role in _roles_of_all(realm, clients)]
    made += [_principal(principals.group, name, path) for path in _groups_of_all(realm)]
    return frozenset(each for each in made if each is not None)


def _of_duties(realm: Realm, audience: str, clients: Set[str]) -> Iterator[Fault]:
    """Duties that nobody was chosen for, and that somebody should not have together."""
    for duty in sorted(DUTIES & {role for client, role in _roles_of_all(realm, clients) if client == audience}):
        yield Fault(
            "wrong",
            f"every account has the duty {duty}; take that role of {audience} out of the default role, the default "
            "groups and the mappers, and give it to whom you mean",
        )
    for each in realm.get("users") or ():
        held = sorted(DUTIES & set((each.get("clientRoles") or {}).get(audience, ())))
        if len(held) > 1:
            yield Fault("note", f"{each['username']} has the duties {' and '.join(held)}; give nobody two of them")


def _of_realm(realm: Realm) -> Iterator[Fault]:
    if realm.get("sslRequired") == "none":
        yield Fault("wrong", "passwords and tokens may cross the network in the clear; set Require SSL to external")
    if realm.get("registrationAllowed"):
        yield Fault("note", "anybody can make an account; switch user registration off if that is not meant")
    if not realm.get("bruteForceProtected"):
        yield Fault("note", "passwords can be tried without end; switch brute force detection on")
    if realm.get("accessTokenLifespan", 300) > MAX_TOKEN_S:
        yield Fault("note", f"access tokens live {realm['accessTokenLifespan']} s; five minutes are enough")
    if not realm.get("defaultGroups"):
        yield Fault(
            "note",
            "there is no default group: Keycloak leaves groups out of the token of an account that has none, "
            "and such a token is refused",
        )
    for name in _with_slash(realm.get("groups") or ()):
        yield Fault(
            "wrong",
            f"the group named {name} has a slash in its name, so its path may be that of another group; rights by "
            "path go to neither it nor what is below it, so rename it, or write its id",
        )


def _with_slash(groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Names with a slash, which Keycloak does not escape in paths unless it is told to."""
    return (each["name"] for _, each in _flat(groups) if "/" in each.get("name", ""))


def _of_client(realm: Realm, client: Client, audience: str) -> Iterator[Fault]:
    for check in (_flows, _redirects, _proof, _lightweight):
        for fault in check(client):
            yield Fault("wrong", fault)
    for fault in _missing(_always(realm, client), audience):
        yield Fault("wrong", fault)
    for mapper in _mappers(realm, client, ("defaultClientScopes", "optionalClientScopes")):
        yield from _given_by_hand(realm, mapper)


def _flows(client: Client) -> Iterator[str]:
    if client.get("implicitFlowEnabled"):
        yield "the implicit flow is on, which puts tokens into addresses; switch it off"
    if client.get("directAccessGrantsEnabled"):
        yield "direct access grants are on, so passwords go through the client; switch them off"


def _redirects(client: Client) -> Iterator[str]:
    if not (client.get("standardFlowEnabled") or client.get("implicitFlowEnabled")):
        return
    for uri in client.get("redirectUris") or ():
        url = urlsplit(uri)
        if "*" in uri:
            yield f"redirect address {uri} has a wildcard; name each address in full"
        elif url.scheme == "http" and url.hostname not in ("127.0.0.1", "::1", "localhost"):
            yield f"redirect address {uri} is not https"
    if "*" in (client.get("webOrigins") or ()):
        yield "pages of every origin may use it (web origins: *); name the origins, or none"


def _proof(client: Client) -> Iterator[str]:
    method = (client.get("attributes") or {}).get("pkce.code.challenge.method")
    if client.get("standardFlowEnabled") and method != "S256":
        yield "PKCE is not demanded; set Proof Key for Code Exchange to S256"


def _lightweight(client: Client) -> Iterator[str]:
    if (client.get("attributes") or {}).get("client.use.lightweight.access.token.enabled") == "true":
        yield "its access tokens are lightweight, which leaves roles and groups out; switch that off"


def _missing(mappers: Sequence[Mapper], audience: str) -> Iterator[str]:
    """What an access token of a client with these mappers would lack."""
    named = {name for each in mappers for name in _given(each)}
    if audience not in named:
        others = f", they name {', '.join(sorted(named))}" if named else ""
        yield (
            f"no mapper names {audience} as audience{others}: all tokens are refused; correct KUSTOS_AUDIENCE, or add "
            f"the mapper 'Audience' with the included client audience {audience} in the client scope that they share"
        )
    groups = [each for each in mappers if _fills(each, "oidc-group-membership-mapper", "groups")]
    if not groups:
        yield "no mapper puts groups into the access token; add 'Group Membership' with the claim name groups"
    elif not all(each["config"].get("full.path", "true") == "true" for each in groups):
        yield "groups come without their path, so groups of the same name are confused; switch 'Full group path' on"
    if not any(_fills(each, "oidc-usermodel-realm-role-mapper", "realm_access.roles") for each in mappers):
        yield "no mapper puts realm roles into the access token; add the client scope roles"
    if not any(_fills(each, "oidc-sub-mapper") for each in mappers):
        yield "no mapper puts the subject into the access token; add the client scope basic"


def _given(mapper: Mapper) -> set[str]:
    """The audiences that this mapper names in tokens."""
    if not _fills(mapper, "oidc-audience-mapper"):
        return set()
    config = mapper.get("config", {})
    return {config[each] for each in ("included.client.audience", "included.custom.audience") if config.get(each)}


def _fills(mapper: Mapper, kind: str, claim: str | None = None) -> bool:
    """Whether this is a mapper of that kind which fills the claim in access tokens and in what introspection says."""
    config = mapper.get("config", {})
    return (
        mapper.get("protocolMapper") == kind
        and config.get("access.token.claim", "true") == "true"
        and config.get("introspection.token.claim", "true") == "true"
        and (claim is None or config.get("claim.name") == claim)
    )


def _given_by_hand(realm: Realm, mapper: Mapper) -> Iterator[Fault]:
    """Mappers that make principals out of something else than roles and groups."""
    config, kind = mapper.get("config", {}), mapper.get("protocolMapper")
    claim, which = config.get("claim.name", ""), f"mapper {mapper.get('name')}"
    if claim.split(".")[0] not in RIGHTS or config.get("access.token.claim", "true") != "true":
        return
    if kind in HARDCODED:
        yield Fault("wrong", f"{which} writes the same {claim} into everybody's token; remove it")
    elif kind in BY_ATTRIBUTE:
        attribute = config.get("user.attribute", "")
        if _edited_by_people(realm, attribute):
            yield Fault("wrong", f"{which} fills {claim} from {attribute}, which people edit themselves; remove it")
        else:
            yield Fault("note", f"{which} fills {claim} from the attribute {attribute}; only administrators may set it")


def _edited_by_people(realm: Realm, attribute: str) -> bool:
    profile = _profile(realm)
    if attribute == "username":
        return bool(realm.get("editUsernameAllowed"))
    if profile is None:
        return attribute in EDITABLE
    declared = {each["name"]: each for each in profile.get("attributes", ())}
    if attribute in declared:
        return "user" in declared[attribute].get("permissions", {}).get("edit", ())
    return profile.get("unmanagedAttributePolicy") == "ENABLED"


def _profile(realm: Realm) -> Mapping[str, Any] | None:
    """The user profile of the realm; None where it is Keycloak's own."""
    for component in realm.get("components", {}).get(PROFILE, ()):
        for text in component.get("config", {}).get("kc.user.profile.config", ()):
            parsed: Mapping[str, Any] = json.loads(text)
            return parsed
    return None


def _always(realm: Realm, client: Client) -> list[Mapper]:
    """The mappers that count for every token of the client."""
    return list(_mappers(realm, client, ("defaultClientScopes",)))


def _mappers(realm: Realm, client: Client, kinds: Sequence[str]) -> Iterator[Mapper]:
    """The client's own mappers and those of its scopes."""
    scopes = {each["name"]: each for each in realm.get("clientScopes", ())}
    yield from client.get("protocolMappers") or ()
    for kind in kinds:
        for name in client.get(kind) or ():
            yield from scopes.get(name, {}).get("protocolMappers") or ()


def _roles_of_all(realm: Realm, clients: Set[str]) -> set[tuple[str, str]]:
    """(client, role) of every role that all accounts have; the client of a realm role is empty."""
    given = {("", realm.get("defaultRole", {}).get("name", ""))}
    for path, each in _flat(realm.get("groups") or ()):
        if path in _groups_of_all(realm):
            given |= {("", role) for role in each.get("realmRoles") or ()}
            given |= {(client, role) for client, roles in (each.get("clientRoles") or {}).items() for role in roles}
    return _with_parts(realm, given) | {role for role in _hardcoded_roles(realm, clients) if role}


def _groups_of_all(realm: Realm) -> set[str]:
    return {group for path in realm.get("defaultGroups") or () for group in with_parents(path)}


def _flat(groups: Sequence[Mapping[str, Any]], above: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every group with its path, which a file that was written by hand leaves out."""
    for each in groups:
        path = each.get("path") or f"{above}/{each.get('name', '')}"
        yield path, each
        yield from _flat(each.get("subGroups") or (), path)


def _with_parts(realm: Realm, given: Set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Roles with all that they are composed of."""
    made = {("", each["name"]): each for each in realm.get("roles", {}).get("realm", ())}
    for client, roles in realm.get("roles", {}).get("client", {}).items():
        made |= {(client, each["name"]): each for each in roles}
    found: set[tuple[str, str]] = set()
    waiting = list(given)
    while waiting:
        role = waiting.pop()
        if role[1] and role not in found:
            found.add(role)
            parts = made.get(role, {}).get("composites", {})
            waiting += [("", name) for name in parts.get("realm", ())]
            waiting += [(client, name) for client, names in parts.get("client", {}).items() for name in names]
    return found


def _hardcoded_roles(realm: Realm, clients: Set[str]) -> Iterator[tuple[str, str]]:
    for client in realm.get("clients", ()):
        if client["clientId"] in clients:
            for mapper in _mappers(realm, client, ("defaultClientScopes", "optionalClientScopes")):
                if mapper.get("protocolMapper") == "oidc-hardcoded-role-mapper":
                    owner, _, role = mapper.get("config", {}).get("role", "").rpartition(".")
                    yield owner, role


def with_parents(path: str) -> Iterator[str]:
    """The group's path, and those of the groups above it."""
    parts = path.split("/")[1:]
    yield from ("/" + "/".join(parts[: n + 1]) for n in range(len(parts)))


def _role(name: str, audience: str, client: str, role: str) -> Principal | None:
    if not client:
        return _principal(principals.realm_role, name, role)
    if client != audience:
        return None  # roles at other clients make no principal
    return _principal(lambda realm, of: principals.client_role(realm, client, of), name, role)


def _principal(make: Callable[[str, str], Principal], realm: str, name: str) -> Principal | None:
    """The principal; None for a name that no right can hold."""
    try:
        return make(realm, name)
    except BadPrincipal:
        return None
