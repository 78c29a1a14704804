"""What operators are told of files that cannot be read."""

from __future__ import annotations

from api.reports import ADVICE
from rag.errors import RefusalReason
from rag.stores.catalog_status import PARTLY_READ


def test_there_is_something_to_do_about_every_reason() -> None:
    assert set(ADVICE) == {*RefusalReason, PARTLY_READ}
