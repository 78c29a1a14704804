"""Answers an operator why somebody may or may not read a document, now or at a moment of the past, and records that."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from api.admission.subjects import Subjects, identifier_in
from api.reports import explanation
from rag.access import principals
from rag.access.audit import Act, Deed
from rag.access.explain import PastExplainer
from rag.access.principals import Principal
from rag.access.scope import Caller
from rag.bootstrap import Records
from rag.errors import BadInput, BadPrincipal, NotFound


class Explaining:
    """Explanations over one installation, about the people that it knows."""

    def __init__(self, records: Records, subjects: Subjects) -> None:
        self._records = records
        self._subjects = subjects

    def explain(
        self, asking: Caller, request_id: str, document: str, who: str, at: datetime | None = None
    ) -> dict[str, Any]:
        """Whether `who` may read the document (id or address), by which rule and through which groups.

        Recorded with who asks before anything is told.

        Raises:
            BadInput: that moment is still to come.
            NotFound: there is, or was, no such document or person.
            NotAuthenticated: the account is disabled.
            Unavailable, NotAllowed: it cannot be known now.
        """
        if at is not None and at > datetime.now(UTC):
            raise BadInput(f"{at.isoformat(timespec='seconds')} is still to come")
        detail = {} if at is None else {"at": at.isoformat()}
        told_of = partial(Deed, asking.tenant, asking.subject, Act.EXPLAIN, request_id, detail=detail)
        subject = None
        try:
            subject = self._subject(who, at)
            identifier = self._identifier(document, at)
        except NotFound:  # that there is none is an answer too
            self._records.audit.record(told_of(document, subject))
            raise
        self._records.audit.record(told_of(identifier, subject))
        if at is None:
            told = self._records.explainer.explain(self._subjects.caller(subject), identifier)
        else:
            told = PastExplainer(self._records.history).explain(self._then(subject, at), identifier, at)
        moment = at or datetime.now(UTC)
        place = self._records.history.place(told.acl_id, moment)
        tree, realm = self._records.realm.tree(), self._records.settings.realm
        groups = {principals.group_by_id(realm, each.id): each.path for each in tree.groups.values()}
        is_known = at is None and self._records.realm.followed() is not None
        named = sorted(told.acl.allow | told.acl.deny) if is_known else []
        in_vain = {each: why for each in named if (why := tree.why_in_vain(realm, each))}
        return explanation(told, moment, place.since if place else None, groups, in_vain)

    def _subject(self, who: str, at: datetime | None) -> str:
        """The subject of `who`; of the past, also of somebody whom Keycloak has no longer, by his id."""
        try:
            return self._subjects.subject(who)
        except NotFound:
            gone = self._user(identifier_in(who, self._records.settings.realm))
            if at is not None and gone and self._records.history.memberships({gone}, at):
                return gone
            raise

    def _user(self, identifier: str) -> Principal | None:
        try:
            return principals.user(self._records.settings.realm, identifier)
        except BadPrincipal:
            return None

    def _identifier(self, document: str, at: datetime | None) -> str:
        if "/" not in document:
            return document
        found = self._records.status.document_at(document)
        if found is None and at is not None:
            found = self._records.history.document_at(document, at)
        if found is None:
            raise NotFound(
                f"there is no document at {document!r}; give its id, or its address as `kustos documents` shows it"
            )
        return found

    def _then(self, subject: str, at: datetime) -> Caller:
        """Who it was. What he held is in the history, and of sample accounts, which never change, in their file."""
        person, tenant = Principal(subject), self._records.settings.tenant
        if self._records.history.memberships({person}, at):
            return Caller(tenant, subject, frozenset({person}))
        if not self._records.settings.issuer:
            return self._subjects.caller(subject)
        raise NotFound(
            f"it is not known what {subject} held at {at.isoformat(timespec='seconds')}: "
            "nothing, or the directory began later"
        )
