"""Principals: opaque typed strings, qualified by where they come from (DESIGN section 4).

    kc:<realm>:user:<sub>                  kc:<realm>:role:<name>
    kc:<realm>:client:<client>:role:<name> kc:<realm>:group:<full path>
    kc:<realm>:group-id:<id>
    entra:<tenant>:group:<id>   posix:<host>:gid:1003   ad:<sid>   sys:everyone-in-tenant

Never an e-mail address, a display name or the leaf name of a group: those are reassigned and collide (RM-01, RM-12).
Names are compared byte for byte; nothing is folded, trimmed or normalised, because the identity provider does not
(RM-08). A name that holds `:` cannot shift a boundary: the parts before the last are percent-encoded, the last may hold
anything.
"""

from __future__ import annotations

import re
from typing import NewType
from urllib.parse import quote

from rag.errors import BadPrincipal

Principal = NewType("Principal", str)

EVERYONE_IN_TENANT = Principal("sys:everyone-in-tenant")
MAX_LENGTH = 1024
_NAMESPACES = ("kc", "entra", "posix", "ad")
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")  # no database and no UTF-8 takes these
_FORM = re.compile(r"[a-z]+:.+", re.DOTALL)


def user(realm: str, subject: str) -> Principal:
    return _keycloak(realm, "user", subject)


def realm_role(realm: str, name: str) -> Principal:
    return _keycloak(realm, "role", name)


def client_role(realm: str, client: str, name: str) -> Principal:
    return _keycloak(realm, f"client:{_part(client)}:role", name)


def group(realm: str, path: str) -> Principal:
    """`path` is the full path with its leading slash, as Keycloak's full-path group mapper gives it."""
    if not path.startswith("/"):
        raise BadPrincipal(f"group {path!r} is not a full path; write it with its leading slash, as in /sales/north")
    return _keycloak(realm, "group", path)


def group_by_id(realm: str, identifier: str) -> Principal:
    """`identifier` is Keycloak's own id of the group, which no other group ever gets."""
    return _keycloak(realm, "group-id", identifier)


def parse(text: str) -> Principal:
    """The principal written out in full.

    Raises:
        BadPrincipal: the text is not a qualified principal, or claims a reserved name.
    """
    if text == EVERYONE_IN_TENANT:
        return EVERYONE_IN_TENANT
    if not _FORM.fullmatch(text) or text.split(":", 1)[0] not in _NAMESPACES:
        raise BadPrincipal(
            f"{text!r} is not a principal; write it as namespace:...:name with one of the namespaces "
            f"{', '.join(_NAMESPACES)}, or {EVERYONE_IN_TENANT}"
        )
    return _checked(text)


def _keycloak(realm: str, kind: str, name: str) -> Principal:
    if not realm or not name:
        raise BadPrincipal(f"a {kind} principal needs a realm and a name; got realm {realm!r} and name {name!r}")
    return _checked(f"kc:{_part(realm)}:{kind}:{name}")


def _part(text: str) -> str:
    return quote(text, safe="-._~@ ")


def _checked(text: str) -> Principal:
    if len(text) > MAX_LENGTH or _UNWRITABLE.search(text):
        raise BadPrincipal(
            f"a principal may have {MAX_LENGTH} characters, no NUL and no lone surrogate; got {text[:60]!r}..."
        )
    return Principal(text)
