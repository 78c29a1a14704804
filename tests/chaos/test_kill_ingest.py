"""FT-06: `kill -9` of an ingest at any moment. What comes after equals a run that nobody disturbed, and between two
kills nobody reads what he may not.

KUSTOS_TEST_EFFORT multiplies how often; the seed of the moments is printed with a failure and taken from KUSTOS_TEST_SEED.
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from rag.access.audit import Action, Purpose
from rag.access.principals import Principal
from rag.access.scope import Caller
from rag.bootstrap import Kustos, open_kustos
from rag.documents import Passage, document_id
from rag.errors import NotFound
from rag.retrieval import MAX_PASSAGES, Mode, Request
from rag.settings import Settings
from tests.chaos.driver import SOURCE, opened
from tests.effort import times
from tests.security.reference import EVERYONE, Rights, Sidecar, may_read
from tests.security.tree import REALM, Tree, version

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / ".kustos-models" / "multilingual-e5-small" / ".complete"
KILLS = times(6)
SEED = int(os.environ.get("KUSTOS_TEST_SEED") or random.SystemRandom().randrange(2**32))
DOCUMENTS, PARAGRAPHS = 60, 16
TIMEOUT_S = 120
SALES, BOB = f"kc:{REALM}:group:/sales", f"kc:{REALM}:user:bob"
CALLERS = {"sales": {SALES}, "bob of sales": {SALES, BOB}, "somebody": {f"kc:{REALM}:user:eve"}}
PURPOSE = Purpose(Action.SEARCH, "chaos")
QUESTIONS = ("container rates", "harbour 7", "invoice crane")


@dataclass
class Company:
    """A folder whose documents and rights change between kills, and every state that it has been in."""

    tree: Tree
    chance: random.Random
    states: list[dict[str, tuple[str, Rights]]] = field(default_factory=list)

    @classmethod
    def founded(cls, root: Path, chance: random.Random, documents: int = DOCUMENTS) -> Company:
        company = cls(Tree(root), chance)
        everyone, sales = Rights(frozenset({EVERYONE})), Rights(frozenset({SALES}))
        company.tree.govern("open/", Sidecar(False, everyone))
        company.tree.govern("sales/", Sidecar(False, sales))
        company.tree.govern("sales/leads/", Sidecar(True, Rights(frozenset(), frozenset({BOB}))))
        company.tree.break_sidecar("hidden/", "unknown key")
        for number in range(documents):
            folder = ("open/", "sales/", "sales/leads/", "hidden/", "ungoverned/")[number % 5]
            company.tree.write(f"{folder}{number:03}.txt", company.text())
        company.note()
        return company

    def text(self) -> bytes:
        words = ("container", "rates", "harbour", "invoice", "crane", "lorry", "pallet", "customs", "driver", "route")
        paragraphs = (
            " ".join(f"{self.chance.choice(words)} {self.chance.randrange(10_000)}" for _ in range(60))
            for _ in range(PARAGRAPHS)
        )
        return "\n\n".join(paragraphs).encode()

    def change(self) -> None:
        """A few edits, deletions and new documents, and rights of a folder that change places."""
        for path in self.chance.sample(sorted(self.tree.documents), DOCUMENTS // 2):
            self.tree.write(path, self.text())
        self.tree.delete(self.chance.choice(sorted(self.tree.documents)))
        self.tree.write(f"sales/new {len(self.states)}.txt", self.text())
        denied = frozenset({BOB}) if len(self.states) % 2 else frozenset[str]()
        self.tree.govern("sales/", Sidecar(False, Rights(frozenset({SALES}), denied)))
        allowed = frozenset({EVERYONE, SALES} - ({EVERYONE} if len(self.states) % 3 == 0 else set()))
        self.tree.govern("open/", Sidecar(False, Rights(allowed)))
        self.note()

    def note(self) -> None:
        self.states.append(
            {path: (version(content), self.tree.rights(path)) for path, content in self.tree.documents.items()}
        )

    def may_read(self, own: set[str], path: str, current: str, *, only_now: bool) -> bool:
        """Whether the state of now permits it, or else any that a killed run may have left behind."""
        told = [state[path] for state in self.states if path in state and state[path][0] == current]
        permits_now = path in self.states[-1] and may_read(own, (), self.states[-1][path][1])
        return permits_now if only_now else any(may_read(own, (), rights) for _, rights in told)


@dataclass(frozen=True)
class Moment:
    """When a run is killed: after a share of the lines that are to be expected of it, and then a little later.

    `writing`: then wait for the next batch to be embedded, because its points and its commit come right after.
    """

    share: float
    writing: bool
    delay_s: float

    def has_come(self, lines: Sequence[str]) -> bool:
        to_read = int(lines[0].removeprefix("listed "))
        return len(lines) > self.share * 2 * to_read and (not self.writing or lines[-1].startswith("embedded"))


@dataclass
class Ran:
    """How far a run came."""

    lines: list[str]

    @property
    def finished(self) -> bool:
        return self.lines[-1:] == ["done"]

    @property
    def changed_rights(self) -> bool:
        """The first line comes after the rights of the listing are in the catalog."""
        return bool(self.lines)


def run(home: Path, root: Path, moment: Moment | None = None) -> Ran:
    """Syncs in a process of its own, which is killed at `moment`, if it lives that long."""
    command = [sys.executable, "-m", "tests.chaos.driver", str(home), str(root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        ran = Ran([])
        for line in process.stdout:
            ran.lines.append(line.strip())
            if moment and moment.has_come(ran.lines):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(moment.delay_s)
                _kill(process)
                break
        status = process.wait(TIMEOUT_S)
        errors = process.stderr.read() if status > 0 else ""
    assert status in (0, -signal.SIGKILL), errors
    return ran


def _kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, and proof that the parser processes end by themselves when their parent has gone."""
    children = []
    for pid in _children(process.pid):
        with suppress(ProcessLookupError):
            children.append(os.pidfd_open(pid))
    process.kill()
    for child in children:
        readable, _, _ = select.select([child], [], [], TIMEOUT_S)
        os.close(child)
        assert readable, "a parser process outlived the ingest that started it"


