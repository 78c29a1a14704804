"""Reads evaluation data in BEIR layout, strictly: a measure over half-read data is worse than none.

    corpus.jsonl      {"_id", "title", "text", "metadata": {"acl": {"groups": [], "users": [], "deny": []}}}
    queries.jsonl     {"_id", "text"}
    qrels/SPLIT.tsv   query-id, corpus-id, score, with this header line
    users.jsonl       {"user_id", "groups": []}                                            only for access audits
    acl_tests.jsonl   {"test_id", "query_id", "user_id", "expected": "allow" | "deny", "gold": []}     likewise

Layout of the first three: https://github.com/beir-cellar/beir/wiki/Load-your-custom-dataset
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rag.errors import BadInput

QRELS_HEADER = ("query-id", "corpus-id", "score")

_Row = Mapping[str, object]
_T = TypeVar("_T")


class BadDataset(BadInput):
    """The folder is not evaluation data in the layout above; the message names file and line."""

    code = "bad_dataset"


@dataclass(frozen=True, slots=True)
class DocumentAccess:
    """Who may read a document: members of `groups`, and `users`; nobody who is, or whose group is, in `deny`."""

    groups: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """One document of a corpus. Without `metadata.acl` it goes to nobody wherever rights count."""

    id: str
    title: str
    text: str
    access: DocumentAccess = DocumentAccess()


@dataclass(frozen=True, slots=True)
class Query:
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A corpus with judged queries.

    Attributes:
        queries: those that `relevance` judges, in the order of the file; the others cannot be scored.
        relevance: query id to document id to grade; above 0 is relevant.
    """

    name: str
    documents: tuple[CorpusDocument, ...]
    queries: tuple[Query, ...]
    relevance: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Judgements:
    """Judged queries without a corpus. Attributes as in `Dataset`."""

    name: str
    queries: tuple[Query, ...]
    relevance: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class User:
    id: str
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class AccessTest:
    """`user` asks `query`. `allowed`: he may read every document of `gold`; otherwise at least one is closed to him."""

    id: str
    query: Query
    user: User
    allowed: bool
    gold: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AccessSuite:
    """A corpus with rights, and who asks what."""

    name: str
    documents: tuple[CorpusDocument, ...]
    users: tuple[User, ...]
    tests: tuple[AccessTest, ...]


def load_dataset(folder: Path, split: str = "test") -> Dataset:
    """Corpus, queries and the judgements of one split.

    Raises:
        BadDataset: a file is missing or cannot be read, an id is used twice or does not exist.
    """
    documents, queries = _corpus(folder), _queries(folder)
    relevance = _qrels(folder, split, queries, documents)
    judged = tuple(each for each in queries.values() if each.id in relevance)
    return Dataset(folder.resolve().name, tuple(documents.values()), judged, relevance)


def load_judgements(folder: Path, split: str = "test") -> Judgements:
    """Queries and the judgements of one split, about documents that are elsewhere: the corpus is not read.

    Raises:
        BadDataset: a file is missing or cannot be read, an id is used twice, or a query does not exist.
    """
    queries = _queries(folder)
    relevance = _qrels(folder, split, queries)
    judged = tuple(each for each in queries.values() if each.id in relevance)
    return Judgements(folder.resolve().name, judged, relevance)


def load_access_suite(folder: Path) -> AccessSuite:
    """Corpus with rights, users and access tests.

    Raises:
        BadDataset: as above, or a test says "allow" or "deny" where `metadata.acl` says the opposite.
    """
    documents, queries = _corpus(folder), _queries(folder)
    users = _unique(folder / "users.jsonl", _user, lambda each: each.id)
    tests = _unique(
        folder / "acl_tests.jsonl", lambda row: _access_test(row, queries, users, documents), lambda each: each.id
    )
    if not any(each.allowed for each in tests.values()):
        raise BadDataset(f"{folder / 'acl_tests.jsonl'}: no test expects allow, so wrong denials could not show")
    return AccessSuite(folder.resolve().name, tuple(documents.values()), tuple(users.values()), tuple(tests.values()))


def may_read(user: User, access: DocumentAccess) -> bool:
    """The reference rule of the audit, deliberately not derived from `rag.access`: groups or users, minus deny."""
    if user.id in access.deny or access.deny & user.groups:
        return False
    return user.id in access.users or bool(access.groups & user.groups)


def _corpus(folder: Path) -> dict[str, CorpusDocument]:
    return _unique(folder / "corpus.jsonl", _document, lambda each: each.id)


def _queries(folder: Path) -> dict[str, Query]:
    return _unique(folder / "queries.jsonl", _query, lambda each: each.id)


def _document(row: _Row) -> CorpusDocument:
    metadata = row.get("metadata", {})
    if not isinstance(metadata, dict):
        raise BadDataset('"metadata" is not an object')
    title = _text(row, "title") if "title" in row else ""
    access = _access(metadata["acl"]) if "acl" in metadata else DocumentAccess()
    return CorpusDocument(_id(row, "_id"), title, _text(row, "text"), access)


