"""A person's own API keys. None is ever wider than the person, and no key makes keys."""

from __future__ import annotations

from fastapi import APIRouter

from api.access_table import Duty
from api.admission import key_issue
from api.admission.doors import GuardedRoute
from api.given import RequestId, TheCaller, TheDoors, TheKustos
from api.schemas import KeyList, KeyReply, KeyRequest, NewKeyReply
from rag.access.api_keys import KeyScope
from rag.errors import NotAllowed

router = APIRouter(route_class=GuardedRoute)


@router.post("/v1/keys", summary="Make an API key with the caller's own rights")
def create(
    body: KeyRequest, kustos: TheKustos, doors: TheDoors, caller: TheCaller, request_id: RequestId
) -> NewKeyReply:
    """`key` is in this reply and nowhere else, ever. Keys that bring documents are made by an operator."""
    scopes = {KeyScope(each) for each in body.scopes}
    if KeyScope.EVALUATE in scopes and not doors.identity.has_duty(caller, Duty.EVALUATOR):
        raise NotAllowed("a key for measuring is for people with the role 'evaluator' of this service's client")
    made, kept = key_issue.issue(
        kustos.records,
        caller.subject,
        scopes,
        name=body.name,
        days=body.days,
        by=caller.subject,
        request_id=request_id,
    )
    return NewKeyReply(key=made.text, **key_issue.shown(kept))


@router.get("/v1/keys", summary="The caller's own API keys")
def listed(kustos: TheKustos, caller: TheCaller) -> KeyList:
    """With those that have expired or were revoked. The keys themselves are kept nowhere."""
    return KeyList(keys=[KeyReply(**key_issue.shown(each)) for each in kustos.records.keys.listed(caller.subject)])


@router.delete("/v1/keys/{key_id}", summary="Take one of the caller's own API keys back", status_code=204)
def revoke(key_id: str, kustos: TheKustos, caller: TheCaller, request_id: RequestId) -> None:
    """For good, and at once. A key that is not the caller's is not found."""
    key_issue.revoke(kustos.records, key_id, by=caller.subject, of=caller.subject, request_id=request_id)
