"""Fetched servers are the pinned ones, whole, and what is missing is named with what would help."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from pathlib import Path

import pytest

from tests.services import __main__ as services
from tests.services import cache, keycloak
from tests.services.cache import Missing

JAVA = "#!/bin/sh\necho 'openjdk version \"{}.0.1\" 2024-01-01' >&2\n"
MAVEN = "#!/bin/sh\nfor each; do case $each in -DoutputDirectory=*) cp {} ${{each#*=}};; esac; done\necho run >> {}\n"
KC = "#!/bin/sh\n[ $2 != --disk=full ] && echo built > $(dirname $0)/built\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty cache and nothing but /bin; its folder of programs."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "cp", "dirname"):
        (programs / name).symlink_to(Path("/bin") / name if (Path("/bin") / name).exists() else Path("/usr/bin") / name)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return programs


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    (folder / name).chmod(0o755)


def distribution(folder: Path) -> Path:
    """A small Keycloak, as Maven gives it."""
    archive = folder / "keycloak.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("kc.sh", "readme.txt"):
            member = zipfile.ZipInfo(f"keycloak-{keycloak.VERSION}/bin/{name}")
            member.external_attr = (0o755 if name == "kc.sh" else 0o644) << 16
            opened.writestr(member, KC)
    return archive


def with_maven(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Java and Maven are there; the file in which each run of Maven leaves a line."""
    archive, runs = distribution(machine.parent), machine.parent / "runs"
    monkeypatch.setattr(keycloak, "SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    program(machine, "java", JAVA.format(21))
    program(machine, "mvn", MAVEN.format(archive, runs))
    return runs


def test_it_is_fetched_and_built_once(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = with_maven(machine, monkeypatch)
    found = keycloak.fetch()
    assert (found / "bin" / "built").exists()
    assert keycloak.fetch() == found == keycloak.installed()
    assert [os.access(found / "bin" / name, os.X_OK) for name in ("kc.sh", "readme.txt")] == [True, False]
    assert runs.read_text() == "run\n"
    assert [each.name for each in keycloak.place().iterdir()] == [found.name]  # the archive is not kept


def test_another_file_than_the_pinned_one_is_not_unpacked(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_maven(machine, monkeypatch)
    monkeypatch.setattr(keycloak, "SHA256", "0" * 64)
    with pytest.raises(Missing, match="not the pinned 000"):
        keycloak.fetch()
    assert list(cache.folder().iterdir()) == []


def test_a_build_that_fails_leaves_nothing_and_says_why(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_maven(machine, monkeypatch)
    monkeypatch.setattr(keycloak, "BUILD", ("--disk=full",))
    with pytest.raises(Missing, match=r"could not be built \(status 1\)"):
        keycloak.fetch()
    assert list(cache.folder().iterdir()) == []


def test_maven_says_why_it_cannot_fetch(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_maven(machine, monkeypatch)
    program(machine, "mvn", "#!/bin/sh\necho no such repository; exit 1\n")
    with pytest.raises(Missing, match="no such repository"):
        keycloak.fetch()


@pytest.mark.parametrize(
    ("java", "words"),
    [
        (None, "Java 17 or newer is not installed"),
        (JAVA.format(11), 'here is openjdk version "11'),
        ("#!/bin/sh\n", "17"),
    ],
)
def test_without_java_the_message_says_what_to_install(
    machine: Path, java: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if java:
        program(machine, "java", java)
    assert services.main() == 1
    told = capsys.readouterr().err
    assert words in told
    assert "apt-get install openjdk" in told


def test_without_maven_the_message_says_what_to_install(machine: Path) -> None:
    program(machine, "java", JAVA.format(17))
    with pytest.raises(Missing, match="apt-get install maven"):
        keycloak.fetch()


def test_tests_say_which_command_would_fetch_it(machine: Path) -> None:
    program(machine, "java", JAVA.format(17))
    with pytest.raises(Missing, match="make services"):
        keycloak.installed()


def test_java_home_comes_before_the_path(machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(machine, "java", JAVA.format(21))
    (tmp_path / "old" / "bin").mkdir(parents=True)
    program(tmp_path / "old" / "bin", "java", JAVA.format(8))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    with pytest.raises(Missing, match='version "8'):
        keycloak.check_java()


def test_who_finishes_second_leaves_what_the_first_made(tmp_path: Path) -> None:
    target = tmp_path / "cache" / "thing"
    with cache.made_whole(target) as second:
        (second / "by").write_text("second")
        with cache.made_whole(target) as first:
            (first / "by").write_text("first")
    assert (target / "by").read_text() == "first"
    assert [each.name for each in target.parent.iterdir()] == ["thing"]


def test_the_cache_is_where_the_user_keeps_such_things(tmp_path: Path) -> None:
    assert cache.folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "kustos"
    assert cache.folder({}) == cache.folder({"XDG_CACHE_HOME": "relative"}) == Path.home() / ".cache" / "kustos"


def test_what_is_fetched_is_for_its_owner_alone(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_maven(machine, monkeypatch)
    keycloak.fetch()
    assert stat.S_IMODE(keycloak.place().stat().st_mode) & 0o022 == 0
