"""The commands of `kustos`. Each parses, makes one call, and prints; heavy modules are imported where they are used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.cli.installation import AS, JSON, MOMENT, asked, installation, installed, is_installed, settings
from api.cli.output import (
    counted,
    err,
    is_utf8,
    note,
    on_the_clock,
    out,
    plain,
    print_json,
    print_table,
    typed_failures,
)

if TYPE_CHECKING:
    from datetime import datetime

    from api.sign_in.oidc import Device


class _Lazy(click.Group):
    """Imports groups of commands only when they are asked for, and takes arguments in UTF-8 only."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for each in args:
            if not is_utf8(each):
                raise click.UsageError(f"{each!a} is not UTF-8; type it in a UTF-8 terminal, or rename that folder")
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "audit", "break-glass", "directory", "eval", "tenants"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "audit":
            from api.cli.audit_commands import audit

            return audit
        if cmd_name == "break-glass":
            from api.cli.break_glass_commands import break_glass

            return break_glass
        if cmd_name == "eval":
            from api.cli.evaluating import service
            from api.cli.revocation import revocation
            from eval.cli import evaluate

            evaluate.add_command(revocation)
            evaluate.add_command(service)
            return evaluate
        if cmd_name == "directory":
            from api.cli.directory import directory

            return directory
        if cmd_name == "tenants":
            from api.cli.tenants_commands import tenants

            return tenants
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--tenant", metavar="NAME", help="The tenant that the command is for. Default: KUSTOS_TENANT.")
@click.pass_context
def kustos(context: click.Context, tenant: str | None) -> None:
    """Answers questions from your company's documents, and shows each person only what that person may read.

    \b
    Begin with the sample company:
      kustos demo --once            take it in, and ask two questions as three people
      kustos serve                  then open http://127.0.0.1:8080
    \b
    Your own documents, in a home of their own:
      export KUSTOS_HOME=~/kustos-share
      kustos ingest /srv/share --source share     take in a folder with its rights
      kustos status                               what is there, what could not be read
    \b
    Ask as yourself, where Keycloak knows you (KUSTOS_ISSUER; for a service elsewhere also KUSTOS_URL):
      kustos login                                an address to sign in at in your browser
      kustos ask "How many days of leave do I have?"

    Settings come from the environment as KUSTOS_...; data lives in the folder KUSTOS_HOME (.kustos).
    Exit status is 0, 1 for a failure, 2 for wrong usage. Data goes to stdout, everything else to stderr.
    """
    del tenant  # `installation` looks it up
    context.obj = settings  # for the commands of `eval`, which lie in a lower layer


@kustos.command()
@click.option("--host", help="Address to listen on. Default: KUSTOS_HOST, 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. Default: KUSTOS_PORT, 8080.")
@typed_failures
def serve(host: str | None, port: int | None) -> None:
    """Serve the API and the page until interrupted; those of all tenants, unless one is named."""
    from dataclasses import replace

    from api.service import serve as run
    from api.service import serve_tenants
    from rag.tenants import read_tenants, the_tenant

    base = installation()
    base = replace(base, host=host or base.host, port=port or base.port)
    if base.tenants and not base.tenant:
        serve_tenants(base, read_tenants(base))
    else:
        run(the_tenant(base))


@kustos.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="[PATH...]")
@click.option("--source", metavar="NAME", help="Name of the source; part of every document's address, so keep it.")
@click.option("--watch", is_flag=True, help="Stay and take in changes as they happen.")
@click.option("--poll", is_flag=True, help="Watch by looking at every file: for NFS and SMB, which tell of no changes.")
@click.option("--cross-mounts", is_flag=True, help="Also take in file systems that are mounted inside a folder.")
@click.option("--confirm-deletions", is_flag=True, help="Believe a source that suddenly lost most of its documents.")
@click.option("--moved", is_flag=True, help="Accept that a source is in another folder than before.")
@click.option(
    "--rebuild", is_flag=True, help="Build the index anew from the catalog, say for another model; needs no PATH."
)
@JSON
@typed_failures
def ingest(  # noqa: PLR0913  the options of a command, each by its name
    *,
    paths: tuple[Path, ...],
    source: str | None,
    watch: bool,
    poll: bool,
    cross_mounts: bool,
    confirm_deletions: bool,
    moved: bool,
    rebuild: bool,
    as_json: bool,
) -> None:
    """Take in folders with their rights, or bring them up to date.

    Rights come from _access.yaml and NAME.access.yaml files (docs/access-files.md); a folder without any, in itself or
    above it, is shown to nobody. What did not change is neither read nor embedded again. Several folders become sources
    NAME-FOLDER.
    """
    from api.cli import ingesting

    if rebuild:
        ingesting.rebuild(settings(), as_json=as_json)
        if not paths:
            return
    if not paths or not source:
        raise click.UsageError("name at least one folder, and its source with --source NAME")
    if poll and not watch:
        raise click.UsageError("--poll is a way to watch, so it needs --watch")
    ingesting.ingest(
        settings(),
        ingesting.named(paths, source),
        confirm_deletions=confirm_deletions,
        moved=moved,
        cross_mounts=cross_mounts,
        watching="poll" if poll else "events" if watch else None,
        as_json=as_json,
    )


