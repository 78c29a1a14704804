"""From an API key to the `Caller` whose rights bound it.

A key is a row, asked for anew by every request, and its subject's rights are what they are at that moment: a key that
was taken back, an account that was disabled, a role that was removed hold in the next request. The refusals of a key
that does not exist, is expired, was revoked or has another secret are the same, and cost the same work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from api.admission.subjects import Subjects
from api.tokens.confirmation import Questions, Unconfirmed
from rag.access.api_keys import NO_DIGEST, ApiKey, KeyScope, id_of, is_digest_of
from rag.access.audit import Act, Deed
from rag.access.scope import Caller
from rag.errors import NotAllowed, NotAuthenticated, Unavailable
from rag.stores.catalog_audit import CatalogAudit
from rag.stores.catalog_keys import CatalogKeys


class ApiKeys:
    """Knows the keys of one tenant."""

    def __init__(
        self,
        keys: CatalogKeys,
        subjects: Subjects,
        audit: CatalogAudit,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = keys
        self._subjects = subjects
        self._audit = audit
        self._clock = clock
        self._questions = Questions("accounts of API keys")

    def has(self, identifier: str) -> bool:
        """Whether a key with this id was ever made here, valid or not.

        Raises:
            StoreUnavailable: the catalog does not answer.
        """
        return self._keys.find(identifier) is not None

    def verified(self, text: str) -> ApiKey:
        """The key, if it is valid now. Its subject may have lost every right: `unconfirmed` asks.

        Raises:
            NotAuthenticated: there is no such key, or it is not valid any more.
            StoreUnavailable: the catalog does not answer.
        """
        key, now = self._keys.find(id_of(text)), self._clock()
        known = is_digest_of(key.digest if key else NO_DIGEST, text)
        if key is None or not known or not key.is_valid(now):
            raise NotAuthenticated("the API key is unknown, expired or revoked")
        return key

    def unconfirmed(self, key: ApiKey, request_id: str) -> Unconfirmed:
        """Whom the key stands for, once it is known what he may read; that is asked for when this returns.

        Confirming raises NotAuthenticated where the account is disabled or gone, or the key was taken back meanwhile.

        Raises:
            Overloaded: too many are asked for already.
        """
        return Unconfirmed(key.subject, lambda: self._questions.put(partial(self._caller, key.id, request_id)))

    def _caller(self, identifier: str, request_id: str) -> Caller:
        key, now = self._keys.find(identifier), self._clock()
        if key is None or not key.is_valid(now):
            raise NotAuthenticated("the API key has expired or was revoked meanwhile")
        try:
            caller = self._subjects.caller(key.subject)
        except NotAllowed as error:  # it is this service that may not ask
            raise Unavailable(f"nobody knows what the key's subject may read: {error}") from error
        if key.last_used_at is None:
            first = Deed(key.tenant, key.subject, Act.KEY_FIRST_USED, request_id, key.id)
            self._audit.record_if(self._keys.first_used(key, now), first)
        else:
            self._keys.used(key, now)
        return replace(caller, client=f"key:{key.id}")


def check_scope(key: ApiKey, scope: KeyScope | None) -> None:
    """Whether the key is for what needs `scope`; None is for what no key opens.

    Raises:
        NotAllowed: it is not.
    """
    if scope is None:
        raise NotAllowed("no API key opens this address; use a token")
    if scope not in key.scopes:
        raise NotAllowed(f"this API key is not for this: its scope lacks {scope.value!r}")
