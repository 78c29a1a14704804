"""Explanations of the past, over every database: at each moment, what was decided then."""

from __future__ import annotations

from collections.abc import Set
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.access.acl import Acl, Rule
from rag.access.explain import PastExplainer
from rag.access.groups import Group
from rag.access.principals import Principal, group, group_by_id, realm_role, user
from rag.access.scope import Caller
from rag.documents import Document, acl_id, document_id
from rag.errors import NotFound
from rag.stores import catalog_history
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_directory import CatalogDirectory
from rag.stores.catalog_grants import CatalogGrants
from rag.stores.catalog_history import CatalogHistory
from rag.stores.catalog_realm import CatalogRealm
from rag.stores.catalog_writing import CatalogWriter, NewVersion, Place
from tests.fakes import MemoryAudit
from tests.security.reference import Rights, may_read

TENANT, SOURCE, REALM = "main", "share", "acme"
ANN, BOB = user(REALM, "ann"), user(REALM, "bob")
STAFF = realm_role(REALM, "staff")
SALES, NORTH = group(REALM, "/sales"), group(REALM, "/sales/north")
G_SALES, G_NORTH = group_by_id(REALM, "1"), group_by_id(REALM, "2")


@dataclass
class World:
    """A catalog to change, and what it says of the past."""

    catalog: Catalog
    moments: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.writer = CatalogWriter(self.catalog, TENANT)
        self.realm = CatalogRealm(self.catalog, TENANT, REALM)
        self.directory = CatalogDirectory(self.catalog)
        self.history = CatalogHistory(self.catalog, TENANT)

    def grant(self, place: str, allow: Set[Principal], deny: Set[Principal] = frozenset()) -> None:
        self.writer.set_places(SOURCE, [Place(place, Acl.of(allow, deny), f"{place}/_access.yaml")])

    def write(self, name: str, place: str, version: str = "1") -> None:
        about = Document(
            document_id(TENANT, SOURCE, name), TENANT, SOURCE, f"file://share/{name}", name, "text/plain", "en",
            version, acl_id(TENANT, SOURCE, place), 1, None, 0,
        )  # fmt: skip
        self.writer.commit([NewVersion(about, name, version, [])], {})

    def now(self) -> datetime:
        self.moments.append(self.history.now())
        return self.moments[-1]

    def explain(self, person: Principal, name: str, at: datetime):  # type: ignore[no-untyped-def]
        caller = Caller(TENANT, person, frozenset({person}))
        return PastExplainer(self.history).explain(caller, document_id(TENANT, SOURCE, name), at)


@pytest.fixture
def world(catalog: Catalog) -> World:
    return World(catalog)


def test_a_story_is_told_as_it_was_at_each_of_its_moments(world: World) -> None:
    before = world.now()
    world.realm.set_groups([Group("1", "sales", "/sales", None), Group("2", "north", "/sales/north", "1")], whole=True)
    world.realm.set_people({ANN: {G_NORTH, STAFF}, BOB: {STAFF}})
    world.grant("a", {SALES})
    world.grant("b", {STAFF}, deny={NORTH})
    world.write("plan", "a")
    monday = world.now()
    world.realm.set_people({ANN: {STAFF}})
    tuesday = world.now()
    world.writer.regovern({document_id(TENANT, SOURCE, "plan"): acl_id(TENANT, SOURCE, "b")})
    wednesday = world.now()
    world.realm.set_people({ANN: {G_NORTH, STAFF}})
    thursday = world.now()
    world.grant("b", {ANN})
    friday = world.now()
    world.writer.remove([document_id(TENANT, SOURCE, "plan")])
    saturday = world.now()

    with pytest.raises(NotFound):
        world.explain(ANN, "plan", before)
    told = world.explain(ANN, "plan", monday)
    assert (told.decision.rule, told.decision.matched) == (Rule.ALLOWED, (SALES,))
    assert told.chains == ((ANN, G_NORTH, G_SALES, SALES),)
    assert (told.origin, told.uri, told.as_of) == ("a/_access.yaml", "file://share/plan", monday)
    assert world.explain(BOB, "plan", monday).decision.rule is Rule.NO_MATCH
    assert world.explain(ANN, "plan", tuesday).decision.rule is Rule.NO_MATCH
    assert world.explain(ANN, "plan", wednesday).chains == ((ANN, STAFF),)
    told = world.explain(ANN, "plan", thursday)
    assert (told.decision.rule, told.chains) == (Rule.DENIED, ((ANN, G_NORTH, NORTH),))
    assert world.explain(ANN, "plan", friday).chains == ((ANN,),)
    assert world.explain(BOB, "plan", friday).decision.rule is Rule.NO_MATCH
    with pytest.raises(NotFound):
        world.explain(ANN, "plan", saturday)
    assert world.history.document_at("file://share/plan", saturday) == document_id(TENANT, SOURCE, "plan")


