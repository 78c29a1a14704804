"""Every error that Kustos raises on purpose, as one tree.

    KustosError
    ├── BadInput                 the caller's request cannot be carried out as it stands           (4xx)
    │   ├── BadFilter            a filter names a field outside the allow-list
    │   ├── BadPrincipal         a text that is not a qualified principal
    │   └── BadAccessFile        a sidecar that cannot be read; the documents it governs go to nobody
    ├── NotAuthenticated         no token, or one that fails verification                          (401)
    ├── NotAllowed               the caller is known but lacks the duty for this action            (403)
    ├── TooManyRequests          a caller asks more often than he may                              (429)
    ├── NotFound                 absent, or not permitted: the two are never told apart            (404)
    ├── Unavailable              a part that is needed to decide or to answer is down              (503)
    │   ├── SourceUnavailable    a source cannot be listed now; nothing may be concluded from it
    │   ├── ModelUnavailable     a model is not present or its runtime does not answer
    │   ├── StoreUnavailable     catalog or index cannot be reached, or is locked
    │   └── Overloaded           as much of this kind is being done as may be at a time; nothing is broken
    ├── IndexMismatch            the index was built with another embedding model or schema
    ├── Misconfigured            a setting is missing, unsafe or contradictory; the service refuses to start
    └── DocumentRefused          one document could not be read; carries a typed reason

Messages are written for the person who can act on them. Only `BadInput`, `NotFound`, `NotAllowed` and
`TooManyRequests` messages reach an API caller; the others are logged and answered with a generic text.
"""

from __future__ import annotations

from enum import StrEnum


class KustosError(Exception):
    """Base of all deliberate errors. `code` is stable and machine-readable."""

    code = "internal"


class BadInput(KustosError):
    code = "bad_input"


class BadFilter(BadInput):
    code = "bad_filter"


class BadPrincipal(BadInput):
    code = "bad_principal"


class BadAccessFile(BadInput):
    code = "bad_access_file"


class NotAuthenticated(KustosError):
    code = "not_authenticated"


class NotAllowed(KustosError):
    code = "not_allowed"


class NotFound(KustosError):
    code = "not_found"


class TooManyRequests(KustosError):
    code = "rate_limited"

    def __init__(self, message: str, retry_after_s: float = 60.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(KustosError):
    code = "unavailable"


class SourceUnavailable(Unavailable):
    code = "source_unavailable"


class ModelUnavailable(Unavailable):
    code = "model_unavailable"


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class Overloaded(Unavailable):
    code = "overloaded"


class IndexMismatch(KustosError):
    code = "index_mismatch"


class Misconfigured(KustosError):
    code = "misconfigured"


class RefusalReason(StrEnum):
    """Why a document could not be read, in words an operator can act on."""

    ENCRYPTED = "encrypted"
    DAMAGED = "damaged"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    NO_TEXT = "no_text"
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    UNREADABLE = "unreadable"
    PARSER_FAILED = "parser_failed"
    NOT_EMBEDDED = "not_embedded"


class DocumentRefused(KustosError):
    """One document cannot be read. The sync goes on; the refusal is kept in the catalog."""

    code = "document_refused"

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[DocumentRefused], tuple[RefusalReason, str]]:
        """An exception is otherwise rebuilt from its message alone when it crosses a process."""
        return DocumentRefused, (self.reason, self.detail)
