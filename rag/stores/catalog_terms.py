"""In how many passages of each governing place a term is: what IDF is taken from.

Every transaction that changes passages, or the place of their document, changes the counts with them. So they are
those of the catalog at each commit, and a right that is taken away takes the counts of its place away in the next
question, whatever the index still holds. Counted by place and not by rights: a change of rights counts nothing anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from sqlalchemy import Connection, select, text

from rag.stores.catalog_schema import acls, chunks, documents

PASSAGES = -1
"""Under this, which is no term id, the passages of a place are counted themselves."""

_ADD = text(
    "INSERT INTO term_counts (term, place, passages) VALUES (:term, :place, :passages) "
    "ON CONFLICT (term, place) DO UPDATE SET passages = term_counts.passages + excluded.passages"
)
_DROP = text("DELETE FROM term_counts WHERE place = :place AND term = :term AND passages = 0")
_IDS_A_STATEMENT = 5_000

Counts = Counter[tuple[int, int]]
"""Passages by term and number of the place."""


def packed(terms: Sequence[int]) -> bytes:
    """Term ids as they are kept with a passage: uint32[n], little-endian."""
    return np.asarray(terms, dtype="<u4").tobytes()


@contextmanager
def counted(connection: Connection, document_ids: Sequence[str]) -> Iterator[None]:
    """Whatever the block changes about the passages of these documents, or their places, is counted when it ends."""
    before = _held(connection, document_ids)
    yield
    after = _held(connection, document_ids)
    changed = {key: after[key] - before[key] for key in after.keys() | before.keys() if after[key] != before[key]}
    rows = [{"term": term, "place": place, "passages": changed[term, place]} for term, place in sorted(changed)]
    if rows:
        connection.execute(_ADD, rows)
        _drop_none(connection, rows)


def _held(connection: Connection, document_ids: Sequence[str]) -> Counts:
    """What the passages of these documents add to the counts as they are now."""
    statement = (
        select(acls.c.number, chunks.c.terms)
        .join(documents, documents.c.id == chunks.c.document_id)
        .join(acls, acls.c.id == documents.c.acl_id)
    )
    held: Counts = Counter()
    for at in range(0, len(document_ids), _IDS_A_STATEMENT):
        batch = document_ids[at : at + _IDS_A_STATEMENT]
        for place, terms in connection.execute(statement.where(documents.c.id.in_(batch))):
            held[PASSAGES, place] += 1
            held.update((term, place) for term in np.frombuffer(terms, dtype="<u4").tolist())
    return held


def _drop_none(connection: Connection, rows: Sequence[Mapping[str, int]]) -> None:
    """Words that no passage of a place holds any more leave no trace."""
    if fewer := [each for each in rows if each["passages"] < 0]:
        connection.execute(_DROP, fewer)
