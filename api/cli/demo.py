"""`kustos demo`: the sample company, taken in and asked as three people."""

from __future__ import annotations

import time
from pathlib import Path

import yaml
from rich.columns import Columns
from rich.console import Group
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from api.cli import ingesting
from api.cli.asking import Told, ask, citation_line
from api.cli.connection import connect
from api.cli.output import err, note, out, plain
from api.demo_issuer import DemoIssuer
from rag.bootstrap import open_records
from rag.errors import BadInput
from rag.settings import Settings

SOURCE = "hansekai"


def run(settings: Settings, examples: Path) -> None:
    """Sets the demo up in this home, takes the sample company in, and prints three people's answers side by side.

    Raises:
        BadInput: `examples` is not the sample company.
        KustosError: a step failed; the message says what to do.
    """
    company, accounts = examples / "company", examples / "accounts.yaml"
    if not company.is_dir() or not accounts.is_file():
        raise BadInput(f"{examples} does not hold the sample company; name its folder with --examples")
    issuer = DemoIssuer.create(settings.home, accounts.resolve())
    open_records(settings).directory.replace(settings.tenant, "demo", issuer.directory_edges())
    err.print("[bold yellow]Demo:[/] sample accounts can sign in without a password, on this machine only.")
    asked = yaml.safe_load((examples / "questions.yaml").read_text(encoding="utf-8"))
    started = time.perf_counter()
    note(ingesting.summary(ingesting.sync(settings, SOURCE, company.resolve())))
    with connect(settings) as client:
        for question in asked["questions"]:
            answers = [ask(client, settings, question["text"], who) for who in asked["ask_as"]]
            out.print(f"\n[bold]{escape(question['text'])}[/]")
            out.print(Columns([_panel(told, issuer.about(told.who)) for told in answers], equal=True, expand=True))
    note(f"ready after {time.perf_counter() - started:.1f} s")


def _panel(told: Told, about: str) -> Panel:
    width = max(30, (out.width - 2) // 3)
    sources = Text("\n".join(citation_line(each) for each in told.citations), style="dim")
    body = Group(Text(plain(told.text)), Text(""), sources) if told.citations else Group(Text(plain(told.text)))
    return Panel(body, title=escape(told.who), subtitle=escape(about), width=width)
