"""The commands of `kustos audit`.

What reads the audit, or takes something away, goes through the service with the token of somebody who has the duty
`auditor`, whoever sits at the machine. Only `verify` and `head` are for its operator: they tell nothing about anybody.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from api.cli.installation import AS, JSON, MOMENT, asked, installed
from api.cli.output import counted, note, on_the_clock, out, plain, print_json, print_table, typed_failures
from rag.errors import Unavailable

AFTER = click.option(
    "--after", type=click.IntRange(0), default=0, metavar="NUMBER", help="Look at the records behind this one only."
)


@click.group()
def audit() -> None:
    """Verify, export and ask the audit: who was shown what, and who did what to Kustos.

    All but verify and head need the duty auditor (sign in with kustos login). Days and times are UTC; each asking is
    itself recorded.
    """


@audit.command()
@click.option("--noted", metavar="NUMBER:MAC", multiple=True, help="A head that you kept elsewhere; may be repeated.")
@JSON
@typed_failures
def verify(noted: tuple[str, ...], as_json: bool) -> None:
    """Check that no record was changed, removed or put in. Exit status 1 if one was."""
    from api import reports
    from api.cli.listing import audit_verdict

    verdict = audit_verdict(installed(), noted)
    if as_json:
        print_json(reports.verdict(verdict))
    else:
        removed = f", {verdict.begins_after} removed before" if verdict.begins_after else ""
        out.print(f"{counted(verdict.records, 'record')}{removed}; head {verdict.head}", markup=False)
        for fault in verdict.faults:
            out.print(f"  WRONG at {fault.number}: {plain(fault.what)}", markup=False)
        note(
            "intact" if verdict.intact else f"NOT INTACT: {counted(verdict.faults_in_all, 'fault')}; see docs/audit.md"
        )
    if not verdict.intact:
        raise SystemExit(1)


@audit.command()
@typed_failures
def head() -> None:
    """Print the last record as NUMBER:MAC, to be kept where nobody can change it."""
    from rag.bootstrap import open_records

    click.echo(str(open_records(installed()).trail.head()))


@audit.command()
@AS
@click.option("--since", type=MOMENT, help="From this day or moment on.")
@click.option("--until", type=MOMENT, help="Before this day or moment.")
@click.option("--names", is_flag=True, help="Names in place of pseudonyms, where they are kept.")
@click.option(
    "--texts",
    is_flag=True,
    help="With questions, and passages of what you may read, where KUSTOS_AUDIT_TEXT keeps them.",
)
@typed_failures
def export(who: str | None, since: datetime | None, until: datetime | None, names: bool, texts: bool) -> None:
    """Print records as JSON lines with the fields of OCSF, up to this asking. Exit status 1 if they are not all."""
    from api.cli.connection import checked, proof, reach

    base, given = asked(), {"since": since, "until": until}
    headers = proof(base, who)
    parameters = {name: each.isoformat() for name, each in given.items() if each}
    parameters |= {"names": str(names).lower(), "texts": str(texts).lower()}
    with (
        reach(base) as client,
        client.stream("GET", "/v1/audit/events", params=parameters, headers=headers) as reply,
    ):
        for line in checked(reply).iter_lines():
            if "error" in (told := json.loads(line)):
                raise Unavailable(f"the export is not whole, it broke off: {told['error']['message']}")
            click.echo(line)


@audit.command(name="who-saw")
@click.argument("document")
@AFTER
@AS
@JSON
@typed_failures
def who_saw(document: str, after: int, who: str | None, as_json: bool) -> None:
    """Say who was shown something of DOCUMENT (an id or an address), how often and when.

    Its title and address in a listing count too. Times are requests: an answer is one, and so is a page of a listing.
    """
    told = _asked(who, "who-saw", {"document": document, "after": str(after)})
    if as_json:
        print_json(told)
        return
    _print(f"{counted(len(told['people']), 'person', 'people')} saw something of {document}", "who", told["people"])
    _note_more(told)


@audit.command(name="what-saw")
@click.argument("person")
@AFTER
@AS
@JSON
@typed_failures
def what_saw(person: str, after: int, who: str | None, as_json: bool) -> None:
    """Say what PERSON was shown: by user name, id at the identity provider, or subject.

    Title and address in a listing count too. Times are requests: an answer is one, and so is a page of a listing.
    """
    told = _asked(who, "what-saw", {"person": person, "after": str(after)})
    if as_json:
        print_json(told)
        return
    _print(f"{counted(len(told['documents']), 'document')} seen by {person}", "document", told["documents"])
    _note_more(told)


@audit.command()
@click.option("--before", type=MOMENT, required=True, help="Remove records from before this day or moment.")
@AS
@typed_failures
def prune(before: datetime, who: str | None) -> None:
    """Remove old records with their texts and names. The chain can still be verified.

    Those of the last KUSTOS_AUDIT_PRUNE_DAYS days stay.
    """
    removed = _done(who, "prune", {"before": before.isoformat()})["removed"]
    click.echo(f"{counted(removed, 'record')} removed")


@audit.command()
@click.argument("person")
@AS
@typed_failures
def forget(person: str, who: str | None) -> None:
    """Erase the name of PERSON (user name, id or subject) from the audit.

    What he did stays, under pseudonyms that nobody can resolve.
    """
    click.echo(f"forgotten on {counted(_done(who, 'forget', {'person': person})['days'], 'day')}")


def _asked(who: str | None, what: str, parameters: dict[str, str]) -> dict[str, Any]:
    from api.cli.connection import checked, proof, reach

    base = asked()
    headers = proof(base, who)
    with reach(base) as client:
        reply = client.get(f"/v1/audit/{what}", params=parameters, headers=headers)
        told: dict[str, Any] = checked(reply).json()
    return told


def _note_more(told: dict[str, Any]) -> None:
    if told["next"] is not None:
        note(f"these are the first records only; see what follows with: --after {told['next']}")


def _done(who: str | None, what: str, body: dict[str, str]) -> dict[str, Any]:
    from api.cli.connection import checked, proof, reach

    base = asked()
    headers = proof(base, who)
    with reach(base) as client:
        told: dict[str, Any] = checked(client.post(f"/v1/audit/{what}", json=body, headers=headers)).json()
    return told


def _print(title: str, first: str, seen: list[dict[str, Any]]) -> None:
    columns = (first, "times", "first (UTC)", "last (UTC)", "passages", "versions")
    rows = [
        [
            each[first],
            each["times"],
            on_the_clock(each["first"]),
            on_the_clock(each["last"]),
            each["passages"],
            len(each["versions"]),
        ]
        for each in seen
    ]
    print_table(title, columns, rows, whole=(first,))
