"""The companies that share an installation: what the file KUSTOS_TENANTS says of each, and what settings come of it.

A tenant is a table of that file, under its name, with settings in small letters and without their prefix. What makes
the wall between tenants is never inherited: whose tokens count, where the page is, the secrets, the home folder and all
that lies in it (index, keys, and the catalog where it is a file). The rest is the installation's unless the table says
otherwise. An issuer, its keys, a realm or the host of a page that two tenants had in common would be a door between
them, so that is refused.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from rag.errors import Misconfigured
from rag.settings import PREFIX, Settings, typed

FOLDER = "tenants"
"""Of the installation's home: one folder in it is the home of each tenant."""
MAX_BYTES = 1_000_000
SECRETS = ("page_secret", "service_secret", "audit_key")
OWN = ("issuer", "jwks_url", "realm", "page_url", *SECRETS)
"""Of one tenant, or of none: the installation has no value for these that a tenant could fall back on."""
GIVEN = (
    "issuer",
    "audience",
    "clients",
    "jwks_url",
    "realm",
    "page_url",
    "page_client",
    "page_secret",
    "service_client",
    "service_secret",
    "freshness_s",
    "directory_interval_s",
    "history_days",
    "requests_per_subject",
    "requests_per_key",
    "failures_per_address",
    "chat_model",
    "languages",
    "max_document_bytes",
    "parse_timeout_s",
    "pdf_reader",
    "ocr",
    "ocr_pages",
    "audit_key",
    "audit_names_days",
    "audit_days",
    "audit_prune_days",
    "audit_text",
    "audit_syslog",
    "break_glass_hours",
)
"""What a table may say."""
NEEDED = ("issuer", "jwks_url", "realm", "service_secret")
NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")
"""Names become folders, collections and parts of ids, and are read by people: so nothing but what looks like itself."""


def read_tenants(base: Settings) -> Mapping[str, Settings]:
    """The settings of each tenant of the installation `base`, by name in the order of the file.

    Raises:
        Misconfigured: the file cannot be read or others can, or what it says is wrong, or two tenants would meet.
    """
    for name in OWN:
        if getattr(base, name) not in ("", getattr(Settings(), name)):
            raise Misconfigured(
                f"{PREFIX}{name.upper()} is of one tenant; beside KUSTOS_TENANTS it stands in {base.tenants}, "
                f"as {name} under the tenant's name"
            )
    path = Path(base.tenants)
    tables = _parsed(path)
    found = {name: _settings(base, path, name, table) for name, table in tables.items()}
    if not found:
        raise Misconfigured(f"{path} names no tenant; docs/tenants.md shows how to")
    _refuse_doors_between(found, path)
    return found


def the_tenant(base: Settings) -> Settings:
    """The settings of the one tenant that `base` names; `base` itself in an installation without a file of them.

    Raises:
        Misconfigured: it names none, or one that the file does not have, or the file is wrong.
    """
    if not base.tenants:
        return base
    tenants = read_tenants(base)
    if not base.tenant:
        raise Misconfigured(f"say for which tenant, with kustos --tenant NAME or KUSTOS_TENANT: {', '.join(tenants)}")
    if base.tenant not in tenants:
        raise Misconfigured(f"{base.tenants} has no tenant {base.tenant!r}; it has {', '.join(tenants)}")
    return tenants[base.tenant]


def home_of(base: Settings, name: str) -> Path:
    """The home folder of a tenant, whether the file still names him or not.

    Raises:
        Misconfigured: this can be no tenant's name.
    """
    if not NAME.fullmatch(name):
        raise Misconfigured(
            f"{name!r} cannot be the name of a tenant; use up to 40 small letters (a-z), digits and '-', a letter first"
        )
    return base.home / FOLDER / name


def bare(base: Settings, name: str) -> Settings:
    """Settings of a tenant whom no table describes: where his documents are, and nobody who could ask for them."""
    defaults = {each: getattr(Settings(), each) for each in OWN} | {"page_url": "", "public_name": ""}
    return replace(base, tenant=name, tenants="", home=home_of(base, name), **defaults)


def page_host(settings: Settings) -> str:
    """The host name of the tenant's page, in small letters; empty where it has none.

    A name without its port, because browsers send cookies to every port of a host.
    """
    try:
        name = (urlsplit(settings.page_url).hostname or "").removesuffix(".")
    except ValueError:  # brackets that hold no address
        return ""
    return f"[{name}]" if ":" in name else name


def _settings(base: Settings, path: Path, name: str, table: object) -> Settings:
    where = f"{path}: [{name}]"
    if not isinstance(table, dict):
        raise Misconfigured(f"{path}: {name!r} stands outside of any tenant; begin a tenant with a line [NAME]")
    if unknown := sorted(set(table) - set(GIVEN)):
        raise Misconfigured(
            f"{where}: {unknown[0]!r} is not a setting that tenants differ in; these are {', '.join(GIVEN)}"
        )
    values = {key: typed(f"{where}: {key}", key, value) for key, value in table.items()}
    if missing := [each for each in NEEDED if not values.get(each)]:
        raise Misconfigured(f"{where}: {missing[0]} is missing")
    found: Settings = replace(bare(base, name), **values)  # type: ignore[arg-type]
    if not found.page_url.isascii() or (found.page_url and not page_host(found)):
        raise Misconfigured(f"{where}: page_url must be https://NAME in ASCII, as browsers show it (xn--...)")
    if found.page_secret and not found.page_url:
        raise Misconfigured(f"{where}: page_url is missing: people sign in there with page_secret")
    return replace(found, public_name=page_host(found))


def _parsed(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as file:
            about, data = os.fstat(file.fileno()), file.read(MAX_BYTES + 1)
        tables = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise Misconfigured(f"KUSTOS_TENANTS={path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # of UTF-8 or TOML; the message names line and column, and repeats no value
        raise Misconfigured(f"KUSTOS_TENANTS={path} is not TOML in UTF-8: {error}") from error
    if len(data) > MAX_BYTES:
        raise Misconfigured(f"KUSTOS_TENANTS={path} is larger than {MAX_BYTES} bytes")
    _refuse_open(path, stat.S_IMODE(about.st_mode), tables)
    return tables


def _refuse_open(path: Path, mode: int, tables: Mapping[str, object]) -> None:
    """Who can write the file decides who is believed; who can read its secrets is Kustos for Keycloak."""
    secret = any(isinstance(table, dict) and not set(SECRETS).isdisjoint(table) for table in tables.values())
    if mode & 0o022 or (secret and mode & 0o004):
        raise Misconfigured(
            f"KUSTOS_TENANTS={path} decides who is believed and holds secrets, and others than its owner can "
            f"{'write' if mode & 0o022 else 'read'} it; run: chmod 600 {shlex.quote(str(path))}"
        )


def _refuse_doors_between(tenants: Mapping[str, Settings], path: Path) -> None:
    distinct: Mapping[str, Callable[[Settings], str]] = {
        "issuer": lambda each: _alike(each.issuer.rstrip("/")),
        "jwks_url": lambda each: _alike(each.jwks_url),
        "realm": lambda each: _alike(each.realm),
        "host of page_url": page_host,
    }
    for what, of in distinct.items():
        taken: dict[str, str] = {}
        for name, settings in tenants.items():
            value = of(settings)
            if value and value in taken:
                raise Misconfigured(f"{path}: [{taken[value]}] and [{name}] have the same {what}; each needs its own")
            taken[value] = name


def _alike(text: str) -> str:
    """Equal for texts that people may take for each other, as far as Unicode knows."""
    return unicodedata.normalize("NFKC", text).casefold()
