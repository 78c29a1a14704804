"""The command line. `main` answers `--help` from pages rendered ahead, everything else through Click.

Importing Click alone takes six times as long as the bare interpreter needs to start, so help would feel slow for
nothing (docs/decisions/0005). The pages in `api/help` are what Click prints; a test holds them equal.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

HELP_PAGES = Path(__file__).parents[1] / "help"


def main() -> None:
    """Entry point of `kustos`. Exit status 0; 1 for a failure; 2 for usage; 130 when interrupted."""
    os.umask(0o077)  # whatever is written from here on is for its owner alone
    page = _help_page(sys.argv[1:])
    if page is not None:
        sys.stdout.write(page)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends a command as Ctrl-C does: in order
    from api.cli.commands import kustos

    kustos()


def _help_page(arguments: list[str]) -> str | None:
    """The page for `kustos [COMMAND [COMMAND]] --help`; None for anything else."""
    if not arguments:
        arguments = ["--help"]
    *path, last = arguments
    if last not in ("--help", "-h") or not all(part.replace("-", "").isalpha() for part in path):
        return None
    page = HELP_PAGES / f"{'-'.join(['kustos', *path])}.txt"
    try:
        return page.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
