"""Signing in on the command line while everything goes wrong that can; tests/integration does it with a real Keycloak."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from api.cli.connection import proof, reach
from api.cli.signed_in import EARLY_S, SignedIn
from api.sign_in.oidc import Device
from rag.errors import Misconfigured, NotAllowed, NotAuthenticated, Unavailable
from rag.settings import Settings
from tests.fake_provider import LIFETIME_S, FakeProvider
from tests.fakes import Clock
from tests.library import ISSUER


class Desk:
    """A person at a command line, whose waiting puts the clock forward."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.provider = FakeProvider(self.clock)
        self.folder = folder
        self.shown: list[Device] = []
        self.waited: list[float] = []
        self.person = SignedIn(ISSUER, self.provider.client(), folder, self.clock)

    def sign_in(self) -> str:
        return self.person.sign_in(self.shown.append, self._wait)

    def _wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.clock.now += seconds

    @property
    def file(self) -> Path:
        (found,) = self.folder.glob("*.json")
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "sign-in")


def down(_: httpx.Request) -> httpx.Response:
    return httpx.Response(503)


def test_the_code_is_shown_asked_about_no_faster_than_is_wanted_and_the_tokens_are_kept_privately(desk: Desk) -> None:
    desk.provider.device = ["authorization_pending", "slow_down", "authorization_pending"]
    assert desk.sign_in() == "Ann Lee"
    assert desk.shown[0].user_code == "ABCD-EFGH"
    assert desk.waited == [5, 5, 10, 10]
    assert desk.file.stat().st_mode & 0o777 == 0o600
    assert desk.folder.stat().st_mode & 0o777 == 0o700
    assert desk.person.token().count(".") == 2


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (["access_denied"], NotAllowed, "refused in the browser"),
        (["expired_token"], NotAuthenticated, "in time; begin anew with: kustos login"),
        (["authorization_pending"] * 200, NotAuthenticated, "in time; begin anew with: kustos login"),
        (["slow_down"] * 200, NotAuthenticated, "in time; begin anew with: kustos login"),
        (["unsupported_grant_type"], NotAuthenticated, "unsupported_grant_type"),
    ],
    ids=lambda each: str(each)[:24],
)
def test_a_sign_in_that_comes_to_nothing_says_why_and_keeps_nothing(desk: Desk, said, error, message) -> None:
    desk.provider.device = said
    with pytest.raises(error, match=message):
        desk.sign_in()
    assert sum(desk.waited) <= 600
    assert not list(desk.folder.glob("*.json"))


def test_a_provider_that_stops_answering_meanwhile_is_asked_ever_more_rarely(desk: Desk) -> None:
    def fall_over(device: Device) -> None:
        desk.provider.fails = down

    with pytest.raises(Unavailable, match="503"):
        desk.person.sign_in(fall_over, desk._wait)
    assert desk.waited == [5, 10, 20, 40, 80, 160]


def test_a_client_that_the_provider_does_not_know_is_named(desk: Desk) -> None:
    person = SignedIn(ISSUER, desk.provider.client("wrong"), desk.folder, desk.clock)
    with pytest.raises(Misconfigured, match=r"kustos-cli.*docs/keycloak"):
        person.sign_in(desk.shown.append)


def test_a_provider_that_is_down_is_said_to_be(desk: Desk) -> None:
    desk.provider.fails = down
    with pytest.raises(Unavailable, match=r"id\.example.*503"):
        desk.sign_in()


def test_a_token_is_renewed_in_time_and_while_the_provider_is_down_used_to_its_end(desk: Desk) -> None:
    desk.sign_in()
    first = desk.person.token()
    desk.clock.now += LIFETIME_S - EARLY_S + 1
    desk.provider.fails = down
    assert desk.person.token() == first
    desk.clock.now += EARLY_S
    with pytest.raises(Unavailable):
        desk.person.token()
    desk.provider.fails = None
    assert desk.person.token() != first


def test_a_sign_in_that_has_ended_is_forgotten_and_says_what_to_do(desk: Desk) -> None:
    desk.sign_in()
    desk.provider.end()
    desk.clock.now += LIFETIME_S
    with pytest.raises(NotAuthenticated, match="has ended; sign in again with: kustos login"):
        desk.person.token()
    with pytest.raises(NotAuthenticated, match="you are not signed in at"):
        desk.person.token()


def test_a_provider_that_does_not_take_the_client_any_more_does_not_end_the_sign_in(desk: Desk) -> None:
    desk.sign_in()
    desk.clock.now += LIFETIME_S
    desk.provider.fails = lambda _: httpx.Response(401, json={"error": "invalid_client"})
    with pytest.raises(Misconfigured, match="kustos-cli"):
        desk.person.token()
    desk.provider.fails = None
    assert desk.person.token()


def test_who_signs_in_again_leaves_nothing_of_the_sign_in_before(desk: Desk) -> None:
    desk.sign_in()
    first = desk.person.token()
    desk.sign_in()
    assert desk.provider.asked[-1] == "/revoke"
    assert desk.person.token() != first


def test_who_signs_out_leaves_nothing_here_or_there(desk: Desk) -> None:
    desk.sign_in()
    assert desk.person.sign_out()
    assert desk.provider.asked[-1] == "/revoke"
    assert not list(desk.folder.glob("*.json"))
    assert not desk.person.sign_out()


def test_who_signs_out_while_the_provider_is_down_leaves_nothing_here_and_is_told(desk: Desk) -> None:
    desk.sign_in()
    desk.provider.fails = down
    with pytest.raises(Unavailable, match="signed out here"):
        desk.person.sign_out()
    assert not list(desk.folder.glob("*.json"))


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"access": "x"}', "\udcff"], ids=ascii)
def test_a_file_that_is_none_of_ours_is_no_sign_in(desk: Desk, content: str) -> None:
    desk.sign_in()
    desk.file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(NotAuthenticated, match="kustos login"):
        desk.person.token()
    assert desk.person.sign_out()


def test_a_file_that_others_can_read_is_not_used(desk: Desk) -> None:
    desk.sign_in()
    desk.file.chmod(0o640)
    with pytest.raises(Misconfigured, match=r"others can read your sign-in.* kustos logout"):
        desk.person.token()
    assert desk.person.sign_out()
    assert desk.provider.asked[-1] == "/revoke"


def test_a_token_goes_to_no_other_issuer(desk: Desk) -> None:
    desk.sign_in()
    told = json.loads(desk.file.read_text(encoding="utf-8"))
    desk.file.write_text(json.dumps({**told, "issuer": "https://evil.example"}), encoding="utf-8")
    with pytest.raises(NotAuthenticated, match="another provider"):
        desk.person.token()


@pytest.mark.parametrize(
    ("settings", "message"), [({}, "KUSTOS_ISSUER"), ({"KUSTOS_ISSUER": "http://id.example/realms/x"}, "https://")]
)
def test_where_nobody_could_sign_in_safely_a_command_says_what_to_set(settings, message) -> None:
    with pytest.raises(Misconfigured, match=message):
        proof(Settings.from_mapping(settings), None)


def test_a_token_goes_to_a_service_elsewhere_over_tls_only() -> None:
    with pytest.raises(Misconfigured, match="https://"), reach(Settings(url="http://kustos.example")):
        pytest.fail("it was reached")
