"""The catalog's contract, over SQLite and PostgreSQL: what is current, who governs it, and what the index still owes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url

from rag.access.acl import Acl
from rag.access.audit import Action, AuditRecord, Outcome, Purpose
from rag.access.principals import Principal
from rag.documents import Chunk, Document, IndexProfile, acl_id, chunk_id, content_hash, document_id
from rag.errors import Misconfigured, RefusalReason, StoreUnavailable
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_directory import CatalogDirectory
from rag.stores.catalog_history import CatalogHistory
from rag.stores.catalog_indexes import CatalogIndexes
from rag.stores.catalog_known import Today
from rag.stores.catalog_reading import CatalogReader
from rag.stores.catalog_schema import audit, metadata, term_counts
from rag.stores.catalog_status import CatalogStatus
from rag.stores.catalog_writing import DOCUMENTS_A_TRANSACTION, CatalogWriter, NewVersion, Place, Refusal, TaskKind
from tests.audits import open_audit

TENANT, SOURCE = "main", "share"
SALES, HR = Principal("kc:r:group:/sales"), Principal("kc:r:group:/hr")


@pytest.fixture
def writer(catalog: Catalog) -> CatalogWriter:
    written = CatalogWriter(catalog, TENANT)
    written.set_places(
        SOURCE, [Place("folder:sales", Acl.of({SALES}), "sales/_access.yaml"), Place("none", Acl.nobody(), "")]
    )
    return written


@pytest.fixture
def reader(catalog: Catalog) -> CatalogReader:
    return CatalogReader(catalog)


def terms_of(text: str) -> tuple[int, ...]:
    return tuple(sorted({zlib.crc32(word.encode()) for word in text.split()}))


def commit(writer: CatalogWriter, versions: Sequence[NewVersion]) -> None:
    chunks = [chunk for new in versions for each in new.family for chunk in each.chunks]
    writer.commit(versions, {each.id: terms_of(each.text) for each in chunks})


def version(item: str, *texts: str, place: str = "folder:sales", token: str = "1") -> NewVersion:
    identifier = document_id(TENANT, SOURCE, item)
    chunks = []
    for ordinal, each in enumerate(texts, start=1):
        digest = content_hash(("Heading",), each, "en")
        name = chunk_id(identifier, digest, 0)
        chunks.append(Chunk(name, identifier, ordinal, each, ("Heading",), None, 0, len(each), "en", digest))
    document = Document(
        identifier, TENANT, SOURCE, f"file://share/{item}", item.title(), "text/plain", "en",
        f"{token:0>64}", acl_id(TENANT, SOURCE, place), 10, datetime(2026, 1, 1, tzinfo=UTC), len(texts),
    )  # fmt: skip
    return NewVersion(document, item, token, chunks)


def test_a_committed_version_is_current_with_text_and_rights(writer, reader) -> None:
    new = version("a.txt", "first", "zweite – mit Umlaut ä")
    commit(writer, [new])
    stored = reader.chunks(TENANT, [each.id for each in new.chunks])
    assert [stored[each.id].chunk for each in new.chunks] == list(new.chunks)
    assert {each.acl for each in stored.values()} == {Acl.of({SALES})}
    assert stored[new.chunks[0].id].document.title == "A.Txt"


def test_a_new_version_replaces_the_old_one_and_leaves_its_points_to_the_index(writer, reader) -> None:
    old, new = version("a.txt", "kept", "dropped"), version("a.txt", "kept", "added", token="2")
    commit(writer, [old])
    commit(writer, [new])
    dropped = old.chunks[1].id
    assert reader.governing(TENANT, [dropped]) == {}
    assert [(task.kind, task.subject) for task in writer.tasks()] == [(TaskKind.SETTLE, (dropped,))]
    assert old.chunks[0].id == new.chunks[0].id  # an unchanged chunk keeps its id, and so its vector


def test_i4_nothing_of_another_tenant_is_found(writer, reader) -> None:
    new = version("a.txt", "text")
    commit(writer, [new])
    assert reader.governing("other", [new.chunks[0].id]) == {}
    assert reader.chunks("other", [new.chunks[0].id]) == {}
    assert reader.document("other", new.document.id) is None
    assert reader.passages("other", new.document.id, 1, 9) == []
    assert reader.acls("other") == {}
    assert reader.documents_governed_by("other", {new.document.acl_id}, ("", ""), 10) == []


def test_rc_01_one_row_takes_a_right_away_from_every_document_of_a_folder(writer, reader) -> None:
    versions = [version(f"{number}.txt", f"text {number}") for number in range(20)]
    commit(writer, versions)
    assert writer.set_places(SOURCE, [Place("folder:sales", Acl.nobody(), "sales/_access.yaml", "unreadable")]) == 1
    governed = reader.governing(TENANT, [each.chunks[0].id for each in versions])
    assert {each.acl for each in governed.values()} == {Acl.nobody()}
    assert [task.kind for task in writer.tasks()] == [TaskKind.REPERMIT]


def counted(reader: CatalogReader, place: str, *words: str) -> tuple[int, list[int]]:
    """Passages under a place, and how many of them hold each word."""
    _, places = reader.governing_places(TENANT)
    number = {each.id: each.number for each in places}[acl_id(TENANT, SOURCE, place)]
    terms = [zlib.crc32(word.encode()) for word in words]
    passages, found = reader.term_counts([number], terms)
    return passages, [found.get(term, 0) for term in terms]


def test_sc_07_words_are_counted_under_the_place_that_governs_their_passage(writer, reader, catalog) -> None:
    commit(writer, [version("a.txt", "alpha beta", "alpha"), version("b.txt", "beta gamma", place="none")])
    assert counted(reader, "folder:sales", "alpha", "beta", "gamma") == (2, [2, 1, 0])
    assert counted(reader, "none", "alpha", "beta", "gamma") == (1, [0, 1, 1])
    commit(writer, [version("a.txt", "alpha", "delta", token="2")])
    assert counted(reader, "folder:sales", "alpha", "beta", "delta") == (2, [1, 0, 1])
    writer.regovern({document_id(TENANT, SOURCE, "a.txt"): acl_id(TENANT, SOURCE, "none")})
    assert counted(reader, "folder:sales", "alpha", "delta") == (0, [0, 0])
    assert counted(reader, "none", "alpha", "beta", "delta") == (3, [1, 1, 1])
    writer.remove([document_id(TENANT, SOURCE, "a.txt")])
    assert counted(reader, "none", "alpha", "beta", "gamma") == (1, [0, 1, 1])
    writer.remove([document_id(TENANT, SOURCE, "b.txt")])
    with catalog.reading() as connection:
        assert connection.execute(select(func.count()).select_from(term_counts)).scalar() == 0


def test_words_are_counted_anew_where_the_lexical_index_has_other_terms(writer, reader) -> None:
    commit(writer, [new := version("a.txt", "houses", "house")])
    first, second = (each.id for each in new.chunks)
    writer.recount({first: terms_of("house")})
    assert counted(reader, "folder:sales", "houses", "house") == (2, [0, 2])
    writer.recount({first: terms_of("house"), second: terms_of("other")})
    assert counted(reader, "folder:sales", "house", "other") == (2, [1, 1])


def test_the_revision_of_rights_changes_with_every_change_of_places_and_the_same_again_leaves_it(
    writer, reader
) -> None:
    seen = [reader.rights_revision(TENANT)]

    def set_sales(acl: Acl, origin: str = "x") -> None:
        writer.set_places(SOURCE, [Place("folder:sales", acl, origin)])
        seen.append(reader.rights_revision(TENANT))

    set_sales(Acl.nobody())
    set_sales(Acl.nobody(), "another origin")
    set_sales(Acl.of({HR}))
    writer.forget_places(SOURCE, [])
    seen.append(reader.rights_revision(TENANT))
    assert [after != before for before, after in pairwise(seen)] == [True, False, True, True]
    assert len(set(seen)) == 4, "none comes again"
    assert reader.governing_places(TENANT) == (seen[-1], [])
    assert reader.rights_revision("another tenant") == 0


def test_rights_that_stay_cause_no_work(writer) -> None:
    assert writer.set_places(SOURCE, [Place("folder:sales", Acl.of({SALES}), "another origin")]) == 0
    assert writer.tasks() == []


def test_a_document_moves_under_another_place(writer, reader) -> None:
    new = version("a.txt", "text")
    commit(writer, [new])
    writer.regovern({new.document.id: acl_id(TENANT, SOURCE, "none")})
    assert reader.document(TENANT, new.document.id).acl == Acl.nobody()
    assert [(task.kind, task.subject) for task in writer.tasks()] == [(TaskKind.MOVE, (new.document.id,))]
    assert writer.governed([new.document.id, "gone"]) == {acl_id(TENANT, SOURCE, "none"): [new.document.id]}


def family(*names: str, refused: tuple[str, ...] = (), token: str = "1") -> NewVersion:
    """A mail with a text of its own, files inside it, and files inside it that cannot be read."""
    mail = version("mail", "dear all", token=token)
    inside = []
    for name in names:
        each = version(f"mail!/{name}", f"text of {name}")
        inside.append(replace(each, document=replace(each.document, parent_id=mail.document.id), item_id=None))
    refusals = [
        Refusal(f"refused-{name}", SOURCE, None, f"file://share/mail!/{name}", token, mail.document.acl_id,
                RefusalReason.DAMAGED, "", "a parser", mail.document.id)
        for name in refused
    ]  # fmt: skip
    return replace(mail, inside=inside, refused=refusals)


def test_what_is_inside_a_document_comes_and_moves_and_goes_with_it(writer, reader, catalog) -> None:
    mail = family("a", "b", refused=("c",))
    commit(writer, [mail])
    ids = [each.document.id for each in mail.family]
    assert [each.item_id for each in writer.known(SOURCE)] == ["mail"]
    assert {reader.document(TENANT, each).acl for each in ids} == {Acl.of({SALES})}
    writer.regovern({mail.document.id: acl_id(TENANT, SOURCE, "none")})
    assert {reader.document(TENANT, each).acl for each in ids} == {Acl.nobody()}
    assert {each for task in writer.tasks() for each in task.subject} == set(ids)
    writer.done([task.id for task in writer.tasks()])
    writer.remove([mail.document.id])
    assert [reader.document(TENANT, each) for each in ids] == [None, None, None]
    assert {each for task in writer.tasks() for each in task.subject} == {
        chunk.id for each in mail.family for chunk in each.chunks
    }
    assert CatalogStatus(catalog, TENANT).refusals() == []


def test_a_new_version_takes_out_what_is_no_longer_inside_it(writer, reader, catalog) -> None:
    before, after = family("a", "b", refused=("c", "d")), family("b", refused=("d",), token="2")
    commit(writer, [before])
    commit(writer, [after])
    gone, stays = before.inside
    assert reader.document(TENANT, gone.document.id) is None
    assert reader.document(TENANT, stays.document.id)
    assert {each for task in writer.tasks() for each in task.subject} == {each.id for each in gone.chunks}
    assert [each.uri for each in CatalogStatus(catalog, TENANT).refusals()] == ["file://share/mail!/d"]


def test_ft_11_a_document_with_something_inside_that_other_parsers_refused_is_tried_again(writer) -> None:
    commit(writer, [family("a", refused=("b",))])
    assert [each.change_token for each in writer.known(SOURCE, Today("a parser"))] == ["1"]
    assert [each.change_token for each in writer.known(SOURCE, Today("a better parser"))] == [""]


def test_many_documents_move_in_short_transactions_and_few_tasks(writer, reader) -> None:
    many = [version(f"{number:04}.txt", "text") for number in range(2 * DOCUMENTS_A_TRANSACTION + 1)]
    commit(writer, many)
    writer.regovern({each.document.id: acl_id(TENANT, SOURCE, "none") for each in many})
    moves = [task.subject for task in writer.tasks()]
    assert [len(each) for each in moves] == [DOCUMENTS_A_TRANSACTION, DOCUMENTS_A_TRANSACTION, 1]
    assert reader.acls(TENANT) == {acl_id(TENANT, SOURCE, "none"): Acl.nobody()}
    writer.remove([each.document.id for each in many])
    assert writer.known(SOURCE) == []


def test_places_that_nothing_names_are_forgotten_unless_they_are_listed(writer) -> None:
    commit(writer, [version("a.txt", "text", place="folder:sales")])
    writer.set_places(SOURCE, [Place(each, Acl.nobody(), "") for each in ("refused", "listed", "idle")])
    refused = acl_id(TENANT, SOURCE, "refused")
    writer.refuse(Refusal("r", SOURCE, "b.pdf", "file://share/b.pdf", "1", refused, RefusalReason.DAMAGED, ""))
    writer.forget_places("another source", [])
    writer.forget_places(SOURCE, ["listed"])
    assert set(writer.places(SOURCE)) == {"folder:sales", "refused", "listed"}


def test_ft_11_a_refusal_that_something_else_decided_asks_for_another_attempt(writer) -> None:
    place = acl_id(TENANT, SOURCE, "none")
    for name, decided_by in (("a", "old limits"), ("b", "limits")):
        reason = RefusalReason.TOO_LARGE
        writer.refuse(Refusal(name, SOURCE, name, f"file://share/{name}", "1", place, reason, "", decided_by))
    assert [(each.item_id, each.change_token) for each in writer.known(SOURCE, Today("limits"))] == [
        ("a", ""),
        ("b", "1"),
    ]


@pytest.mark.parametrize(
    ("reason", "attempts"),
    [(RefusalReason.TIME_LIMIT, 2), (RefusalReason.MEMORY_LIMIT, 2), (RefusalReason.DAMAGED, 1)],
)
def test_ft_11_what_met_a_limit_is_tried_once_more_and_then_believed(writer, reason, attempts) -> None:
    refusal = Refusal("d", SOURCE, "a", "file://share/a", "1", acl_id(TENANT, SOURCE, "none"), reason, "", "limits")
    for attempt in range(1, 4):
        writer.refuse(refusal)
        assert [each.change_token for each in writer.known(SOURCE, Today("limits"))] == [
            "" if attempt < attempts else "1"
        ]
    writer.refuse(replace(refusal, change_token="2"))
    assert [each.change_token for each in writer.known(SOURCE, Today("limits"))] == ["" if attempts > 1 else "2"]


def test_rc_12_a_removed_document_is_gone_with_all_its_passages(writer, reader) -> None:
    new = version("a.txt", "one", "two")
    commit(writer, [new])
    writer.remove([new.document.id])
    ids = [each.id for each in new.chunks]
    assert reader.document(TENANT, new.document.id) is None
    assert reader.chunks(TENANT, ids) == {}
    assert writer.not_current(ids) == ids
    assert [set(task.subject) for task in writer.tasks()] == [set(ids)]
    assert writer.known(SOURCE) == []


def test_ft_11_a_refusal_keeps_the_earlier_version_and_follows_the_rights_of_today(writer, reader) -> None:
    new = version("a.txt", "text")
    commit(writer, [new])
    refusal = Refusal(
        new.document.id, SOURCE, "a.txt", new.document.uri, "2", new.document.acl_id, RefusalReason.DAMAGED, "cut off"
    )
    writer.refuse(refusal)
    known = writer.known(SOURCE)
    assert [(each.change_token, each.refused) for each in known] == [("2", True)]
    assert reader.document(TENANT, new.document.id) is not None
    commit(writer, [version("a.txt", "repaired", token="3")])
    assert [(each.change_token, each.refused) for each in writer.known(SOURCE)] == [("3", False)]


def test_announced_points_stay_announced_until_the_task_is_done(writer) -> None:
    writer.intend(["a", "b"])
    (task,) = writer.tasks()
    assert (task.kind, task.subject) == (TaskKind.SETTLE, ("a", "b"))
    writer.done([task.id])
    assert writer.tasks() == []


def test_passages_come_in_order_and_only_those_asked_for(writer, reader) -> None:
    new = version("a.txt", *[f"text {number}" for number in range(9)])
    commit(writer, [new])
    assert [each.chunk.ordinal for each in reader.passages(TENANT, new.document.id, 3, 5)] == [3, 4, 5]


def test_documents_are_listed_in_pages_by_code_point(writer, reader) -> None:
    names = ["B.txt", "a.txt", "ä.txt", "Z.txt", *("long/" * 900 + name for name in "abc")]
    commit(writer, [version(name, name) for name in names])
    place = {acl_id(TENANT, SOURCE, "folder:sales")}
    listed, after = [], ("", "")
    while page := reader.documents_governed_by(TENANT, place, after, 2):
        listed += page
        after = page[-1].position
    assert [each.position for each in listed] == sorted(each.position for each in listed)
    assert {each.uri for each in listed} == {f"file://share/{name}" for name in names}, "however alike they begin"


@pytest.mark.parametrize("start", ["kc:r:user:anna", "kc:r:group:/a/b"])
def test_rm_03_groups_hold_groups_at_any_depth_and_cycles_end(catalog, start) -> None:
    directory = CatalogDirectory(catalog)
    names = [start, "kc:r:group:/1", "kc:r:group:/2", "kc:r:group:/3", "kc:r:group:/1"]
    edges = [(Principal(one), Principal(other)) for one, other in pairwise(names)]
    directory.replace(TENANT, "demo", edges)
    found = directory.containers(TENANT, {Principal(start)})
    assert found == {"kc:r:group:/1", "kc:r:group:/2", "kc:r:group:/3"}
    assert directory.containers("other", {Principal(start)}) == frozenset()
    assert directory.chain(TENANT, {Principal(start)}, Principal("kc:r:group:/3")) == tuple(names[:4])
    assert directory.chain(TENANT, {Principal("kc:r:group:/3")}, Principal(start)) == ()


def test_a_change_of_memberships_makes_another_revision_and_the_same_again_does_not(catalog) -> None:
    directory = CatalogDirectory(catalog)
    seen = [directory.revision(TENANT)]
    for origin, edges in (("demo", [(SALES, HR)]), ("other", [(HR, SALES)]), ("demo", [(SALES, HR)]), ("demo", [])):
        directory.replace(TENANT, origin, edges)
        seen.append(directory.revision(TENANT))
    assert seen[0] == 0
    assert [after != before for before, after in pairwise(seen)] == [True, True, False, True]
    assert len(set(seen)) == 4, "none comes again"
    assert directory.containers(TENANT, {SALES}) == frozenset()


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("Müller & Söhne/Größenübersicht.md", "M%C3%BCller%20%26%20S%C3%B6hne/Gr%C3%B6%C3%9Fen%C3%BCbersicht.md"),
        ("M%C3%BCller.md", "M%C3%BCller.md"),
        ("Müller.md", "M%C3%BCller.md"),
        ("100 %.md", "100%20%25.md"),
        ("u\u0308ber.md", "u%CC%88ber.md"),
        ("Für Süd/Ä.eml!/Preise für Ö.xlsx", "F%C3%BCr%20S%C3%BCd/%C3%84.eml!/Preise für Ö.xlsx"),
        ("Für Süd/Ä.eml!/Preise für Ö.xlsx", "F%C3%BCr%20S%C3%BCd/%C3%84.eml%21/Preise%20f%C3%BCr%20%C3%96.xlsx"),
    ],
)
def test_a_document_is_found_by_its_address_as_it_is_stored_and_as_people_write_it(
    catalog, writer, given: str, stored: str
) -> None:
    commit(writer, [version(stored, "text"), version("other.md", "text"), version("M%25C3%25BCller.md", "text")])
    wanted, now = document_id(TENANT, SOURCE, stored), CatalogHistory.now()
    assert CatalogStatus(catalog, TENANT).document_at(f"file://share/{given}") == wanted
    assert CatalogHistory(catalog, TENANT).document_at(f"file://share/{given}", now) == wanted


@pytest.mark.parametrize("given", ["\xfcber.md", "a%20b.md", "mueller.md", "./M%C3%BCller.md"])
def test_an_address_means_no_other_document(catalog, writer, given: str) -> None:
    commit(writer, [version(name, "text") for name in ("u%CC%88ber.md", "a%2520b.md", "M%C3%BCller.md")])
    assert CatalogStatus(catalog, TENANT).document_at(f"file://share/{given}") is None
    assert CatalogHistory(catalog, TENANT).document_at(f"file://share/{given}", CatalogHistory.now()) is None


def test_operators_see_counts_and_reasons_but_no_titles(catalog, writer) -> None:
    commit(writer, [version("a.txt", "one", "two"), version("hidden.txt", "x", place="none")])
    writer.refuse(
        Refusal("r", SOURCE, "b.pdf", "file://share/b.pdf", "1", "x", RefusalReason.ENCRYPTED, "needs a password")
    )
    writer.begin(SOURCE, "filesystem", "/srv")
    writer.complete(SOURCE, "cursor")
    (state,) = CatalogStatus(catalog, TENANT).sources()
    assert (state.documents, state.passages, state.refused, state.without_readers) == (2, 3, {"encrypted": 1}, 1)
    assert state.synced_at is not None
    assert [each.reason for each in CatalogStatus(catalog, TENANT).refusals()] == ["encrypted"]
    assert CatalogStatus(catalog, TENANT).document_at("file://share/a.txt") == document_id(TENANT, SOURCE, "a.txt")
    assert CatalogStatus(catalog, "other").sources() == []
    assert writer.cursor(SOURCE) == "cursor"


def test_a_failed_transaction_leaves_no_trace(catalog, writer, reader) -> None:
    new = version("a.txt", "text")
    broken = NewVersion(new.document, "a.txt", "1", [new.chunks[0], new.chunks[0]])
    with pytest.raises(StoreUnavailable):
        commit(writer, [broken])
    assert reader.document(TENANT, new.document.id) is None
    assert writer.tasks() == []


def test_everything_can_be_read_for_a_new_index(catalog, writer) -> None:
    new = version("a.txt", "one", "two")
    commit(writer, [new])
    rows = list(writer.everything())
    assert [(chunk, source, acl) for chunk, source, _, acl in rows] == [
        (each, SOURCE, Acl.of({SALES})) for each in new.chunks
    ]
    assert CatalogStatus(catalog, TENANT).passages() == 2


def lose_lease(catalog: Catalog, catalog_url: str) -> None:
    """Takes the lock from under the lease `writing`, as a firewall or a tidy administrator would."""
    if catalog_url.startswith("sqlite"):
        Path(f"{make_url(catalog_url).database}.writing.{TENANT}.lock").unlink()
        return
    with catalog.reading() as connection:
        holders = "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'"
        assert connection.execute(text(holders)).scalars().all() == [True]


def test_ft_10_a_lease_is_held_by_one_at_a_time_and_free_afterwards(catalog, catalog_url) -> None:
    with closing(Catalog.open(catalog_url)) as other:
        with catalog.lease("writing", TENANT), pytest.raises(StoreUnavailable, match="another process is writing"):
            other.lease("writing", TENANT).__enter__()
        for each in (other, catalog, other):
            with each.lease("writing", TENANT):
                pass


def test_ft_10_who_lost_his_lease_to_another_commits_nothing_any_more(catalog, catalog_url, writer) -> None:
    with closing(Catalog.open(catalog_url)) as other:
        with catalog.lease("writing", TENANT):
            writer.intend(["before"])
            lose_lease(catalog, catalog_url)
            with other.lease("writing", TENANT):
                with pytest.raises(StoreUnavailable, match="lost the right"):
                    writer.intend(["meanwhile"])
                CatalogWriter(other, TENANT).intend(["by the other"])
            with pytest.raises(StoreUnavailable, match="lost the right"):
                writer.intend(["afterwards"])
        assert [task.subject for task in writer.tasks()] == [("before",), ("by the other",)]
        writer.intend(["without a lease"])


def test_what_is_not_part_of_the_sync_goes_on_when_the_lease_is_lost(catalog, catalog_url, tmp_path) -> None:
    record = AuditRecord(TENANT, "s", "h", Purpose(Action.SEARCH, "r", "question"), Outcome.NOTHING, ())
    with (
        closing(Catalog.open(catalog_url)) as other,
        ThreadPoolExecutor(1) as questions,
        catalog.lease("writing", TENANT),
    ):
        lose_lease(catalog, catalog_url)
        with other.lease("writing", TENANT):
            questions.submit(open_audit(catalog, tmp_path).record, record).result()
    with catalog.reading() as connection:
        assert connection.execute(select(func.count()).select_from(audit)).scalar_one() == 1


def test_a_lease_leaves_no_transaction_open_that_a_server_could_end(catalog, catalog_url) -> None:
    if catalog_url.startswith("sqlite"):
        pytest.skip("its lock is a file")
    with catalog.lease("writing", TENANT), catalog.reading() as connection:
        states = "SELECT state FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory'"
        assert connection.execute(text(states)).scalars().all() == ["idle"]


def test_a_catalog_of_the_first_schema_is_brought_up_to_date_with_its_index(catalog_url) -> None:
    with closing(Catalog.open(catalog_url)) as catalog:
        CatalogIndexes(catalog, TENANT).set_live("main-0", IndexProfile("m", 3, "", "", "0"))
        with catalog.writing() as connection:
            for statement in (
                "DROP TABLE leases",
                "DROP TABLE index_names",
                "UPDATE alembic_version SET version_num='0001'",
            ):
                connection.execute(text(statement))
    with closing(Catalog.open(catalog_url)) as catalog, catalog.reading() as connection:
        assert connection.execute(text("SELECT tenant, name FROM index_names")).all() == [(TENANT, "main-0")]


def test_the_migrations_make_the_schema_that_the_code_uses(catalog) -> None:
    with catalog.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_opening_again_migrates_nothing(catalog_url, catalog, monkeypatch) -> None:
    migrated: list[Catalog] = []
    monkeypatch.setattr(Catalog, "_migrate", migrated.append)
    Catalog.open(catalog_url).close()
    assert migrated == []


def test_an_error_never_carries_parameters(catalog, writer) -> None:
    secret = "CANARY-in-a-passage"
    new = version("a.txt", secret)
    with pytest.raises(StoreUnavailable) as caught:
        commit(writer, [NewVersion(new.document, "a.txt", "1", [new.chunks[0], new.chunks[0]])])
    assert secret not in str(caught.value)


def test_ft_05_a_database_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        Catalog.open("postgresql://kustos@/kustos?host=/nowhere")
    with pytest.raises(StoreUnavailable):
        Catalog.open(sqlite_url(Path("/proc/catalog.db")))


def test_a_url_of_an_unknown_kind_is_refused_with_the_setting_that_holds_it() -> None:
    with pytest.raises(Misconfigured, match="KUSTOS_CATALOG_URL"):
        Catalog.open("oracle://x")