@pytest.mark.parametrize("hours", [-11, 1, 14])
def test_a_moment_is_the_same_in_every_zone(world: World, hours: int) -> None:
    world.realm.set_people({ANN: {STAFF}})
    world.grant("a", {STAFF})
    world.write("plan", "a")
    before = world.now()
    world.grant("a", {BOB})
    after = world.now()
    told, later = (
        world.explain(ANN, "plan", each.astimezone(timezone(timedelta(hours=hours)))) for each in (before, after)
    )
    assert (told.decision.rule, later.decision.rule) == (Rule.ALLOWED, Rule.NO_MATCH)


def test_a_place_that_was_forgotten_gave_nobody_anything_afterwards(world: World) -> None:
    world.grant("a", {ANN})
    before = world.now()
    world.writer.forget_places(SOURCE, listed=set())
    place = acl_id(TENANT, SOURCE, "a")
    then, since = world.history.place(place, before), world.history.place(place, world.now())
    assert then
    assert then.acl == Acl.of({ANN})
    assert since
    assert since.acl == Acl.nobody()


def test_what_ended_before_a_day_can_be_forgotten_and_what_held_then_stays(world: World) -> None:
    world.grant("a", {ANN})
    world.write("plan", "a")
    world.realm.set_people({BOB: {STAFF}})
    early = world.now()
    world.grant("a", {BOB})
    world.write("plan", "a", version="2")
    world.realm.set_people({BOB: frozenset()})
    later = world.now()
    world.grant("a", {STAFF})
    assert world.history.prune(later) == 3
    with pytest.raises(NotFound):
        world.explain(ANN, "plan", early)
    assert world.history.memberships({BOB}, early) == set()
    assert world.explain(BOB, "plan", later).decision.allowed
    assert not world.explain(BOB, "plan", world.now()).decision.allowed
    assert world.history.prune(later) == 0


def test_the_past_is_forgotten_by_tenant_and_some_at_a_time(world: World, catalog: Catalog, monkeypatch) -> None:
    monkeypatch.setattr(catalog_history, "ROWS_A_TRANSACTION", 2)
    for right in (ANN, BOB, STAFF, SALES, NORTH):
        world.grant("a", {right})
    later = world.now()
    transactions = []
    writing = catalog.writing

    def counted(**how: bool) -> object:
        transactions.append(how)
        return writing(**how)

    monkeypatch.setattr(catalog, "writing", counted)
    assert CatalogHistory(catalog, "other").prune(later) == 0
    assert (world.history.prune(later), len(transactions)) == (4, 2)


def test_i4_another_tenant_has_another_past(world: World, catalog: Catalog) -> None:
    world.grant("a", {ANN})
    world.write("plan", "a")
    world.realm.set_people({ANN: {STAFF}})
    other = CatalogHistory(catalog, "other")
    assert other.document(document_id(TENANT, SOURCE, "plan"), world.now()) is None
    assert other.document_at("file://share/plan", world.now()) is None
    assert other.memberships({ANN}, world.now()) == set()
    assert world.history.place(acl_id(TENANT, SOURCE, "a"), world.now()) is not None
    assert other.place(acl_id(TENANT, SOURCE, "a"), world.now()) is None


