"""Takes in folders: through the service that holds the index, or as that service."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import click
import httpx

from api.cli.connection import SYNC_TIMEOUT_S, checked, connect, events, operator, proof, reach
from api.cli.output import INTERRUPTED_STATUS, Tell, counted, is_utf8, note, plain, print_json, progress_bar
from api.routes.ingest import SOURCE_NAME
from connectors.base import Connector
from rag.errors import BadInput, KustosError, ModelUnavailable, SourceUnavailable, StoreUnavailable, Unavailable
from rag.settings import Settings

Source = tuple[str, Path]
INTERRUPTED = "stopped; what is taken in stays, and a service that ran already goes on"


def named(paths: Sequence[Path], source: str) -> list[Source]:
    """Source names for folders: NAME for one, NAME-FOLDER for several.

    Raises:
        click.UsageError: a name that the service would not take, or one for two folders, or a folder whose own path is
            not UTF-8 (names inside it may be anything).
    """
    if foreign := [path for path in paths if not is_utf8(str(path.resolve()))]:
        raise click.UsageError(f"the path {str(foreign[0].resolve())!a} is not UTF-8; rename that folder")
    names = [source] if len(paths) == 1 else [f"{source}-{path.resolve().name}" for path in paths]
    if unusable := [name for name in names if not re.fullmatch(SOURCE_NAME, name)]:
        raise click.UsageError(
            f"{unusable[0]!r} cannot be the name of a source; use up to 100 letters (a-z), digits, '.', '_' and '-'"
        )
    if len(set(names)) < len(names):
        raise click.UsageError("two of the folders have the same name; take them in one by one, each with its --source")
    return list(zip(names, (path.resolve() for path in paths), strict=True))


def ingest(
    settings: Settings,
    sources: Sequence[Source],
    *,
    confirm_deletions: bool,
    moved: bool,
    cross_mounts: bool,
    watching: Literal["events", "poll"] | None,
    as_json: bool,
) -> None:
    """One sync of each source, with progress on stderr and the reports on stdout. `watching` goes on with changes.

    Raises:
        KustosError: the first sync that failed; what was committed before stays.
        SystemExit: Ctrl-C or SIGTERM, outside of watching; likewise.
    """
    with connect(settings) as client:
        take_in = partial(sync, client, settings, cross_mounts=cross_mounts)
        try:
            _print(
                [take_in(*each, confirm_deletions=confirm_deletions, moved=moved) for each in sources], as_json=as_json
            )
        except KeyboardInterrupt:
            note(INTERRUPTED)
            raise SystemExit(INTERRUPTED_STATUS) from None
        if watching:
            _watch(settings, sources, take_in, poll=watching == "poll", as_json=as_json)


def sync(
    client: httpx.Client,
    settings: Settings,
    name: str,
    path: Path,
    *,
    confirm_deletions: bool = False,
    moved: bool = False,
    cross_mounts: bool = False,
) -> dict[str, Any]:
    """The report of one sync, see `ingest.pipeline.SyncReport`.

    Raises:
        KustosError: it failed; the message says why.
        Unavailable: the service ended before it had reported.
    """
    body = {
        "source": name,
        "path": str(path),
        "confirm_deletions": confirm_deletions,
        "moved": moved,
        "cross_mounts": cross_mounts,
    }
    with (
        client.stream(
            "POST", "/v1/operator/ingest", json=body, headers=operator(settings), timeout=SYNC_TIMEOUT_S
        ) as response,
        progress_bar(name) as advance,
    ):
        return _report(response, name, advance)


def sync_known(settings: Settings, name: str, who: str | None) -> dict[str, Any]:
    """What a sync of a source that was brought in before has done, in numbers. Asked with `proof`.

    Raises:
        NotFound: there is no such source.
        KustosError: it failed.
        Unavailable: the service ended before it had reported.
    """
    headers, address = proof(settings, who), f"/v1/operator/sources/{quote(name, safe='')}/sync"
    with (
        reach(settings) as client,
        client.stream("POST", address, headers=headers, timeout=SYNC_TIMEOUT_S) as response,
    ):
        return _report(response, name, lambda _: None)


def _report(response: httpx.Response, name: str, tell: Tell) -> dict[str, Any]:
    """The report at the end of what a sync tells."""
    for event in events(checked(response)):
        tell(event)
        if event["event"] == "failed":
            raise _failure(event)
        if event["event"] == "done":
            report: dict[str, Any] = event["report"]
            return report
    raise Unavailable(f"the sync of {name} broke off without a word; what it committed stays. Run it again")


def forget(settings: Settings, source: str) -> dict[str, Any]:
    """Takes a source out of catalog and index. Returns its name and how many items it had.

    Raises:
        NotFound: there is no such source.
        KustosError: it failed; a second attempt removes what is left.
    """
    with connect(settings) as client:
        address = f"/v1/operator/sources/{quote(source, safe='')}"
        told: dict[str, Any] = checked(client.delete(address, headers=operator(settings))).json()
        return told


def _watch(
    settings: Settings,
    sources: Sequence[Source],
    take_in: Callable[[str, Path], dict[str, Any]],
    *,
    poll: bool,
    as_json: bool,
) -> None:
    from api.cli.watching import watch
    from ingest.bootstrap import filesystem_source

    paths = dict(sources)

    def tell(connector: Connector) -> None:
        _print([take_in(connector.source, paths[connector.source])], as_json=as_json)

    note(f"watching {', '.join(map(str, paths.values()))}; stop with Ctrl-C")
    watch([filesystem_source(settings, *each, poll=poll) for each in sources], tell, threading.Event())


def _print(reports: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json({"sources": reports})
        return
    for report in reports:
        click.echo(summary(report))


def _failure(event: dict[str, Any]) -> KustosError:
    """A failed sync as the error that it was in the service."""
    kinds = (BadInput, Unavailable, SourceUnavailable, ModelUnavailable, StoreUnavailable)
    kind = next((each for each in kinds if each.code == event["code"]), KustosError)
    return kind(event["message"])


def rebuild(settings: Settings, *, as_json: bool) -> None:
    """Fills an index of the configured model from the catalog, then removes the old one.

    Raises:
        StoreUnavailable: a service of this home has the embedded index open, or somebody is writing; stop it first.
    """
    from ingest.bootstrap import rebuild as rebuild_now

    with progress_bar("catalog") as advance:
        rebuilt = rebuild_now(
            settings,
            on_total=lambda total: advance({"event": "chunked", "chunks": total}),
            on_embedded=lambda done: advance({"event": "embedded", "chunks": done}),
        )
    if as_json:
        print_json({**asdict(rebuilt), "model": settings.embedder})
        return
    click.echo(f"{rebuilt.passages} passages embedded with {settings.embedder}")
    for problem in rebuilt.left_behind:
        note(f"left behind: {problem}; the next rebuild tries again")
    if settings.qdrant_url:
        note("services that were running answer 503 until they are started again")


def in_numbers(source: str, told: dict[str, Any]) -> str:
    """What `sync_known` tells in one line, for people; nothing of what did not happen."""
    counts = [f"{name.replace('_', ' ')} {number}" for name, number in told.items() if number and name != "seconds"]
    took = f"{told['seconds']:.1f} s"
    return f"{source}: {', '.join([*counts, took])}"


def summary(report: dict[str, Any]) -> str:
    """One sync in a few lines, for people."""
    inside = f" with {report['inside']} inside them" if report["inside"] else ""
    still = f", {report['still_refused']} still refused" if report["still_refused"] else ""
    lines = [
        f"{report['source']}: {counted(report['listed'], 'file')}: {report['unchanged']} unchanged{still}, "
        f"{report['written'] - report['inside']} taken in{inside}, "
        f"{len(report['refused'])} refused, {report['deleted']} deleted; "
        f"{counted(report['embedded'], 'passage')} embedded, "
        f"rights of {counted(report['rights_changed'], 'place')} changed, {report['seconds']:.1f} s"
    ]
    lines += [f"  refused   {plain(uri)}: {plain(reason)}" for uri, reason in sorted(report["refused"])]
    lines += [f"  in part   {plain(uri)}: {plain(unread)}" for uri, unread in sorted(report["partly_read"])]
    if report["still_refused"] or report["refused"]:
        lines.append("  `kustos documents --refused` lists what cannot be read, and why")
    lines += [f"  put off   {plain(uri)}: it changed while it was read" for uri in report["deferred"]]
    lines += [f"  problem   {plain(each['where'])}: {plain(each['detail'])}" for each in report["problems"]]
    if report["unavailable"]:
        lines.append(
            f"  {counted(report['unavailable'], 'document')} cannot be listed now; nobody sees them until they can"
        )
    if report["unconfirmed"]:
        lines.append(f"  {counted(report['unconfirmed'], 'document')} missing; if that is right: --confirm-deletions")
    return "\n".join(lines)
