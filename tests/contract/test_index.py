"""The contract of an index: every adapter gives the same answers, and none of them to the wrong person."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.access.acl import Acl, permits
from rag.access.principals import Principal
from rag.access.scope import AccessScope
from rag.access.term_weights import weight_step
from rag.documents import WEIGHT_STEP, Candidate, IndexPoint, Question
from rag.errors import BadFilter, BadInput, IndexMismatch, KustosError, StoreUnavailable
from rag.ports import Index
from tests.contract.index_cases import (
    COMMON,
    PROFILE,
    RARE,
    RULES,
    TENANT,
    Rule,
    chunk_id,
    point,
    question,
    scope,
    terms,
    unit_vector,
)
from tests.contract.index_stores import EdgeStore, Payload, Store, in_memory, on_server

NO_SERVER = (
    "no Qdrant server; start one with: docker run --rm --publish 127.0.0.1:6333:6333 qdrant/qdrant:v1.20.0, "
    "and set KUSTOS_TEST_QDRANT_URL=http://127.0.0.1:6333"
)
EVERYTHING = 10_000

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]


@pytest.fixture(params=["edge", "client", pytest.param("server", marks=pytest.mark.loopback)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "edge":
        yield EdgeStore(tmp_path / "index")
    elif request.param == "client":
        yield from in_memory()
    elif url := os.environ.get("KUSTOS_TEST_QDRANT_URL"):
        yield from on_server(url, os.environ.get("KUSTOS_TEST_QDRANT_API_KEY"))
    else:
        pytest.skip(NO_SERVER)


@pytest.fixture
def index(store: Store) -> Iterator[Index]:
    opened = store.open()
    yield opened
    opened.close()


def ask(index: Index, who: AccessScope, what: Question | None = None, limit: int = EVERYTHING) -> Sequence[Candidate]:
    return index.reader.candidates(who, what or question(), limit)


def found(index: Index, who: AccessScope, what: Question | None = None) -> set[str]:
    return {each.chunk_id for each in ask(index, who, what)}


def ids(*names: object) -> set[str]:
    return {chunk_id(each) for each in names}


def acl(*allow: str, deny: Sequence[str] = ()) -> Acl:
    return Acl.of(frozenset(map(Principal, allow)), frozenset(map(Principal, deny)))


# Who finds what.


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.outcome)
def test_the_access_rule_holds_on_each_leg(index: Index, rule: Rule) -> None:
    index.writer.upsert([rule.point])
    for legs in (question(), replace(question(), lexical=None), replace(question(), dense=None)):
        assert found(index, rule.scope, legs) == ({rule.point.chunk_id} if rule.found else set())


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"tenant": TENANT},
        {"tenant": TENANT, "deny": []},
        {"tenant": TENANT, "allow": None},
        {"tenant": TENANT, "allow": {"0": "reader"}},
        {"tenant": TENANT, "allow": [["reader"]]},
        {"allow": ["reader"], "deny": []},
        {"tenant": None, "allow": ["reader"]},
        {"tenant": ["other"], "allow": ["reader"]},
    ],
    ids=str,
)
def test_fb_05_a_point_without_sound_access_fields_is_invisible(store: Store, payload: Payload) -> None:
    index = store.open()
    index.writer.upsert([point("whole")])
    index = store.write_raw(index, chunk_id("broken"), payload)
    assert index.points() == 2
    assert found(index, scope("reader")) == ids("whole")
    index.close()


def test_nothing_but_the_fields_of_the_filter_is_stored(store: Store) -> None:
    index = store.open()
    index.writer.upsert([point("x", ("a", "b"), ("c",), source="files", document="d", acl="p", language="en")])
    assert store.read_raw(index) == [
        {
            "tenant": TENANT,
            "source": "files",
            "document": "d",
            "acl": "p",
            "allow": ["a", "b"],
            "deny": ["c"],
            "language": "en",
        }
    ]


# Narrowing.


@pytest.mark.parametrize(
    "field",
    ["tenant", "allow", "deny", "acl", "user_id", "must_not", "source.x", "source[]", "Source", "", "*"],
)
def test_fb_01_a_field_that_is_not_for_callers_is_refused(index: Index, field: str) -> None:
    with pytest.raises(BadFilter, match="narrow"):
        ask(index, scope("reader"), question({field: ("x",)}))


@pytest.mark.parametrize("values", [(), ("\ud800",), ("de", "\udfff")], ids=["no value", "half a pair", "one of two"])
def test_fb_01_values_that_no_engine_can_match_are_refused(index: Index, values: tuple[str, ...]) -> None:
    with pytest.raises(BadFilter):
        ask(index, scope("reader"), question({"language": values}))


@pytest.mark.parametrize(
    ("narrow", "names"),
    [
        ({}, "abc"),
        ({"language": ("de",)}, "ac"),
        ({"language": ("de", "en")}, "abc"),
        ({"source": ("wiki",)}, "bc"),
        ({"source": ("wiki",), "language": ("de",)}, "c"),
        ({"document": ("doc-a", "doc-hidden")}, "a"),
        ({"document": ("doc-hidden",)}, ""),
        ({"source": ("nothing",)}, ""),
        ({"source": ("*",)}, ""),
    ],
    ids=str,
)
def test_fb_03_narrowing_only_takes_away(index: Index, narrow: Mapping[str, tuple[str, ...]], names: str) -> None:
    index.writer.upsert(
        [
            point("a", document="doc-a", language="de"),
            point("b", document="doc-b", language="en", source="wiki"),
            point("c", document="doc-c", language="de", source="wiki"),
            point("hidden", ("other",), document="doc-hidden", source="wiki"),
            point("foreign", tenant="other", document="doc-a"),
        ]
    )
    assert found(index, scope("reader"), question(narrow)) == ids(*names)


# Ranking.


@pytest.fixture
def library(index: Index) -> Index:
    """Thirty readable passages of which three share a rare term."""
    index.writer.upsert([point(n, lexical={COMMON: 1.0 + n / 10} | ({RARE: 2.0} if n < 3 else {})) for n in range(30)])
    return index


HIDING: dict[str, Callable[[int], IndexPoint]] = {
    "others'": lambda n: point(n, ("other",), lexical={COMMON: 1.0, RARE: 5.0}),
    "nobody's": lambda n: point(n, (), lexical={COMMON: 1.0, RARE: 5.0}),
    "denied": lambda n: point(n, ("reader",), ("reader",), lexical={COMMON: 1.0, RARE: 5.0}),
    "another tenant's": lambda n: point(n, tenant="other", lexical={COMMON: 1.0, RARE: 5.0}),
    "closed": lambda n: point(n, acl="closed", lexical={COMMON: 1.0, RARE: 5.0}),
}


@pytest.mark.parametrize("hidden", HIDING, ids=str)
def test_sc_07_a_thousand_hidden_passages_change_neither_ids_nor_order_nor_scores(library: Index, hidden: str) -> None:
    who, what = scope("reader", without_acls=("closed",)), question(weights={COMMON: 1.0, RARE: 1.0})
    before = [ask(library, who, what, limit) for limit in (5, EVERYTHING)]
    library.writer.upsert([HIDING[hidden](n) for n in range(1_000, 2_000)])
    assert [ask(library, who, what, limit) for limit in (5, EVERYTHING)] == before
    library.writer.settle()
    assert [ask(library, who, what, limit) for limit in (5, EVERYTHING)] == before


VOCABULARY = random.Random(3).sample(range(2**32), 200)


def wordy(name: int, allow: str, step: float = WEIGHT_STEP) -> IndexPoint:
    """A passage of sixty words, each with a weight that is a multiple of `step`."""
    drawn = random.Random(name)
    weights = {term: round(drawn.uniform(0.1, 2.2) / step) * step for term in drawn.sample(VOCABULARY, 60)}
    return point(name, (allow,), lexical=weights)


def long_questions(step: float) -> Iterator[Question]:
    for seed in range(30):
        drawn = random.Random(seed)
        asked = drawn.sample(VOCABULARY, 4 + seed)
        yield question(weights={term: max(1, round(drawn.uniform(0, 9) / step)) * step for term in asked})


def test_sc_07_the_order_in_which_hidden_words_came_changes_no_bit_of_a_score(store: Store) -> None:
    """The engine adds in the order in which terms first came into a segment, so scores have to be sums without rounding."""
    questions = [each for step in (1 / 64, 1 / 4) for each in long_questions(step)]
    written = [wordy(each, "reader") for each in range(200)]
    with closing(store.open()) as index:
        index.writer.upsert(written)
        alone = [ask(index, scope("reader"), each, 50) for each in questions]
        index.writer.delete([each.chunk_id for each in written])
        index.writer.upsert([wordy(each, "other") for each in range(1_000, 2_000)])
        index.writer.upsert(written)
        assert [ask(index, scope("reader"), each, 50) for each in questions] == alone
        index.writer.delete([chunk_id(each) for each in range(1_000, 1_700)])
        index.writer.set_acl("place of 1800", acl("other", deny=["reader"]))
        assert [ask(index, scope("reader"), each, 50) for each in questions] == alone
        index.writer.settle()
        assert [ask(index, scope("reader"), each, 50) for each in questions] == alone


def test_sc_07_scores_are_the_sums_of_the_products(index: Index) -> None:
    written = {chunk_id(each): wordy(each, "reader") for each in range(50)}
    index.writer.upsert(list(written.values()))
    for asked in long_questions(weight_step(33)):
        assert asked.lexical
        weights = dict(zip(asked.lexical.indices, asked.lexical.values, strict=True))
        for each in ask(index, scope("reader"), replace(asked, dense=None)):
            held = written[each.chunk_id].lexical
            pairs = zip(held.indices, held.values, strict=True)
            assert each.lexical == sum(Fraction(weights.get(term, 0)) * Fraction(value) for term, value in pairs)


def test_sc_07_weights_in_finer_steps_would_tell_the_order(tmp_path: Path) -> None:
    """Why there are steps: with weights as BM25 gives them, hidden passages change the last bits of readable scores."""
    questions = list(long_questions(1e-6))
    with closing(EdgeStore(tmp_path / "a").open()) as alone, closing(EdgeStore(tmp_path / "b").open()) as beside:
        beside.writer.upsert([wordy(each, "other", 1e-6) for each in range(1_000, 1_200)])
        for index in (alone, beside):
            index.writer.upsert([wordy(each, "reader", 1e-6) for each in range(100)])
        assert any(ask(alone, scope("reader"), each) != ask(beside, scope("reader"), each) for each in questions)


def test_narrowing_does_not_change_scores(index: Index) -> None:
    index.writer.upsert([point(n, language="de" if n % 2 else "en", lexical={COMMON: 1.0 + n}) for n in range(10)])
    whole = {each.chunk_id: each for each in ask(index, scope("reader"))}
    part = ask(index, scope("reader"), question({"language": ("de",)}))
    assert len(part) == 5
    assert all(each == whole[each.chunk_id] for each in part)


def test_each_leg_proposes_its_best_and_scores_what_it_proposes(library: Index) -> None:
    what = question(weights={COMMON: 1.0})
    every = {each.chunk_id: each for each in ask(library, scope("reader"), what)}
    few = {each.chunk_id: each for each in ask(library, scope("reader"), what, 4)}
    by_dense, by_lexical = (sorted(every, key=lambda each: -score(every[each]))[:4] for score in (dense, lexical))
    assert [*few][:4] == by_dense
    assert few.keys() == {*by_dense, *by_lexical}
    for name, each in few.items():
        assert each.dense == (pytest.approx(every[name].dense, abs=1e-6) if name in by_dense else None)
        assert each.lexical == (pytest.approx(every[name].lexical, abs=1e-6) if name in by_lexical else None)


ON_ONE_LEG: dict[str, tuple[Callable[[int, bool], IndexPoint], Question]] = {
    "dense": (lambda n, best: point(n, dense=unit_vector(1 if best else 9)), replace(question(seed=1), lexical=None)),
    "lexical": (lambda n, best: point(n, lexical={COMMON: 2.0 if best else 1.0}), replace(question(), dense=None)),
}


@pytest.mark.parametrize("leg", ON_ONE_LEG)
@pytest.mark.parametrize("equal", [17, 1_000])
def test_equal_scores_across_the_cut_are_cut_by_id_and_the_leg_stays_full(index: Index, leg: str, equal: int) -> None:
    make, what = ON_ONE_LEG[leg]
    index.writer.upsert([make(n, n < 3) for n in random.Random(7).sample(range(3 + equal), 3 + equal)])
    found_ones = [each.chunk_id for each in ask(index, scope("reader"), what, 8)]
    assert found_ones == sorted(ids(0, 1, 2)) + sorted(ids(*range(3, 3 + equal)))[:5]


def dense(each: Candidate) -> float:
    assert each.dense is not None
    return each.dense


def lexical(each: Candidate) -> float:
    assert each.lexical is not None
    return each.lexical


def test_a_leg_that_was_not_asked_has_no_scores(library: Index) -> None:
    assert all(each.lexical is None for each in ask(library, scope("reader"), replace(question(), lexical=None)))
    assert all(each.dense is None for each in ask(library, scope("reader"), replace(question(), dense=None)))
    assert not ask(library, scope("reader"), Question(None, None, "en"))
    assert not ask(library, scope("reader"), Question(None, terms({}), "en"))


def test_a_passage_that_shares_no_term_has_no_lexical_score(library: Index) -> None:
    scores = [each.lexical for each in ask(library, scope("reader"), question(weights={RARE: 1.0}))]
    assert len(scores) == 30
    assert sum(each is not None for each in scores) == 3


@pytest.mark.parametrize("limit", [0, 1, 5, 19, 20, 21])
def test_equal_scores_are_in_order_of_id_also_at_the_cut(index: Index, limit: int) -> None:
    names = [*range(20)]
    random.Random(7).shuffle(names)
    index.writer.upsert([point(n, dense=unit_vector(5)) for n in names])
    expected = sorted(ids(*names))[:limit]
    assert [each.chunk_id for each in ask(index, scope("reader"), limit=limit)] == expected


# Writing.


def test_rc_09_and_rc_10_changed_rights_hold_in_the_next_query(index: Index) -> None:
    index.writer.upsert([point("a", acl="here"), point("b", acl="here"), point("c", acl="there")])
    index.writer.set_acl("here", acl("boss"))
    assert found(index, scope("reader")) == ids("c")
    assert found(index, scope("boss")) == ids("a", "b")
    index.writer.set_acl("here", acl("boss", "reader", deny=("boss",)))
    assert found(index, scope("reader")) == ids("a", "b", "c")
    assert found(index, scope("boss", "reader")) == ids("c")
    index.writer.set_acl("here", Acl.nobody())
    assert found(index, scope("reader", "boss")) == ids("c")


def test_rc_09_moved_documents_follow_their_new_place(index: Index) -> None:
    index.writer.upsert(
        [point("a", document="d", acl="old"), point("b", document="e", acl="old"), point("c", acl="old")]
    )
    index.writer.move(["d", "e"], "new", acl("boss"))
    index.writer.move([], "nowhere", acl("reader"))
    assert found(index, scope("reader")) == ids("c")
    index.writer.set_acl("old", acl("guest"))
    assert found(index, scope("boss")) == ids("a", "b")
    index.writer.set_acl("new", acl("guest"))
    assert found(index, scope("guest")) == ids("a", "b", "c")


def test_rc_09_deleted_points_are_gone_and_unknown_ids_are_no_error(index: Index) -> None:
    index.writer.upsert([point(n) for n in range(4)])
    index.writer.delete([chunk_id(0), chunk_id("never written")])
    index.writer.delete([])
    assert found(index, scope("reader")) == ids(1, 2, 3)
    assert index.points() == 3


def test_rights_of_unknown_places_and_documents_change_nothing(index: Index) -> None:
    index.writer.upsert([point("a")])
    index.writer.set_acl("unknown", acl("boss"))
    index.writer.move(["unknown"], "place", acl("boss"))
    assert found(index, scope("reader")) == ids("a")
    assert not found(index, scope("boss"))


def test_writing_twice_is_writing_once_and_the_last_version_counts(index: Index) -> None:
    index.writer.upsert([point(n) for n in range(3)])
    index.writer.upsert([point(n, ("boss",), lexical={RARE: 1.0}) for n in range(3)])
    assert index.points() == 3
    assert not found(index, scope("reader"))
    assert all(each.lexical is None for each in ask(index, scope("boss")))


def test_more_points_than_one_request_holds(index: Index) -> None:
    index.writer.upsert([point(n) for n in range(1_201)])
    index.writer.settle()
    assert index.points() == len(found(index, scope("reader"))) == 1_201


WRONG: dict[str, tuple[IndexPoint, type[KustosError]]] = {
    "too few dimensions": (point("x", dense=(1.0,)), IndexMismatch),
    "too many dimensions": (point("x", dense=(0.1,) * 9), IndexMismatch),
    "not a number": (point("x", dense=(float("nan"),) * 8), BadInput),
    "infinite": (point("x", dense=(float("inf"), *(0.0,) * 7)), BadInput),
    "weights without terms": (replace(point("x"), lexical=replace(terms({1: 1.0, 2: 1.0}), indices=(1,))), BadInput),
    "terms without weights": (replace(point("x"), lexical=replace(terms({1: 1.0, 2: 1.0}), values=(1.0,))), BadInput),
    "a term twice": (replace(point("x"), lexical=replace(terms({1: 1.0, 2: 1.0}), indices=(1, 1))), BadInput),
    "terms out of order": (replace(point("x"), lexical=replace(terms({1: 1.0, 2: 1.0}), indices=(2, 1))), BadInput),
    "a negative term": (point("x", lexical={-1: 1.0}), BadInput),
    "a term beyond uint32": (point("x", lexical={2**32: 1.0}), BadInput),
    "an infinite weight": (point("x", lexical={1: float("inf")}), BadInput),
    "an id that is no UUID": (replace(point("x"), chunk_id="chunk-1"), BadInput),
}


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_ft_06_one_malformed_point_refuses_the_whole_write_and_leaves_the_index_sound(store: Store, wrong: str) -> None:
    index = store.open()
    malformed, error = WRONG[wrong]
    with pytest.raises(error):
        index.writer.upsert([*(point(n) for n in range(600)), malformed])
    assert index.points() == 0
    index.writer.upsert([point("sound")])
    index = store.reopen(index)
    assert found(index, scope("reader")) == ids("sound")
    index.close()


def test_a_writer_can_neither_search_nor_read(index: Index) -> None:
    public = {name for name in dir(index.writer) if not name.startswith("_")}
    assert public == {"upsert", "delete", "set_acl", "move", "settle"}
    assert {name for name in dir(index.reader) if not name.startswith("_")} == {"candidates"}


# Opening and closing.


@pytest.mark.parametrize(
    "change",
    [
        {"model": "b-model"},
        {"dimension": 9},
        {"query_prefix": ""},
        {"document_prefix": ""},
        {"sha256": "1" * 64},
        {"schema": 3},
    ],
    ids=str,
)
def test_another_profile_is_refused_with_the_command_that_re_indexes(
    store: Store, change: dict[str, str | int]
) -> None:
    index = store.open()
    index.writer.upsert([point("a")])
    index = store.reopen(index)
    if isinstance(store, EdgeStore):
        index.close()
    with pytest.raises(IndexMismatch, match=rf"{next(iter(change))}.*kustos ingest --rebuild"):
        store.open(replace(PROFILE, **change))  # type: ignore[arg-type]
    index = store.open() if isinstance(store, EdgeStore) else index
    assert index.profile == PROFILE
    assert found(index, scope("reader")) == ids("a")
    index.close()


def test_closing_twice_is_closing_once_and_afterwards_nothing_works(store: Store) -> None:
    index = store.open()
    index.writer.upsert([point("a")])
    index.close()
    index.close()
    after: list[Callable[[], object]] = [
        index.points,
        lambda: ask(index, scope("reader")),
        lambda: index.writer.upsert([point("b")]),
        lambda: index.writer.delete([chunk_id("a")]),
        lambda: index.writer.set_acl("place", Acl.nobody()),
        lambda: index.writer.move(["document"], "place", Acl.nobody()),
    ]
    for each in after:
        with pytest.raises(StoreUnavailable):
            each()


# Any data, any caller.

PRINCIPALS = st.sampled_from([Principal(each) for each in "abcde"])
ACLS = st.builds(Acl, st.frozensets(PRINCIPALS, max_size=3), st.frozensets(PRINCIPALS, max_size=2))
TENANTS = st.sampled_from(["first", "second"])
WEIGHTS = st.dictionaries(st.integers(0, 6), st.floats(0.25, 4, width=32), max_size=4)
ANY_POINT = st.tuples(TENANTS, ACLS, WEIGHTS, st.integers(0, 1_000), st.sampled_from(["de", "en"]))
CALLERS = st.tuples(TENANTS, st.frozensets(PRINCIPALS, min_size=1))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(ANY_POINT, max_size=12),
    caller=CALLERS,
    asked=st.tuples(st.integers(0, 1_000), WEIGHTS.filter(bool)),
    language=st.sampled_from([None, "de", "en"]),
    limit=st.integers(1, 4),
)
def test_i1_candidates_are_what_the_rule_permits_and_with_room_for_all_exactly_that(
    index: Index,
    data: list[tuple[str, Acl, dict[int, float], int, str]],
    caller: tuple[str, frozenset[Principal]],
    asked: tuple[int, dict[int, float]],
    language: str | None,
    limit: int,
) -> None:
    example = uuid.uuid4().hex  # the index is shared by all examples: tenants of its own keep each one apart
    points = [
        point(
            (example, n),
            tuple(rights.allow),
            tuple(rights.deny),
            tenant=f"{tenant} {example}",
            lexical=weights,
            dense=unit_vector(seed),
            language=spoken,
        )
        for n, (tenant, rights, weights, seed, spoken) in enumerate(data)
    ]
    index.writer.upsert(points)
    tenant, principals = caller
    narrow = {"language": (language,)} if language else {}
    permitted = {
        chunk_id((example, n)): weights
        for n, (owner, rights, weights, _, spoken) in enumerate(data)
        if owner == tenant and permits(principals, rights).allowed and language in (None, spoken)
    }
    what = question(narrow, seed=asked[0], weights=asked[1])
    who = scope(*principals, tenant=f"{tenant} {example}")

    every = ask(index, who, what)
    assert {each.chunk_id for each in every} == permitted.keys()
    assert len(every) == len(permitted)
    sharing = {each for each, weights in permitted.items() if weights.keys() & asked[1].keys()}
    assert {each.chunk_id for each in every if each.lexical is not None} == sharing

    few = ask(index, who, what, limit)
    assert {each.chunk_id for each in few} <= permitted.keys()
    assert len(few) >= min(limit, len(permitted))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_every_adapter_gives_the_scores_of_the_embedded_one(index: Index, tmp_path: Path, seed: int) -> None:
    chance, example = random.Random(seed), uuid.uuid4().hex
    points = [
        point(
            (example, n),
            tuple(chance.sample("abcd", chance.randint(0, 3))),
            tuple(chance.sample("abcd", chance.randint(0, 1))),
            tenant=example,
            dense=unit_vector(chance.randrange(1_000)),
            lexical={chance.randrange(20): chance.uniform(0.2, 3) for _ in range(chance.randint(0, 6))},
        )
        for n in range(60)
    ]
    embedded = EdgeStore(tmp_path / f"embedded-{example}").open()
    for each in (embedded, index):
        each.writer.upsert(points)
    who = scope(*chance.sample("abcd", 2), tenant=example)
    what = question(seed=chance.randrange(1_000), weights=dict.fromkeys(chance.sample(range(20), 4), 1.0))
    ours, theirs = ({each.chunk_id: each for each in ask(one, who, what)} for one in (index, embedded))
    embedded.close()
    assert ours.keys() == theirs.keys()
    for each, candidate in ours.items():
        assert candidate.dense == pytest.approx(theirs[each].dense, abs=1e-4)
        assert candidate.lexical == pytest.approx(theirs[each].lexical, abs=1e-4)
