"""Any history of documents, access files, memberships, syncs, crashes and revocations, against the reference evaluator.

Everything is real (connector, plan, pipeline, Qdrant Edge, SQLite, directory, gate, retrieval, BM25) but three parts: the
embedder counts words, a file is parsed line by line, and the audit log is left out. Beside it lies another tenant, whose document has the same
address, the same words and rights for everybody.

What must hold after every step, for every caller, over search, list, single read and explain:

* Never more than told. `Told` is what the catalog was told of a document: by a sync that ended, or by one that crashed.
  A crashed sync may have got anywhere; so for each version of a document there may be several sets of rights, and one
  of them must permit. As soon as its tightening is committed, what it takes away is gone for all versions.
* Never less. What is certain (told by a sync that ended, not touched by a crash) is exactly what list, read and explain
  give; and search, asked for everything, finds all of it, also while revocations wait for the index.

KUSTOS_TEST_EFFORT multiplies how many histories are tried.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from connectors.filesystem import FilesystemConnector
from rag.access.acl import Acl
from rag.access.audit import Action, Purpose
from rag.access.principals import Principal
from rag.access.scope import AccessScope, Caller
from rag.documents import Passage, acl_id, document_id
from rag.errors import NotFound, SourceUnavailable
from rag.retrieval import MAX_PASSAGES, Mode, Request
from rag.stores.catalog_status import CatalogStatus
from rag.stores.catalog_writing import CatalogWriter, Place
from tests.effort import times
from tests.memory_source import UNREADABLE
from tests.security.reference import EVERYONE, Rights, Sidecar, may_read
from tests.security.stores import SOURCE, TENANT, Crash, Fuse, Stores
from tests.security.tree import BREAKAGES, REALM, Tree, readable, text, version

EXAMPLES = times(25)
STEPS = 25
ORIGINS = "keycloak", "entra"
PURPOSE = Purpose(Action.SEARCH, "stateful")
EVERY_WORD_OF_A_TEXT = "kiel"
CHECKS: Counter[str] = Counter()

ANN, BOB, ROLE = f"kc:{REALM}:user:ann", f"kc:{REALM}:user:bob", f"kc:{REALM}:role:staff"
GROUPS = (f"kc:{REALM}:group:/g1", f"kc:{REALM}:group:/g1/sub")
CALLERS = {
    "ann": {ANN},
    "bob, in a group by his token": {BOB, GROUPS[0]},
    "somebody whose group is spelled alike": {f"kc:{REALM}:user:eve", f"{GROUPS[0]}x"},
    "nobody": set[str](),
}
# Few names, so that the steps of a history meet.
PATHS = ("x.txt", "a/x.txt", "a/y.txt", "a/b/x.txt")
FOLDERS = ("", "a/", "a/b/")

Change = Callable[[Tree], None]
paths, places = st.sampled_from(PATHS), st.sampled_from((*FOLDERS, *PATHS))
paragraphs = st.sampled_from([f"{EVERY_WORD_OF_A_TEXT} {word}" for word in ("alpha", "bravo", "delta")])
contents = st.lists(paragraphs, min_size=1, max_size=3).map(text) | st.sampled_from((UNREADABLE.encode(), b""))
principals = st.frozensets(st.sampled_from((ANN, BOB, *GROUPS, ROLE, EVERYONE)), max_size=3)
denials = st.just(frozenset[str]()) | st.frozensets(st.sampled_from((ANN, BOB, *GROUPS, ROLE)), max_size=2)
sidecars = st.builds(Sidecar, st.booleans(), st.builds(Rights, principals, denials))
memberships = st.sets(st.tuples(st.sampled_from((ANN, BOB, *GROUPS)), st.sampled_from((*GROUPS, ROLE))), max_size=4)


def _changes(what: Callable[..., None], **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Change]:
    return st.builds(partial, st.just(what), **arguments)


changes = st.one_of(
    _changes(Tree.write, path=paths, content=contents),
    _changes(Tree.govern, place=places, sidecar=sidecars),
    _changes(Tree.ungovern, place=places),
    _changes(Tree.break_sidecar, place=places, how=st.sampled_from(BREAKAGES)),
    _changes(Tree.delete, path=paths),
    _changes(Tree.rename, path=paths, to=paths),
)


def _rewritten_for_others(path: str, content: bytes, sidecar: Sidecar) -> list[Change]:
    return [partial(Tree.write, path=path, content=content), partial(Tree.govern, place=path, sidecar=sidecar)]


bursts = st.lists(changes, min_size=1, max_size=4) | st.builds(_rewritten_for_others, paths, contents, sidecars)
calls = (
    *("set_places", "regovern", "remove", "set_acl", "move", "delete", "done"),
    *("intend", "embed_documents", "upsert", "commit", "refuse", "settle", "complete"),
)
crashes = st.tuples(st.sampled_from(("before", "after")), st.sampled_from(calls), st.integers(1, 2))

Rule = frozenset[Rights]
"""Rights that must all permit."""
Told = dict[str, set[Rule]]
"""Versions of a document, each with the rules of which one must permit."""


class Histories(RuleBasedStateMachine):
    def __init__(self, stores: Stores) -> None:
        super().__init__()
        self.stores = stores
        stores.empty()
        self.folder = Path(tempfile.mkdtemp(prefix="kustos-stateful-"))
        self.tree = Tree(self.folder / "share")
        self.source = FilesystemConnector(SOURCE, self.tree.root, max_bytes=1_000)
        self.memberships: dict[str, set[tuple[str, str]]] = {origin: set() for origin in ORIGINS}
        self.told: dict[str, Told] = {}
        self.certain: set[str] = set()  # documents of which `told` is exactly what the catalog has
        self.indexed: set[str] = set()  # certain documents whose points show at least the readers that the catalog has
        self.turn = 0

    # What happens in the source

    @initialize(
        files=st.fixed_dictionaries(dict.fromkeys(PATHS[:3], contents)),
        rights=st.dictionaries(places, sidecars, min_size=1, max_size=4),
        groups=memberships,
    )
    def a_company(self, files: dict[str, bytes], rights: dict[str, Sidecar], groups: set[tuple[str, str]]) -> None:
        for place, sidecar in rights.items():
            self.tree.govern(place, sidecar)
        for path, content in files.items():
            self.tree.write(path, content)
        self._belong(ORIGINS[0], groups)
        self.sync()

    @rule(burst=bursts)
    def change(self, burst: list[Change]) -> None:
        for each in burst:
            each(self.tree)

    @rule(burst=bursts)
    def change_and_sync(self, burst: list[Change]) -> None:
        self.change(burst)
        self.sync()

    @rule(burst=bursts, at=crashes)
    def change_and_crash(self, burst: list[Change], at: tuple[str, str, int]) -> None:
        self.change(burst)
        self.crash(at)

    # What happens in the directory: holds at once

    @rule(origin=st.sampled_from(ORIGINS), groups=memberships)
    def regroup(self, origin: str, groups: set[tuple[str, str]]) -> None:
        self._belong(origin, groups)

    def _belong(self, origin: str, groups: set[tuple[str, str]]) -> None:
        self.memberships[origin] = groups
        pairs = [(Principal(member), Principal(group)) for member, group in groups]
        self.stores.directory.replace(TENANT, origin, pairs)

    # What happens in Kustos

    @rule()
    def sync(self) -> None:
        report = self.stores.ingestion().sync(self.source)
        assert not report.deferred
        listed = self._listed()
        self.told = {path: self._after_reading(path, *state) for path, state in listed.items()}
        self.certain = {path for path, told in self.told.items() if told.keys() <= {listed[path][1]}}
        self.indexed = set(self.certain)
        self._check_nothing_left_over()

    @rule(at=crashes)
    def crash(self, at: tuple[str, str, int]) -> None:
        fuse = Fuse(at)
        try:
            self.stores.ingestion(fuse).sync(self.source)
        except Crash:
            self._told_by_a_crash(tightened=fuse.seen["after", "remove"] > 0)
        else:
            self.sync()

    @rule()
    def source_is_away(self) -> None:
        away = self.folder / "away"
        self.tree.root.rename(away)
        with pytest.raises(SourceUnavailable):
            self.stores.ingestion().sync(self.source)
        away.rename(self.tree.root)

    @rule(pick=st.integers(0, 99), taken=principals, denied=denials)
    def revoke_in_the_catalog(self, pick: int, taken: frozenset[str], denied: frozenset[str]) -> None:
        """One row of the catalog; the index is not touched."""
        self._change(pick, lambda acl: Acl.of(acl.allow - _p(taken), acl.deny | _p(denied)), loosens=False)

    @rule(pick=st.integers(0, 99), given=principals)
    def grant_in_the_catalog(self, pick: int, given: frozenset[str]) -> None:
        self._change(pick, lambda acl: Acl.of(acl.allow | _p(given)), loosens=True)

    def _change(self, pick: int, change: Callable[[Acl], Acl], *, loosens: bool) -> None:
        writer = CatalogWriter(self.stores.catalog, TENANT)
        held = writer.places(SOURCE)
        if not held:
            return
        reference = _one(held, pick)
        acl = change(held[reference])
        writer.set_places(SOURCE, [Place(reference, acl, "changed by a test")])
        place, rights = acl_id(TENANT, SOURCE, reference), Rights(frozenset(acl.allow), frozenset(acl.deny))
        for path, told in self.told.items():
            if self._id(path) in writer.governed([self._id(path)]).get(place, ()):
                self.told[path] = {each: {frozenset((rights,))} for each in told}
                self.indexed -= {path} if loosens else set()

    @rule()
    def index_follows(self) -> None:
        self.stores.ingestion().follow()
        self.indexed = set(self.certain)

    @rule()
    def restart(self) -> None:
        self.stores.close()
        self.stores.open()

    # What the reference makes of it

    def _listed(self) -> dict[str, tuple[Rights, str, bool]]:
        """Rights, version and whether it can be read, of every document in the folder."""
        return {
            path: (self.tree.rights(path), version(content), readable(content))
            for path, content in self.tree.documents.items()
        }

    def _after_reading(self, path: str, rights: Rights, current: str, readable: bool) -> Told:
        """Of a document that cannot be read an older version may stay, for readers who may also read the new one."""
        if readable:
            return {current: {frozenset((rights,))}}
        return _tightened(self.told.get(path, {}), rights)

    def _told_by_a_crash(self, *, tightened: bool) -> None:
        listed = self._listed()
        for path in {*self.told, *listed}:
            old = self.told.get(path, {})
            if path not in listed:
                new: Told = {} if tightened else old
            else:
                rights, current, readable = listed[path]
                kept = _tightened(old, rights) if tightened else old
                fresh: Told = {current: {frozenset((rights,))}} if readable else {}
                new = {each: kept.get(each, set()) | fresh.get(each, set()) for each in {*kept, *fresh}}
            if path not in listed or old != self._after_reading(path, *listed[path]):
                self.certain.discard(path)
                self.indexed.discard(path)
            self.told[path] = new

    def _may_read(self, own: set[str], path: str, current: str) -> bool:
        pairs = set[tuple[str, str]]().union(*self.memberships.values())
        rules = self.told.get(path, {}).get(current, set())
        return any(all(may_read(own, pairs, rights) for rights in rule) for rule in rules)

    def _permitted(self, own: set[str], path: str) -> bool:
        """For certain documents, which have one version or none."""
        return any(self._may_read(own, path, each) for each in self.told.get(path, {}))

    def _check_nothing_left_over(self) -> None:
        """Every chunk has its point, every point its chunk, and no task is open."""
        status = CatalogStatus(self.stores.catalog, TENANT)
        assert self.stores.points() == status.passages()
        assert not status.open_tasks()

    # What callers see

    @invariant()
    def each_caller_gets_what_the_reference_says(self) -> None:
        self.turn += 1
        for number, (name, own) in enumerate(CALLERS.items()):
            self._check(name, own, thoroughly=(number + self.turn) % len(CALLERS) == 0)
        kept, counted = self.stores.term_counts()
        assert kept == counted, "LEAK: words are counted that are not there, or under another place"
        assert not self._listed_for("a third tenant", CALLERS["bob, in a group by his token"])

    def _check(self, name: str, own: set[str], *, thoroughly: bool) -> None:
        listed = self._listed_for(TENANT, own)
        for path, current in listed.items():
            assert self._may_read(own, path, current), f"LEAK: {name} lists {path}"
        for path in self.certain:
            assert (path in listed) == self._permitted(own, path), f"WRONGLY DENIED: {name} does not list {path}"
        found = self._search(own, Mode.HYBRID, MAX_PASSAGES)
        self._check_found(name, own, listed, found)
        self._check_replacement(own, len(found))
        CHECKS["callers"] += 1
        if thoroughly:
            self._check_reading(name, own, listed)
            self._check_searches(name, own, listed, found)

    def _listed_for(self, tenant: str, own: set[str]) -> dict[str, str]:
        """Path and version of every document that is listed, page by page."""
        scope = self.stores.gate.scope_for(_caller(tenant, own), PURPOSE)
        listed, after = dict[str, str](), ("", "")
        while page := self.stores.gate.documents(scope, PURPOSE, after, limit=3):
            listed |= {_path(each.uri): each.version for each in page}
            after = page[-1].position
        return listed

    def _search(self, own: set[str], mode: Mode, limit: int) -> list[Passage]:
        request = Request(EVERY_WORD_OF_A_TEXT, limit, mode=mode)
        return self.stores.retrieval.search(_caller(TENANT, own), request, PURPOSE)

    def _check_found(self, name: str, own: set[str], listed: dict[str, str], found: list[Passage]) -> None:
        released = Counter(_path(each.document.uri) for each in found)
        for passage in found:
            path = _path(passage.document.uri)
            assert self._may_read(own, path, passage.document.version), f"LEAK: {name} finds {path}"
            assert passage.document.version == listed[path]
            assert passage.chunk.document_id == passage.document.id == self._id(path)
        assert [each.rank for each in found] == list(range(1, len(found) + 1))
        assert len({each.chunk.id for each in found}) == len(found)
        for path in self.indexed & listed.keys():
            expected = {each.document.passages for each in found if _path(each.document.uri) == path}
            assert expected == {released[path]}, f"WRONGLY DENIED: {name} does not find all of {path}"
        CHECKS["searches"] += 1

    def _check_searches(self, name: str, own: set[str], listed: dict[str, str], found: list[Passage]) -> None:
        for mode in (Mode.DENSE, Mode.LEXICAL):
            self._check_found(name, own, listed, self._search(own, mode, MAX_PASSAGES))
        few = self._search(own, Mode.HYBRID, 2)
        assert [each.chunk.id for each in few] == [each.chunk.id for each in found[:2]]

    def _check_replacement(self, own: set[str], readable: int) -> None:
        """However much of what the index proposes is dropped, the places in the result are filled."""
        scope = self.stores.gate.scope_for(_caller(TENANT, own), PURPOSE)
        if scope is None or self.indexed != self.told.keys():
            return
        request = Request(EVERY_WORD_OF_A_TEXT, mode=Mode.DENSE)
        for depth in (1, 3):
            confirmed = self.stores.gate.candidates(scope, self.stores.retrieval.question(request), depth)
            assert min(depth, readable) <= len(confirmed.candidates) <= readable
            CHECKS["shallow searches"] += 1

    def _check_reading(self, name: str, own: set[str], listed: dict[str, str]) -> None:
        caller = _caller(TENANT, own)
        scope = self.stores.gate.scope_for(caller, PURPOSE)
        for path in PATHS:
            for read in (self._document, self._passages):
                current = _or_none(lambda read=read, path=path: read(scope, path))  # type: ignore[misc]
                assert current == listed.get(path), f"{name}: reading {path} and listing it differ"
            explained = _or_none(lambda path=path: self.stores.explainer.explain(caller, self._id(path)))  # type: ignore[misc]
            assert bool(explained and explained.decision.allowed) == (path in listed)
            CHECKS["reads by id"] += 3

    def _document(self, scope: AccessScope | None, path: str) -> str:
        return self.stores.gate.document(scope, self._id(path), PURPOSE).version

    def _passages(self, scope: AccessScope | None, path: str) -> str:
        (current,) = {
            each.document.version for each in self.stores.gate.passages(scope, self._id(path), (1, 9), PURPOSE)
        }
        return current

    def _id(self, path: str) -> str:
        return document_id(TENANT, SOURCE, path)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


def _tightened(told: Told, rights: Rights) -> Told:
    return {each: {rule_ | {rights} for rule_ in rules} for each, rules in told.items()}


def _one(values: Iterable[str], pick: int) -> str:
    ordered = sorted(values)
    return ordered[pick % len(ordered)]


def _p(texts: frozenset[str]) -> frozenset[Principal]:
    return frozenset(map(Principal, texts))


def _path(uri: str) -> str:
    return uri.removeprefix(f"file://{SOURCE}/")


def _caller(tenant: str, own: set[str]) -> Caller:
    return Caller(tenant, "somebody", frozenset(map(Principal, own)))


def _or_none(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except NotFound:
        return None


def test_rc_07_and_rc_08_and_ft_06_no_history_leaks_and_none_denies_wrongly(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    try:
        run_state_machine_as_test(
            lambda: Histories(stores),  # type: ignore[arg-type]  # any factory will do
            settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS),
        )
    finally:
        stores.close()
    assert CHECKS["callers"] >= EXAMPLES, "histories in which nobody looked would prove nothing"
    print(f"\n{EXAMPLES} histories, checks: {dict(CHECKS)}")  # noqa: T201  seen with pytest -s, after a long run
