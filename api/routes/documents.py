"""GET /v1/documents, one document, and a passage among its neighbours. Hidden and absent are the same 404 (FB-06)."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Query

from api.doors import GuardedRoute
from api.given import RequestId, TheCaller, TheKustos
from api.schemas import DocumentList, DocumentReply, PassageInContext, PassageReply
from rag.access.audit import Action, Purpose
from rag.errors import NotFound

router = APIRouter(route_class=GuardedRoute)

MAX_NEIGHBOURS = 10
Neighbours = Annotated[int, Query(ge=0, le=MAX_NEIGHBOURS)]
After = Annotated[str, Query(max_length=4_096, pattern=r"^[^\x00]*$", description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("/v1/documents", summary="The documents that the caller may read")
def documents(
    kustos: TheKustos, caller: TheCaller, request_id: RequestId, after: After = "", limit: Limit = 100
) -> DocumentList:
    """In order of their uri. A page that is full has a `next`; the page behind it may be empty."""
    purpose = Purpose(Action.LIST, request_id)
    listed = kustos.gate.documents(kustos.gate.scope_for(caller, purpose), purpose, after, limit)
    following = listed[-1].uri if len(listed) == limit else None
    return DocumentList(documents=[DocumentReply.of(each) for each in listed], next=following)


@router.get("/v1/documents/{document_id}", summary="One document")
def document(document_id: str, kustos: TheKustos, caller: TheCaller, request_id: RequestId) -> DocumentReply:
    purpose = Purpose(Action.READ, request_id)
    scope = kustos.gate.scope_for(caller, purpose)
    return DocumentReply.of(kustos.gate.document(scope, _identifier(document_id), purpose))


@router.get("/v1/documents/{document_id}/passages/{ordinal}", summary="A passage among its neighbours")
def passage(
    document_id: str,
    ordinal: str,
    kustos: TheKustos,
    caller: TheCaller,
    request_id: RequestId,
    before: Neighbours = 0,
    after: Neighbours = 0,
) -> PassageReply:
    """Where a citation leads: the passage, and up to ten passages before and after it."""
    identifier, number = _identifier(document_id), _number(document_id, ordinal)
    purpose = Purpose(Action.READ, request_id)
    scope = kustos.gate.scope_for(caller, purpose)
    found = kustos.gate.passages(scope, identifier, (max(1, number - before), number + after), purpose)
    if all(each.chunk.ordinal != number for each in found):
        raise _no_passage(identifier, ordinal)
    return PassageReply(
        document=DocumentReply.of(found[0].document),
        passage=number,
        passages=[PassageInContext.of(each) for each in found],
    )


def _identifier(text: str) -> str:
    """The id in the form that the catalog keeps.

    Raises:
        NotFound: it cannot be the id of anything.
    """
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise NotFound(f"there is no document {text!r}") from None


def _number(document_id: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise _no_passage(document_id, text)
    return int(text)


def _no_passage(document_id: str, ordinal: str) -> NotFound:
    return NotFound(f"there is no passage {ordinal} of document {document_id!r}")
