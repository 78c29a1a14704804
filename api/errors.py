"""What an API caller learns of each error: one map from `rag.errors` to HTTP, and one body shape, OpenAI's.

    {"error": {"message": ..., "type": ..., "code": ..., "param": ...}}

Texts of errors that are ours to solve (a store is down, a setting is wrong) are logged and answered with a fixed text.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.invalid_requests import in_words
from rag import errors

log = logging.getLogger(__name__)

RETRY_AFTER_S = 5
INVALID_REQUEST = "invalid_request_error"


@dataclass(frozen=True, slots=True)
class HttpError:
    """One row of the map. `message` replaces the error's own text; None lets that text through to the caller."""

    status: int
    type: str
    message: str | None


_SERVER_FAULT = HttpError(500, "server_error", "Something went wrong here. The request id names it in the log.")
_DOWN = HttpError(503, "server_error", "A part of the service does not answer right now. Try again in a moment.")
_FULL = HttpError(503, "server_error", "Too much of this is being done right now. Try again in a moment.")
_UNAUTHENTICATED = HttpError(
    401,
    "authentication_error",
    "The token or API key is missing or not valid. Send one header 'Authorization: Bearer <token>' with a current one.",
)

HTTP_ERRORS: Mapping[type[errors.KustosError], HttpError] = {
    errors.BadInput: HttpError(400, INVALID_REQUEST, None),
    errors.BadFilter: HttpError(400, INVALID_REQUEST, None),
    errors.BadPrincipal: HttpError(400, INVALID_REQUEST, None),
    errors.BadAccessFile: HttpError(400, INVALID_REQUEST, None),
    errors.NotAuthenticated: _UNAUTHENTICATED,
    errors.NotAllowed: HttpError(403, "permission_error", None),
    errors.TooManyRequests: HttpError(429, "rate_limit_error", None),
    errors.NotFound: HttpError(404, INVALID_REQUEST, None),
    errors.Unavailable: _DOWN,
    errors.SourceUnavailable: _DOWN,
    errors.ModelUnavailable: _DOWN,
    errors.StoreUnavailable: _DOWN,
    errors.Overloaded: _FULL,
    errors.IndexMismatch: _SERVER_FAULT,
    errors.Misconfigured: _SERVER_FAULT,
    errors.DocumentRefused: _SERVER_FAULT,
    errors.KustosError: _SERVER_FAULT,
}

_OF_STATUS: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "The request cannot be read. Check its headers and its body."),
    404: ("not_found", "There is nothing at this address. /openapi.json lists what there is."),
    405: ("method_not_allowed", "This address does not take this method. /openapi.json lists what it takes."),
    408: ("too_slow", "The request's body did not come within 10 seconds. Send it at once."),
    413: ("too_large", "The request's body is too large. Send a shorter one."),
    421: ("wrong_host", "This service answers under the address it was started with only."),
}
"""Code and text for refusals that come before any use case."""


def error_body(message: str, kind: str, code: str, param: str | None = None) -> dict[str, object]:
    """The body of every error, in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


def internal_error_body() -> dict[str, object]:
    """The body for whatever nobody foresaw. The stack trace stays in the log."""
    return error_body(str(_SERVER_FAULT.message), _SERVER_FAULT.type, errors.KustosError.code)


def error_response(status: int, body: Mapping[str, object]) -> Response:
    # ASCII only: what a caller sent may hold halves of surrogate pairs, and they must not break the answer to them.
    content = json.dumps(body, ensure_ascii=True)
    return Response(content, status, _extra_headers(status), media_type="application/json")


def describe(error: errors.KustosError) -> tuple[HttpError, str]:
    """The row for an error, and the text that its caller may read."""
    row = next(HTTP_ERRORS[kind] for kind in type(error).__mro__ if kind in HTTP_ERRORS)
    return row, str(error) if row.message is None else row.message


def kustos_error(error: errors.KustosError) -> Response:
    """The answer to one of our own errors; what is not for the caller goes to the log."""
    row, message = describe(error)
    if row.message is not None:
        log.log(logging.ERROR if row.status >= 500 else logging.INFO, "%s: %s", error.code, error)
    response = error_response(row.status, error_body(message, row.type, error.code))
    if isinstance(error, errors.TooManyRequests):
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return response


def status_error(status: int) -> Response:
    """The answer to a refusal that came before any use case."""
    code, message = _OF_STATUS.get(status, (HTTPStatus(status).name.lower(), HTTPStatus(status).phrase))
    return error_response(status, error_body(message, INVALID_REQUEST if status < 500 else "server_error", code))


def internal_error() -> Response:
    return error_response(500, internal_error_body())


def invalid_body(error: RequestValidationError) -> Response:
    """422 for a request that does not fit its schema: the first problem, the field it is about, and what to do."""
    message, where = in_words(error.errors()[0])
    return error_response(422, error_body(message, INVALID_REQUEST, "invalid_request", where))


def add_error_handlers(app: FastAPI) -> None:
    """Gives every error of the app the one shape. What no handler knows is caught by the outermost middleware."""

    def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, errors.KustosError)
        return kustos_error(error)

    def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return invalid_body(error)

    def status(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response = status_error(error.status_code)
        response.headers.update(error.headers or {})
        return response

    app.add_exception_handler(errors.KustosError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, status)


def _extra_headers(status: int) -> dict[str, str]:
    match status:
        case 401:
            return {"WWW-Authenticate": "Bearer"}
        case 503:
            return {"Retry-After": str(RETRY_AFTER_S)}
        case _:
            return {}
