"""The plan: what a listing causes, case by case, and what holds for every listing and at every step (Hypothesis)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import AccessEntry, Item, Listing
from ingest.plan import UNCONFIRMED, Plan, Regoverned, narrows, plan
from rag.access.acl import Acl, permits
from rag.access.principals import Principal
from rag.documents import KnownItem

A, B, C = (Principal(f"kc:r:group:/{name}") for name in "abc")
READERS = [frozenset(each) for each in chain.from_iterable(combinations((A, B, C), size) for size in (1, 2, 3))]


def item(item_id: str, token: str = "1", place: str = "folder:.") -> Item:
    return Item(item_id, f"file://s/{item_id}", item_id, datetime(2026, 1, 1, tzinfo=UTC), token, place)


def listing(items: Sequence[Item], access: Mapping[str, Acl], unavailable: Mapping[str, str] | None = None) -> Listing:
    entries = {reference: AccessEntry(reference, acl, "test") for reference, acl in access.items()}
    return Listing(tuple(items), entries, unavailable=unavailable or {})


def known(item_id: str, token: str = "1", place: str = "folder:.", *, refused: bool = False) -> KnownItem:
    return KnownItem(f"id of {item_id}", item_id, token, place, refused)


def plan_one(document: KnownItem, before: Mapping[str, Acl], now: Item, after: Mapping[str, Acl]) -> Plan:
    return plan([document], before, listing([now], after))


def is_empty(planned: Plan) -> bool:
    """Whether there is nothing to do."""
    return not (planned.access or planned.regoverned or planned.gone or planned.changed or planned.new)


ROOT = {"folder:.": Acl.of({A})}


def test_an_unchanged_listing_needs_nothing() -> None:
    planned = plan_one(known("x"), ROOT, item("x"), ROOT)
    assert is_empty(planned)
    assert planned.unchanged == 1


def test_changed_content_under_the_same_rights_is_read_again_while_the_old_version_stays() -> None:
    planned = plan_one(known("x"), ROOT, item("x", "2"), ROOT)
    assert [each.document_id for each in planned.changed] == ["id of x"]
    assert not planned.gone


def test_an_unchanged_document_under_another_place_is_moved_and_not_read() -> None:
    after = {**ROOT, "folder:b": Acl.of({B})}
    planned = plan_one(known("x"), ROOT, item("x", place="folder:b"), after)
    assert planned.regoverned == (Regoverned("id of x", "folder:b"),)
    assert not planned.changed
    assert not planned.new


def test_a_right_taken_away_is_one_row_however_many_documents_it_affects() -> None:
    names = [str(number) for number in range(500)]
    planned = plan(
        [known(each) for each in names], ROOT, listing([item(each) for each in names], {"folder:.": Acl.of()})
    )
    assert [(each.reference, each.acl) for each in planned.tightening] == [("folder:.", Acl.nobody())]
    assert not planned.regoverned
    assert planned.unchanged == 500


def test_rights_that_change_hands_shrink_first_and_grow_later() -> None:
    planned = plan_one(known("x"), {"folder:.": Acl.of({A, B})}, item("x"), {"folder:.": Acl.of({B, C})})
    assert [each.acl for each in planned.tightening] == [Acl.of({B})]
    assert [each.acl for each in planned.loosening] == [Acl.of({B, C})]


def test_a_place_that_the_source_no_longer_has_becomes_nobodys() -> None:
    planned = plan([], {"folder:old": Acl.of({A})}, listing([], {}))
    assert [(each.reference, each.acl) for each in planned.tightening] == [("folder:old", Acl.nobody())]


def test_an_item_whose_place_the_listing_does_not_know_belongs_to_nobody() -> None:
    planned = plan([], {}, listing([item("x", place="folder:lost")], {}))
    assert [(each.reference, each.acl) for each in planned.access] == [("folder:lost", Acl.nobody())]


def test_rc_13_content_replaced_together_with_its_rights_drops_the_old_version_first() -> None:
    secret = {"file:x": Acl.of({A}), **ROOT}
    planned = plan_one(known("x", place="file:x"), secret, item("x", "2"), {"folder:.": Acl.of({A, B})})
    assert planned.gone == ("id of x",)
    assert [each.item_id for each in planned.new] == ["x"]
    assert not planned.changed
    assert not planned.regoverned


def test_rc_13_an_old_version_behind_a_refusal_is_dropped_before_its_place_opens() -> None:
    planned = plan_one(known("x", refused=True), ROOT, item("x"), {"folder:.": Acl.of({A, B})})
    assert planned.gone == ("id of x",)
    assert [each.item_id for each in planned.new] == ["x"]


def test_rc_13_an_item_deleted_and_another_created_are_two_documents() -> None:
    planned = plan([known("old")], ROOT, listing([item("new")], ROOT))
    assert planned.gone == ("id of old",)
    assert [each.item_id for each in planned.new] == ["new"]


def test_changed_content_under_narrower_rights_keeps_the_old_version_for_those_who_still_may() -> None:
    planned = plan_one(known("x"), {"folder:.": Acl.of({A, B})}, item("x", "2"), ROOT)
    assert [each.document_id for each in planned.changed] == ["id of x"]
    assert not planned.gone


def test_a_refused_document_is_not_tried_again_until_it_changes() -> None:
    assert is_empty(plan_one(known("x", refused=True), ROOT, item("x"), ROOT))
    assert plan_one(known("x", refused=True), ROOT, item("x", "2"), ROOT).changed


def test_what_could_not_be_listed_is_kept_and_shown_to_nobody() -> None:
    after = {**ROOT, "folder:a": Acl.nobody()}
    planned = plan([known("a/x"), known("b")], ROOT, listing([item("b")], after, {"a/": "folder:a"}))
    assert planned.regoverned == (Regoverned("id of a/x", "folder:a"),)
    assert not planned.gone
    assert planned.unavailable == 1


# --- mass deletions -----------------------------------------------------------------------------------------------

MANY = [str(number) for number in range(30)]


def test_ft_14_a_mass_deletion_waits_for_a_confirmation_and_shows_the_documents_to_nobody() -> None:
    planned = plan([known(each) for each in MANY], ROOT, listing([item("0")], ROOT))
    assert not planned.gone
    assert planned.unconfirmed == 29
    assert {each.reference for each in planned.regoverned} == {UNCONFIRMED}
    assert [each.acl for each in planned.tightening if each.reference == UNCONFIRMED] == [Acl.nobody()]


def test_ft_14_a_confirmed_mass_deletion_deletes() -> None:
    planned = plan([known(each) for each in MANY], ROOT, listing([item("0")], ROOT), confirm_deletions=True)
    assert len(planned.gone) == 29
    assert not planned.unconfirmed


def test_ft_14_time_and_new_documents_do_not_replace_the_confirmation() -> None:
    waiting = [known(each, place=UNCONFIRMED) for each in MANY]
    fresh = [f"new {number}" for number in range(100)]
    planned = plan([*waiting, *map(known, fresh)], ROOT, listing([item(each) for each in fresh], ROOT))
    assert not planned.gone
    assert planned.unconfirmed == 30


def test_ft_14_what_waited_for_a_confirmation_and_comes_back_is_not_read_again() -> None:
    waiting = [known(each, place=UNCONFIRMED) for each in MANY]
    planned = plan(waiting, {**ROOT, UNCONFIRMED: Acl.nobody()}, listing([item(each) for each in MANY], ROOT))
    assert len(planned.regoverned) == 30
    assert (planned.changed, planned.new, planned.gone) == ((), (), ())


def test_ft_14_half_of_the_documents_or_a_handful_may_go_without_asking() -> None:
    half = plan([known(each) for each in MANY], ROOT, listing([item(each) for each in MANY[:15]], ROOT))
    few = plan([known(each) for each in MANY[:10]], ROOT, listing([], ROOT))
    assert len(half.gone) == 15
    assert len(few.gone) == 10


# --- what holds for every listing ---------------------------------------------------------------------------------


Seen = tuple[str | None, set[frozenset[Principal]]]
"""Content of a document, and who could see it."""


@dataclass
class Held:
    """A document in the toy catalog. `content` is the token of the version whose passages are there; None for none."""

    token: str
    place: str
    content: str | None
    refused: bool = False


@dataclass
class Catalog:
    """The simplest catalog that can carry out a plan. Yields after each step, so that a test can look in between."""

    documents: dict[str, Held] = field(default_factory=dict)
    access: dict[str, Acl] = field(default_factory=dict)

    def known(self) -> list[KnownItem]:
        return [
            KnownItem(f"id of {item_id}", item_id, held.token, held.place, held.refused)
            for item_id, held in self.documents.items()
        ]

    def readers(self, item_id: str) -> set[frozenset[Principal]]:
        return readers(self.access.get(self.documents[item_id].place, Acl.nobody()))

    def carry_out(self, planned: Plan, unreadable: frozenset[str]) -> Iterator[str]:
        for change in planned.tightening:
            self.access[change.reference] = change.acl
            yield "rights"
        for move in planned.regoverned:
            self.documents[move.document_id.removeprefix("id of ")].place = move.reference
            yield "rights"
        for document in planned.gone:
            del self.documents[document.removeprefix("id of ")]
            yield "gone"
        for change in planned.loosening:
            self.access[change.reference] = change.acl
            yield "loosening"
        for each in (*(changed.item for changed in planned.changed), *planned.new):
            self._read(each, refused=each.item_id in unreadable)
            yield "content"

    def assert_nobody_gains(self, step: str, before: Mapping[str, Seen], now: Listing) -> None:
        """Nobody sees what neither he had before nor the listing gives him; once rights grow, only what it gives."""
        listed = {each.item_id: each for each in now.items}
        for each, held in self.documents.items():
            if held.content is None:
                continue
            old_content, old_readers = before.get(each, (None, set()))
            had = old_readers if held.content == old_content else set()
            given_now = readers(now.acl(listed[each].acl_reference)) if each in listed else set()
            is_listed_content = each in listed and held.content == listed[each].change_token
            assert self.readers(each) <= (had | given_now if is_listed_content else had)
            assert step in ("rights", "gone") or self.readers(each) <= given_now

    def _read(self, each: Item, *, refused: bool) -> None:
        before = self.documents.get(each.item_id)
        content = (before.content if before else None) if refused else each.change_token
        self.documents[each.item_id] = Held(each.change_token, each.acl_reference, content, refused)


def readers(acl: Acl) -> set[frozenset[Principal]]:
    return {each for each in READERS if permits(each, acl).allowed}


principals = st.sets(st.sampled_from((A, B, C)))
acls = st.builds(Acl.of, principals, principals)
PLACES = ("none", "folder:.", "folder:d", "file:d/x")
names = st.sampled_from([f"{folder}{name}" for folder in ("", "d/") for name in "xyz"])


@st.composite
def listings(draw: st.DrawFn) -> Listing:
    tokens = draw(st.dictionaries(names, st.sampled_from("123"), max_size=12))
    access = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(PLACES, acls)))
    unavailable = {"d/": "folder:d"} if draw(st.integers(0, 5)) == 0 else {}
    items = [
        item(each, token, draw(st.sampled_from(PLACES)))
        for each, token in tokens.items()
        if not any(each.startswith(prefix) for prefix in unavailable)
    ]
    if unavailable:
        access["folder:d"] = Acl.nobody()
    return listing(items, access, unavailable)


@dataclass(frozen=True)
class Sync:
    """One sync of a history: what was listed, what could not be read, and after how many steps it crashed."""

    now: Listing
    unreadable: frozenset[str]
    confirmed: bool
    crash_after: int


syncs = st.builds(Sync, listings(), st.frozensets(names, max_size=3), st.booleans(), st.just(99) | st.integers(0, 20))


@settings(max_examples=300)
@given(st.lists(syncs, min_size=2, max_size=4))
def test_at_no_step_does_anybody_see_what_neither_he_had_nor_the_listing_gives(history: list[Sync]) -> None:
    catalog = Catalog()
    for sync in history:
        now = sync.now
        planned = plan(catalog.known(), catalog.access, now, confirm_deletions=sync.confirmed)
        before = {each: (held.content, catalog.readers(each)) for each, held in catalog.documents.items()}
        for number, step in enumerate(chain(catalog.carry_out(planned, sync.unreadable), ["done"])):
            catalog.assert_nobody_gains(step, before, now)
            if number == sync.crash_after:
                break


@given(st.lists(listings(), min_size=1, max_size=4))
def test_a_plan_carried_out_makes_the_catalog_equal_to_the_listing(history: list[Listing]) -> None:
    catalog = Catalog()
    for now in history:
        kept = [each for each in catalog.documents if now.unavailable_place(each)]
        planned = plan(catalog.known(), catalog.access, now, confirm_deletions=True)
        for _ in catalog.carry_out(planned, frozenset()):
            pass
        listed = {each.item_id: each for each in now.items}
        assert set(catalog.documents) == {*listed, *kept}
        for each, wanted in listed.items():
            held = catalog.documents[each]
            assert (held.content, held.place) == (wanted.change_token, wanted.acl_reference)
            assert catalog.access.get(held.place, Acl.nobody()) == now.acl(held.place)
        assert not any(catalog.readers(each) for each in kept)
        assert is_empty(plan(catalog.known(), catalog.access, now))


@given(listings(), listings())
def test_every_step_that_takes_away_comes_before_every_step_that_gives_or_reads(before: Listing, now: Listing) -> None:
    catalog = Catalog()
    for _ in catalog.carry_out(plan([], {}, before), frozenset()):
        pass
    planned = plan(catalog.known(), catalog.access, now)
    order = list(catalog.carry_out(planned, frozenset()))
    assert order == sorted(order, key=["rights", "gone", "loosening", "content"].index)
    assert all(change.tightening for change in planned.tightening)
    assert not any(change.tightening for change in planned.loosening)


@given(acls, acls)
def test_what_counts_as_narrowing_never_lets_a_new_reader_in(new: Acl, old: Acl) -> None:
    assert not narrows(new, old) or readers(new) <= readers(old)
