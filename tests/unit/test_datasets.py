"""Evaluation data is read whole or refused with file and line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from eval.datasets import (
    BadDataset,
    CorpusDocument,
    DocumentAccess,
    Query,
    load_access_suite,
    load_dataset,
    load_judgements,
)

CORPUS: list[dict[str, object]] = [
    {"_id": "d1", "title": "Travel", "text": "Trains first."},
    {"_id": "d2", "title": "", "text": "Salaries", "metadata": {"acl": {"groups": ["hr"], "users": ["eva"]}}},
    {"_id": "d3", "text": "Line\u2028separators are no line ends.", "metadata": {"acl": {"groups": ["staff"]}}},
]
QUERIES = [{"_id": "q1", "text": "How do we travel?"}, {"_id": "q2", "text": "Who earns what?"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n"
USERS = [{"user_id": "eva", "groups": []}, {"user_id": "tom", "groups": ["staff"]}]
TESTS = [
    {"test_id": "t1", "query_id": "q2", "user_id": "eva", "groups": [], "expected": "allow", "gold": ["d2"]},
    {"test_id": "t2", "query_id": "q2", "user_id": "tom", "expected": "deny", "gold": ["d2", "d3"]},
]

Files = dict[str, str]


def lines(rows: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def files() -> Files:
    return {
        "corpus.jsonl": lines(CORPUS),
        "queries.jsonl": lines(QUERIES),
        "qrels/test.tsv": QRELS,
        "users.jsonl": lines(USERS),
        "acl_tests.jsonl": lines(TESTS),
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Files], Path]:
    def to_disk(files: Files) -> Path:
        folder = tmp_path / "mine"
        (folder / "qrels").mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="")
        return folder

    return to_disk


def test_a_folder_becomes_documents_judged_queries_and_grades(files: Files, write: Callable[[Files], Path]) -> None:
    dataset = load_dataset(write(files))
    assert dataset.name == "mine"
    assert dataset.documents[0] == CorpusDocument("d1", "Travel", "Trains first.")
    assert dataset.documents[1].access == DocumentAccess(frozenset({"hr"}), frozenset({"eva"}))
    assert dataset.documents[2].text == "Line\u2028separators are no line ends."
    assert dataset.queries == (Query("q1", "How do we travel?"),), "q2 is not judged"
    assert dataset.relevance == {"q1": {"d1": 1, "d2": 0}}


def test_judgements_need_no_corpus_and_may_name_any_document(files: Files, write: Callable[[Files], Path]) -> None:
    del files["corpus.jsonl"]
    files["qrels/test.tsv"] += "q1\tfile://share/travel.pdf\t2\n"
    loaded = load_judgements(write(files))
    assert loaded.queries == (Query("q1", "How do we travel?"),)
    assert loaded.relevance == {"q1": {"d1": 1, "d2": 0, "file://share/travel.pdf": 2}}


def test_judgements_of_a_query_that_is_not_there_are_refused(files: Files, write: Callable[[Files], Path]) -> None:
    files["qrels/test.tsv"] += "q9\td1\t1\n"
    with pytest.raises(BadDataset, match=r"test\.tsv:4: there is no query 'q9'"):
        load_judgements(write(files))


def test_windows_line_ends_and_blank_lines_change_nothing(files: Files, write: Callable[[Files], Path]) -> None:
    windows = {name: text.replace("\n", "\r\n\r\n") for name, text in files.items()}
    dataset = load_dataset(write(windows))
    assert (len(dataset.documents), dataset.relevance) == (3, {"q1": {"d1": 1, "d2": 0}})


def test_another_split_is_read_by_its_name(files: Files, write: Callable[[Files], Path]) -> None:
    folder = write(files | {"qrels/dev.tsv": "query-id\tcorpus-id\tscore\nq2\td2\t2\n"})
    assert load_dataset(folder, "dev").relevance == {"q2": {"d2": 2}}


def test_a_document_without_acl_goes_to_nobody(files: Files, write: Callable[[Files], Path]) -> None:
    assert load_access_suite(write(files)).documents[0].access == DocumentAccess()


def test_an_access_suite_knows_who_asks_what_and_what_he_may_read(files: Files, write: Callable[[Files], Path]) -> None:
    suite = load_access_suite(write(files))
    assert [(each.user.id, each.query.id, each.allowed, each.gold) for each in suite.tests] == [
        ("eva", "q2", True, ("d2",)),
        ("tom", "q2", False, ("d2", "d3")),
    ]


def with_row(file: str, row: Mapping[str, object]) -> Callable[[Files], Files]:
    return lambda files: files | {file: files[file] + json.dumps(row) + "\n"}


def with_line(file: str, line: str) -> Callable[[Files], Files]:
    return lambda files: files | {file: files[file] + line}


def without(file: str) -> Callable[[Files], Files]:
    return lambda files: {name: text for name, text in files.items() if name != file}


BAD = {
    "no corpus": (without("corpus.jsonl"), r"corpus\.jsonl cannot be read"),
    "no such split": (without("qrels/test.tsv"), r"test\.tsv is not there; splits: none"),
    "empty corpus": (lambda files: files | {"corpus.jsonl": "\n"}, r"corpus\.jsonl: the file is empty"),
    "not JSON": (with_line("corpus.jsonl", "{"), r"corpus\.jsonl:4: not JSON"),
    "not an object": (with_line("queries.jsonl", "[]"), r"queries\.jsonl:3: not a JSON object"),
    "a document twice": (with_row("corpus.jsonl", {"_id": "d1", "text": ""}), r"corpus\.jsonl:4: id 'd1' is used twice"),
    "a document without id": (with_row("corpus.jsonl", {"text": ""}), r'corpus\.jsonl:4: "_id" is missing'),
    "a document with an empty id": (with_row("corpus.jsonl", {"_id": "", "text": ""}), r'corpus\.jsonl:4: "_id" is empty'),
    "a document without text": (with_row("corpus.jsonl", {"_id": "d4"}), r'corpus\.jsonl:4: "text" is missing'),
    "a title that is no text": (with_row("corpus.jsonl", {"_id": "d4", "title": 1, "text": ""}), r'"title" is missing'),
    "half a surrogate pair": (with_line("corpus.jsonl", '{"_id": "d4", "text": "\\ud800"}'), r"half a surrogate pair"),
    "metadata that is no object": (with_row("corpus.jsonl", {"_id": "d4", "text": "", "metadata": []}), r'"metadata" is not'),
    "an unknown kind of right": (
        with_row("corpus.jsonl", {"_id": "d4", "text": "", "metadata": {"acl": {"group": ["hr"]}}}),
        r'"metadata\.acl" is not',
    ),
    "rights that are no list": (
        with_row("corpus.jsonl", {"_id": "d4", "text": "", "metadata": {"acl": {"groups": "hr"}}}),
        r'"groups" is missing or not a list',
    ),
    "an empty query": (with_row("queries.jsonl", {"_id": "q3", "text": " "}), r"queries\.jsonl:3: the query is empty"),
    "no header": (lambda files: files | {"qrels/test.tsv": "q1\td1\t1\n"}, r"test\.tsv:1: the header is not"),
    "two fields": (with_line("qrels/test.tsv", "q1\td3\n"), r"test\.tsv:4: 2 fields"),
    "a grade that is no number": (with_line("qrels/test.tsv", "q1\td3\tyes\n"), r"test\.tsv:4: score 'yes'"),
    "an unknown query": (with_line("qrels/test.tsv", "q9\td1\t1\n"), r"test\.tsv:4: there is no query 'q9'"),
    "an unknown document": (with_line("qrels/test.tsv", "q1\td9\t1\n"), r"test\.tsv:4: there is no document 'd9'"),
    "a judgement twice": (with_line("qrels/test.tsv", "q1\td1\t1\n"), r"test\.tsv:4: document 'd1' is judged twice"),
    "no judgement": (lambda files: files | {"qrels/test.tsv": QRELS.partition("\n")[0]}, r"test\.tsv: there is no judgement"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_dataset_is_refused_with_file_and_line(
    files: Files, write: Callable[[Files], Path], change: Callable[[Files], Files], message: str
) -> None:
    with pytest.raises(BadDataset, match=message):
        load_dataset(write(change(files)))


def test_bytes_that_are_not_utf8_are_refused(files: Files, write: Callable[[Files], Path]) -> None:
    folder = write(files)
    (folder / "queries.jsonl").write_bytes(b'{"_id": "q1", "text": "\xff"}')
    with pytest.raises(BadDataset, match="not UTF-8 at byte 23"):
        load_dataset(folder)


TEST = {"test_id": "t3", "query_id": "q2", "user_id": "eva", "expected": "allow", "gold": ["d2"]}
BAD_SUITES = {
    "no users": (without("users.jsonl"), r"users\.jsonl cannot be read"),
    "a user without groups": (with_row("users.jsonl", {"user_id": "ida"}), r'users\.jsonl:3: "groups" is missing'),
    "an unknown user": (with_row("acl_tests.jsonl", TEST | {"user_id": "ida"}), r"acl_tests\.jsonl:3: there is no user 'ida'"),
    "an unknown query": (with_row("acl_tests.jsonl", TEST | {"query_id": "q9"}), r"there is no query 'q9'"),
    "an unknown gold": (with_row("acl_tests.jsonl", TEST | {"gold": ["d9"]}), r"there is no document 'd9'"),
    "no gold": (with_row("acl_tests.jsonl", TEST | {"gold": []}), r"at least one document"),
    "neither allow nor deny": (with_row("acl_tests.jsonl", TEST | {"expected": "maybe"}), r'needs "expected"'),
    "other groups than the user's": (with_row("acl_tests.jsonl", TEST | {"groups": ["hr"]}), r"others than in users"),
    "allow, but the rights say deny": (with_row("acl_tests.jsonl", TEST | {"user_id": "tom"}), r"says the opposite"),
    "deny, but the rights say allow": (with_row("acl_tests.jsonl", TEST | {"expected": "deny"}), r"says the opposite"),
    "nothing but deny": (
        lambda files: files | {"acl_tests.jsonl": lines(TESTS[1:])},
        r"no test expects allow",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD_SUITES.values(), ids=BAD_SUITES.keys())
def test_an_access_suite_that_contradicts_itself_is_refused(
    files: Files, write: Callable[[Files], Path], change: Callable[[Files], Files], message: str
) -> None:
    with pytest.raises(BadDataset, match=message):
        load_access_suite(write(change(files)))
