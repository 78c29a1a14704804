"""Who has signed in on this command line: the tokens, in a file for this person alone, and how they come and go.

A file and not the desktop's keyring: servers have none, every program of the same person may ask it anyway, and what
lies here is good for one renewal and for half an hour at most (docs/decisions/0012).
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

from api.loopback import is_loopback
from api.sign_in.oidc import Client, Device, Refused, Tokens, challenge
from rag.errors import Misconfigured, NotAllowed, NotAuthenticated, Unavailable
from rag.private_files import replace_private
from rag.settings import Settings

CLIENT = "kustos-cli"
EARLY_S = 120
"""An access token is renewed so long before it ends, because it is asked about again when an answer is complete."""
SLOWER_S = 5
"""How much longer to wait when the provider says so (RFC 8628, 3.5)."""
LOGIN = "kustos login"

Wait = Callable[[float], object]


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file holds. `name` is for display."""

    issuer: str
    name: str
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    ends_at: int


class SignedIn:
    """The person whom one issuer knows."""

    def __init__(self, issuer: str, client: Client, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._issuer = issuer
        self._client = client
        self._file = folder / f"{hashlib.sha256(issuer.encode()).hexdigest()[:32]}.json"
        self._clock = clock

    @classmethod
    def at(cls, settings: Settings) -> SignedIn:
        """The person at the settings' issuer.

        Raises:
            Misconfigured: there is none, or tokens would not be safe on the way to it.
        """
        if not settings.issuer:
            raise Misconfigured(
                "nobody can sign in here: set KUSTOS_ISSUER to your identity provider (docs/keycloak.md), "
                "or ask as a sample account of the demo with --as WHO"
            )
        url = urlsplit(settings.issuer)
        if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
            raise Misconfigured(f"KUSTOS_ISSUER={settings.issuer} must begin with https://, or name this machine")
        try:
            folder = Path.home() / ".config" / "kustos" / "sign-in"
        except RuntimeError as error:
            raise Misconfigured("this user has no home folder to keep a sign-in in; set HOME") from error
        return cls(settings.issuer, Client.at(f"{settings.issuer}/protocol/openid-connect", CLIENT), folder)

    def sign_in(self, show: Callable[[Device], None], wait: Wait | None = None) -> str:
        """Signs a person in who confirms it in a browser, anywhere; the person's name (RFC 8628).

        Args:
            show: tells the person where to go.
            wait: waits for so many seconds.

        Raises:
            NotAllowed: somebody said no in the browser.
            NotAuthenticated: nobody confirmed it in time.
            Misconfigured: the provider has no such client.
            Unavailable: the provider does not answer.
        """
        verifier = secrets.token_urlsafe(48)
        try:
            device = self._client.begin_device(challenge(verifier))
        except Refused as error:
            raise Misconfigured(
                f"{self._issuer} does not let {CLIENT} sign anybody in ({error}); docs/keycloak.md says what it needs"
            ) from error
        show(device)
        tokens = self._confirmed(device, verifier, wait or Event().wait)
        name = _name(tokens.identity)
        with suppress(Unavailable):  # whoever was signed in before; what cannot be revoked now ends by itself
            self.sign_out()
        with self._locked():
            self._keep(tokens, name)
        return name

    def token(self) -> str:
        """An access token that is good now. Of several commands at once one renews it, because that works only once.

        Raises:
            NotAuthenticated: nobody is signed in, or the sign-in has ended; the message says what to do.
            Unavailable: the provider does not answer, and the token at hand has ended.
        """
        kept = self._kept()
        if self._is_good(kept):
            return kept.access
        with self._locked():
            kept = self._kept()  # another command may have renewed it meanwhile
            return kept.access if self._is_good(kept) else self._renewed(kept)

    def sign_out(self) -> bool:
        """Revokes the tokens and forgets them; whether anybody was signed in.

        Raises:
            Unavailable: they are forgotten here, but the provider could not be told.
        """
        with self._locked():
            if not self._file.exists():
                return False
            try:
                self._client.revoke(self._read().refresh)
            except (Refused, NotAuthenticated):
                pass  # there is nothing left to revoke
            except Unavailable as error:
                raise Unavailable(
                    f"you are signed out here, but {self._issuer} does not answer ({error}); "
                    "there your sign-in ends by itself when it has not been used for a while"
                ) from error
            finally:
                self._file.unlink(missing_ok=True)
        return True

    def name(self) -> str:
        """The person's name, for display.

        Raises:
            NotAuthenticated: nobody is signed in.
        """
        return self._kept().name

    def _confirmed(self, device: Device, verifier: str, wait: Wait) -> Tokens:
        interval, until = device.interval, self._clock() + device.expires_in
        unanswered: Unavailable | None = None
        while self._clock() + interval < until:
            wait(interval)
            try:
                return self._client.confirmed(device, verifier)
            except Refused as error:
                unanswered = None
                interval += _slower(error)
            except Unavailable as error:
                unanswered = error
                interval *= 2
        raise unanswered or _too_late()

    def _renewed(self, kept: Kept) -> str:
        try:
            tokens = self._client.refresh(kept.refresh)
        except Refused as error:
            if error.error != "invalid_grant":
                raise Misconfigured(f"{self._issuer} does not accept {CLIENT} any more: {error}") from error
            self._file.unlink(missing_ok=True)
            raise NotAuthenticated(f"your sign-in has ended; sign in again with: {LOGIN}") from error
        except Unavailable:
            if self._clock() < kept.ends_at:
                return kept.access
            raise
        self._keep(tokens, kept.name)
        return tokens.access

    def _is_good(self, kept: Kept) -> bool:
        return self._clock() < kept.ends_at - EARLY_S

    def _kept(self) -> Kept:
        """What is kept, if nobody else could have seen it."""
        kept = self._read()
        if stat.S_IMODE(self._file.stat().st_mode) & 0o077:
            raise Misconfigured(f"others can read your sign-in in {self._file}; end it with: kustos logout")
        return kept

    def _read(self) -> Kept:
        try:
            kept = Kept(**json.loads(self._file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise NotAuthenticated(f"you are not signed in at {self._issuer}; sign in with: {LOGIN}") from None
        except (OSError, ValueError, TypeError) as error:
            raise NotAuthenticated(f"{self._file} cannot be read ({error}); sign in again with: {LOGIN}") from error
        if kept.issuer != self._issuer:
            raise NotAuthenticated(f"{self._file} is of another provider; sign in again with: {LOGIN}")
        return kept

    def _keep(self, tokens: Tokens, name: str) -> None:
        kept = Kept(self._issuer, name, tokens.access, tokens.refresh, tokens.ends_at)
        replace_private(self._file, json.dumps(asdict(kept)).encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One command at a time; each waits for the provider for a bounded time, so nobody waits here for ever."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._file.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _slower(error: Refused) -> int:
    """By how many seconds to slow down, if it is still worth waiting.

    Raises:
        NotAllowed, NotAuthenticated, Refused: it is not.
    """
    match error.error:
        case "authorization_pending":
            return 0
        case "slow_down":
            return SLOWER_S
        case "access_denied":
            raise NotAllowed("the sign-in was refused in the browser; nobody is signed in") from error
        case "expired_token" | "invalid_grant":
            raise _too_late() from error
        case _:
            raise error


def _too_late() -> NotAuthenticated:
    return NotAuthenticated(f"nobody confirmed the code in time; begin anew with: {LOGIN}")


def _name(identity: str) -> str:
    """The name in an ID token, unverified: it came from the provider itself, and is for display and nothing else."""
    try:
        payload = identity.split(".")[1]
        told = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(told.get("name") or told.get("preferred_username") or "")
    except (IndexError, ValueError, AttributeError):
        return ""
