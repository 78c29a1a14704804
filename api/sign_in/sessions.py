"""People who sign in at the page: the service keeps their tokens, the browser an opaque random secret.

The authorization code flow with PKCE, `state` and `nonce`, all three made from one secret that lies in a cookie of the
browser that began: so what comes back belongs to that browser or is refused, and nothing is stored before somebody has
signed in. Nothing from outside says where the page goes afterwards: it goes to itself.
"""

from __future__ import annotations

import hmac
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from threading import Event
from urllib.parse import urlencode, urlsplit

from api.loopback import is_loopback
from api.sign_in.id_and_logout_tokens import logged_out, signed_in
from api.sign_in.oidc import SCOPE, Client, Refused, Tokens, challenge
from api.sign_in.sealing import derived, named, new_secret, seal, unseal
from api.tokens.auth import Identity, Verified
from api.tokens.confirmation import Questions, Unconfirmed
from api.tokens.issuers import issuer_of
from rag.access.scope import Caller
from rag.errors import Misconfigured, NotAuthenticated, Unavailable
from rag.settings import Settings
from rag.stores.catalog_sessions import CatalogSessions, SessionRow

log = logging.getLogger(__name__)

IDLE_S = 1_800
"""A session that is not used for so long ends, as Keycloak's own does (ssoSessionIdleTimeout)."""
LONGEST_S = 36_000
"""And so does one that began so long ago (ssoSessionMaxLifespan)."""
TOUCH_S = 60
EARLY_S = 20
"""An access token is renewed so long before it ends."""
RENEWAL_S = 10
"""Within which a renewal is done, or another request may try; longer than `api.sign_in.oidc.TIMEOUT_S`."""
_LOOK_AGAIN_S = 0.02
CALLBACK = "/session/callback"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is sealed in a session."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    ends_at: int
    name: str


