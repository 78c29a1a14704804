"""Two companies in one catalog that have everything in common but their names; SQLite and PostgreSQL."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import func, select

from rag.access.acl import Acl
from rag.access.api_keys import ApiKey, KeyScope
from rag.access.audit import Act, Deed
from rag.access.audit_chain import DAY_MS
from rag.access.groups import Group
from rag.access.principals import Principal
from rag.documents import Chunk, Document, IndexProfile, acl_id, chunk_id, content_hash, document_id
from rag.errors import RefusalReason
from rag.ports import Bucket
from rag.stores.catalog import Catalog
from rag.stores.catalog_directory import CatalogDirectory
from rag.stores.catalog_grants import CatalogGrants
from rag.stores.catalog_history import CatalogHistory
from rag.stores.catalog_indexes import CatalogIndexes
from rag.stores.catalog_keys import CatalogKeys
from rag.stores.catalog_limits import CatalogLimits
from rag.stores.catalog_reading import CatalogReader
from rag.stores.catalog_realm import CatalogRealm, Followed
from rag.stores.catalog_removal import remove_tenant, tenants_in
from rag.stores.catalog_schema import audit_people, metadata
from rag.stores.catalog_sessions import CatalogSessions, SessionRow
from rag.stores.catalog_writing import CatalogWriter, NewVersion, Place, Refusal
from tests.audits import open_audit

SOURCE, REALM = "share", "company"
ANN, STAFF = Principal("kc:company:user:ann"), Principal("kc:company:group:/staff")
OF_OTHERS = {"chunks", "term_counts", "leases"}
"""Rows that belong to a tenant through another row, or by their name."""


@dataclass
class Tenant:
    """A company in the catalog; all have the same source, people, groups, documents and paths."""

    catalog: Catalog
    name: str
    home: Path

    def __post_init__(self) -> None:
        self.writer = CatalogWriter(self.catalog, self.name)
        self.history = CatalogHistory(self.catalog, self.name)
        self.sessions = CatalogSessions(self.catalog, self.name)

    def grant(self, *allow: Principal) -> None:
        self.writer.set_places(SOURCE, [Place("folder", Acl.of(set(allow)), "folder/_access.yaml")])

    def write(self, text: str) -> None:
        identifier = document_id(self.name, SOURCE, "plan")
        digest = content_hash((), text, "en")
        piece = Chunk(chunk_id(identifier, digest, 0), identifier, 1, text, (), None, 0, len(text), "en", digest)
        about = Document(
            identifier, self.name, SOURCE, "file://share/plan", "plan", "text/plain", "en", digest,
            acl_id(self.name, SOURCE, "folder"), 10, None, 1,
        )  # fmt: skip
        self.writer.commit([NewVersion(about, "plan", text, [piece])], {piece.id: (7, 11)})

    def sign_in(self, cookie: str, used_at: int = 5_000) -> None:
        self.sessions.begin(
            SessionRow(f"{cookie} {self.name}", ANN, "sid", "sealed", used_at, used_at),
            unused_since=used_at - 1_000,
            began_before=0,
        )

    def fill(self) -> None:
        """A row in every table."""
        catalog, now = self.catalog, datetime.now(UTC)
        self.grant(STAFF)
        self.write("first")
        self.writer.begin(SOURCE, "filesystem", "/srv/share")
        self.writer.intend(["somewhere"])
        place = acl_id(self.name, SOURCE, "folder")
        refused = document_id(self.name, SOURCE, "broken")
        self.writer.refuse(
            Refusal(refused, SOURCE, "broken", "file://share/broken", "1", place, RefusalReason.DAMAGED, "broken")
        )
        CatalogDirectory(catalog).replace(self.name, "realm", [(ANN, STAFF)])
        realm = CatalogRealm(catalog, self.name, REALM)
        realm.set_groups([Group("1", "staff", "/staff", None)], whole=True)
        realm.set_followed(Followed("", 0, now, now))
        indexes = CatalogIndexes(catalog, self.name)
        indexes.set_live(f"{self.name}-0", IndexProfile("m", 3, "", "", "0"))
        self.sign_in("cookie")
        self.sessions.hear(f"token {self.name}", 100, 200, sid="another", subject=None)
        CatalogLimits(catalog, self.name).take([Bucket("subject:ann", 10)])
        key = ApiKey(f"key {self.name}", self.name, ANN, "", frozenset({KeyScope.QUERY}), "0", now, ANN, now)
        CatalogKeys(catalog, self.name).add(key)
        audit = open_audit(catalog, self.home / self.name)
        CatalogGrants(catalog, audit, self.name, 4).propose(
            ANN, [STAFF], "an incident at night", 5, by="olga", request_id="r"
        )
        with catalog.lease("writing", self.name), catalog.writing() as connection:
            connection.execute(metadata.tables["audit_texts"].insert().values(tenant=self.name, number=1, text="{}"))

    def rows(self) -> Counter[str]:
        """Rows of this tenant by table, where a table says whose they are."""
        found = Counter[str]()
        with self.catalog.reading() as connection:
            for table in metadata.sorted_tables:
                if "tenant" in table.c:
                    mine = select(func.count()).select_from(table).where(table.c.tenant == self.name)
                    found[table.name] = connection.execute(mine).scalar_one()
        return found


@pytest.fixture
def both(catalog: Catalog, tmp_path: Path) -> tuple[Tenant, Tenant]:
    return Tenant(catalog, "north", tmp_path), Tenant(catalog, "south", tmp_path)


def everything(catalog: Catalog) -> Counter[str]:
    with catalog.reading() as connection:
        return Counter(
            {
                each.name: connection.execute(select(func.count()).select_from(each)).scalar_one()
                for each in metadata.sorted_tables
            }
        )


def test_mt_01_every_row_says_whose_it_is() -> None:
    without = {each.name for each in metadata.sorted_tables if "tenant" not in each.c}
    assert without == OF_OTHERS


def test_mt_05_a_removed_tenant_leaves_no_row_and_takes_none_of_anothers(both, catalog) -> None:
    north, south = both
    south.fill()
    alone, mine = everything(catalog), south.rows()
    assert not [name for name, rows in alone.items() if not rows], "every table has a row, or this shows little"
    north.fill()
    assert tenants_in(catalog) == {"north", "south"}
    gone = remove_tenant(catalog, "north")
    assert set(gone) == {each.name for each in metadata.sorted_tables}
    assert not north.rows().total()
    assert (south.rows(), everything(catalog)) == (mine, alone)
    assert tenants_in(catalog) == {"south"}
    assert remove_tenant(catalog, "north") == {}


def test_mt_05_who_comes_back_under_the_name_finds_nothing(both, catalog) -> None:
    north, south = both
    for each in both:
        each.fill()
    remove_tenant(catalog, "north")
    reader, identifier = CatalogReader(catalog), document_id("north", SOURCE, "plan")
    assert reader.document("north", identifier) is None
    assert reader.governing_places("north") == (0, [])
    assert north.history.document(identifier, north.history.now()) is None
    assert north.sessions.find("cookie north") is None
    north.fill()
    assert reader.document("south", document_id("south", SOURCE, "plan"))
    assert south.sessions.find("cookie south")


def test_mt_01_pruning_the_history_of_one_leaves_that_of_the_other(both) -> None:
    north, south = both
    for each in both:
        each.grant(STAFF)
        each.write("first")
    between = north.history.now()
    for each in both:
        each.grant(ANN)
        each.write("second")
    assert north.history.prune(datetime.now(UTC) + timedelta(days=1)) == 2
    place = acl_id("south", SOURCE, "folder")
    assert south.history.document(document_id("south", SOURCE, "plan"), between)
    assert south.history.place(place, between).acl == Acl.of({STAFF})
    assert north.history.place(place, between) is None, "it is not this tenant's"


def test_mt_01_names_in_the_audit_are_forgotten_by_their_own_tenants_measure(both, catalog, tmp_path) -> None:
    for day, tenant in ((0, "south"), (0, "north"), (2, "north")):
        at = (20_000 + day) * DAY_MS / 1000
        kept = open_audit(catalog, tmp_path / tenant, names_days=1, clock=lambda at=at: at)
        kept.record(Deed(tenant, ANN, Act.INGEST, "request"))
    with catalog.reading() as connection:
        days = connection.execute(select(audit_people.c.tenant, audit_people.c.day)).all()
    assert sorted(map(tuple, days)) == [("north", 20_002), ("south", 20_000)]


def test_mt_01_who_signs_in_sweeps_out_nobody_elses_session(both) -> None:
    north, south = both
    south.sign_in("early", used_at=1_000)
    north.sign_in("late", used_at=9_000)
    assert south.sessions.find("early south")
    south.sessions.hear("token", 100, 200, sid="none", subject=None)
    north.sessions.hear("token of another", 300, 400, sid="none", subject=None)
    assert not south.sessions.hear("token", 100, 200, sid="none", subject=None), "it is still known as heard"


def test_mt_07_one_tenant_writes_while_another_does(both, catalog) -> None:
    with catalog.lease("writing", "north"), catalog.lease("writing", "south"):
        both[0].writer.intend(["n"])
        both[1].writer.intend(["s"])
    assert [len(each.writer.tasks()) for each in both] == [1, 1]


def test_mt_07_tenants_that_take_in_folders_at_once_do_not_fail_over_their_numbers(both, catalog) -> None:
    begin = Barrier(2)

    def take_in(tenant: Tenant) -> None:
        for number in range(20):
            begin.wait(30)
            tenant.writer.set_places(SOURCE, [Place(f"{number}", Acl.of({STAFF}), "")])

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(take_in, each) for each in both]:
            done.result()
    numbers = [each.number for name in ("north", "south") for each in CatalogReader(catalog).governing_places(name)[1]]
    assert len(set(numbers)) == 40


def test_mt_01_what_one_tenant_has_done_takes_no_work_of_the_other_away(both) -> None:
    north, south = both
    for each in both:
        each.writer.intend(["x"])
    south.writer.done([each.id for each in north.writer.tasks()])
    assert [len(each.writer.tasks()) for each in both] == [1, 1]
    assert south.writer.acl_of(acl_id("north", SOURCE, "folder")) == Acl.nobody()
