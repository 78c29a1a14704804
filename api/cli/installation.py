"""What the commands begin with: the settings, and the installation that they are about."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rag.settings import Settings

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
DAYS = {"today": timedelta(), "yesterday": timedelta(days=1)}
AS_HELP = "Sample account of the demo to ask as, instead of the person who has signed in (kustos login)."
AS = click.option("--as", "who", metavar="WHO", help=AS_HELP)


def settings() -> Settings:
    """Settings of the one tenant that the command is for.

    Raises:
        Misconfigured: one of them cannot be used, or there are several tenants and none is named.
    """
    from rag.tenants import the_tenant

    return the_tenant(installation())


def installation() -> Settings:
    """Settings from the environment and the option --tenant, read once per command; those of all tenants if it has any.

    Raises:
        Misconfigured: one of them cannot be used.
    """
    from rag.errors import Misconfigured
    from rag.settings import PREFIX, Settings

    context = click.get_current_context(silent=True)
    named = context.find_root().params.get("tenant") if context else None
    base = Settings.from_mapping({**os.environ, f"{PREFIX}TENANT": named} if named else os.environ)
    try:
        base.home.exists()
    except OSError as error:  # its name is too long, or a folder above it is closed to this user
        raise Misconfigured(
            f"the home folder {base.home} cannot be reached ({error.strerror}); see KUSTOS_HOME"
        ) from error
    return base


def installed() -> Settings:
    """Settings of an installation that is there already: only serve, ingest and demo begin one.

    Raises:
        Misconfigured: there is none, probably because the command runs in another folder; or as `refuse_closed`.
    """
    from rag.errors import Misconfigured

    base = settings()
    if is_installed(base):
        return base
    raise Misconfigured(
        f"there is no Kustos installation in {base.home.absolute()}; say where it is with KUSTOS_HOME, "
        "or begin one with: kustos ingest FOLDER --source NAME (or kustos demo)"
    )


def is_installed(base: Settings) -> bool:
    """Whether these settings are of an installation that is there already.

    Raises:
        Misconfigured: as `refuse_closed`.
    """
    from rag.home import refuse_closed

    refuse_closed(base.home)
    return base.home.is_dir() and (bool(base.catalog_url) or (base.home / "catalog.db").exists())


def asked() -> Settings:
    """Settings for a command that asks a service: one elsewhere, or that of an installation here.

    Raises:
        Misconfigured: there is neither.
    """
    base = settings()
    return base if base.url else installed()


class Moment(click.ParamType[datetime]):
    """A day or a time in ISO 8601, today or yesterday; UTC where it has no zone."""

    name = "TIME"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        if value in DAYS:
            return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - DAYS[value]
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; write 2026-05-01, 2026-05-01T08:00:00Z, today or yesterday", param, ctx)
        return read if read.tzinfo else read.replace(tzinfo=UTC)


MOMENT = Moment()
