"""What is stored of a chunk, what is checked before it is stored, and what an index was built with."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise

from rag.access.acl import Acl
from rag.documents import IndexPoint, IndexProfile, SparseVector
from rag.errors import BadInput, IndexMismatch
from rag.stores.access_filter import ACL, ALLOW, DENY, DOCUMENT, LANGUAGE, SOURCE, TENANT

DENSE = "dense"
LEXICAL = "bm25"
"""Names of the two vectors of a point."""

POINTS_A_REQUEST = 500  # below the 32 MB that a server accepts, at 3,072 dimensions too
DOCUMENTS_A_MOVE = 100
_U32_MAX = 2**32 - 1

Payload = dict[str, str | list[str]]


def payload(point: IndexPoint) -> Payload:
    """The fields that filters need, and nothing else: no text, no title, no path."""
    return {
        TENANT: point.tenant,
        SOURCE: point.source,
        DOCUMENT: point.document_id,
        ACL: point.acl_id,
        ALLOW: list(point.allow),
        DENY: list(point.deny),
        LANGUAGE: point.language,
    }


def rights(acl: Acl) -> Payload:
    """The two fields that a change of rights rewrites."""
    return {ALLOW: sorted(acl.allow), DENY: sorted(acl.deny)}


def checked_batches(points: Sequence[IndexPoint], dimension: int) -> Iterator[Sequence[IndexPoint]]:
    """`points` in batches, every one of them checked before the first batch is handed out.

    The check is not pedantry. The embedded engine logs a write before it applies it, and a sparse vector whose lists
    differ in length makes it panic: at once, at every later write and at every later opening. A vector that is not
    finite is accepted and never found.

    Raises:
        IndexMismatch: a dense vector has another length than the index.
        BadInput: a point that no engine can store.
    """
    for each in points:
        _check(each, dimension)
    return (points[start : start + POINTS_A_REQUEST] for start in range(0, len(points), POINTS_A_REQUEST))


def document_batches(document_ids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Distinct documents, sorted; few enough that rewriting their points stops the embedded engine for a moment."""
    distinct = sorted(set(document_ids))
    return (tuple(distinct[at : at + DOCUMENTS_A_MOVE]) for at in range(0, len(distinct), DOCUMENTS_A_MOVE))


def _check(point: IndexPoint, dimension: int) -> None:
    if len(point.dense) != dimension:
        raise IndexMismatch(
            f"chunk {point.chunk_id} has a vector of {len(point.dense)} numbers, the index was built for {dimension}; "
            "re-index with: kustos ingest --rebuild"
        )
    if not math.isfinite(sum(point.dense)):
        raise BadInput(f"the dense vector of chunk {point.chunk_id} holds a number that is not finite")
    if not _is_well_formed(point.lexical):
        raise BadInput(f"the term weights of chunk {point.chunk_id} are not finite numbers for increasing term ids")
    try:
        uuid.UUID(point.chunk_id)
    except ValueError as error:
        raise BadInput(f"{point.chunk_id!r} is not a chunk id; it must be a UUID") from error


def _is_well_formed(vector: SparseVector) -> bool:
    ids = vector.indices
    increasing = all(before < after for before, after in pairwise(ids))
    in_range = not ids or (ids[0] >= 0 and ids[-1] <= _U32_MAX)
    return len(ids) == len(vector.values) and increasing and in_range and math.isfinite(sum(vector.values))


def describe(profile: IndexProfile) -> Mapping[str, str | int]:
    """The profile as it is stored beside the index."""
    return asdict(profile)


def refuse_other_profile(stored: object, expected: IndexProfile, where: str) -> None:
    """Vectors of two models cannot be compared, so an index of unknown or other origin is not opened.

    Raises:
        IndexMismatch: `stored` does not describe `expected`; names the difference and the command that re-indexes.
    """
    wanted = describe(expected)
    if stored == wanted:
        return
    if not isinstance(stored, Mapping):
        difference = "it does not say what it was built with"
    else:
        names = sorted(name for name in wanted.keys() | stored.keys() if stored.get(name) != wanted.get(name))
        difference = ", ".join(f"{name} {stored.get(name)!r} instead of {wanted.get(name)!r}" for name in names)
    raise IndexMismatch(f"the index {where} cannot be used: {difference}; re-index with: kustos ingest --rebuild")