class Sessions:
    """The sessions of the page at `url`, whose people `issuer` knows."""

    def __init__(
        self,
        *,
        url: str,
        issuer: str,
        client: Client,
        identity: Identity,
        store: CatalogSessions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url = url
        self._issuer = issuer
        self._client = client
        self._identity = identity
        self._store = store
        self._clock = clock
        self._questions = Questions("sessions")

    def check(self) -> None:
        """Whether the provider accepts the page's client, for operators.

        Raises:
            Misconfigured, Unavailable: it does not, or does not answer.
        """
        try:
            self._client.check()
        except Misconfigured as error:
            raise Misconfigured(f"{error}; compare KUSTOS_PAGE_SECRET with the client's credentials there") from error

    def begin(self) -> tuple[str, str]:
        """A secret for the browser that begins to sign in, and the address at the provider that it goes to."""
        secret = new_secret()
        asked = {
            "client_id": self._client.name,
            "response_type": "code",
            "scope": SCOPE,
            "redirect_uri": self.url + CALLBACK,
            "state": named(secret, "state"),
            "nonce": named(secret, "nonce"),
            "code_challenge": challenge(named(secret, "verifier")),
            "code_challenge_method": "S256",
        }
        return secret, f"{self._issuer}/protocol/openid-connect/auth?{urlencode(asked)}"

    def complete(self, secret: str | None, answer: Mapping[str, str]) -> str:
        """The cookie of a new session, for the browser that brings the secret it began with, and the provider's answer.

        Raises:
            Refused: the person, or the provider, did not want to.
            NotAuthenticated: the answer is not for this browser, or the tokens are not as they should be.
            Unavailable: provider or catalog do not answer.
        """
        if secret is None or not _same(named(secret, "state"), answer.get("state", "")):
            raise NotAuthenticated("this browser did not begin the sign-in that comes back")
        if answer.get("iss") != self._issuer:  # RFC 9207
            raise NotAuthenticated("the answer comes from another provider than the one that was asked")
        if "error" in answer:
            raise Refused(answer["error"][:100], "")
        tokens = self._client.exchange(answer.get("code", ""), named(secret, "verifier"), self.url + CALLBACK)
        now = int(self._clock())
        who = signed_in(
            self._identity, self._issuer, self._client.name, tokens.identity, named(secret, "nonce"), self._clock()
        )
        if self._identity.caller(tokens.access).subject != who.subject:
            raise NotAuthenticated("the two tokens of this sign-in name different people")
        fresh = new_secret()
        row = SessionRow(_id(fresh), who.subject, who.sid, _sealed(fresh, tokens, who.name), now, now)
        self._store.begin(row, unused_since=now - IDLE_S, began_before=now - LONGEST_S)
        return fresh

    def verified(self, cookie: str) -> Verified:
        """The session's access token, renewed if it is about to end.

        Raises:
            NotAuthenticated: there is no such session, or it has ended, here or at the provider.
            Unavailable: provider or catalog do not answer.
        """
        row = self._row(cookie)
        token = self._identity.verified(self._current(cookie, row).access)
        if token.subject != row.subject:
            self._store.end(row.id)
            raise NotAuthenticated("the session's tokens name another person than it began with")
        return token

    def asked(self, cookie: str, token: Verified) -> Unconfirmed:
        """Who the session stands for, from its verified token as from any other; that is asked for when this returns.

        Raises:
            Overloaded: too many are asked for already.
        """
        # An answer may take longer than the token lives that it began with, and then the next one counts.
        again = partial(self._questions.put, partial(self.caller, cookie))
        return Unconfirmed(
            token.subject, partial(self._questions.put, partial(self._still, cookie, token)), again=again
        )

    def _still(self, cookie: str, token: Verified) -> Caller:
        """Who it stands for, if it has not ended here since its token was verified."""
        self._row(cookie)
        return self._identity.asked(token).wait()

    def unconfirmed(self, cookie: str) -> Unconfirmed:
        """As `verified`, then `asked`."""
        return self.asked(cookie, self.verified(cookie))

    def caller(self, cookie: str) -> Caller:
        """As `unconfirmed`, waiting for the answer."""
        return self.unconfirmed(cookie).wait()

    def name(self, cookie: str) -> str:
        """The person's name, for display.

        Raises:
            NotAuthenticated: there is no such session.
        """
        return _unsealed(cookie, self._row(cookie)).name

    def end(self, cookie: str) -> bool:
        """Ends the session here, and then the person's at the provider; False if the provider could not be told.

        Raises:
            NotAuthenticated: there is no such session.
        """
        row = self._row(cookie)
        kept = _unsealed(cookie, row)
        self._store.end(row.id)
        return self._end_at_provider(kept.refresh)

    def forget(self, cookie: str) -> None:
        """Ends the session here alone, if there is one: the browser has got another."""
        self._store.end(_id(cookie))

    def end_told(self, logout_token: str) -> None:
        """Ends what the provider says has ended. What had ended before is no error (Back-Channel Logout 1.0, 2.7).

        Raises:
            NotAuthenticated: the token is not to be believed, or was heard before.
            Unavailable: the provider's keys, or the catalog.
        """
        now = self._clock()
        logout = logged_out(self._identity, self._issuer, self._client.name, logout_token, now)
        if not self._store.hear(logout.id, int(now), logout.ends_at, sid=logout.sid, subject=logout.subject):
            raise NotAuthenticated("the logout token was heard before")
        if logout.sid is not None:
            self._identity.forget(session=logout.sid)
        else:
            self._identity.forget(subject=logout.subject)

    def _row(self, cookie: str) -> SessionRow:
        row, now = self._store.find(_id(cookie)), self._clock()
        if row is None:
            raise NotAuthenticated("there is no such session")
        if now >= row.used_at + IDLE_S or now >= row.began_at + LONGEST_S:
            self._store.end(row.id)
            raise NotAuthenticated("the session has ended")
        if now >= row.used_at + TOUCH_S:
            self._store.touch(row.id, int(now))
        return row

    def _current(self, cookie: str, row: SessionRow) -> Kept:
        """The session's tokens, renewed if they are about to end: by one request, while the others wait for it."""
        gives_up = self._clock() + RENEWAL_S
        while True:
            kept = _unsealed(cookie, row)
            now = int(self._clock())
            if now < kept.ends_at - EARLY_S:
                return kept
            if self._store.claim(row.id, row.generation, now, now + RENEWAL_S):
                return self._renewed(cookie, row, kept)
            if now >= gives_up:
                raise Unavailable("another request is renewing this session's tokens, and does not come back")
            Event().wait(_LOOK_AGAIN_S)
            row = self._row(cookie)

    def _renewed(self, cookie: str, row: SessionRow, kept: Kept) -> Kept:
        try:
            tokens = self._client.refresh(kept.refresh)
        except (Refused, Unavailable) as error:
            if isinstance(error, Refused) and error.error == "invalid_grant":
                self._store.end(row.id)
                raise NotAuthenticated(f"the session has ended at the identity provider: {error}") from error
            self._store.unclaim(row.id, row.generation)
            log.warning("tokens of a session cannot be renewed: %s", error)
            if self._clock() < kept.ends_at:
                return kept
            raise Unavailable("tokens of a session have ended, and cannot be renewed now") from error
        if not self._store.renew(row.id, row.generation, _sealed(cookie, tokens, kept.name)):
            self._end_at_provider(tokens.refresh)
            raise NotAuthenticated("the session has ended while its tokens were renewed")
        return Kept(tokens.access, tokens.refresh, tokens.ends_at, kept.name)

    def _end_at_provider(self, refresh: str) -> bool:
        try:
            self._client.end_session(refresh)
        except Refused as error:
            log.info("a session had ended at the identity provider before it ended here: %s", error)
        except Unavailable as error:
            log.warning("a session has ended here, but not at the identity provider: %s", error)
            return False
        return True


def open_sessions(settings: Settings, identity: Identity, store: CatalogSessions) -> Sessions | None:
    """Signing in at the page as the settings have it; None where nobody can.

    Raises:
        Misconfigured: a setting of it is missing or unsafe.
    """
    if not settings.page_secret:
        return None
    if not settings.issuer:
        raise Misconfigured("KUSTOS_PAGE_SECRET is set, so KUSTOS_ISSUER must be set too")
    issuer = issuer_of(settings)
    if settings.page_client not in issuer.clients:
        raise Misconfigured(f"people sign in at the page through {settings.page_client}; name it in KUSTOS_CLIENTS too")
    base, _, certs = settings.jwks_url.rpartition("/")
    if certs != "certs":
        raise Misconfigured(f"KUSTOS_JWKS_URL={settings.jwks_url} is not an address of Keycloak's")
    client = Client.at(base, settings.page_client, settings.page_secret)
    return Sessions(url=page_origin(settings), issuer=settings.issuer, client=client, identity=identity, store=store)


def page_origin(settings: Settings) -> str:
    """The page's origin, as browsers write it, because it is compared with what they send.

    Raises:
        Misconfigured: it is written otherwise, or cookies could not be kept safe there.
    """
    given = settings.page_url.removesuffix("/")
    url = urlsplit(given)
    name, secure = url.hostname or "", url.scheme == "https"
    usual = ":443" if secure else ":80"
    as_browsers_do = given == f"{url.scheme}://{url.netloc}" == given.lower() and not given.endswith(usual)
    safe = secure or (url.scheme == "http" and is_loopback(name))
    if not (name and safe and as_browsers_do and given.isascii() and url.username is None):
        raise Misconfigured(
            f"KUSTOS_PAGE_URL={settings.page_url} must be what a browser shows for the page, https://NAME in small "
            "letters without a path, or name this machine"
        )
    return given


def _same(ours: str, theirs: str) -> bool:
    return hmac.compare_digest(ours.encode(), theirs.encode("utf-8", "replace"))


def _id(cookie: str) -> str:
    return derived(cookie, "session").hex()


def _sealed(cookie: str, tokens: Tokens, name: str) -> str:
    kept = Kept(tokens.access, tokens.refresh, tokens.ends_at, name)
    return seal(cookie, json.dumps(asdict(kept)).encode())


def _unsealed(cookie: str, row: SessionRow) -> Kept:
    return Kept(**json.loads(unseal(cookie, row.sealed)))
