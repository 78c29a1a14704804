"""GET /v1/documents, one document, and a passage among its neighbours. Hidden and absent are the same 404 (FB-06)."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.admission.doors import GuardedRoute
from api.given import RequestId, TheCaller, TheDrawings, TheKustos, ThePages, TheUnconfirmed
from api.schemas import WRITABLE, DocumentList, DocumentReply, PassageInContext, PassageReply
from api.threads import in_thread
from rag.access.audit import Action, Purpose
from rag.access.scope import Caller
from rag.documents import SORTED_CHARS, Box, Document
from rag.errors import NotFound

router = APIRouter(route_class=GuardedRoute)

MAX_NEIGHBOURS = 10
ID_CHARS = 36
WIDTH_STEP = 200
Neighbours = Annotated[int, Query(ge=0, le=MAX_NEIGHBOURS)]
After = Annotated[
    str,
    Query(max_length=ID_CHARS + SORTED_CHARS, pattern=WRITABLE, description="`next` of the page before."),
]
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("/v1/documents", summary="The documents that the caller may read")
def documents(
    kustos: TheKustos, caller: TheCaller, request_id: RequestId, after: After = "", limit: Limit = 100
) -> DocumentList:
    """In order of their uri. A page that is full has a `next`; the page behind it may be empty."""
    purpose = Purpose(Action.LIST, request_id)
    behind = (after[ID_CHARS:], after[:ID_CHARS])
    listed = kustos.gate.documents(kustos.gate.scope_for(caller, purpose), purpose, behind, limit)
    following = "".join(reversed(listed[-1].position)) if len(listed) == limit else None
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
    around = (max(1, number - before), number + after)
    found = kustos.gate.passages(scope, identifier, around, purpose, wanted=number)
    return PassageReply(
        document=DocumentReply.of(found[0].document),
        passage=number,
        passages=[PassageInContext.of(each) for each in found],
    )


@router.get(
    "/v1/documents/{document_id}/pages/{number}",
    summary="The picture of a page",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "The page as a PNG."}},
)
async def page(  # noqa: PLR0913  what a route depends on, each by its name
    document_id: str,
    number: str,
    *,
    kustos: TheKustos,
    pages: ThePages,
    drawings: TheDrawings,
    caller: TheCaller,
    unconfirmed: TheUnconfirmed,
    request_id: RequestId,
    passage: Annotated[str | None, Query(description="Number of a passage to mark on the page.")] = None,
    width: Annotated[int, Query(ge=200, le=2_000, description="In pixels, rounded up to a multiple of 200.")] = 1_000,
) -> Response:
    """Drawn from the source's own file, as long as it still holds the version that was taken in; of PDFs and images."""
    identifier, wanted = _identifier(document_id), _number(document_id, number, "page")
    ordinal = None if passage is None else _number(document_id, passage)
    pixels = -(-width // WIDTH_STEP) * WIDTH_STEP
    purpose = Purpose(Action.READ, request_id)

    def released(viewer: Caller) -> tuple[Document, tuple[Box, ...]]:
        scope = kustos.gate.scope_for(viewer, purpose)
        about = kustos.gate.document(scope, identifier, purpose)
        if ordinal is None:
            return about, ()
        chunk = kustos.gate.passages(scope, identifier, (ordinal, ordinal), purpose)[0].chunk
        if chunk.page != wanted:
            place = f"on page {chunk.page}" if chunk.page else "on no page"
            raise NotFound(f"passage {ordinal} of document {identifier!r} is {place}, so it is not marked on {wanted}")
        return about, chunk.boxes

    with drawings.place(caller.subject):
        about, marked = await in_thread(released, caller)
        picture = await drawings.run(partial(pages.png, caller.subject, about, wanted, pixels, marked))
    # A right, or the caller himself, may have gone while it was drawn (RC-05).
    now = await unconfirmed.confirmed_again()
    if await in_thread(released, now) != (about, marked):
        raise NotFound(f"document {identifier!r} has changed while its page was drawn")
    return Response(picture, media_type="image/png")


def _identifier(text: str) -> str:
    """The id in the form that the catalog keeps.

    Raises:
        NotFound: it cannot be the id of anything.
    """
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise NotFound(f"there is no document {text!r}") from None


def _number(document_id: str, text: str, of: str = "passage") -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise _absent(of, document_id, text)
    return int(text)


def _absent(what: str, document_id: str, number: str) -> NotFound:
    return NotFound(f"there is no {what} {number} of document {document_id!r}")