@kustos.command()
@click.argument("source")
@AS
@JSON
@typed_failures
def sync(source: str, who: str | None, as_json: bool) -> None:
    """Have the service that runs bring SOURCE up to date, from the folder that it was taken in from.

    For operators, and for jobs: with KUSTOS_API_KEY, a key of scope push whose account has the role operator, and with
    KUSTOS_URL from elsewhere. A new source, and every option of kustos ingest, needs the service's own machine.
    """
    from api.cli.ingesting import in_numbers, sync_known

    told = sync_known(asked(), source, who)
    if as_json:
        print_json(told)
        return
    click.echo(in_numbers(source, told))


@kustos.command()
@click.argument("text")
@AS
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="Passages at most.")
@JSON
@typed_failures
def search(text: str, who: str | None, limit: int, as_json: bool) -> None:
    """Show the passages that answer TEXT best, of those that you, or WHO, may read."""
    from api.cli.connection import checked, proof, reach

    base = asked()
    headers = proof(base, who)
    with reach(base) as client:
        found = checked(client.post("/v1/search", json={"query": text, "limit": limit}, headers=headers)).json()
    if as_json:
        print_json(found)
        return
    rows = [[each["rank"], each["title"], each["page"] or "", each["text"][:300]] for each in found["passages"]]
    print_table(f"{counted(len(rows), 'passage')} for {who or 'you'}", ("", "document", "page", "passage"), rows)


@kustos.command()
@click.argument("text")
@AS
@click.option(
    "--model", default="text-general", show_default=True, help="A name in kustos models, or extractive: quotes."
)
@JSON
@typed_failures
def ask(text: str, who: str | None, model: str, as_json: bool) -> None:
    """Answer TEXT from what you, or WHO, may read, with numbered citations."""
    from api.cli.asking import ask as put
    from api.cli.asking import print_citations
    from api.cli.connection import reach

    base = asked()
    with reach(base) as client:
        answer = put(
            client,
            base,
            text,
            who,
            model,
            on_text=None if as_json else lambda piece: out.print(piece, end="", markup=False),
        )
    if as_json:
        print_json(answer.as_json())
        return
    out.print()
    print_citations(answer)


@kustos.command()
@AS
@click.option("--refused", is_flag=True, help="Show instead what could not be read whole, and why; for operators.")
@click.option("--source", metavar="NAME", help="Only what was refused in this source.")
@JSON
@typed_failures
def documents(who: str | None, refused: bool, source: str | None, as_json: bool) -> None:
    """List the documents that you, or WHO, may read, or those that could not be read or not whole."""
    from api.cli import listing

    if refused and who:
        raise click.UsageError("give either --as WHO or --refused")
    if source and not refused:
        raise click.UsageError("--source goes with --refused")
    rows = listing.refusals(installed(), source) if refused else listing.readable(asked(), who)
    if as_json:
        print_json({"refused" if refused else "documents": rows})
        return
    columns = ("uri", "reason", "detail", "advice") if refused else ("id", "title", "source", "passages")
    what = "could not be read, or not whole" if refused else f"for {who or 'you'}"
    table = [[row[column] for column in columns] for row in rows]
    print_table(f"{counted(len(rows), 'document')} {what}", columns, table, whole=("id", "uri"))


@kustos.command()
@click.argument("document")
@click.option(
    "--as", "who", required=True, metavar="WHO", help="User name, id or subject of the person; never an e-mail address."
)
@click.option(
    "--at", type=MOMENT, help="As it was then: 2026-05-01T08:00:00Z, a day, or yesterday; UTC unless a zone is given."
)
@JSON
@typed_failures
def explain(document: str, who: str, at: datetime | None, as_json: bool) -> None:
    """Say whether WHO may read DOCUMENT (an id or an address), by which rule and through which groups.

    For operators: it tells of documents that WHO may not read, and each asking is recorded in the audit.

    \b
    kustos explain file://share/plan.txt --as anna
    kustos explain file://share/plan.txt --as anna --at 2026-05-01
    \b
    Keycloak is asked what WHO holds now. The past is answered from what the catalog noted: rights of
    the source, versions, who was in which group (docs/keycloak.md).
    """
    from api.cli.listing import explanation, in_lines

    told = explanation(installed(), document, who, at)
    if as_json:
        print_json(told)
        return
    for line in in_lines(told, who, past=at is not None):
        out.print(line, markup=False, soft_wrap=True)


