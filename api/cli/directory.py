"""Commands about the directory: what is known of Keycloak's groups and people, and whether it is true."""

from __future__ import annotations

import click

from api.cli.installation import JSON, installed
from api.cli.output import counted, note, on_the_clock, out, plain, print_json, print_table, typed_failures


@click.group()
def directory() -> None:
    """Keycloak's groups and people as the catalog has them.

    \b
    Rights do not wait for it: who is in which group is asked of Keycloak at each request. It holds
      - which groups are within which, and which group a path in an access file means;
      - who was in which group when, for kustos explain.
    \b
    A path means the group that had it first. After a group was deleted and made anew:
      kustos directory status          shows paths whose group has another name now, or is gone
      kustos directory rebind /sales   gives the rights of /sales to the group that is called so now

    kustos serve keeps it up to date (KUSTOS_DIRECTORY_INTERVAL_S).
    """


@directory.command()
@click.option("--full", is_flag=True, help="Read everything, instead of what administrators did since the last time.")
@JSON
@typed_failures
def sync(full: bool, as_json: bool) -> None:
    """Bring the directory up to date now."""
    from dataclasses import asdict

    from api.keycloak_realm.sync import open_sync
    from rag.bootstrap import open_records

    base = installed()
    done = open_sync(base, open_records(base).realm).run(full=full)
    if as_json:
        print_json(asdict(done))
    elif done.full_because:
        read = f"{counted(done.groups, 'group')} and {counted(done.people, 'account')} that hold something"
        out.print(f"read {read}, because {done.full_because}", markup=False)
    else:
        changed = "1 account holds" if done.changed == 1 else f"{done.changed} accounts hold"
        out.print(f"followed {counted(done.events, 'event')}: {changed} something else", markup=False)


@directory.command()
@JSON
@typed_failures
def status(as_json: bool) -> None:
    """Show how far the directory is, and the paths whose group is called something else now."""
    from api.reports import directory as report
    from rag.bootstrap import open_records

    told = report(open_records(installed()))
    if as_json:
        print_json(told)
        return
    if told["full_at"] is None:
        note("Keycloak's groups have not been read yet; kustos serve does, and so does: kustos directory sync")
        return
    accounts = counted(told["accounts"], "account")
    note(f"{counted(told['groups'], 'group')}, {accounts} that hold a role or are in a group, services among them")
    note(
        f"read as a whole: {on_the_clock(told['full_at'])}; events followed: {on_the_clock(told['followed_at'])} (UTC)"
    )
    if not told["drifts"]:
        note("every path means the group that is called so now")
        return
    rows = [[plain(each["path"]), plain(each["now"] or "gone"), each["taken_by"] or ""] for each in told["drifts"]]
    print_table("Paths that mean another group than they say", ("path", "its group is now", "has the path now"), rows)


@directory.command()
@click.argument("path")
@typed_failures
def rebind(path: str) -> None:
    """Give the rights of PATH to the group that has that path now, or to nobody if none has.

    Look first who is in that group: from the next question on its members read what PATH may read.
    """
    from uuid import uuid4

    from api.admission.local_operator import LOCAL_OPERATOR
    from api.keycloak_realm.sync import open_sync
    from rag.access.audit import Act, Deed
    from rag.bootstrap import open_records

    base = installed()
    records = open_records(base)
    open_sync(base, records.realm).groups()
    records.audit.record(Deed(base.tenant, LOCAL_OPERATOR, Act.DIRECTORY_CHANGED, uuid4().hex, path))
    records.realm.rebind(path)
    meant = "the group that is called so now" if path in records.realm.tree().bound else "nobody's group now"
    out.print(f"{plain(path)} means {meant}", markup=False)
