"""A home that this user cannot work in is said in words: `sudo kustos ingest` leaves one that is root's."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import api.cli.demo  # somebody else may not be able to read what these commands import
import api.cli.ingesting
import api.cli.listing
import api.cli.tenants_commands  # noqa: F401
from api import service
from api.cli import doctor
from rag.bootstrap import open_records
from rag.errors import Misconfigured
from rag.home import refuse_closed
from rag.settings import Settings
from tests.fakes import WordEmbedder
from tests.unit.test_cli_failures import EXAMPLES, run, said
from tests.unit.test_tenants_file import table

NOBODY = pwd.getpwnam("nobody")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes the right to be somebody else")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that anybody can reach, and not one of pytest's, which are closed to others."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def home(place: Path) -> Path:
    """Nobody's home of one tenant or, with a file of tenants, of north and south; nothing was begun in it."""
    made = place / "home"
    (made / "tenants").mkdir(parents=True)
    file = place / "tenants.toml"
    file.touch(0o600)
    file.write_text(f"{table('north')}\n{table('south')}", encoding="utf-8")
    for each in (made, made / "tenants", file):
        os.chown(each, NOBODY.pw_uid, -1)
    return made


def close(folder: Path) -> None:
    os.chown(folder, 0, -1)
    folder.chmod(0o700)


@contextmanager
def as_nobody() -> Iterator[None]:
    before = os.geteuid()
    os.seteuid(NOBODY.pw_uid)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("name", ["", "new/home"])
def test_a_home_that_is_open_or_not_there_yet_is_begun(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    refuse_closed(home)
    open_records(Settings(home=home))
    assert (home / "catalog.db").is_file()


def test_a_home_that_is_a_file_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "home").touch(0o644)
    with pytest.raises(Misconfigured, match="home is no folder but a file"):
        refuse_closed(tmp_path / "home")


@needs_root
@pytest.mark.parametrize("closed", ["", "above"])
def test_who_may_not_open_a_home_hears_whose_it_is(place: Path, closed: str) -> None:
    home = place / "above" / "home"
    home.mkdir(parents=True)
    folder = place / closed if closed else home
    close(folder)
    with as_nobody(), pytest.raises(Misconfigured) as caught:
        refuse_closed(home)
    assert f"{home} cannot be opened by nobody, as {folder} belongs to root; run Kustos as root, or" in str(
        caught.value
    )
    assert (f"chown -R nobody {home}" in str(caught.value)) == (not closed), "what else lies above is not ours to give"


@needs_root
def test_whose_own_home_is_closed_to_him_hears_how_to_open_it(place: Path) -> None:
    home = place / "home"
    home.mkdir()
    os.chown(home, NOBODY.pw_uid, -1)
    home.chmod(0o500)
    with as_nobody(), pytest.raises(Misconfigured, match=f"run: chmod 700 {home}"):
        refuse_closed(home)


COMMANDS = [
    ("serve",),
    ("status",),
    ("doctor",),
    ("documents", "--refused"),
    ("ingest", str(EXAMPLES), "--source", "x"),
    ("demo", "--once", "--examples", str(EXAMPLES)),
]


@needs_root
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_says_that_the_home_belongs_to_another(home: Path, command: tuple[str, ...]) -> None:
    (home / "catalog.db").touch()
    close(home)
    with as_nobody():
        ran = run(*command, KUSTOS_HOME=str(home))
    assert "cannot be opened by nobody" in said(ran)
    assert ran.exit_code == 1


@needs_root
@pytest.mark.parametrize("closed", ["tenants", "tenants/north"])
def test_of_several_tenants_serve_names_the_one_whose_home_is_closed(home: Path, monkeypatch, closed: str) -> None:
    (home / "tenants" / "north").mkdir()
    close(home / closed)
    monkeypatch.setattr(service, "open_embedder", lambda base: WordEmbedder())
    with as_nobody():
        ran = run("serve", KUSTOS_HOME=str(home), KUSTOS_TENANTS=str(home.parent / "tenants.toml"))
    assert f"tenant north: the home folder {home}/tenants/north cannot be opened by nobody" in said(ran)
    assert ran.exit_code == 1


@needs_root
@pytest.mark.parametrize("command", ["doctor", "list"])
@pytest.mark.parametrize("what", ["closed", "file"])
def test_what_looks_at_all_tenants_goes_on_behind_one_that_cannot_be_opened(
    home: Path, monkeypatch, command: str, what: str
) -> None:
    monkeypatch.setattr(doctor, "_identity", lambda settings: iter(()))  # there is no Keycloak
    north = home / "tenants" / "north"
    north.touch() if what == "file" else north.mkdir(0o700)
    asked = {"doctor": ("doctor",), "list": ("tenants", "list")}[command]
    with as_nobody():
        ran = run(*asked, "--json", KUSTOS_HOME=str(home), KUSTOS_TENANTS=str(home.parent / "tenants.toml"))
    first, second = next(iter(json.loads(ran.stdout).values()))
    assert first["state"] == "wrong"
    assert ("is no folder but a file" if what == "file" else "cannot be opened by nobody") in first["detail"]
    assert second["state"] in {"note", "new"}
