"""Runs a command without network where that can be had, and watched in any case: what it tried is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from tests.once import once
from tests.security import sentinel

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, "-c", "from api.cli import main; main()", "demo", "--once"]
TIMEOUT_S = 300
NO_OLLAMA = {"KUSTOS_OLLAMA_URL": "http://127.0.0.1:9"}
"""Nothing listens on port 9 (discard): no Ollama of this machine may change what tests see."""


@cache
def namespace() -> tuple[str, ...] | None:
    """The command that runs another without network; None where there is none."""
    for flags in (("--net",), ("--user", "--map-root-user", "--net")):
        command = ("unshare", *flags)
        if (
            shutil.which("unshare")
            and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode
        ):
            return command
    return None


@dataclass(frozen=True)
class Run:
    status: int
    out: str
    err: str
    tried: str
    no_routes: int | None


def run(folder: Path, command: list[str]) -> Run:
    """The command without network if that can be had, and watched in any case; in a home of its own."""
    folder.mkdir()
    shutil.copy(Path(sentinel.__file__), folder / "sitecustomize.py")
    log, counts = folder / "tried", folder / "counts"
    log.touch()
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    env |= {"PYTHONPATH": str(folder), sentinel.LOG: str(log), "KUSTOS_HOME": str(folder / "home"), **NO_OLLAMA}
    outer = namespace()
    if outer:
        command = [*outer, sys.executable, "-m", "tests.security.without_route", str(counts), *command]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    counted = int(counts.read_text()) if counts.exists() else None
    return Run(done.returncode, done.stdout, done.stderr, log.read_text(), counted)


def run_of_the_demo(folder: Path) -> Run:
    """`kustos demo --once`, run so once for all tests that share `folder`; its home is `home_of_the_demo`."""

    def make(place: Path) -> None:
        ran = run(place, DEMO)
        (place / "run.json").write_text(json.dumps(asdict(ran)), encoding="utf-8")

    made = once(folder / "demo", make)
    return Run(**json.loads((made / "run.json").read_text(encoding="utf-8")))


def home_of_the_demo(folder: Path) -> Path:
    """Copy it: other tests look at it too."""
    return folder / "demo" / "home"
