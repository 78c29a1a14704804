"""The commands of `kustos break-glass`. Operators act with this machine's key, auditors with a sign-in of their own."""

from __future__ import annotations

from typing import Any

import click

from api.cli.installation import AS, JSON, asked, installed
from api.cli.output import counted, on_the_clock, out, plain, print_json, print_table, typed_failures

AS_AUDITOR = click.option("--auditor", is_flag=True, help="As an auditor, who has signed in, instead of the operator.")


@click.group(name="break-glass")
def break_glass() -> None:
    """Give somebody further rights for a reason and a while, by four eyes; off unless KUSTOS_BREAK_GLASS_HOURS is set.

    An operator proposes, an auditor confirms. Deny still wins, and every record made meanwhile names the grant.
    """


@break_glass.command()
@click.argument("person")
@click.option("--principal", "principals", multiple=True, required=True, help="What is granted; may be repeated.")
@click.option("--minutes", type=click.IntRange(1), default=60, show_default=True, help="How long, once confirmed.")
@click.option("--reason", required=True, help="Why, in 10 characters or more; goes into the audit.")
@JSON
@typed_failures
def propose(person: str, principals: tuple[str, ...], minutes: int, reason: str, as_json: bool) -> None:
    """Propose that PERSON (a user name, an id, or a subject as in kc:REALM:user:ID) gets principals. Opens nothing yet.

    \b
    kustos break-glass propose anna --principal kc:REALM:group:/leitung --reason "Audit of 12 May"
    """
    body = {"person": person, "principals": list(principals), "minutes": minutes, "reason": reason}
    _show(_sent("POST", "/v1/operator/grants", body), as_json=as_json)


@break_glass.command()
@click.argument("grant")
@AS
@JSON
@typed_failures
def confirm(grant: str, who: str | None, as_json: bool) -> None:
    """Put the proposed GRANT into force. For an auditor who neither proposed it nor gets it."""
    _show(_sent("POST", f"/v1/audit/grants/{grant}/confirm", auditor=True, who=who), as_json=as_json)


@break_glass.command()
@click.argument("grant")
@AS_AUDITOR
@AS
@JSON
@typed_failures
def revoke(grant: str, auditor: bool, who: str | None, as_json: bool) -> None:
    """End GRANT at once, or withdraw the proposal."""
    of = "audit" if auditor or who else "operator"
    _show(_sent("DELETE", f"/v1/{of}/grants/{grant}", auditor=auditor, who=who), as_json=as_json)


@break_glass.command(name="list")
@AS_AUDITOR
@AS
@JSON
@typed_failures
def listed(auditor: bool, who: str | None, as_json: bool) -> None:
    """List all grants that there were, the newest first."""
    of = "audit" if auditor or who else "operator"
    told = _sent("GET", f"/v1/{of}/grants", auditor=auditor, who=who)
    if as_json:
        print_json(told)
        return
    columns = ("id", "state", "person", "principals", "until (UTC)", "reason")
    rows = [
        [
            *(each[name] for name in ("id", "state", "person")),
            ", ".join(each["principals"]),
            on_the_clock(each["until"]),
            each["reason"],
        ]
        for each in told["grants"]
    ]
    print_table(counted(len(rows), "grant"), columns, rows, whole=("id",))


def _sent(
    method: str, path: str, body: dict[str, Any] | None = None, *, auditor: bool = False, who: str | None = None
) -> dict[str, Any]:
    from api.cli.connection import checked, connect, operator, proof, reach

    if auditor or who:
        base = asked()
        headers, reached = proof(base, who), reach(base)
    else:
        base = installed()
        headers, reached = operator(base), connect(base)
    with reached as client:
        told: dict[str, Any] = checked(client.request(method, path, json=body, headers=headers)).json()
    return told


def _show(grant: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(grant)
        return
    out.print(f"{grant['id']}  {grant['state']}", markup=False)
    out.print(f"  person      {plain(grant['person'])}", markup=False)
    out.print(f"  principals  {plain(', '.join(grant['principals']))}", markup=False)
    out.print(f"  until       {on_the_clock(grant['until']) or 'not confirmed yet'}", markup=False)
