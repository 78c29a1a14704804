"""From a bearer token to a `Caller`, or to nothing. Every issuer's tokens, the demo's too, go through `Identity`.

The rules, in order; each failure is `NotAuthenticated` and no claim is used (RFC 7515, 7519, 8725, OWASP ASVS 9):

 1. at most 16 kB of ASCII; exactly three parts, so no JWE (TV-20); canonical base64url without padding (TV-19);
 2. header and payload are JSON objects without duplicate names (TV-19);
 3. the header holds `alg`, `kid`, `typ` and nothing else: no `crit`, no key or address of one (TV-04, TV-05);
 4. `alg` is RS256, PS256 or ES256, and is the algorithm of the issuer's key with that `kid` (TV-01, TV-02, TV-03);
 5. `iss` is exactly that of a configured issuer, whose own keys verify the signature (TV-12, TV-13);
 6. `aud` names us, `azp` is a client that may ask for people, `typ` is Bearer (TV-14, TV-15, TV-16);
 7. `exp` is there and not past, `nbf` and `iat` are not ahead, within `LEEWAY_S` (TV-17);
 8. rights are there and have the shape that Keycloak gives them; without `realm_access`, or without `groups` where
    the person's groups are not asked for beside it (a lightweight token, a mapper that is missing, Entra's overage), a
    deny could not be seen, so it is refused, as is another shape: neither is read as "none" or "all" (RM-09, RM-10,
    TV-23);
 9. the issuer says that the token is worth something now, and means this one (`SAME`); what it says of roles, and which
    groups it has the person in, counts, and what the token says of them does not (RC-01, RC-06, TV-24).

Rules 1 to 7 are decided here, at once; what passes them is `Verified`, which opens nothing. Rule 9 makes the `Caller`,
of what rule 8 demands; an issuer that cannot be asked is taken at its token's word, by rule 8 alone.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence, Set
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import jwt

from api.tokens.claims import Claims, claims_in
from api.tokens.confirmation import Unconfirmed
from api.tokens.freshness import Freshness, Standing
from api.tokens.introspection import Introspection
from api.tokens.jwks import Jwk, KeySource
from rag.access import principals
from rag.access.principals import Principal
from rag.access.scope import Caller
from rag.errors import BadPrincipal, NotAllowed, NotAuthenticated, Unavailable

MAX_TOKEN_BYTES = 16_384
MAX_NAME = 255
LEEWAY_S = 30
ALGORITHMS = {"RS256": ("RSA", None), "PS256": ("RSA", None), "ES256": ("EC", "P-256")}
"""Accepted algorithms, and the type and curve of the key that each is for."""
HEADER_NAMES = {"alg", "kid", "typ"}
HEADER_TYPES = ("JWT", "at+jwt")
MAPPERS = {
    "groups": "'Group Membership' with 'Full group path' on",
    "realm_access": "'realm roles' (client scope 'roles')",
}
"""Claims without which a token says too little, and what puts them in."""
SAME = ("iss", "sub", "azp", "typ", "jti", "sid", "exp")
"""Claims by which an answer about a token is known to be about that token and nobody else's (TV-24)."""
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class Worth(Protocol):
    """Says what a verified token is worth now."""

    def caller(self, token: Verified) -> Future[Caller]:
        """Who it stands for, with the rights of this moment; the answer may be NotAuthenticated or Unavailable.

        Raises:
            Overloaded: too many are asked for already.
        """

    def forget(self, *, subject: str | None = None, session: str | None = None) -> None:
        """Nothing that was known before holds any longer, of this account, of this session, or of anybody."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """An identity provider whose tokens are accepted.

    Attributes:
        url: `iss`, compared byte for byte.
        audience: what `aud` must contain; also the client whose client roles count.
        realm: name that qualifies the principals.
        tenant: the tenant that its people belong to, whatever a token or request says (MT-02).
        clients: accepted values of `azp`; a token for any other client is refused.
        worth: what its tokens are worth now.
    """

    url: str
    audience: str
    realm: str
    tenant: str
    clients: frozenset[str]
    keys: KeySource
    worth: Worth


@dataclass(frozen=True, slots=True)
class Verified:
    """A token that its issuer signed for us. What it is worth now is not known, so it has no principals.

    `subject` is whom it names, as in `Caller`.
    """

    text: str = field(repr=False)
    subject: str
    claims: Claims = field(repr=False)
    issuer: Issuer


class GroupsNow(Protocol):
    """Says which groups somebody is in now, by their ids."""

    def asked(self, subject: str) -> AbstractContextManager[Callable[[], frozenset[Principal]]]:
        """Asks; what the block is given waits for those of the account with this id.

        Raises:
            NotAllowed, Unavailable: they cannot be known; on asking and on waiting.
        """


class AsIssued:
    """For accounts that nobody administers, the demo's: a token is worth what it says until it expires."""

    def caller(self, token: Verified) -> Future[Caller]:
        known: Future[Caller] = Future()
        known.set_result(_caller(token.claims, token.issuer))
        return known

    def forget(self, *, subject: str | None = None, session: str | None = None) -> None:
        """Nothing is remembered."""