def _children(pid: int) -> Iterator[int]:
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        yield from map(int, listed.read_text().split())


@dataclass(frozen=True)
class State:
    """All that an ingest leaves behind, as far as anybody could tell."""

    chunks: Mapping[str, tuple[str, str, Sequence[str], Sequence[str]]]
    points: int
    tasks: int
    documents: dict[str, dict[str, str]]
    found: dict[tuple[str, str, Mode], list[str]]


def state_of(kustos: Kustos) -> State:
    chunks = {
        chunk.id: (chunk.text, place, tuple(sorted(acl.allow)), tuple(sorted(acl.deny)))
        for chunk, _, place, acl in kustos.records.writer.everything()
    }
    found = {
        (name, question, mode): [each.chunk.id for each in search(kustos, own, question, mode)]
        for name, own in CALLERS.items()
        for question in QUESTIONS
        for mode in Mode
    }
    documents = {name: listed(kustos, own) for name, own in CALLERS.items()}
    return State(chunks, kustos.points(), len(kustos.records.writer.tasks()), documents, found)


def caller(own: set[str]) -> Caller:
    return Caller("main", "somebody", frozenset(map(Principal, own)))


def search(kustos: Kustos, own: set[str], question: str, mode: Mode = Mode.HYBRID) -> Sequence[Passage]:
    return kustos.retrieval.search(caller(own), Request(question, MAX_PASSAGES, mode=mode), PURPOSE)


def listed(kustos: Kustos, own: set[str]) -> dict[str, str]:
    scope = kustos.gate.scope_for(caller(own), PURPOSE)
    return {path(each.uri): each.version for each in kustos.gate.documents(scope, PURPOSE, limit=10_000)}


def path(uri: str) -> str:
    return uri.removeprefix(f"file://{SOURCE}/").replace("%20", " ")


