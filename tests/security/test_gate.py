"""The gate, held against a catalog that knows better than the index: both are fakes, and the index lies in every way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.access.acl import Acl, Rule, permits
from rag.access.audit import Action, AuditRecord, Deed, Outcome, Purpose, Released
from rag.access.directory import Directory
from rag.access.explain import Explainer
from rag.access.gate import MAX_ROUNDS, Gate
from rag.access.principals import EVERYONE_IN_TENANT, Principal, group, user
from rag.access.scope import AccessScope, Caller
from rag.documents import Candidate, Chunk, Document, Position, Question
from rag.errors import BadFilter, NotFound, StoreUnavailable
from rag.ports import Governed, GoverningPlace, Stored
from rag.retrieval import DEPTH, Mode, Request, Retrieval
from rag.stores.legs import Hit, LegQuery, candidates
from tests.fakes import GermanOrEnglish, MemoryAudit, WordEmbedder, WordEncoder

TENANT = "main"
ANN, BOB, STAFF = user("acme", "ann"), user("acme", "bob"), group("acme", "/staff")
OPEN, CLOSED = Acl.of({STAFF}), Acl.of({BOB})
SEARCH = Purpose(Action.SEARCH, "request-1", "what does it cost?", "text-general")
READ = Purpose(Action.READ, "request-2")
QUESTION = Question((1.0,), None, "en")


@dataclass
class Catalog:
    """The authority in memory: documents of one chunk each, and places with rights. `down` makes every question fail."""

    places: dict[str, Acl] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)
    down: bool = False
    after_governing: Callable[[], None] = lambda: None

    def add(self, name: str, place: str, *, tenant: str = TENANT, version: str = "v1") -> None:
        self.documents[name] = Document(
            id=name,
            tenant=tenant,
            source="share",
            uri=f"file://share/{name}",
            title=name,
            media_type="text/plain",
            language="en",
            version=version,
            acl_id=place,
            bytes=1,
            modified_at=None,
            passages=1,
        )

    def _held(self, tenant: str) -> dict[str, Document]:
        if self.down:
            raise StoreUnavailable("the catalog does not answer")
        return {name: each for name, each in self.documents.items() if each.tenant == tenant}

    def governing(self, tenant: str, chunk_ids: Sequence[str]) -> Mapping[str, Governed]:
        held = self._held(tenant)
        places = {each: held[each].acl_id for each in chunk_ids if each in held}
        found = {each: Governed(place, self.places[place], "en") for each, place in places.items()}
        self.after_governing()
        return found

    def chunks(self, tenant: str, chunk_ids: Sequence[str]) -> Mapping[str, Stored]:
        held = self._held(tenant)
        return {each: self._stored(held[each]) for each in sorted(chunk_ids) if each in held}

    def passages(self, tenant: str, document_id: str, first: int, last: int) -> Sequence[Stored]:
        found = self._held(tenant).get(document_id)
        return [self._stored(found)] if found and first <= 1 <= last else []

    def document(self, tenant: str, document_id: str) -> Stored | None:
        found = self._held(tenant).get(document_id)
        return Stored(found, self.places[found.acl_id]) if found else None

    def acls(self, tenant: str) -> Mapping[str, Acl]:
        return {each.acl_id: self.places[each.acl_id] for each in self._held(tenant).values()}

    def rights_revision(self, tenant: str) -> int:
        self._held(tenant)
        return hash(frozenset(self.places.items()))

    def governing_places(self, tenant: str) -> tuple[int, Sequence[GoverningPlace]]:
        found = [GoverningPlace(name, at, acl) for at, (name, acl) in enumerate(self.places.items())]
        return self.rights_revision(tenant), found

    def term_counts(self, places: Sequence[int], terms: Sequence[int]) -> tuple[int, Mapping[int, int]]:
        return 0, {}

    def documents_governed_by(self, tenant: str, acl_ids: Set[str], after: Position, limit: int) -> Sequence[Document]:
        held = sorted(self._held(tenant).values(), key=lambda each: each.position)
        return [each for each in held if each.acl_id in acl_ids and each.position > after][:limit]

    def origin(self, acl_id: str) -> tuple[str, str | None]:
        return f"{acl_id}/_access.yaml", None

    def _stored(self, about: Document) -> Stored:
        text = f"text of {about.title}"
        chunk = Chunk(about.id, about.id, 1, text, (), None, 0, len(text), "en", "0" * 64)
        return Stored(about, self.places[about.acl_id], chunk)


@dataclass
class LaggingIndex:
    """Proposes in a fixed order what it once was told: (chunk id, place, rights of then). `deaf` it filters nothing."""

    entries: list[tuple[str, str, Acl]] = field(default_factory=list)
    deaf: bool = False
    asked: list[int] = field(default_factory=list)
    asked_for: frozenset[Principal] = frozenset()
    before_answering: Callable[[], None] = lambda: None

    def candidates(self, scope: AccessScope, question: Question, limit: int) -> Sequence[Candidate]:
        self.before_answering()
        self.asked.append(limit)
        self.asked_for = scope.principals
        if "colour" in question.narrow:
            raise BadFilter("results cannot be narrowed by 'colour'")
        proposed = [name for name, place, acl in self.entries if self.deaf or self._readable(scope, place, acl)]
        return [Candidate(name, -float(at), None) for at, name in enumerate(proposed[:limit])]

    @staticmethod
    def _readable(scope: AccessScope, place: str, acl: Acl) -> bool:
        return place not in scope.without_acls and permits(scope.principals, acl).allowed


@dataclass
class Groups:
    """Memberships in memory."""

    edges: set[tuple[Principal, Principal]] = field(default_factory=set)
    changes: int = 0

    def change(self, edges: set[tuple[Principal, Principal]]) -> None:
        self.edges, self.changes = edges, self.changes + 1

    def revision(self, tenant: str) -> int:
        return self.changes

    def containers(self, tenant: str, principals: Set[Principal]) -> frozenset[Principal]:
        return frozenset(container for member, container in self.edges if member in principals)

    def chain(self, tenant: str, members: Set[Principal], container: Principal) -> tuple[Principal, ...]:
        return next(((each, container) for each in sorted(members) if (each, container) in self.edges), ())


class FullDisk:
    """An audit log that cannot be written."""

    def record(self, record: AuditRecord | Deed) -> None:
        raise StoreUnavailable("the audit log cannot be written: no space left on device")


@dataclass
class World:
    catalog: Catalog = field(default_factory=Catalog)
    index: LaggingIndex = field(default_factory=LaggingIndex)
    groups: Groups = field(default_factory=lambda: Groups({(ANN, STAFF)}))
    audit: MemoryAudit = field(default_factory=MemoryAudit)

    @property
    def gate(self) -> Gate:
        return Gate(self.index, self.catalog, Directory(self.groups), self.audit)

    def add(self, name: str, place: str, rights: Acl, *, then: Acl | None = None, was_in: str = "") -> None:
        """A document, indexed when its place was `was_in` and its rights were `then`."""
        self.catalog.places[place] = rights
        self.catalog.add(name, place)
        self.index.entries.append((name, was_in or place, then or rights))

    def scope(self) -> AccessScope:
        scope = self.gate.scope_for(caller(ANN), SEARCH)
        assert scope
        return scope

    def search(self, depth: int = DEPTH) -> tuple[list[str], int]:
        """Ids that Ann is given, and how much the index proposed in vain."""
        confirmed = self.gate.candidates(self.scope(), QUESTION, depth)
        ids = [each.chunk_id for each in confirmed.candidates]
        released = self.gate.release(self.scope(), ids, SEARCH, confirmed.stale_index)
        assert [each.chunk.id for each in released] == ids
        return ids, confirmed.stale_index


@pytest.fixture
def world() -> World:
    return World()


def caller(*principals: Principal, tenant: str = TENANT) -> Caller:
    return Caller(tenant, "somebody", frozenset(principals))


# A caller without principals


@pytest.mark.parametrize("mode", Mode)
def test_fb_02_a_caller_without_principals_gets_nothing_and_no_query_is_sent(world: World, mode: Mode) -> None:
    world.add("open", "p", Acl.of({EVERYONE_IN_TENANT}))
    retrieval = Retrieval(world.gate, WordEmbedder(), WordEncoder(), GermanOrEnglish(), covers=lambda _: True)
    assert retrieval.search(caller(), Request("what?", mode=mode), SEARCH) == []
    assert world.index.asked == []
    assert [(each.outcome, each.released) for each in world.audit.records] == [(Outcome.NO_PRINCIPALS, ())]


def test_fb_02_without_a_scope_nothing_is_listed_and_nothing_is_found_by_id(world: World) -> None:
    world.add("open", "p", Acl.of({EVERYONE_IN_TENANT}))
    assert world.gate.documents(None, READ) == []
    with pytest.raises(NotFound):
        world.gate.document(None, "open", READ)
    with pytest.raises(NotFound):
        world.gate.passages(None, "open", (1, 1), READ)


def test_rm_09_a_caller_without_principals_is_not_everyone_in_the_tenant(world: World) -> None:
    assert world.gate.scope_for(caller(), SEARCH) is None


def test_mt_01_a_caller_of_another_tenant_gets_nothing_though_his_principals_are_the_same(world: World) -> None:
    world.add("open", "p", OPEN)
    scope = world.gate.scope_for(caller(STAFF, tenant="other"), SEARCH)
    assert scope
    assert world.gate.candidates(scope, QUESTION, 5).candidates == ()
    assert world.gate.release(scope, ["open"], SEARCH) == []
    assert world.gate.documents(scope, READ) == []
    with pytest.raises(NotFound):
        world.gate.document(scope, "open", READ)


# What the index still proposes is dropped, counted and replaced

Stale = Callable[[World, int], None]


def deleted(world: World, at: int) -> None:
    world.index.entries.append((f"deleted {at}", "p", OPEN))


def revoked(world: World, at: int) -> None:
    world.add(f"revoked {at}", "taken away", CLOSED, then=OPEN)


def revoked_one_by_one(world: World, at: int) -> None:
    world.add(f"revoked {at}", f"place {at}", CLOSED, then=OPEN)


def moved(world: World, at: int) -> None:
    world.add(f"moved {at}", "closed folder", CLOSED, then=OPEN, was_in="open folder")


def moved_and_the_old_place_is_open_still(world: World, at: int) -> None:
    world.add(f"moved {at}", "closed folder", CLOSED, then=OPEN, was_in="p")


def of_another_tenant(world: World, at: int) -> None:
    world.catalog.places["theirs"] = OPEN
    world.catalog.add(f"theirs {at}", "theirs", tenant="other")
    world.index.entries.append((f"theirs {at}", "theirs", OPEN))


def of_every_kind(world: World, at: int) -> None:
    (deleted, revoked, moved, moved_and_the_old_place_is_open_still, of_another_tenant)[at % 5](world, at)


KINDS = (
    deleted,
    revoked,
    revoked_one_by_one,
    moved,
    moved_and_the_old_place_is_open_still,
    of_another_tenant,
    of_every_kind,
)


@pytest.mark.parametrize("stale", KINDS)
@pytest.mark.parametrize("number", [1, 99, 100, 10_000])
def test_rc_09_what_is_stale_is_replaced_from_the_next_candidates(world: World, stale: Stale, number: int) -> None:
    for at in range(number):
        stale(world, at)
    readable = [f"readable {at:03}" for at in range(2 * DEPTH)]
    for each in readable:
        world.add(each, "p", OPEN)
    found, dropped = world.search()
    assert found[:DEPTH] == readable[:DEPTH]
    assert dropped >= min(number, DEPTH)
    assert len(world.index.asked) <= MAX_ROUNDS


@pytest.mark.parametrize("stale", KINDS)
def test_rc_09_stale_and_readable_passages_may_alternate(world: World, stale: Stale) -> None:
    for at in range(1_000):
        stale(world, at)
        world.add(f"readable {at:03}", "p", OPEN)
    found, _ = world.search()
    assert found[:DEPTH] == [f"readable {at:03}" for at in range(DEPTH)]


class CopiesIndex(LaggingIndex):
    """An index over the real legs, in which what is readable is copies of one text, all of the same score."""

    def candidates(self, scope: AccessScope, question: Question, limit: int) -> Sequence[Candidate]:
        def ask(queries: Sequence[LegQuery]) -> list[list[Hit]]:
            return [
                [_hit(each) for each in LaggingIndex.candidates(self, scope, question, one.limit)] for one in queries
            ]

        return candidates(ask, question, limit)


def _hit(proposed: Candidate) -> Hit:
    assert proposed.dense is not None
    return Hit(proposed.chunk_id, 0.1 if proposed.chunk_id.startswith("readable") else 1 + 1 / (1 - proposed.dense))


@pytest.mark.parametrize("stale", KINDS)
@pytest.mark.parametrize("number", [1, 20, DEPTH, 10 * DEPTH])
def test_rc_09_copies_of_one_text_behind_what_is_stale_are_found(world: World, stale: Stale, number: int) -> None:
    world.index = CopiesIndex()
    for at in range(number):
        stale(world, at)
    for at in range(150):
        world.add(f"readable {at:03}", "p", OPEN)
    assert len(world.search()[0]) >= DEPTH


@pytest.mark.parametrize("stale", KINDS)
def test_where_everything_is_stale_nothing_is_found_and_the_search_ends(world: World, stale: Stale) -> None:
    for at in range(1_000):
        stale(world, at)
    assert world.search()[0] == []
    assert len(world.index.asked) <= MAX_ROUNDS


def test_a_search_of_an_index_that_is_right_asks_it_once(world: World) -> None:
    for at in range(300):
        world.add(f"readable {at}", "p", OPEN)
    assert len(world.search()[0]) == DEPTH
    assert world.index.asked == [DEPTH]


def test_rc_01_revoking_a_folder_costs_one_more_question_however_many_passages_it_has(world: World) -> None:
    for at in range(10_000):
        revoked(world, at)
    world.add("readable", "p", OPEN)
    assert world.search()[0] == ["readable"]
    assert world.index.asked == [DEPTH, DEPTH + 1]


def test_stale_candidates_are_counted_in_the_audit_log(world: World) -> None:
    revoked(world, 1)
    deleted(world, 2)
    world.add("readable", "p", OPEN)
    world.search()
    assert world.audit.records[-1].stale_index == 2


def test_o5_an_index_that_ignores_its_filter_leaks_nothing(world: World) -> None:
    world.index.deaf = True
    for at in range(500):
        world.add(f"hidden {at}", f"hidden {at}", (CLOSED, Acl.nobody(), Acl.of({STAFF}, {ANN}))[at % 3])
    world.add("readable", "p", OPEN)
    assert world.search()[0] == ["readable"]


def test_rc_07_a_right_taken_away_between_proposal_and_release_holds(world: World) -> None:
    world.add("now", "p", OPEN)
    world.catalog.after_governing = lambda: world.catalog.places.update(p=CLOSED)
    confirmed = world.gate.candidates(world.scope(), QUESTION, 5)
    assert [each.chunk_id for each in confirmed.candidates] == ["now"]
    assert world.gate.release(world.scope(), ["now"], SEARCH) == []


def test_rc_06_a_membership_that_ended_counts_no_more_in_the_next_question(world: World) -> None:
    world.add("staff only", "p", OPEN)
    gate = world.gate
    assert gate.document(gate.scope_for(caller(ANN), READ), "staff only", READ)
    world.groups.change(set())
    with pytest.raises(NotFound):
        gate.document(gate.scope_for(caller(ANN), READ), "staff only", READ)


def test_the_index_is_asked_with_principals_that_some_place_names_and_no_others(world: World) -> None:
    world.add("mine", "open folder", Acl.of({STAFF}, {BOB}))
    world.groups.change({(ANN, STAFF), (ANN, group("acme", "/named/nowhere"))})
    assert world.search() == (["mine"], 0)
    assert world.index.asked_for == {STAFF}


def test_who_may_read_no_place_is_no_reason_to_ask_the_index(world: World) -> None:
    world.add("closed", "closed folder", CLOSED, then=OPEN)
    assert world.search() == ([], 0)
    assert world.index.asked == []


def test_rc_07_a_principal_that_is_denied_for_the_first_time_while_the_index_is_asked_denies(world: World) -> None:
    world.add("mine", "open folder", Acl.of({STAFF}))
    denied = Acl.of({STAFF}, {ANN})
    world.index.before_answering = lambda: world.catalog.places.update({"open folder": denied})
    assert world.search() == ([], 1)


def test_only_fields_that_callers_may_know_can_narrow(world: World) -> None:
    world.add("mine", "open folder", OPEN)
    with pytest.raises(BadFilter):
        world.gate.candidates(world.scope(), Question((1.0,), None, "en", {"colour": ("red",)}), 5)


# Release


def test_passages_are_released_in_the_order_asked_and_ranked_from_one(world: World) -> None:
    for name in ("a", "b", "c", "d"):
        world.add(name, name, CLOSED if name == "b" else OPEN)
    released = world.gate.release(world.scope(), ["d", "b", "absent", "a", "c"], SEARCH)
    assert [(each.rank, each.chunk.id) for each in released] == [(1, "d"), (2, "a"), (3, "c")]


def test_the_audit_log_has_who_asked_what_and_what_was_released_but_no_text(world: World) -> None:
    world.add("a", "p", OPEN)
    world.add("hidden", "q", CLOSED)
    world.gate.release(world.scope(), ["a", "hidden"], SEARCH)
    (record,) = world.audit.records
    assert (record.tenant, record.subject, record.purpose) == (TENANT, "somebody", SEARCH)
    assert (record.outcome, record.released) == (Outcome.RELEASED, (Released("a", "v1", ("a",)),))
    assert "text of" not in repr(record)


def test_nothing_found_and_nothing_permitted_are_recorded_alike(world: World) -> None:
    world.add("hidden", "q", CLOSED)
    world.gate.release(world.scope(), ["hidden"], SEARCH)
    world.gate.release(world.scope(), [], SEARCH)
    hidden, absent = world.audit.records
    assert hidden == absent
    assert hidden.outcome is Outcome.NOTHING


class Unread(Catalog):
    """A catalog whose texts nobody should ask for."""

    def passages(self, tenant: str, document_id: str, first: int, last: int) -> Sequence[Stored]:
        raise AssertionError("texts were read for a caller who may not read them")


Way = Callable[[Gate, AccessScope], object]
WAYS: Mapping[str, Way] = {
    "release": lambda gate, scope: gate.release(scope, ["a"], SEARCH),
    "document": lambda gate, scope: gate.document(scope, "a", READ),
    "passages": lambda gate, scope: gate.passages(scope, "a", (1, 1), READ),
    "documents": lambda gate, scope: gate.documents(scope, READ),
}
ASKING: Mapping[str, Way] = {**WAYS, "candidates": lambda gate, scope: gate.candidates(scope, QUESTION, 5)}


@pytest.mark.parametrize("way", WAYS)
def test_ft_08_nothing_is_released_where_the_audit_record_cannot_be_written(world: World, way: str) -> None:
    world.add("a", "p", OPEN)
    scope = world.scope()
    assert WAYS[way](world.gate, scope)
    unrecorded = Gate(world.index, world.catalog, Directory(world.groups), FullDisk())
    with pytest.raises(StoreUnavailable):
        WAYS[way](unrecorded, scope)
    with pytest.raises(StoreUnavailable):
        unrecorded.scope_for(caller(), SEARCH)


@pytest.mark.parametrize("way", ASKING)
def test_ft_05_without_the_catalog_nothing_is_decided(world: World, way: str) -> None:
    world.add("a", "p", OPEN)
    scope = world.scope()
    world.catalog.down = True
    with pytest.raises(StoreUnavailable):
        ASKING[way](world.gate, scope)


# Reading by id, listing, explaining


@pytest.mark.parametrize("rights", [CLOSED, Acl.nobody(), Acl.of({STAFF}, {ANN}), Acl.of(frozenset(), {BOB})], ids=str)
def test_fb_06_hidden_and_absent_cannot_be_told_apart_by_id(world: World, rights: Acl) -> None:
    world.add("hidden", "p", rights)
    reads: tuple[Callable[[str], object], ...] = (
        lambda name: world.gate.document(world.scope(), name, READ),
        lambda name: world.gate.passages(world.scope(), name, (1, 1), READ),
    )
    for read in reads:
        told = []
        for name in ("hidden", "absent"):
            with pytest.raises(NotFound) as caught:
                read(name)
            told.append((type(caught.value), str(caught.value).replace(name, "NAME"), vars(caught.value)))
        assert told[0] == told[1]
    assert len({replace(each, about=None) for each in world.audit.records}) == 1


@pytest.mark.parametrize("name", ["hidden", "absent"])
def test_sc_05_a_refused_read_touches_no_passage(world: World, name: str) -> None:
    world.add("hidden", "p", CLOSED)
    world.catalog = Unread(world.catalog.places, world.catalog.documents)
    with pytest.raises(NotFound):
        world.gate.passages(world.scope(), name, (1, 1), READ)


def test_a_passage_beyond_the_end_is_not_found(world: World) -> None:
    world.add("a", "p", OPEN)
    assert world.gate.passages(world.scope(), "a", (1, 5), READ)
    with pytest.raises(NotFound):
        world.gate.passages(world.scope(), "a", (2, 5), READ)


def test_neighbours_of_a_passage_that_is_not_there_are_neither_released_nor_recorded_as_released(world: World) -> None:
    world.add("a", "p", OPEN)
    assert world.gate.passages(world.scope(), "a", (1, 5), READ, wanted=1)
    with pytest.raises(NotFound, match="no passage 3 of"):
        world.gate.passages(world.scope(), "a", (1, 5), READ, wanted=3)
    released, refused = world.audit.records
    assert (released.outcome, refused.outcome, refused.released) == (Outcome.RELEASED, Outcome.NOTHING, ())


people = st.frozensets(st.sampled_from((ANN, BOB, STAFF, EVERYONE_IN_TENANT)), max_size=3)
acls = st.builds(Acl, people, people)


@given(st.lists(acls, min_size=1, max_size=8), st.frozensets(st.sampled_from((ANN, BOB, STAFF)), min_size=1))
def test_search_list_read_and_explain_agree_with_the_rule(rights: list[Acl], own: frozenset[Principal]) -> None:
    world = World()
    for number, acl in enumerate(rights):
        world.add(str(number), f"place {number}", acl)
    directory = Directory(world.groups)
    held = directory.widen(caller(*own))
    expected = {str(number) for number, acl in enumerate(rights) if permits(held, acl).allowed}
    gate, scope = world.gate, world.gate.scope_for(caller(*own), READ)
    assert scope
    explainer = Explainer(world.catalog, directory, world.groups, world.catalog)
    explained = {each: explainer.explain(caller(*own), each) for each in world.catalog.documents}
    assert {each.id for each in gate.documents(scope, READ)} == expected
    assert {each.chunk_id for each in gate.candidates(scope, QUESTION, 50).candidates} == expected
    assert {each for each, found in explained.items() if found.decision.allowed} == expected
    for each in explained:
        if each in expected:
            assert gate.document(scope, each, READ).id == each
        else:
            with pytest.raises(NotFound):
                gate.document(scope, each, READ)


def test_a_list_is_read_page_by_page_in_order_of_the_address(world: World) -> None:
    for name in ("d", "a", "c", "b"):
        world.add(name, name, CLOSED if name == "b" else OPEN)
    first = world.gate.documents(world.scope(), READ, limit=2)
    rest = world.gate.documents(world.scope(), READ, after=first[-1].position, limit=2)
    assert [each.id for each in (*first, *rest)] == ["a", "c", "d"]


def test_an_explanation_names_the_rule_the_entries_and_the_groups_between(world: World) -> None:
    world.add("a", "p", Acl.of({STAFF}))
    explainer = Explainer(world.catalog, Directory(world.groups), world.groups, world.catalog)
    told = explainer.explain(caller(ANN), "a")
    assert (told.decision.rule, told.decision.matched) == (Rule.ALLOWED, (STAFF,))
    assert told.chains == (("somebody", ANN, STAFF),)
    assert told.origin == "p/_access.yaml"
    with pytest.raises(NotFound):
        explainer.explain(caller(ANN), "absent")
