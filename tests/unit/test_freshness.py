"""For how long an answer of Keycloak's holds, what ends it earlier, and how many may wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event

import pytest

from api.tokens.confirmation import AT_A_TIME, MOST_WAITING, Questions, Unconfirmed
from api.tokens.freshness import MOST_PRINCIPALS, Freshness, Standing
from rag.access.principals import Principal
from rag.access.scope import Caller
from rag.errors import NotAuthenticated, Overloaded, Unavailable
from tests.fakes import Clock

PATIENCE_S = 30.0
BOUND_S = 30.0
ENDS_AT = 1_795_000_000.0


def caller(subject: str = "ann", *principals: str) -> Caller:
    return Caller("main", subject, frozenset(map(Principal, (subject, *principals))))


@dataclass
class Provider:
    """Says who a token stands for, and counts how often it was asked."""

    subject: str = "ann"
    session: str | None = "session"
    ends_at: float = ENDS_AT
    principals: tuple[str, ...] = ()
    failure: Exception | None = None
    asked: int = 0
    meanwhile: Callable[[], None] = lambda: None

    def __call__(self) -> Standing:
        self.asked += 1
        said = Standing(caller(self.subject, *self.principals), self.session, self.ends_at)
        self.meanwhile()
        if self.failure:
            raise self.failure
        return said


@dataclass
class World:
    """A bound, a clock to turn, and a provider."""

    bound_s: float = BOUND_S
    clock: Clock = field(default_factory=lambda: Clock(1_000.0))
    provider: Provider = field(default_factory=Provider)

    def __post_init__(self) -> None:
        self.freshness = Freshness(self.bound_s, self.clock, lambda: ENDS_AT - 600 + self.clock.now - 1_000)

    def caller(self, token: str = "token") -> Caller:
        return self.freshness.caller(token, self.provider).result(PATIENCE_S)


def test_by_default_every_request_asks() -> None:
    world = World(bound_s=0.0)
    assert [world.caller().subject for _ in range(3)] == ["ann"] * 3
    assert world.provider.asked == 3


def test_within_the_bound_the_answer_holds_and_from_it_on_it_does_not() -> None:
    world = World()
    world.caller()
    world.clock.now += BOUND_S - 0.001
    world.provider.principals = ("new",)
    assert world.caller() == caller("ann")
    world.clock.now += 0.001
    assert world.caller() == caller("ann", "new")
    assert world.provider.asked == 2


def test_the_bound_counts_from_when_the_question_went_out() -> None:
    world = World()

    def slowly() -> None:
        world.clock.now += 20

    world.provider.meanwhile = slowly
    world.caller()
    world.clock.now += 10
    world.caller()
    assert world.provider.asked == 2


def test_rc_05_a_token_that_has_ended_is_asked_about_though_its_answer_is_fresh() -> None:
    world = World()
    world.clock.now += 600 - BOUND_S / 2
    world.caller()
    world.clock.now += BOUND_S / 2 - 0.001
    world.caller()
    assert world.provider.asked == 1
    world.clock.now += 0.001
    world.provider.failure = NotAuthenticated("expired")
    with pytest.raises(NotAuthenticated):
        world.caller()


def test_each_token_is_asked_about_for_itself() -> None:
    world = World()
    world.caller("one")
    world.provider.subject = "bob"
    assert world.caller("two").subject == "bob"
    assert world.caller("one").subject == "ann"


def test_ft_02_beyond_the_bound_there_is_no_answer_but_a_new_one() -> None:
    world = World()
    world.caller()
    world.provider.failure = Unavailable("down")
    world.clock.now += BOUND_S - 1
    assert world.caller()
    world.clock.now += 1
    for _ in range(2):
        with pytest.raises(Unavailable):
            world.caller()
    world.provider.failure = None
    assert world.caller()


def test_a_refusal_is_not_remembered_and_ends_what_was() -> None:
    world = World()
    world.caller()
    world.clock.now += BOUND_S
    world.provider.failure = NotAuthenticated("gone")
    for _ in range(2):
        with pytest.raises(NotAuthenticated):
            world.caller()
    assert world.provider.asked == 3


@pytest.mark.parametrize(
    ("forgotten", "asked_again"),
    [
        ({"subject": "ann"}, True),
        ({"session": "session"}, True),
        ({"subject": "ann", "session": "session"}, True),
        ({}, True),
        ({"subject": "bob"}, False),
        ({"session": "another"}, False),
        ({"subject": "ann", "session": "another"}, False),
    ],
)
def test_an_event_ends_what_is_remembered_of_those_it_is_about(forgotten: dict[str, str], asked_again: bool) -> None:
    world = World()
    world.caller()
    world.freshness.forget(**forgotten)
    world.caller()
    assert world.provider.asked == 1 + asked_again


def test_the_end_of_a_session_does_not_touch_tokens_without_one() -> None:
    world = World(provider=Provider(session=None))
    world.caller()
    world.freshness.forget(session="session")
    world.caller()
    assert world.provider.asked == 1


def test_an_answer_that_was_on_its_way_at_the_event_is_not_remembered() -> None:
    """It may have been given before something was taken away."""
    world = World()
    world.provider.meanwhile = lambda: world.freshness.forget(subject="ann")
    world.caller()
    world.provider.meanwhile = lambda: None
    world.caller()
    assert world.provider.asked == 2
    world.caller()
    assert world.provider.asked == 2


def test_of_two_answers_the_one_to_the_later_question_stays() -> None:
    world = World()
    overtaken = Provider(principals=("old",))

    def later() -> None:
        world.clock.now += 1
        world.caller()

    overtaken.meanwhile = later
    world.freshness.caller("token", overtaken).result(PATIENCE_S)
    assert world.caller() == caller("ann")


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    many = tuple(map(str, range(MOST_PRINCIPALS // 4)))
    world = World(provider=Provider(principals=many))
    for token in ("one", "two", "three", "four"):
        world.caller(token)
    assert world.provider.asked == 4
    for token in ("four", "three", "two"):
        world.caller(token)
    assert world.provider.asked == 4
    world.caller("one")
    assert world.provider.asked == 5


# How many wait, and how long.


@pytest.fixture
def questions() -> Iterator[tuple[Questions, Event]]:
    """And what the questions that hang wait for."""
    released = Event()
    yield Questions("provider"), released
    released.set()


def test_ft_03_one_question_too_many_is_refused_at_once(questions: tuple[Questions, Event]) -> None:
    asking, released = questions
    hanging = [asking.put(lambda: released.wait(PATIENCE_S)) for _ in range(MOST_WAITING)]
    with pytest.raises(Overloaded):
        asking.put(lambda: True)
    released.set()
    assert all(each.result(PATIENCE_S) for each in hanging)
    assert asking.put(lambda: True).result(PATIENCE_S)


def test_ft_03_a_question_that_cannot_be_put_does_not_count_as_open(questions: tuple[Questions, Event]) -> None:
    asking, _ = questions

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    submit = asking._threads.submit
    asking._threads.submit = no_thread  # type: ignore[assignment]
    for _ in range(MOST_WAITING + 1):
        with pytest.raises(Overloaded, match="can't start new thread"):
            asking.put(lambda: True)
    asking._threads.submit = submit  # type: ignore[method-assign]
    assert asking.put(lambda: True).result(PATIENCE_S)


def test_a_question_that_nobody_waits_for_any_more_is_not_put(questions: tuple[Questions, Event]) -> None:
    asking, released = questions
    for _ in range(AT_A_TIME):
        asking.put(lambda: released.wait(PATIENCE_S))
    put: list[int] = []

    def ask() -> Caller:
        put.append(1)
        return caller()

    for wait in (waited_in_a_thread, waited_in_the_loop):
        with pytest.raises(Unavailable, match="not known within"):
            wait(Unconfirmed("ann", lambda: asking.put(ask), patience_s=0.01))
    released.set()
    assert asking.put(lambda: True).result(PATIENCE_S)
    assert put == []


def waited_in_a_thread(unconfirmed: Unconfirmed) -> Caller:
    return unconfirmed.wait()


def waited_in_the_loop(unconfirmed: Unconfirmed) -> Caller:
    return asyncio.run(unconfirmed.confirmed())


@pytest.mark.parametrize("wait", [waited_in_a_thread, waited_in_the_loop])
def test_who_is_unconfirmed_is_asked_about_once_and_again_when_it_matters(
    wait: Callable[[Unconfirmed], Caller],
) -> None:
    answers = [caller("ann", "before"), caller("ann")]

    def ask() -> Future[Caller]:
        answered: Future[Caller] = Future()
        answered.set_result(answers.pop(0))
        return answered

    unconfirmed = Unconfirmed("ann", ask)
    assert len(answers) == 1, "asked for when he was admitted"
    assert [wait(unconfirmed), wait(unconfirmed)] == [caller("ann", "before")] * 2
    assert asyncio.run(unconfirmed.confirmed_again()) == caller("ann")


def test_who_is_unconfirmed_is_no_caller() -> None:
    assert not issubclass(Unconfirmed, Caller)
    assert not hasattr(Unconfirmed, "principals")