@kustos.command()
@click.argument("source")
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
@typed_failures
def forget(source: str, yes: bool, as_json: bool) -> None:
    """Take SOURCE with all its documents out of catalog and index. The files themselves stay where they are.

    `kustos status` lists the sources. Nobody finds its documents from then on; the audit still names them.
    """
    from api.cli.ingesting import forget as forget_source

    if not yes:
        click.confirm(f"Forget {plain(source)} and every document that came from it?", abort=True, err=True)
    told = forget_source(installed(), source)
    if as_json:
        print_json(told)
        return
    click.echo(f"{told['source']} is forgotten, with {counted(told['items'], 'item')}")


@kustos.command()
@JSON
@typed_failures
def status(as_json: bool) -> None:
    """Show the sources: documents, passages, what was refused and what is wrong with rights."""
    from api.cli.listing import state

    told = state(installed())
    if as_json:
        print_json(told)
        return
    rows = [
        [
            each["source"],
            each["documents"],
            each["passages"],
            ", ".join(f"{number} {reason}" for reason, number in sorted(each["refused"].items())) or 0,
            each["partly_read"],
            each["without_readers"],
            on_the_clock(each["synced_at"]) or "never",
        ]
        for each in told["sources"]
    ]
    print_table(
        "Sources", ("source", "documents", "passages", "refused", "partly read", "for nobody", "last sync (UTC)"), rows
    )
    for each in told["sources"]:
        for reference, problem in each["access_problems"]:
            note(f"{each['source']}: {reference}: {problem}")
    stale = told["stale_index_last_24_hours"]
    note(f"index tasks open: {told['index_tasks_open']}; candidates the catalog refused in the last 24 hours: {stale}")


@kustos.command()
@click.option(
    "--realm",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Check this export of the Keycloak realm instead of asking Keycloak. Needs no installation.",
)
@JSON
@typed_failures
def doctor(realm: Path | None, as_json: bool) -> None:
    """Check this installation and say what to do about what is wrong. Exit status 1 if anything is.

    Where it has several tenants, every one of them is checked, unless one is named.
    """
    from api.cli.doctor import examine, examine_export, examine_tenants

    base = installation()
    if realm is None and base.tenants and not base.tenant:
        findings = examine_tenants(base)
    elif realm is not None and not is_installed(settings()):
        findings = examine_export(settings(), realm)
    else:
        findings = examine(installed(), realm)
    if as_json:
        print_json({"findings": [each.as_json() for each in findings]})
    else:
        print_table("Findings", ("check", "", "what"), [[each.check, each.state, each.detail] for each in findings])
    if any(each.state == "wrong" for each in findings):
        raise SystemExit(1)


@kustos.command()
@AS
@JSON
@typed_failures
def token(who: str | None, as_json: bool) -> None:
    """Print a short-lived token of yours, or of WHO, for use with curl or an OpenAI client."""
    from api.cli.connection import bearer, signed_in

    value = (bearer(installed(), who) if who else signed_in(settings()))["Authorization"].removeprefix("Bearer ")
    print_json({"token": value}) if as_json else click.echo(value)


@kustos.group()
def keys() -> None:
    """Make API keys for services and OpenAI clients, list them, and take them back; for operators.

    A key opens what its account may read at that moment, and never more.
    """


@keys.command("create")
@click.option(
    "--for", "who", required=True, metavar="WHO", help="User name, id or subject of the account whose rights it has."
)
@click.option(
    "--scope",
    "scopes",
    required=True,
    multiple=True,
    type=click.Choice(["query", "push", "evaluate"]),
    help="query: ask and read. push: have a known source brought up to date, for an account with the role operator. "
    "evaluate: measure, for one with the role evaluator. Can be given several times.",
)
@click.option(
    "--expires", default="90d", show_default=True, metavar="DAYS", help="How long it lives; a year (366d) at most."
)
@click.option("--name", default="", help="What it is for, in your words.")
@JSON
@typed_failures
def create_key(who: str, scopes: tuple[str, ...], expires: str, name: str, as_json: bool) -> None:
    """Make a key and print it. It is shown this once: what is kept cannot be turned back into it."""
    from api.cli.keys import create

    made, remarks = create(installed(), who, scopes, name, expires)
    for remark in remarks:
        note(remark)
    if as_json:
        print_json(made)
        return
    note(
        f"key {made['id']} for {made['subject']}, valid until {made['expires_at'][:10]}; keep it now, it is shown once"
    )
    click.echo(made["key"])


