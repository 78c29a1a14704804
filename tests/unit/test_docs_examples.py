"""What the documentation shows of requests and records is what the service takes and writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

from api.admission.key_issue import LIFETIME_DAYS, MOST_DAYS
from api.cli import HELP_PAGES
from api.schemas import KeyRequest
from rag.access import ocsf
from rag.access.audit import Action, Outcome
from rag.access.audit_chain import SEALED, Entry
from rag.access.break_glass import SHORTEST_REASON

DOCS = Path(__file__).parents[2] / "docs"
AUDIT, API = ((DOCS / name).read_text(encoding="utf-8") for name in ("audit.md", "api.md"))


def shape(value: object) -> object:
    """The names in a JSON value, without what stands under them."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


def test_the_line_of_an_export_has_the_fields_of_an_event() -> None:
    (line,) = re.findall(r"^```json\n(.*?)^```", AUDIT, re.MULTILINE | re.DOTALL)
    shown = json.loads(line)
    document = shown["resources"][0]
    released = json.dumps([[document["uid"], document["version"], []]])
    raw = dict.fromkeys(SEALED) | {"tenant": "main", "number": 1, "at_ms": shown["time"], "person": "p"}
    raw |= {"action": Action.READ, "outcome": Outcome.RELEASED, "principals_hash": "h", "released": released}
    raw |= {"stale_index": 0, "grants": "[]", "detail": json.dumps(shown["unmapped"]["detail"]), "request_id": "r"}
    event = json.loads(json.dumps(ocsf.event(Entry(**raw, mac="m"), {})))
    told = {name: event[name] for name in shown}
    del told["metadata"]["version"], told["metadata"]["product"], told["api"]["service"]
    assert shape(told) == shape(shown)
    assert (told["time"], told["status"], told["resources"]) == (shown["time"], shown["status"], shown["resources"])


def test_the_fields_of_raw_data_are_named_in_their_order() -> None:
    (order,) = re.findall(r"JSON array in this order: (.*?)\. ", AUDIT, re.DOTALL)
    assert tuple(re.findall(r"`(\w+)`", order)) == SEALED


def test_the_body_that_makes_a_key_is_one_that_the_service_takes() -> None:
    (body,) = re.findall(r"/v1/keys .*?-d '(.*?)'", API, re.DOTALL)
    assert KeyRequest.model_validate_json(body).model_dump() == json.loads(body)
    least = KeyRequest(name="notebook")
    assert f"`scopes` is `{json.dumps(least.scopes)}`" in API
    assert (least.days, f"`days` {LIFETIME_DAYS} ({MOST_DAYS} at most)" in API) == (LIFETIME_DAYS, True)


def test_how_long_a_reason_is_stands_where_one_is_asked_for() -> None:
    for page in (AUDIT, (HELP_PAGES / "kustos-break-glass-propose.txt").read_text(encoding="utf-8")):
        assert f"{SHORTEST_REASON} characters" in page
