"""`kustos demo`: the sample company, taken in and asked as three people."""

from __future__ import annotations

import time
from pathlib import Path

import yaml
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from api.cli import ingesting
from api.cli.asking import Told, ask, citation_line
from api.cli.connection import connect
from api.cli.output import err, note, out, plain
from api.tokens.demo_issuer import DemoIssuer
from api.tokens.issuers import check_demo
from rag.bootstrap import open_records
from rag.errors import BadInput, Misconfigured
from rag.settings import Settings

SOURCE = "hansekai"
NARROWEST = 110


def run(settings: Settings, examples: Path) -> None:
    """Sets the demo up in this home, takes the sample company in, and prints three people's answers side by side.

    Raises:
        BadInput: `examples` is not the sample company.
        Misconfigured: this home holds other documents, or its settings are not those of a demo; nothing was written.
        KustosError: a step failed; the message says what to do.
    """
    check_demo(settings)
    company, accounts = examples / "company", examples / "accounts.yaml"
    if not company.is_dir() or not accounts.is_file():
        raise BadInput(f"{examples} does not hold the sample company; name its folder with --examples")
    records = open_records(settings)
    if others := sorted({each.source for each in records.status.sources()} - {SOURCE}):
        raise Misconfigured(
            f"{settings.home.absolute()} holds documents of {', '.join(others)}, and in a demo anybody can sign in as "
            "any sample account; set the demo up elsewhere: KUSTOS_HOME=FOLDER kustos demo"
        )
    issuer = DemoIssuer.create(settings.home, accounts.resolve())
    records.directory.replace(settings.tenant, "demo", issuer.directory_edges())
    err.print("[bold yellow]Demo:[/] sample accounts can sign in without a password, on this machine only.")
    asked = yaml.safe_load((examples / "questions.yaml").read_text(encoding="utf-8"))
    started = time.perf_counter()
    with connect(settings) as client:
        note(ingesting.summary(ingesting.sync(client, settings, SOURCE, company.resolve(), moved=True)))
        for question in asked["questions"]:
            answers = [ask(client, settings, question["text"], who) for who in asked["ask_as"]]
            out.print(f"\n[bold]{escape(question['text'])}[/]")
            out.print(_side_by_side(answers, issuer))
    note(f"ready after {time.perf_counter() - started:.1f} s")


def _side_by_side(answers: list[Told], issuer: DemoIssuer) -> Table:
    table = Table(expand=True, show_lines=True, width=max(out.width, NARROWEST))
    for told in answers:
        table.add_column(f"{escape(told.who)}\n[dim]{escape(issuer.about(told.who))}[/]", ratio=1)
    table.add_row(*(Text(plain(told.text)) for told in answers))
    table.add_row(*(Text("\n".join(map(citation_line, told.citations)), style="dim") for told in answers))
    return table
