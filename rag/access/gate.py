"""The one gate. Nothing derived from a passage leaves Kustos but through here.

It is the only holder of a reader, the only maker of an `AccessScope`, and it checks twice, by different means:

1. the scope is a filter inside the index query (the store adapter builds it from the scope);
2. everything that the index proposes is looked up in the catalog, the authority over ACL, version and existence, and
   `permits` decides again. So a right taken away in the catalog holds in the next question, before the index has been
   touched; what the index still proposes is dropped, counted as `stale_index` and replaced from the next candidates.

Each release and each refusal is written to the audit log first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rag.access.acl import permits
from rag.access.audit import AuditRecord, Outcome, Purpose, Released, principals_hash
from rag.access.break_glass import NO_GRANTS, extended
from rag.access.directory import Directory
from rag.access.places import PlacesNow
from rag.access.scope import AccessScope, Caller
from rag.access.term_weights import weighed
from rag.documents import Candidate, Document, Passage, Position, Question
from rag.errors import NotFound
from rag.ports import AuditLog, Authority, ChunkReader, Grants, Stored

MAX_ROUNDS = 12  # depth at least doubles where nothing proposed is current, so this reaches thousands of times deeper


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Candidates that the catalog permits right now, and how many the index proposed in vain."""

    candidates: tuple[Candidate, ...]
    stale_index: int


