"""Oracle O3: what a reader is told does not depend on what he may not read, to the last byte.

Two services over the real index, the real catalog and the real BM25: one holds only what Ann may read, the other a thousand
documents more, which were there before, came later, were rewritten, deleted, moved, taken from her, or half written. Every
address that a reader has is asked the same of both. Only the id of the request and the time are left out of the comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from fastapi.testclient import TestClient

from rag.access.acl import Acl
from rag.access.principals import EVERYONE_IN_TENANT, group, realm_role, user
from rag.documents import acl_id
from rag.stores.edge import EdgeIndex
from tests.fakes import WordEmbedder
from tests.library import REALM, SALES, SOURCE, TENANT, Library, Written, open_library, person

ANN = person("ann", groups=["/sales"], duties=["evaluator"])
HER, OTHERS, MANAGERS = user(REALM, "ann"), group(REALM, "/it"), realm_role(REALM, "managers")
WORDS = [
    "lorry",
    "hotel",
    "rate",
    "invoice",
    "depot",
    "forklift",
    "travel",
    "budget",
    "pallet",
    "harbour",
    "customs",
    "driver",
]
RARE = ("moonshot", "zeppelin", "quokka")
MOMENTARY = ("x-request-id", "date", "content-length")  # the length of a body is compared with the body
TIMES = re.compile(r'("created"|"took_ms"): ?\d+')
NEVER = "00000000-0000-4000-8000-000000000000"
HIDING = (
    Acl.of({OTHERS}),
    Acl.of({MANAGERS, OTHERS}),
    Acl.nobody(),
    Acl.of({SALES}, {HER}),
    Acl.of({EVERYONE_IN_TENANT}, {SALES}),
    Acl.of(frozenset(), {HER}),
)


def readable() -> list[Written]:
    """Forty documents of Ann, one with a rare word that many hidden ones have too, some with equal texts."""
    random = Random(1)
    texts = [_text(random) for _ in range(36)] + ["The moonshot budget of the depot."] + ["The rate for hotels."] * 3
    return [_written(f"readable {at}", text, Acl.of({SALES})) for at, text in enumerate(texts)]


def hidden(first: int, number: int, seed: int = 2) -> list[Written]:
    """Documents that Ann may not read: rare words, texts equal to hers, German, and every way of being hidden."""
    random = Random(seed + first)
    kinds: tuple[Callable[[], str], ...] = (
        lambda: _text(random),
        lambda: f"The {random.choice(RARE)} budget and the {random.choice(RARE)}.",
        lambda: "The rate for hotels.",
        lambda: "Die Gebühr für das Zeppelin-Budget und die Spedition im Hafen.",
    )
    return [
        _written(f"hidden {at}", random.choice(kinds)(), random.choice(HIDING)) for at in range(first, first + number)
    ]


def _text(random: Random) -> str:
    return ". ".join(f"The {' '.join(random.choices(WORDS, k=7))}" for _ in range(3)) + "."


def _written(name: str, text: str, acl: Acl) -> Written:
    return Written(name, [text, f"{text} Continued."], acl.allow, acl.deny, title=f"Title of {name}")


def calls() -> Iterator[tuple[str, str, object]]:
    """Everything that a reader can ask: right and wrong, of his own documents and of hidden and absent ones."""
    questions = (*RARE, "rate for hotels", "moonshot zeppelin quokka budget", "Gebühr Spedition Hafen", " ".join(WORDS))
    for text in questions:
        for limit in (1, 10, 100):
            yield "POST", "/v1/search", {"query": text, "limit": limit}
        yield "POST", "/v1/search", {"query": text, "narrow": {"language": ["en"]}}
        yield "POST", "/v1/search", {"query": text, "narrow": {"document": [_written("hidden 1", "", HIDING[0]).id]}}
        for model in ("text-general", "extractive"):
            for stream in (False, True):
                message = {"role": "user", "content": text}
                yield "POST", "/v1/chat/completions", {"model": model, "stream": stream, "messages": [message]}
    for path in (
        "/v1/documents",
        "/v1/documents?limit=7",
        "/v1/documents?limit=0",
        "/v1/models",
        "/readyz",
        "/healthz",
    ):
        yield "GET", path, None
    after = "file:///share/hidden"
    yield "GET", f"/v1/documents?after={after}", None
    yield from evaluations()
    for name in ("readable 0", "readable 37", "hidden 1", "hidden 501"):
        identifier = _written(name, "", HIDING[0]).id
        for path in ("", "/passages/1", "/passages/2?before=5&after=5", "/passages/9", "/pages/1"):
            yield "GET", f"/v1/documents/{identifier}{path}", None
    for path in ("/v1/documents/no-id", f"/v1/documents/{NEVER}", "/v1/operator/status", "/nothing"):
        yield "GET", path, None
    for wrong in ({}, {"query": ""}, {"query": "x", "narrow": {"acl": ["x"]}}, {"query": "x" * 9_000}):
        yield "POST", "/v1/search", wrong


def evaluations() -> Iterator[tuple[str, str, object]]:
    """Queries judged by her own, hidden and absent documents, by id and by address."""
    judged = [_written(name, "", HIDING[0]) for name in ("readable 0", "readable 36", "hidden 1", "hidden 501")]
    by_id, by_address = {each.id: 1 for each in judged}, {each.uri: 1 for each in judged}
    qrels = {"by id": by_id, "by address": by_address, "absent": {NEVER: 1}}
    for retriever in ("hybrid", "dense", "lexical"):
        texts = dict.fromkeys(qrels, "moonshot rate for hotels")
        yield "POST", "/v1/evaluations", {"queries": texts, "qrels": qrels, "retriever": retriever}


Replies = dict[str, tuple[int, dict[str, str], str]]


def replies(library: Library) -> Replies:
    client = TestClient(library.app(), base_url="http://127.0.0.1", raise_server_exceptions=False)
    told: Replies = {}
    for method, path, body in calls():
        reply = client.request(method, path, json=body, headers=ANN)
        headers = {name: value for name, value in reply.headers.items() if name not in MOMENTARY}
        text = reply.text.replace(reply.headers["x-request-id"], "REQUEST")
        told[f"{method} {path} {body}"] = (reply.status_code, headers, TIMES.sub(r"\1:0", text))
    return told


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Callable[[str], Library]]:
    opened: list[EdgeIndex] = []

    def open_one(name: str) -> Library:
        opened.append(EdgeIndex.open(tmp_path / name / "index", WordEmbedder.profile))
        return open_library(tmp_path / name, real_index=opened[-1])

    yield open_one
    for each in opened:
        each.close()


def changes(service: Library) -> Iterator[str]:
    """What happens to hidden documents, one thing after the other; each time the replies have to be the same."""
    writer, index = service.kustos.records.writer, service.kustos.index_writer
    yield "five hundred were there before"
    service.add(*hidden(500, 500))
    yield "five hundred came later"
    service.add(*hidden(0, 300, seed=7), *hidden(500, 100, seed=8))
    yield "four hundred were rewritten"
    writer.remove([each.id for each in hidden(200, 400)])
    yield "four hundred were deleted, and the index has not followed"
    index.delete(writer.not_current([chunk for task in writer.tasks(10_000) for chunk in task.subject]))
    index.settle()
    yield "the index has followed and is merged"
    lost = [_written(f"lost {at}", each.passages[0], Acl.of({SALES})) for at, each in enumerate(hidden(0, 120, seed=9))]
    service.add(*lost)
    for each in lost[:60]:
        service.regrant(each, HIDING[len(each.name) % len(HIDING)])
    closed = acl_id(TENANT, SOURCE, "hidden 1")
    writer.regovern({each.id: closed for each in lost[60:]})
    yield "a hundred and twenty were taken from her or moved away, and the index has not followed"
    half_written = [replace(each, allow=frozenset({SALES}), deny=frozenset()) for each in hidden(2_000, 30)]
    service.write_points(*half_written)
    yield "a sync died between the points of thirty and their versions"


def test_sc_01_sc_04_sc_07_sc_19_every_reply_is_the_same_whatever_is_hidden(library) -> None:
    alone, beside = library("alone"), library("beside")
    alone.add(*readable())
    beside.add(*hidden(0, 500))
    beside.add(*readable())
    with closing(alone.kustos), closing(beside.kustos):
        expected = replies(alone)
        for stage in changes(beside):
            told = replies(beside)
            different = [each for each in expected if told[each] != expected[each]]
            assert different == [], f"{stage}: {told[different[0]]} instead of {expected[different[0]]}"


def test_sc_07_the_test_above_can_fail_because_one_more_readable_document_changes_replies(library) -> None:
    service = library("one")
    service.add(*readable())
    with closing(service.kustos):
        before = replies(service)
        service.add(_written("one more", "The zeppelin budget of the harbour.", Acl.of({SALES})))
        assert sum(before[each] != after for each, after in replies(service).items()) > 10
