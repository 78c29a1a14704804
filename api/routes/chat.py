"""POST /v1/chat/completions, streamed or not.

Retrieval, the access check and the audit record are done, and the first piece of the answer is there, before the first
byte of the reply (SC-20). After that an error can only be told inside the stream. A model may write for minutes, so the
passages that it cites go through the gate once more before they are sent, last of all, for the caller as Keycloak knows
him then (RC-05).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Send

from api import openai_chat
from api.admission.doors import GuardedRoute
from api.errors import describe, error_body, internal_error_body
from api.given import RequestId, TheAnswers, TheKustos, TheUnconfirmed
from api.openai_chat import ChatRequest, Head
from api.threads import in_thread
from api.tokens.confirmation import Unconfirmed
from rag.access.audit import Action, Purpose
from rag.access.scope import Caller
from rag.answering import Answer
from rag.bootstrap import Kustos
from rag.documents import Passage
from rag.errors import KustosError

log = logging.getLogger(__name__)
router = APIRouter(route_class=GuardedRoute)

Cite = Callable[[], Awaitable[Mapping[int, Passage]]]
CLIENT_CLOSED = 499  # nobody reads it; it is for the log


@router.post("/v1/chat/completions", summary="A cited answer to a question", response_model=None)
async def chat(
    body: ChatRequest,
    request: Request,
    *,
    kustos: TheKustos,
    answers: TheAnswers,
    unconfirmed: TheUnconfirmed,
    request_id: RequestId,
) -> Response:
    """OpenAI's shape. The extension field `kustos` (of the message, or of a stream's last chunk) has the citations."""
    asked = await in_thread(kustos.answering.understood, body.inquiry())
    caller = await unconfirmed.confirmed()
    answer = await in_thread(kustos.answering.answer, caller, asked, request_id)
    pieces = answers.pieces(answer.pieces, caller.subject)
    first = await anext(pieces, "")
    head = Head(f"chatcmpl-{request_id}", int(time.time()), answer.model)
    cite = partial(cited_now, kustos, unconfirmed, answer, request_id)
    if body.stream:
        return EventStream(events(head, first, pieces, cite))
    text = await _whole(first, pieces, request)
    if text is None:
        return Response(status_code=CLIENT_CLOSED)
    return JSONResponse(openai_chat.completion(head, text, await cite()))


async def cited_now(kustos: Kustos, unconfirmed: Unconfirmed, answer: Answer, request_id: str) -> Mapping[int, Passage]:
    """The cited passages by number, as far as they are there and the caller may read them at this moment.

    Raises:
        NotAuthenticated: the caller's token has ended meanwhile, or his account or session has.
        Unavailable: Keycloak or the catalog does not answer, or the audit record could not be written.
    """
    if not answer.cited:
        return {}
    return await in_thread(_cited, kustos, await unconfirmed.confirmed_again(), answer, request_id)


def _cited(kustos: Kustos, caller: Caller, answer: Answer, request_id: str) -> Mapping[int, Passage]:
    purpose = Purpose(Action.READ, request_id, model=answer.model)
    scope = kustos.gate.scope_for(caller, purpose)
    if scope is None:
        return {}
    numbers = {answer.passages[each - 1].chunk.id: each for each in answer.cited}
    return {numbers[each.chunk.id]: each for each in kustos.gate.release(scope, list(numbers), purpose)}


class EventStream(StreamingResponse):
    """Server-sent events. When the client leaves, what makes them is closed at once, not when memory is tidied up."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncGenerator[str]) -> None:
        super().__init__(content)
        self._content = content

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._content):
            await super().stream_response(send)


async def events(head: Head, first: str, pieces: AsyncGenerator[str], cite: Cite) -> AsyncGenerator[str]:
    """The stream's frames: role, pieces, citations. An error ends it with an error frame, in OpenAI's shape."""

    def frame(delta: dict[str, object]) -> str:
        return _frame(openai_chat.piece(head, delta))

    async with aclosing(pieces):
        try:
            yield frame({"role": "assistant", "content": first})
            async for piece in pieces:
                yield frame({"content": piece})
            yield _frame(openai_chat.last_piece(head, await cite()))
            yield "data: [DONE]\n\n"
        except KustosError as error:
            row, message = describe(error)
            log.exception("%s in mid-stream (%s)", error.code, head.id)
            yield _frame(error_body(message, row.type, error.code))
        except Exception:  # the last catch of a stream: its caller must get an end, and no stack trace (SC-16)
            log.exception("%s failed in mid-stream", head.id)
            yield _frame(internal_error_body())


async def _whole(first: str, pieces: AsyncGenerator[str], request: Request) -> str | None:
    """The whole text; None if the client left meanwhile."""
    text = [first]
    async with aclosing(pieces):
        async for piece in pieces:
            if await request.is_disconnected():
                return None
            text.append(piece)
    return "".join(text)


def _frame(data: dict[str, object]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