def check_nothing_forbidden(kustos: Kustos, company: Company, *, only_now: bool) -> None:
    for name, own in CALLERS.items():
        seen = listed(kustos, own)
        for each, current in seen.items():
            assert company.may_read(own, each, current, only_now=only_now), f"LEAK: {name} lists {each}"
        for question in QUESTIONS:
            for passage in search(kustos, own, question):
                where = path(passage.document.uri)
                assert seen.get(where) == passage.document.version, f"LEAK: {name} finds {where}"
        scope = kustos.gate.scope_for(caller(own), PURPOSE)
        for each in {each for state in company.states for each in state} - seen.keys():
            with pytest.raises(NotFound):
                kustos.gate.document(scope, document_id("main", SOURCE, each), PURPOSE)


def test_ft_06_an_ingest_killed_again_and_again_ends_like_one_that_nobody_disturbed(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    company = Company.founded(tmp_path / "share", chance)
    home, told = tmp_path / "home", []
    for _ in range(KILLS):
        moment = Moment(chance.random(), chance.random() < 0.7, chance.choice((0.0, 0.005, 0.02, 0.05, 0.2)))
        ran = run(home, company.tree.root, moment)
        told.append((moment, ran.lines[:1], len(ran.lines), ran.finished))
        with opened(home) as kustos:
            check_nothing_forbidden(kustos, company, only_now=ran.changed_rights)
        if chance.random() < 0.6:
            company.change()
    story = f"KUSTOS_TEST_SEED={SEED}: {told}"
    assert not all(finished for *_, finished in told), f"no run was killed; {story}"
    assert run(home, company.tree.root).finished, story
    assert run(tmp_path / "clean", company.tree.root).finished
    with opened(home) as kustos, opened(tmp_path / "clean") as clean:
        after_kills, straight = state_of(kustos), state_of(clean)
        check_nothing_forbidden(kustos, company, only_now=True)
    assert after_kills.chunks == straight.chunks, story
    assert after_kills.points == len(after_kills.chunks) > 0, story
    assert after_kills.tasks == 0, story
    assert after_kills.documents == straight.documents, story
    assert after_kills.found == straight.found, story
    for name, own in CALLERS.items():
        expected = {each for each, (_, rights) in company.states[-1].items() if may_read(own, (), rights)}
        assert set(straight.documents[name]) == expected, name


@pytest.mark.skipif(not MODEL.exists(), reason="the bundled model is not here; fetch it with: make setup")
def test_ft_06_the_ingest_command_with_the_bundled_model_survives_it_too(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    company = Company.founded(tmp_path / "share", chance, documents=5)
    home = tmp_path / "home"
    delay_s = chance.uniform(2.0, 7.0)
    with command(home, company.tree.root) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay_s)
        _kill(process)
    states = []
    for each in (home, tmp_path / "clean"):
        with command(each, company.tree.root) as process:
            assert process.wait(TIMEOUT_S) == 0
        kustos = open_kustos(Settings(home=each, models_dir=MODEL.parents[1]))
        states.append(state_of(kustos))
        check_nothing_forbidden(kustos, company, only_now=True)
        kustos.close()
    assert states[0] == states[1], f"KUSTOS_TEST_SEED={SEED}, killed after {delay_s} s"
    assert states[0].points == len(states[0].chunks) > 0


@contextmanager
def command(home: Path, root: Path) -> Iterator[subprocess.Popen[str]]:
    """`kustos ingest`, running."""
    environment = {**os.environ, "KUSTOS_HOME": str(home), "KUSTOS_MODELS_DIR": str(MODEL.parents[1])}
    ingest = [sys.executable, "-c", "from api.cli import main; main()", "ingest", str(root), "--source", SOURCE]
    nowhere: IO[bytes]
    with (
        open(os.devnull, "wb") as nowhere,
        subprocess.Popen(ingest, cwd=ROOT, env=environment, stdout=nowhere, stderr=nowhere, text=True) as process,
    ):
        yield process
