"""Break-glass over HTTP: operators propose, auditors confirm, both see and revoke (`rag.access.break_glass`)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api import reports
from api.admission.doors import GuardedRoute
from api.given import RequestId, TheCaller, TheKustos, TheSubjects
from api.schemas import WRITABLE
from rag.access.break_glass import MOST_PRINCIPALS
from rag.bootstrap import Kustos, Records
from rag.errors import BadInput, NotFound
from rag.stores.catalog_grants import CatalogGrants

router = APIRouter(route_class=GuardedRoute)


class ProposalRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "person": "kc:kustos:user:4f0e1c9a",
                "principals": ["kc:kustos:group:/leitung"],
                "minutes": 60,
                "reason": "Audit of 12 May, the head of finance is ill",
            }
        },
    )

    person: str = Field(max_length=400, pattern=WRITABLE, description="User name, id at the provider, or subject.")
    principals: list[str] = Field(max_length=MOST_PRINCIPALS)
    minutes: int
    reason: str = Field(max_length=1_000, pattern=WRITABLE)


@router.post("/v1/operator/grants", summary="Propose a break-glass grant")
def propose(
    body: ProposalRequest, kustos: TheKustos, subjects: TheSubjects, caller: TheCaller, request_id: RequestId
) -> dict[str, Any]:
    """It opens nothing until an auditor confirms it, who is neither its proposer nor the person."""
    grants = _grants(kustos)
    person = body.person if ":" in body.person else subjects.subject(body.person)
    _refuse_in_vain(kustos.records, body.principals)
    made = grants.propose(person, body.principals, body.reason, body.minutes, by=caller.subject, request_id=request_id)
    return reports.grant(made, grants.now_ms())


@router.post("/v1/audit/grants/{grant_id}/confirm", summary="Put a proposed grant into force")
def confirm(grant_id: str, kustos: TheKustos, caller: TheCaller, request_id: RequestId) -> dict[str, Any]:
    """For its minutes, which begin now."""
    grants = _grants(kustos)
    return reports.grant(grants.confirm(grant_id, by=caller.subject, request_id=request_id), grants.now_ms())


@router.get("/v1/operator/grants", summary="Break-glass grants, the newest first")
@router.get("/v1/audit/grants", summary="Break-glass grants, the newest first")
def listed(kustos: TheKustos) -> dict[str, Any]:
    """All there were, with what became of each."""
    grants = _grants(kustos)
    return {"grants": [reports.grant(each, grants.now_ms()) for each in grants.all()]}


@router.delete("/v1/operator/grants/{grant_id}", summary="Revoke a grant, or withdraw a proposal")
@router.delete("/v1/audit/grants/{grant_id}", summary="Revoke a grant, or withdraw a proposal")
def revoke(grant_id: str, kustos: TheKustos, caller: TheCaller, request_id: RequestId) -> dict[str, Any]:
    """It ends at once: the next question is answered without it."""
    grants = _grants(kustos)
    return reports.grant(grants.revoke(grant_id, by=caller.subject, request_id=request_id), grants.now_ms())


def _refuse_in_vain(records: Records, wanted: list[str]) -> None:
    """A grant that would open nothing is found out now, and not when it is needed."""
    if records.realm.followed() is None:
        return
    tree, realm = records.realm.tree(), records.settings.realm
    for principal in wanted:
        if why := tree.why_in_vain(realm, principal):
            raise BadInput(f"a grant of {principal!a:.200} would open nothing: it {why}")


def _grants(kustos: Kustos) -> CatalogGrants:
    if kustos.records.grants is None:
        raise NotFound("break-glass is off here; an operator switches it on with KUSTOS_BREAK_GLASS_HOURS")
    return kustos.records.grants