@keys.command("list")
@click.option("--for", "who", metavar="WHO", help="Only those of this account.")
@JSON
@typed_failures
def list_keys(who: str | None, as_json: bool) -> None:
    """List keys: whose, for what, until when, and when last used. The keys themselves are kept nowhere."""
    from api.cli.keys import listed

    rows = listed(installed(), who)
    if as_json:
        print_json({"keys": rows})
        return
    columns = ("id", "name", "subject", "scopes", "state", "expires (UTC)", "last used (UTC)")
    table = [
        [
            *(row[name] for name in ("id", "name", "subject")),
            ", ".join(row["scopes"]),
            row["state"],
            on_the_clock(row["expires_at"]),
            on_the_clock(row["last_used_at"]) or "never",
        ]
        for row in rows
    ]
    print_table(counted(len(rows), "API key"), columns, table, whole=("id",))


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@typed_failures
def revoke_key(key_id: str) -> None:
    """Take back the key with this ID, for good. It is refused from the next request on."""
    from api.cli.keys import revoke

    revoke(installed(), key_id)
    note(f"key {key_id} is revoked")


@kustos.command()
@typed_failures
def login() -> None:
    """Sign in as yourself, for search, ask, documents and token.

    \b
    Prints an address, and a code that is in it. Open the address in any browser, on this machine or
    another, and sign in as usual. Confirm only what you have begun yourself. Then:
      kustos ask "How much may a hotel cost?"     what you may read, at this moment
      kustos token                                a token for curl or an OpenAI client
      kustos logout                               when you are done

    KUSTOS_ISSUER names your identity provider, KUSTOS_URL a service that is elsewhere. What proves who you are is kept
    in ~/.config/kustos/sign-in, which only you can read, and is renewed by itself as long as you use it.
    """
    from api.cli.signed_in import SignedIn

    person = SignedIn.at(settings())

    def show(device: Device) -> None:
        err.print("To sign in, open", plain(device.address_with_code), markup=False, soft_wrap=True)
        err.print(f"Where a code is asked for, it is {plain(device.user_code)}", markup=False)
        note(f"Waiting for you, {device.expires_in // 60} minutes at most. Ctrl-C gives up.")

    name = person.sign_in(show)
    note(f"Signed in as {name}." if name else "Signed in.")


@kustos.command()
@typed_failures
def logout() -> None:
    """Sign out: revoke the tokens of kustos login at the identity provider, and forget them here.

    Whoever is signed in in a browser stays so.
    """
    from api.cli.signed_in import SignedIn

    note("Signed out." if SignedIn.at(settings()).sign_out() else "You were not signed in.")


@kustos.command()
@JSON
@typed_failures
def models(as_json: bool) -> None:
    """List the models: what runs behind each name, whether it is here, and the command that fetches it."""
    from rag.models.inventory import inventory

    rows = [each.as_json() for each in inventory(settings())]
    if as_json:
        print_json({"models": rows})
        return
    columns = ("name", "kind", "runtime", "available", "languages", "licence", "fetch")
    shown = [row | {"available": "yes" if row["available"] else "no"} for row in rows]
    table = [[row[column] for column in columns] for row in shown]
    print_table("Models", columns, table, whole=("name", "fetch"))


@kustos.command()
@click.option("--once", is_flag=True, envvar="ONCE", help="Stop after the answers instead of serving.")
@click.option(
    "--examples",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("examples"),
    show_default=True,
    help="Folder of the sample company.",
)
@typed_failures
def demo(once: bool, examples: Path) -> None:
    """Set up the sample company, ask its questions as three people, then serve.

    This starts the demo issuer for this home: whoever reaches this machine's loopback can then sign in as any sample
    account. So a home that holds other documents is refused; take none into it later.
    """
    from api.cli.demo import run

    run(settings(), examples)
    if once:
        return
    from api.service import serve as serve_now

    base = settings()
    err.print(f"\nSign in at [bold]http://{base.host}:{base.port}[/] as one of the sample accounts,")
    err.print("or take a token for curl or an OpenAI client: .venv/bin/kustos token --as WHO")
    serve_now(base)
