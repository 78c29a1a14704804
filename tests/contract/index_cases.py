"""What the index suite asks about: points, scopes, questions, and the access rule as a table."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rag.access.principals import Principal
from rag.access.scope import AccessScope
from rag.documents import IndexPoint, IndexProfile, Question, SparseVector

DIMENSION = 8
PROFILE = IndexProfile("a-model", DIMENSION, "query: ", "passage: ", "0" * 64)
TENANT = "acme"
COMMON, RARE = 7, 4_000_000_000  # term ids, from both ends of uint32


def chunk_id(name: object) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(name)))


def unit_vector(seed: int) -> tuple[float, ...]:
    vector = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    return tuple((vector / np.linalg.norm(vector)).tolist())


def terms(weights: Mapping[int, float]) -> SparseVector:
    return SparseVector(tuple(sorted(weights)), tuple(weights[each] for each in sorted(weights)))


def point(
    name: object,
    allow: tuple[str, ...] = ("reader",),
    deny: tuple[str, ...] = (),
    *,
    tenant: str = TENANT,
    source: str = "files",
    document: str = "",
    acl: str = "",
    language: str = "de",
    dense: tuple[float, ...] | None = None,
    lexical: Mapping[int, float] | None = None,
) -> IndexPoint:
    """A point that differs from others of the same `name` only in what is given."""
    return IndexPoint(
        chunk_id=chunk_id(name),
        document_id=document or f"document of {name}",
        source=source,
        language=language,
        tenant=tenant,
        acl_id=acl or f"place of {name}",
        allow=allow,
        deny=deny,
        dense=dense or unit_vector(uuid.UUID(chunk_id(name)).int % 2**32),
        lexical=terms({COMMON: 1.0} if lexical is None else lexical),
    )


def scope(*principals: str, tenant: str = TENANT, without_acls: tuple[str, ...] = ()) -> AccessScope:
    return AccessScope(tenant, "someone", frozenset(map(Principal, principals)), frozenset(without_acls))


def question(
    narrow: Mapping[str, tuple[str, ...]] | None = None, *, seed: int = 1, weights: Mapping[int, float] | None = None
) -> Question:
    return Question(unit_vector(seed), terms(weights or {COMMON: 1.0}), "en", narrow or {})


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the access rule: who asks, what the point says, and whether the point is found."""

    outcome: str
    point: IndexPoint
    scope: AccessScope
    found: bool


RULES = (
    Rule("allowed principal reads", point(1, ("a",)), scope("a"), True),
    Rule("one of several principals is enough", point(1, ("a", "b")), scope("b", "c"), True),
    Rule("other principal does not read", point(1, ("a",)), scope("b"), False),
    Rule("deny wins over allow", point(1, ("a",), ("a",)), scope("a"), False),
    Rule("deny of another principal of the caller wins", point(1, ("a",), ("b",)), scope("a", "b"), False),
    Rule("deny of somebody else does nothing", point(1, ("a",), ("b",)), scope("a"), True),
    Rule("empty allow is nobody", point(1, ()), scope("a"), False),
    Rule("deny alone allows nobody", point(1, (), ("b",)), scope("a"), False),
    Rule("other tenant", point(1, ("a",), tenant="other"), scope("a"), False),
    Rule("place that the catalog has closed", point(1, ("a",), acl="x"), scope("a", without_acls=("x",)), False),
    Rule("other place than the closed one", point(1, ("a",), acl="y"), scope("a", without_acls=("x",)), True),
    Rule("prefix of a principal is another principal", point(1, ("group:/hr",)), scope("group:/hr/leads"), False),
    Rule("case is not folded", point(1, ("Group",)), scope("group"), False),
    Rule("no trimming", point(1, ("group ",)), scope("group"), False),
    Rule("a star is a name", point(1, ("*",)), scope("a"), False),
    Rule("an umlaut in two encodings is two names", point(1, ("b\u00fcro",)), scope("bu\u0308ro"), False),
    Rule("an empty text in allow is nobody's name", point(1, ("",)), scope("a"), False),
)