def test_a_break_glass_grant_is_part_of_the_past_from_its_beginning_to_its_end(world: World) -> None:
    world.realm.set_people({ANN: {STAFF}})
    world.grant("a", {SALES})
    world.write("plan", "a")
    grants = CatalogGrants(world.catalog, MemoryAudit(), TENANT, most_hours=4)
    made = grants.propose(ANN, [SALES], "an incident at night", 60, by="olga", request_id="r")
    proposed = world.now()
    grants.confirm(made.id, by="aud", request_id="r")
    confirmed = world.now()
    grants.revoke(made.id, by="olga", request_id="r")
    revoked = world.now()
    decisions = [world.explain(ANN, "plan", at).decision.allowed for at in (proposed, confirmed, revoked)]
    assert decisions == [False, True, False]
    named = [world.explain(ANN, "plan", at).grants for at in (proposed, confirmed, revoked)]
    assert named == [(), (made.id,), ()]
    assert world.explain(BOB, "plan", confirmed).grants == ()
    grants.confirm(
        grants.propose(ANN, [SALES], "an incident again", 60, by="olga", request_id="r").id, by="aud", request_id="r"
    )
    assert world.explain(ANN, "plan", world.now() + timedelta(minutes=59)).decision.allowed
    assert not world.explain(ANN, "plan", world.now() + timedelta(minutes=61)).decision.allowed


# Any history against the reference evaluator

PEOPLE, GROUPS = (ANN, BOB), (SALES, NORTH, STAFF)
rights = st.frozensets(st.sampled_from((*PEOPLE, *GROUPS)), max_size=2)
places, names = st.sampled_from("ab"), st.sampled_from("xy")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("grant"), places, rights, rights),
        st.tuples(st.just("write"), names, places),
        st.tuples(st.just("move"), names, places),
        st.tuples(st.just("remove"), names),
        st.tuples(st.just("nest"), st.sets(st.tuples(st.sampled_from(GROUPS), st.sampled_from(GROUPS)), max_size=3)),
        st.tuples(st.just("people"), st.sampled_from(PEOPLE), st.frozensets(st.sampled_from(GROUPS), max_size=2)),
    ),
    min_size=1,
    max_size=14,
)


@dataclass(frozen=True)
class Model:
    """What holds at a moment, as plain values."""

    places: dict[str, Rights]
    documents: dict[str, str]
    nesting: frozenset[tuple[str, str]]
    people: dict[str, frozenset[str]]

    def allowed(self, person: str, name: str) -> bool:
        own = {person, *self.people.get(person, frozenset())}
        return may_read(own, self.nesting, self.places[self.documents[name]])


@given(steps)
@settings(max_examples=30)
def test_at_every_moment_of_any_history_the_explanation_is_the_decision_of_then(taken) -> None:  # type: ignore[no-untyped-def]
    with TemporaryDirectory() as folder, closing(Catalog.open(sqlite_url(Path(folder) / "catalog.db"))) as catalog:
        world = World(catalog)
        for place in "ab":
            world.grant(place, set())
        model = Model(dict.fromkeys("ab", Rights(frozenset(), frozenset())), {}, frozenset(), {})
        moments = [(world.now(), model)]
        for kind, *details in taken:
            model = change(world, model, kind, *details)
            moments.append((world.now(), model))
        for at, then in moments:
            for name in "xy":
                if name not in then.documents:
                    with pytest.raises(NotFound):
                        world.explain(ANN, name, at)
                    continue
                for person in PEOPLE:
                    assert world.explain(person, name, at).decision.allowed == then.allowed(person, name)


def change(world: World, model: Model, kind: str, *details) -> Model:  # type: ignore[no-untyped-def]
    """The same step in the catalog and in the model."""
    if kind == "grant":
        place, allow, deny = details
        world.grant(place, allow, deny)
        return replace(model, places={**model.places, place: Rights(allow, deny)})
    if kind == "nest":
        (edges,) = details
        world.directory.replace(TENANT, "nesting", edges)
        return replace(model, nesting=frozenset(edges))
    if kind == "people":
        person, held = details
        world.realm.set_people({person: held})
        return replace(model, people={**model.people, person: held})
    name = details[0]
    if kind == "write":
        world.write(name, details[1], version=str(len(world.moments)))
        return replace(model, documents={**model.documents, name: details[1]})
    if name not in model.documents:
        return model
    if kind == "move":
        world.writer.regovern({document_id(TENANT, SOURCE, name): acl_id(TENANT, SOURCE, details[1])})
        return replace(model, documents={**model.documents, name: details[1]})
    world.writer.remove([document_id(TENANT, SOURCE, name)])
    return replace(model, documents={each: at for each, at in model.documents.items() if each != name})