@dataclass(frozen=True, slots=True)
class AskedOfKeycloak:
    """A token is worth what Keycloak says at this moment, or said within the stated time.

    `groups` are asked for beside it, because what says of roles what they are says of groups only how they are called.
    Without it they count by their paths, as the answer has them.
    """

    introspection: Introspection
    freshness: Freshness
    groups: GroupsNow | None = None

    def caller(self, token: Verified) -> Future[Caller]:
        return self.freshness.caller(token.text, lambda: self._standing(token))

    def forget(self, *, subject: str | None = None, session: str | None = None) -> None:
        self.freshness.forget(subject=subject, session=session)

    def _standing(self, token: Verified) -> Standing:
        """Both questions are on their way before either answer is waited for."""
        with self._groups_of(token) as groups:
            answer = self.introspection.claims(token.text)
            _check_same(token.claims, answer)
            _check_purpose(answer, token.issuer)
            caller = _caller(answer, token.issuer, groups())
            return Standing(caller, _session(answer), _seconds(answer, "exp") or 0)

    @contextmanager
    def _groups_of(self, token: Verified) -> Iterator[Callable[[], frozenset[Principal] | None]]:
        if self.groups is None:
            yield lambda: None
            return
        try:
            with self.groups.asked(_subject(token.claims)) as groups:
                yield groups
        except NotAllowed as error:  # that we may not ask is no fault of his
            raise Unavailable(str(error)) from error


def named_issuer(token: str, types: Collection[str] = HEADER_TYPES) -> str:
    """`iss` of a token whose form is right (rules 1 to 3). Nothing of it is verified: it only says who is to judge it.

    Raises:
        NotAuthenticated: its form is not right, or it names no issuer.
    """
    name = _parts(token, types)[1].get("iss")
    if not isinstance(name, str):
        raise NotAuthenticated("the token's iss is not a text")
    return name


