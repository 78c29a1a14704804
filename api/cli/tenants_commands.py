"""The commands of `kustos tenants`: which companies share this installation, and taking one out of it."""

from __future__ import annotations

import click

from api.cli.installation import JSON, installation
from api.cli.output import note, plain, print_json, print_table, typed_failures


@click.group(name="tenants")
def tenants() -> None:
    """The companies that share this installation: how each stands, and taking one out of it (docs/tenants.md)."""


@tenants.command(name="list")
@JSON
@typed_failures
def listed(as_json: bool) -> None:
    """Show each tenant: his documents, where his page is, and what is wrong, if anything."""
    from api.cli.tenants import states

    rows = [each.as_json() for each in states(installation())]
    if as_json:
        print_json({"tenants": rows})
        return
    columns = ("tenant", "state", "documents", "passages", "page", "detail")
    print_table("Tenants", columns, [[row[column] for column in columns] for row in rows])


@tenants.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for the name again.")
@JSON
@typed_failures
def remove(name: str, yes: bool, as_json: bool) -> None:
    """Take tenant NAME out of this installation for good: documents, rights, index, keys, sessions, secrets.

    Stop the service first. His audit is kept, in the folder that is printed: records under pseudonyms, without
    names, with the key that verifies them. Then take his table out of the file of tenants: under a name that is still
    there the next start begins anew, with nothing. Backups, his realm in Keycloak and his files stay.
    """
    from api.cli.tenants import remove as remove_now

    if not yes and click.prompt(f"Type the name of the tenant to remove, {plain(name)}", err=True) != name:
        raise click.Abort
    told = remove_now(installation(), name)
    if as_json:
        print_json(told)
        return
    click.echo(f"tenant {name} is removed")
    note(f"his audit, {told['records']} records, is kept in {told['kept']}")