def _access(acl: object) -> DocumentAccess:
    if not isinstance(acl, dict) or not set(acl) <= {"groups", "users", "deny"}:
        raise BadDataset('"metadata.acl" is not an object of "groups", "users" and "deny"')
    return DocumentAccess(**{key: _names(acl, key) for key in acl})


def _query(row: _Row) -> Query:
    text = _text(row, "text")
    if not text.strip():
        raise BadDataset("the query is empty")
    return Query(_id(row, "_id"), text)


def _user(row: _Row) -> User:
    return User(_id(row, "user_id"), _names(row, "groups"))


def _access_test(
    row: _Row, queries: Mapping[str, Query], users: Mapping[str, User], documents: Mapping[str, CorpusDocument]
) -> AccessTest:
    query = _known(queries, _id(row, "query_id"), "query")
    user = _known(users, _id(row, "user_id"), "user")
    gold = _list(row, "gold")
    expected = row.get("expected")
    if expected not in {"allow", "deny"} or not gold:
        raise BadDataset('a test needs "expected", allow or deny, and at least one document in "gold"')
    if "groups" in row and _names(row, "groups") != user.groups:
        raise BadDataset(f"the groups of {user.id} are others than in users.jsonl")
    readable = all(may_read(user, _known(documents, each, "document").access) for each in gold)
    if readable != (expected == "allow"):
        raise BadDataset(f'expected is {expected!r}, but "metadata.acl" of the gold says the opposite')
    return AccessTest(_id(row, "test_id"), query, user, readable, gold)


def _qrels(
    folder: Path, split: str, queries: Mapping[str, Query], documents: Mapping[str, CorpusDocument] | None = None
) -> dict[str, dict[str, int]]:
    """Grades by query and document. Every document has to be one of `documents`, if these are known."""
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        there = ", ".join(sorted(each.stem for each in path.parent.glob("*.tsv"))) or "none"
        raise BadDataset(f"{path} is not there; splits: {there}")
    lines = _lines(path)
    if tuple(next(lines, (1, ""))[1].split("\t")) != QRELS_HEADER:
        raise BadDataset(f"{path}:1: the header is not {' '.join(QRELS_HEADER)}, separated by tabs")
    relevance: dict[str, dict[str, int]] = {}
    for number, line in lines:
        with _located(path, number):
            query, document, grade = _judgement(line)
            _known(queries, query, "query")
            if documents is not None:
                _known(documents, document, "document")
            if document in relevance.setdefault(query, {}):
                raise BadDataset(f"document {document!r} is judged twice for query {query!r}")
        relevance[query][document] = grade
    if not relevance:
        raise BadDataset(f"{path}: there is no judgement in it")
    return relevance


def _judgement(line: str) -> tuple[str, str, int]:
    fields = line.split("\t")
    if len(fields) != len(QRELS_HEADER):
        raise BadDataset(f"{len(fields)} fields instead of {len(QRELS_HEADER)}")
    query, document, grade = fields
    try:
        return query, document, int(grade)
    except ValueError as error:
        raise BadDataset(f"score {grade!r} is not a whole number") from error


def _unique(path: Path, read: Callable[[_Row], _T], identity: Callable[[_T], str]) -> dict[str, _T]:
    """What `read` makes of every line, by id and in the order of the file; at least one."""
    found: dict[str, _T] = {}
    for number, line in _lines(path):
        with _located(path, number):
            value = read(_object(line))
            if identity(value) in found:
                raise BadDataset(f"id {identity(value)!r} is used twice")
        found[identity(value)] = value
    if not found:
        raise BadDataset(f"{path}: the file is empty")
    return found


@contextmanager
def _located(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except BadDataset as error:
        raise BadDataset(f"{path}:{number}: {error}") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and the lines that are not blank. Only a line feed ends a line: JSON may hold U+2028."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise BadDataset(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadDataset(f"{path} is not UTF-8 at byte {error.start}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


def _object(line: str) -> _Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadDataset(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise BadDataset("not a JSON object")
    return row


def _text(row: _Row, key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise BadDataset(f'"{key}" is missing or not a text')
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadDataset(f'"{key}" holds half a surrogate pair') from error
    return value


def _id(row: _Row, key: str) -> str:
    value = _text(row, key)
    if not value:
        raise BadDataset(f'"{key}" is empty')
    return value


def _list(row: _Row, key: str) -> tuple[str, ...]:
    values = row.get(key)
    if not isinstance(values, list) or not all(isinstance(each, str) and each for each in values):
        raise BadDataset(f'"{key}" is missing or not a list of names')
    return tuple(dict.fromkeys(values))


def _names(row: _Row, key: str) -> frozenset[str]:
    return frozenset(_list(row, key))


def _known(values: Mapping[str, _T], key: str, kind: str) -> _T:
    if key not in values:
        raise BadDataset(f"there is no {kind} {key!r}")
    return values[key]