class Gate:
    """Decides who may read what. Every method takes the caller's scope; none has a default for it."""

    def __init__(
        self,
        reader: ChunkReader,
        authority: Authority,
        directory: Directory,
        audit: AuditLog,
        grants: Grants = NO_GRANTS,
    ) -> None:
        self._reader = reader
        self._authority = authority
        self._places = PlacesNow(authority)
        self._directory = directory
        self._audit = audit
        self._grants = grants

    def scope_for(self, caller: Caller, purpose: Purpose) -> AccessScope | None:
        """What the caller may read at this moment; None means nothing at all, and no query is sent.

        Raises:
            StoreUnavailable: the catalog does not answer, so nothing can be decided.
        """
        granted = self._grants.in_force(caller.tenant, caller.subject)
        principals = self._directory.widen(extended(caller, granted))
        if not principals:
            nobody = principals_hash(principals)
            refused = AuditRecord(caller.tenant, caller.subject, nobody, purpose, Outcome.NO_PRINCIPALS, released=())
            self._audit.record(replace(refused, client=caller.client))
            return None
        grants = tuple(each.id for each in granted)
        return AccessScope(caller.tenant, caller.subject, principals, grants=grants, client=caller.client)

    def candidates(self, scope: AccessScope, question: Question, depth: int) -> Confirmed:
        """The best chunks of each leg, about `depth` a leg, that catalog and rule permit at this moment.

        Raises:
            BadFilter: the question narrows by an unknown field.
            StoreUnavailable: index or catalog does not answer.
        """
        stale, wanted = 0, depth
        places = self._places.of(scope.tenant)
        if not (readable := places.readable(scope)):
            return Confirmed((), stale)
        if question.lexical and question.lexical.indices:
            question = replace(question, lexical=weighed(self._authority, readable, question.lexical))
        asked = scope.limited_to(places.named)
        for _ in range(MAX_ROUNDS):
            proposed = self._reader.candidates(asked, question, depth)
            governing = self._authority.governing(scope.tenant, [each.chunk_id for each in proposed])
            acls = {each.acl_id: each.acl for each in governing.values()}
            open_now = {place for place, acl in acls.items() if permits(scope.principals, acl).allowed}
            permitted, closed, deeper = [], set(), 0
            for each in proposed:
                governed = governing.get(each.chunk_id)
                if governed and governed.acl_id in open_now:
                    permitted.append(Candidate(each.chunk_id, each.dense, each.lexical, governed.language))
                elif governed and governed.acl_id not in asked.without_acls:
                    closed.add(governed.acl_id)
                else:
                    deeper += 1
            stale += len(proposed) - len(permitted)
            exhausted = len(proposed) < depth  # then both legs are short, and a leg is short only at its end
            if exhausted or len(permitted) == len(proposed):
                break
            # Ask again: without the places just found closed, and deeper. By what that does not keep away: chunks that
            # are gone, and moved ones, which the index still has under another place than the catalog. And by the
            # number of closed places: where many were closed one by one, there are more behind.
            asked = asked.excluding(closed)
            depth += deeper + len(closed)
        return Confirmed(_best(permitted, wanted), stale)

    def release(self, scope: AccessScope, chunk_ids: Sequence[str], purpose: Purpose, stale: int = 0) -> list[Passage]:
        """The passages behind `chunk_ids`, in that order and ranked from 1, as far as the caller may read them now.

        Raises:
            StoreUnavailable: the catalog does not answer, or the audit record could not be written.
        """
        current = self._authority.chunks(scope.tenant, chunk_ids) if chunk_ids else {}
        stored = [current[each] for each in chunk_ids if each in current]
        passages = [
            Passage(each.chunk, each.document, rank)
            for rank, each in enumerate(_permitted(scope, stored), start=1)
            if each.chunk is not None
        ]
        self._record_passages(scope, purpose, passages, stale=stale)
        return passages

    def ranking(
        self, scope: AccessScope, chunk_ids: Sequence[str], limit: int, purpose: Purpose, stale: int = 0
    ) -> list[Document]:
        """The documents that these chunks are of, as far as the caller may read them now, at most `limit`.

        Each stands where the first of its chunks does. They are released without a passage.

        Raises:
            StoreUnavailable: the catalog does not answer, or the audit record could not be written.
        """
        current = self._authority.chunks(scope.tenant, chunk_ids) if chunk_ids else {}
        permitted = _permitted(scope, [current[each] for each in chunk_ids if each in current])
        documents = list({each.document.id: each.document for each in permitted}.values())[:limit]
        self._record(scope, purpose, [Released(each.id, each.version) for each in documents], stale=stale)
        return documents

    def document(self, scope: AccessScope | None, document_id: str, purpose: Purpose) -> Document:
        """One document's metadata.

        Raises:
            NotFound: there is none, or the caller may not read it; the two are not told apart.
            StoreUnavailable: the catalog does not answer.
        """
        stored = self._authority.document(scope.tenant, document_id) if scope else None
        found = _permitted(scope, [stored]) if scope and stored else []
        if scope:
            released = [Released(each.document.id, each.document.version) for each in found]
            self._record(scope, purpose, released, about=document_id)
        if not found:
            raise NotFound(f"there is no document {document_id!r}")
        return found[0].document

    def passages(
        self,
        scope: AccessScope | None,
        document_id: str,
        ordinals: tuple[int, int],
        purpose: Purpose,
        wanted: int | None = None,
    ) -> list[Passage]:
        """The passages of a document from the first to the last ordinal, both included; at least one.

        Where one of them is `wanted`, all or nothing: without it none is released, and none recorded as released.

        The document is decided first, by one keyed read, and texts are read afterwards: how long a refusal takes tells
        nothing of what is there (SC-05).

        Raises:
            NotFound: there is none, or the caller may not read it.
            StoreUnavailable: the catalog does not answer.
        """
        about = self._authority.document(scope.tenant, document_id) if scope else None
        found = []
        if scope and about and _permitted(scope, [about]):
            found = _permitted(scope, self._authority.passages(scope.tenant, document_id, *ordinals))
        passages = [Passage(each.chunk, each.document, rank) for rank, each in enumerate(found, start=1) if each.chunk]
        if wanted is not None and all(each.chunk.ordinal != wanted for each in passages):
            passages = []
        if scope:
            self._record_passages(scope, purpose, passages, about=document_id)
        if not passages:
            raise NotFound(f"there is no passage {wanted or ordinals[0]} of document {document_id!r}")
        return passages

    def documents(
        self, scope: AccessScope | None, purpose: Purpose, after: Position = ("", ""), limit: int = 100
    ) -> list[Document]:
        """The documents that the caller may read, in order of their position, beginning behind `after`.

        Derived from the same rule as the single read, so that list and check cannot drift apart.

        Raises:
            StoreUnavailable: the catalog does not answer.
        """
        if scope is None:
            return []
        acls = self._authority.acls(scope.tenant)
        readable = {place for place, acl in acls.items() if permits(scope.principals, acl).allowed}
        listed = list(self._authority.documents_governed_by(scope.tenant, readable, after, limit)) if readable else []
        self._record(scope, purpose, [Released(each.id, each.version) for each in listed])
        return listed

    def _record_passages(
        self,
        scope: AccessScope,
        purpose: Purpose,
        passages: Sequence[Passage],
        about: str | None = None,
        stale: int = 0,
    ) -> None:
        chunks: dict[tuple[str, str], list[str]] = {}
        for each in passages:
            chunks.setdefault((each.document.id, each.document.version), []).append(each.chunk.id)
        released = [Released(*document, tuple(ids)) for document, ids in chunks.items()]
        texts = tuple(each.chunk.text for each in passages)
        self._record(scope, purpose, released, about=about, stale=stale, texts=texts)

    def _record(
        self,
        scope: AccessScope,
        purpose: Purpose,
        released: Sequence[Released],
        *,
        about: str | None = None,
        stale: int = 0,
        texts: tuple[str, ...] = (),
    ) -> None:
        self._audit.record(
            AuditRecord(
                tenant=scope.tenant,
                subject=scope.subject,
                principals_hash=principals_hash(scope.principals),
                purpose=purpose,
                outcome=Outcome.RELEASED if released else Outcome.NOTHING,
                released=tuple(released),
                stale_index=stale,
                about=about,
                grants=scope.grants,
                client=scope.client,
                texts=texts,
            )
        )


def _best(permitted: Sequence[Candidate], depth: int) -> tuple[Candidate, ...]:
    """The best `depth` of each leg: what would have come if the index had nothing in between that is not permitted."""
    dense = _leg({each.chunk_id: each.dense for each in permitted}, depth)
    lexical = _leg({each.chunk_id: each.lexical for each in permitted}, depth)
    languages = {each.chunk_id: each.language for each in permitted}
    best = dict.fromkeys([*dense, *lexical])
    return tuple(Candidate(each, dense.get(each), lexical.get(each), languages[each]) for each in best)


def _leg(scores: Mapping[str, float | None], depth: int) -> Mapping[str, float]:
    found = [(-score, chunk_id) for chunk_id, score in scores.items() if score is not None]
    return {chunk_id: -score for score, chunk_id in sorted(found)[:depth]}


def _permitted(scope: AccessScope, stored: Iterable[Stored]) -> list[Stored]:
    return [each for each in stored if permits(scope.principals, each.acl).allowed]
