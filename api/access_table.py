"""Every address of the service and who may use it. A route without a row cannot be built, so none can be forgotten.

The duty is checked on the matched route, before the body is read (TV-22); what an outsider sees is written beside it,
and `tests/security/test_callers_by_routes.py` puts every kind of caller to every row (FB-19).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rag.access.api_keys import KeyScope
from rag.errors import Misconfigured


class Duty(StrEnum):
    """What a caller has to bring. No duty opens a passage beyond what its holder reads as a reader (RM-15)."""

    PUBLIC = "public"  # nothing; such a route holds nothing that depends on documents or on people
    READER = "reader"  # a valid token; what it opens is the gate's decision
    OPERATOR = "operator"  # runs the service: the role `operator` of our client, or this machine's operator key
    AUDITOR = "auditor"  # reads the audit: the role `auditor` of our client, and no key
    EVALUATOR = "evaluator"  # measures on sets that he may read: the role `evaluator` of our client
    PAGE = "page"  # nothing, or the cookie of the browser that asks; for the page's own sign-in, and about it alone
    DEMO = "demo"  # nothing, but on this machine, from our own page, and only while the demo is on


@dataclass(frozen=True, slots=True)
class Row:
    """One address.

    Attributes:
        outsider: the HTTP status that a caller without anything gets.
        reader: what a signed-in person without any duty gets: 403 where a duty is missing, because the address is no
            secret; 200 stands for whatever his rights make.
        scope: what an API key must be for; without one, no key opens the address.
        early: the route begins when the token is verified, and takes the caller once Keycloak has said what it is
            worth; any other begins after that.
    """

    method: str
    path: str
    duty: Duty
    outsider: int
    reader: int
    scope: KeyScope | None = None
    early: bool = False


TABLE = (
    Row("GET", "/", Duty.PUBLIC, 200, 200),
    Row("GET", "/static/{name}", Duty.PUBLIC, 200, 200),
    Row("GET", "/openapi.json", Duty.PUBLIC, 200, 200),
    Row("GET", "/healthz", Duty.PUBLIC, 200, 200),
    Row("GET", "/readyz", Duty.PUBLIC, 200, 200),
    Row("POST", "/v1/search", Duty.READER, 401, 200, KeyScope.QUERY, early=True),
    Row("POST", "/v1/chat/completions", Duty.READER, 401, 200, KeyScope.QUERY, early=True),
    Row("GET", "/v1/models", Duty.READER, 401, 200, KeyScope.QUERY),
    Row("GET", "/v1/documents", Duty.READER, 401, 200, KeyScope.QUERY),
    Row("GET", "/v1/documents/{document_id}", Duty.READER, 401, 200, KeyScope.QUERY),
    Row("GET", "/v1/documents/{document_id}/passages/{ordinal}", Duty.READER, 401, 200, KeyScope.QUERY),
    Row("GET", "/v1/documents/{document_id}/pages/{number}", Duty.READER, 401, 200, KeyScope.QUERY),
    Row("POST", "/v1/evaluations", Duty.EVALUATOR, 401, 403, KeyScope.EVALUATE),
    Row("POST", "/v1/keys", Duty.READER, 401, 200),  # no key makes, lists or ends keys
    Row("GET", "/v1/keys", Duty.READER, 401, 200),
    Row("DELETE", "/v1/keys/{key_id}", Duty.READER, 401, 404),
    Row("GET", "/v1/operator/status", Duty.OPERATOR, 401, 403),
    Row("GET", "/v1/admin/explain", Duty.OPERATOR, 401, 403),
    Row("POST", "/v1/operator/ingest", Duty.OPERATOR, 401, 403),
    Row("DELETE", "/v1/operator/sources/{source}", Duty.OPERATOR, 401, 403),
    Row("POST", "/v1/operator/sources/{source}/sync", Duty.OPERATOR, 401, 403, KeyScope.PUSH),
    Row("GET", "/v1/operator/grants", Duty.OPERATOR, 401, 403),
    Row("POST", "/v1/operator/grants", Duty.OPERATOR, 401, 403),
    Row("DELETE", "/v1/operator/grants/{grant_id}", Duty.OPERATOR, 401, 403),
    Row("GET", "/v1/audit/grants", Duty.AUDITOR, 401, 403),
    Row("POST", "/v1/audit/grants/{grant_id}/confirm", Duty.AUDITOR, 401, 403),
    Row("DELETE", "/v1/audit/grants/{grant_id}", Duty.AUDITOR, 401, 403),
    Row("GET", "/v1/audit/verdict", Duty.AUDITOR, 401, 403),
    Row("GET", "/v1/audit/who-saw", Duty.AUDITOR, 401, 403),
    Row("GET", "/v1/audit/what-saw", Duty.AUDITOR, 401, 403),
    Row("GET", "/v1/audit/events", Duty.AUDITOR, 401, 403),
    Row("POST", "/v1/audit/prune", Duty.AUDITOR, 401, 403),
    Row("POST", "/v1/audit/forget", Duty.AUDITOR, 401, 403),
    Row("GET", "/session", Duty.PAGE, 200, 200),
    Row("GET", "/session/login", Duty.PAGE, 404, 404),  # these where nobody signs in at the page
    Row("GET", "/session/callback", Duty.PAGE, 404, 404),
    Row("POST", "/session/logout", Duty.PAGE, 404, 404),
    Row("POST", "/session/backchannel-logout", Duty.PAGE, 404, 404),
    Row("GET", "/demo/accounts", Duty.DEMO, 404, 404),
    Row("POST", "/demo/token", Duty.DEMO, 404, 404),
)


def row_of(method: str, path: str) -> Row:
    """The row of a route by its method and its path template.

    Raises:
        Misconfigured: the table has no such row.
    """
    for row in TABLE:
        if (row.method, row.path) == (method, path):
            return row
    raise Misconfigured(f"{method} {path} has no row in api/access_table.py; add one that says who may use it")