class Identity:
    """Knows the issuers; has no other state."""

    def __init__(self, issuers: Sequence[Issuer], clock: Callable[[], float] = time.time) -> None:
        self._issuers = {each.url: each for each in issuers}
        self._clock = clock
        self._jws = jwt.PyJWS(algorithms=list(ALGORITHMS), options={"enforce_minimum_key_length": True})

    def verified(self, token: str) -> Verified:
        """The token, by rules 1 to 7.

        Raises:
            NotAuthenticated: one of them fails.
            Unavailable: the issuer's keys cannot be fetched.
        """
        issuer, claims = self.signed(token)
        _check_purpose(claims, issuer)
        check_time(claims, self._clock())
        return Verified(token, _person(claims, issuer), claims, issuer)

    def signed(self, token: str, types: Collection[str] = HEADER_TYPES) -> tuple[Issuer, Claims]:
        """Rules 1 to 5 alone: what an accepted issuer has signed, not yet what it is good for and whether it has ended.

        Args:
            types: accepted values of the header's `typ`.

        Raises:
            NotAuthenticated, Unavailable: as above.
        """
        header, claims = _parts(token, types)
        issuer = self._issuer(claims)
        self._check_signature(token, header, issuer)
        return issuer, claims

    @property
    def issuers(self) -> frozenset[str]:
        """Whose tokens are accepted, as `iss` names them."""
        return frozenset(self._issuers)

    def has_duty(self, caller: Caller, duty: str) -> bool:
        """Whether the caller has the role of this name at our client; those of other clients do not count (RM-06)."""
        ours = [each for each in self._issuers.values() if each.tenant == caller.tenant]
        return any(principals.client_role(each.realm, each.audience, duty) in caller.principals for each in ours)

    def unconfirmed(self, token: str) -> Unconfirmed:
        """Who the token stands for, once its issuer has said what it is worth; that is asked for when this returns.

        Raises:
            NotAuthenticated, Unavailable: as `verified`.
            Overloaded: too many are asked for already.
        """
        return self.asked(self.verified(token))

    def asked(self, verified: Verified) -> Unconfirmed:
        """As `unconfirmed`, of a token that is verified.

        Raises:
            Overloaded: as above.
        """
        return Unconfirmed(verified.subject, lambda: verified.issuer.worth.caller(verified))

    def caller(self, token: str) -> Caller:
        """As `unconfirmed`, waiting for the answer.

        Raises:
            NotAuthenticated: any rule of this module's list fails.
            Unavailable: the issuer's keys cannot be fetched, or it does not say what the token is worth.
        """
        return self.unconfirmed(token).wait()

    def forget(self, *, subject: str | None = None, session: str | None = None) -> None:
        """What was known of an account (`Caller.subject`), of a session (`sid`) or of everybody is asked for anew.

        For whoever hears that something was taken away: admin events, back-channel logout.
        """
        for issuer in self._issuers.values():
            issuer.worth.forget(subject=subject, session=session)

    def _issuer(self, claims: Claims) -> Issuer:
        name = claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise NotAuthenticated(f"the token is of an issuer that is not accepted here: {name!a:.200}")
        return issuer

    def _check_signature(self, token: str, header: Claims, issuer: Issuer) -> None:
        kid, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(kid, str) or not 0 < len(kid) <= MAX_NAME:
            raise NotAuthenticated("the token's header has no usable kid")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise NotAuthenticated("the token's algorithm is not accepted")
        published = issuer.keys.key(kid)
        if published is None:
            raise NotAuthenticated("the token is signed with a key that its issuer does not have")
        _check_key(published, algorithm)
        try:
            self._jws.decode(token, jwt.PyJWK(dict(published), algorithm), algorithms=[algorithm])
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise NotAuthenticated(f"the token's signature does not verify: {type(error).__name__}") from error


def usable(key: Jwk) -> bool:
    """Whether tokens signed with this published key can be accepted."""
    return any(_signs(key, algorithm) for algorithm in ALGORITHMS)


def _signs(key: Jwk, algorithm: str) -> bool:
    try:
        _check_key(key, algorithm)
        parsed = jwt.PyJWK(dict(key), algorithm)
    except (NotAuthenticated, jwt.PyJWTError, ValueError, TypeError):
        return False
    return parsed.Algorithm.check_key_length(parsed.key) is None


def _parts(token: str, types: Collection[str]) -> tuple[Claims, Claims]:
    """Header and payload of a token whose form is right. Nothing is verified yet."""
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise NotAuthenticated("the token is too long, or not ASCII")
    parts = token.split(".")
    if len(parts) != 3:
        raise NotAuthenticated("the token is not a signed JWT of three parts")
    header, claims, _ = (_base64url(part) for part in parts)
    found = _json_object(header), _json_object(claims)
    if not set(found[0]) <= HEADER_NAMES or found[0].get("typ") not in types:
        raise NotAuthenticated("the token's header has names or a typ that are not accepted")
    return found


def _base64url(part: str) -> bytes:
    if not _BASE64URL.fullmatch(part):
        raise NotAuthenticated("the token is not strict base64url")
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise NotAuthenticated("the token is not strict base64url") from error
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode():
        raise NotAuthenticated("the token is not canonical base64url")
    return decoded


def _json_object(data: bytes) -> Claims:
    try:
        return claims_in(data)
    except ValueError as error:
        raise NotAuthenticated("the token does not hold JSON objects without duplicate names") from error


