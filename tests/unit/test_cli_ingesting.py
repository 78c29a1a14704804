"""How the command line takes in folders: what it makes of a service that breaks off, and how it watches."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner

from api.cli.commands import kustos
from api.cli.ingesting import in_numbers, sync
from api.cli.output import in_lines, plain, typed_failures
from api.cli.watching import follow, watch
from rag.errors import BadInput, KustosError, SourceUnavailable, Unavailable
from rag.settings import Settings
from tests.memory_source import MemorySource


def answering(*events: dict[str, Any]) -> httpx.Client:
    """A service that tells these events of a sync, and then no more."""
    lines = "".join(json.dumps(each) + "\n" for each in events)
    return httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, text=lines)), base_url="http://x")


def test_mounts_are_crossed_only_when_it_is_asked_for(tmp_path: Path) -> None:
    asked: list[bool] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["cross_mounts"])
        return httpx.Response(200, text=json.dumps({"event": "done", "report": {}}) + "\n")

    client = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://x")
    for crossing in (False, True):
        sync(client, Settings(home=tmp_path), "share", tmp_path, cross_mounts=crossing)
    assert asked == [False, True]


def test_polling_without_watching_is_wrong_usage(tmp_path: Path) -> None:
    ran = CliRunner().invoke(kustos, ["ingest", str(tmp_path), "--source", "share", "--poll"])
    assert (ran.exit_code, "--watch" in ran.output) == (2, True)


def test_a_sync_that_ends_without_a_word_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="broke off"):
        sync(answering({"event": "listed", "items": 3}), Settings(home=tmp_path), "share", tmp_path)


@pytest.mark.parametrize(
    ("code", "kind"), [("bad_input", BadInput), ("source_unavailable", SourceUnavailable), ("internal", KustosError)]
)
def test_a_failed_sync_is_the_error_that_it_was_in_the_service(tmp_path: Path, code: str, kind: type) -> None:
    failed = {"event": "failed", "code": code, "message": "why"}
    with pytest.raises(kind, match="why") as caught:
        sync(answering(failed), Settings(home=tmp_path), "share", tmp_path)
    assert type(caught.value) is kind


def test_a_sync_by_a_job_is_told_in_round_numbers_without_what_did_not_happen() -> None:
    told = {"listed": 9, "written": 0, "rights_changed": 2, "seconds": 0.007624918012879789}
    assert in_numbers("share", told) == "share: listed 9, rights changed 2, 0.0 s"


def test_a_service_that_stops_in_the_middle_ends_the_command_with_a_message() -> None:
    @typed_failures
    def command() -> None:
        raise httpx.RemoteProtocolError("peer closed connection")

    with pytest.raises(click.ClickException, match="stopped answering") as caught:
        command()
    assert caught.value.exit_code == 1


def test_a_log_is_told_of_progress_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 1.0, 29.0, 31.0, 31.0, 40.0])
    tell = in_lines("share", lambda: next(clock))
    for event in (
        {"event": "listed", "items": 1200},
        {"event": "read", "name": "a"},
        {"event": "chunked", "chunks": 7},
        {"event": "embedded", "chunks": 5},
    ):
        tell(event)
    assert " ".join(capsys.readouterr().err.split()) == (
        "share: 1 of 1,200 files read, 0 of 7 passages embedded so far"
    )


def test_in_16_what_is_printed_neither_commands_a_terminal_nor_turns_its_text_around() -> None:
    assert plain("a\x1b[31mb\x9bc\u202ed\u2066e\nf") == "a [31mb c d e\nf"


class Blinking(MemorySource):
    """A source whose watch does what it is told, call by call: yields so often, then raises or ends."""

    def __init__(self, name: str, *acts: int | Exception) -> None:
        super().__init__(source=name)
        self.acts = list(acts)

    def watch(self, stop: threading.Event, interval_s: float) -> Iterator[None]:
        act = self.acts.pop(0)
        if isinstance(act, Exception):
            raise act
        for _ in range(act):
            yield


def stopping_after(number: int, stop: threading.Event, *failures: Exception) -> Callable[[Any], None]:
    """Takes in so often; raises the failures first, one each time."""
    left, taken = list(failures), []

    def take_in(connector: Any) -> None:
        if left:
            raise left.pop(0)
        taken.append(connector.source)
        if len(taken) == number:
            stop.set()

    return take_in


def test_ft_14_a_share_that_blinks_is_waited_for_and_looked_through_when_it_is_back() -> None:
    stop, source = threading.Event(), Blinking("share", SourceUnavailable("gone"), 1)
    follow(source, stopping_after(1, stop), stop, first_pause_s=0)
    assert source.acts == []


def test_a_sync_that_cannot_be_done_now_is_done_later() -> None:
    stop, source = threading.Event(), Blinking("share", 1, 1, 1)
    failures = (Unavailable("another sync is running"), httpx.ConnectError("refused"))
    follow(source, stopping_after(1, stop, *failures), stop, first_pause_s=0)
    assert source.acts == []


def test_watching_that_was_told_to_stop_ends_in_peace() -> None:
    stop, source = threading.Event(), Blinking("share", 9)
    watch([source], stopping_after(1, stop), stop)
    assert stop.is_set()


@pytest.mark.parametrize(
    ("acts", "failures", "why"),
    [
        ((1,), (BadInput("another folder than before"),), "another folder"),
        ((1,), (ZeroDivisionError("unforeseen"),), "unforeseen"),
        ((0,), (), "unasked"),
    ],
)
def test_a_watch_that_ends_unasked_is_a_failure_and_stops_the_others(
    acts: tuple[int, ...], failures: tuple[Exception, ...], why: str
) -> None:
    stop = threading.Event()
    with pytest.raises(KustosError, match=why):
        watch([Blinking("share", *acts)], stopping_after(9, stop, *failures), stop)
    assert stop.is_set()
