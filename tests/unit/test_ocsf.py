"""What an auditor's tools are told that somebody did."""

from __future__ import annotations

import pytest

from rag.access import ocsf
from rag.access.audit import Act
from rag.access.audit_chain import Entry

TAKING_AWAY = {
    Act.SOURCE_FORGOTTEN,
    Act.GRANT_REVOKED,
    Act.KEY_REVOKED,
    Act.AUDIT_PRUNED,
    Act.PERSON_FORGOTTEN,
    Act.TENANT_REMOVED,
}


def entry(act: Act) -> Entry:
    nothing: dict[str, None] = dict.fromkeys(("about", "concerning", "principals_hash", "question_hash", "text_hash"))
    return Entry(
        tenant="main",
        number=1,
        at_ms=0,
        person="p",
        action=act,
        outcome="done",
        **nothing,
        released="[]",
        stale_index=0,
        model=None,
        grants="[]",
        detail="{}",
        request_id="r",
    )


@pytest.mark.parametrize("act", Act)
def test_what_takes_something_away_is_a_deletion_and_nothing_else_is(act: Act) -> None:
    assert (ocsf.event(entry(act), {})["activity_id"] == ocsf.DELETE) == (act in TAKING_AWAY)