def _check_key(published: Jwk, algorithm: str) -> None:
    """The algorithm is bound to the key: its type, curve and use, and its `alg` (RS256 or ES256 if it has none)."""
    kind, curve = ALGORITHMS[algorithm]
    default = "ES256" if kind == "EC" else "RS256"
    bound = (
        published.get("kty") == kind
        and (curve is None or published.get("crv") == curve)
        and published.get("alg", default) == algorithm
        and published.get("use", "sig") == "sig"
    )
    if not bound:
        raise NotAuthenticated("the token's algorithm is not that of its key")


def _check_purpose(claims: Claims, issuer: Issuer) -> None:
    audience = claims.get("aud")
    names = audience if isinstance(audience, list) else [audience]
    if issuer.audience not in names:
        raise NotAuthenticated(f"the token is for another audience than {issuer.audience!a}: {audience!a:.200}")
    client = claims.get("azp")
    if not isinstance(client, str) or client not in issuer.clients:
        raise NotAuthenticated(f"the token was issued to a client that is not accepted here: {client!a:.200}")
    if claims.get("typ") != "Bearer":
        raise NotAuthenticated("the token is not an access token")


def _check_same(claims: Claims, answer: Claims) -> None:
    differing = [name for name in SAME if claims.get(name) != answer.get(name)]
    if differing or answer.get("client_id") != claims.get("azp"):
        raise NotAuthenticated(f"the identity provider spoke of another token; different: {differing or 'client_id'}")


def _session(answer: Claims) -> str | None:
    session = answer.get("sid")
    return session if isinstance(session, str) else None


def check_time(claims: Claims, now: float) -> None:
    """Rule 7.

    Raises:
        NotAuthenticated: the token has ended, or does not end, or is not valid yet.
    """
    expires, begins, issued = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise NotAuthenticated("the token does not expire")
    if now >= expires + LEEWAY_S:
        raise NotAuthenticated("the token has expired")
    if max(begins or 0, issued or 0) > now + LEEWAY_S:
        raise NotAuthenticated("the token is not valid yet")


def _seconds(claims: Claims, name: str) -> int | None:
    value = claims.get(name)
    if name in claims and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise NotAuthenticated(f"the token's {name} is not a time")
    return value if isinstance(value, int) else None


def _subject(claims: Claims) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_NAME:
        raise NotAuthenticated("the token names nobody")
    return subject


def _person(claims: Claims, issuer: Issuer) -> Principal:
    try:
        return principals.user(issuer.realm, _subject(claims))
    except BadPrincipal as error:
        raise NotAuthenticated(f"the token names nobody: {error}") from error


def _caller(claims: Claims, issuer: Issuer, groups: Set[Principal] | None = None) -> Caller:
    """Rule 8. `groups` count instead of those that the claims name, if they are known otherwise."""
    person = _person(claims, issuer)
    try:
        held = {*_roles(claims, issuer), *(_groups(claims, issuer) if groups is None else groups)}
    except BadPrincipal as error:
        raise NotAuthenticated(f"the token's rights cannot be read: {error}") from error
    return Caller(issuer.tenant, person, frozenset({person, *held}), client=str(claims["azp"]))


def _roles(claims: Claims, issuer: Issuer) -> set[Principal]:
    """Realm roles and our client's roles. Roles at other clients do not count (RM-06)."""
    _check_there(claims, "realm_access")
    realm, client = issuer.realm, issuer.audience
    ours = _object(_object(claims, "resource_access"), client)
    return {
        *(principals.realm_role(realm, name) for name in _names(_object(claims, "realm_access"), "roles")),
        *(principals.client_role(realm, client, name) for name in _names(ours, "roles")),
    }


def _groups(claims: Claims, issuer: Issuer) -> set[Principal]:
    _check_there(claims, "groups")
    return {principals.group(issuer.realm, path) for path in _names(claims, "groups")}


def _check_there(claims: Claims, name: str) -> None:
    if name not in claims:
        raise NotAuthenticated(f"the token has no {name}; add Keycloak's mapper {MAPPERS[name]} to the access token")


def _object(claims: Claims, name: str) -> Claims:
    value = claims.get(name, {})
    if not isinstance(value, dict):
        raise NotAuthenticated(f"the token's {name} is not an object")
    return value


def _names(claims: Claims, name: str) -> list[str]:
    value = claims.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise NotAuthenticated(f"the token's {name} is not a list of names")
    return value
