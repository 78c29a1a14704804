"""Checks of an installation. Each says what it found and, where something is wrong, what to do."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from api.cli.connection import checked, operator, running_service
from api.cli.output import counted
from api.cli.signed_in import SignedIn
from api.keycloak_realm.administration import RealmReader, ServiceClientRefused
from api.keycloak_realm.check import Realm, everybody, faults, led_elsewhere, read_export
from api.keycloak_realm.standing import open_provider
from api.sign_in.sessions import CALLBACK, open_sessions, page_origin
from api.tokens.auth import ALGORITHMS
from api.tokens.demo_issuer import DemoIssuer
from api.tokens.issuers import issuer_named, open_identity, usable_keys
from ingest.bootstrap import open_pool
from rag.bootstrap import Records, open_kustos, open_records
from rag.errors import KustosError, Misconfigured, NotAllowed, NotAuthenticated, Unavailable
from rag.home import refuse_closed
from rag.models.inventory import inventory
from rag.removal import is_there
from rag.settings import Settings
from rag.tenants import read_tenants

NOBODY = "nobody can sign in yet: set KUSTOS_ISSUER, KUSTOS_JWKS_URL and KUSTOS_REALM (docs/keycloak.md)"
UNCHECKED = (
    "the realm was not checked: {reason}; give the service client view-realm and view-clients for as long as this "
    "takes, or check an export with: kustos doctor --realm FILE (docs/keycloak.md). Whoever signs in with "
    "kustos login has his token tried"
)
ANOTHER_ISSUER = (
    "the realm that KUSTOS_JWKS_URL belongs to calls itself {named} in its tokens, so every token is refused: set "
    "KUSTOS_ISSUER={named} in place of {ours}. If people do reach it under the latter, set Keycloak's hostname to it: "
    "it names itself by the address that it is asked at, and Kustos asks {jwks}"
)
NOTHING_ELSE = "there is no Kustos installation in {home}, so nothing but the export was checked"
MEND = "compare KUSTOS_AUDIENCE and KUSTOS_CLIENTS with the realm (docs/keycloak.md)"
PATIENCE_S = 10.0  # with a service that runs and does not answer
State = Literal["good", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    state: State
    detail: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def examine(settings: Settings, export: Path | None = None) -> list[Finding]:
    """Every check, in the order in which a person would repair. With an `export` of the realm Keycloak is not asked.

    One cause is told once: what several checks find alike, and that Keycloak does not answer.
    """
    realm = partial(_realm, export=export)
    of_keycloak = {_sign_in, _page, _clock} if export else {_sign_in, _page, realm, _clock}
    silent, found = False, list[Finding]()
    for check in (*HERE, _identity, _sign_in, _page, realm, _clock, _directory, _demo):
        if silent and check in of_keycloak:
            continue
        try:
            found += check(settings)
        except KustosError as error:
            found.append(Finding(_name(check), "wrong", str(error)))
            silent = silent or (check is _identity and isinstance(error, Unavailable))
    once: dict[str, Finding] = {}
    for each in found:
        once.setdefault(each.detail, each)
    return list(once.values())


def examine_export(settings: Settings, export: Path) -> list[Finding]:
    """What there is to say of an exported realm before there is an installation, and none is begun.

    Raises:
        Misconfigured: the file holds no realm.
    """
    realm = read_export(export)
    found = _judged(settings, realm, list(_of_configuration(settings, realm)))
    return [*found, Finding("home", "note", NOTHING_ELSE.format(home=settings.home.absolute()))]


def examine_tenants(base: Settings) -> list[Finding]:
    """As `examine`, of every tenant of the installation, each finding under his name.

    Raises:
        Misconfigured: the file of tenants is wrong.
    """
    return [
        replace(each, check=f"{name}: {each.check}")
        for name, settings in read_tenants(base).items()
        for each in _of_tenant(settings)
    ]


def _of_tenant(settings: Settings) -> Iterable[Finding]:
    try:
        refuse_closed(settings.home)
    except Misconfigured as error:
        return [Finding("home", "wrong", str(error))]
    try:
        return examine(settings) if is_there(settings) else list(_before_the_first(settings))
    except KustosError as error:  # a catalog that several share
        return [Finding("catalog", "wrong", str(error))]


def _before_the_first(settings: Settings) -> Iterator[Finding]:
    yield Finding("home", "note", f"nothing has been taken in yet: kustos --tenant {settings.tenant} ingest PATH")
    try:
        yield from _identity(settings)
    except KustosError as error:
        yield Finding("identity", "wrong", str(error))


def _name(check: Callable[[Settings], Iterator[Finding]]) -> str:
    made_of = check.func if isinstance(check, partial) else check
    return made_of.__name__.strip("_").replace("_", "-")


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.home.absolute()
    if stat.S_IMODE(home.stat().st_mode) & 0o077:
        yield Finding("home", "wrong", f"others can look into {home}; run: chmod 700 {shlex.quote(str(home))}")
    else:
        yield Finding("home", "good", f"{home} is private")


def _catalog(settings: Settings) -> Iterator[Finding]:
    records = open_records(settings)
    lag = records.status.open_tasks()
    yield Finding(
        "catalog", "good", f"{counted(records.status.passages(), 'passage')}, {counted(lag, 'index task')} open"
    )


def _models(settings: Settings) -> Iterator[Finding]:
    for model in inventory(settings):
        if model.name == settings.embedder and not model.available:
            yield Finding(
                "models", "wrong", f"the embedding model {model.name} is not here; fetch it with: {model.fetch}"
            )
    here = [model.name for model in inventory(settings) if model.available]
    generating = "text-general" in here
    yield Finding("models", "good" if generating else "note", f"available: {', '.join(here) or 'none'}")
    if not generating:
        yield Finding("models", "note", "no chat model: answers quote the best sentences instead of writing")


def _parsers(settings: Settings) -> Iterator[Finding]:
    """Reads a line in a parser process, and asks what holds one on this machine."""
    with open_pool(settings) as pool:
        pool.parse(b"Kustos", "doctor.txt")
        measures = pool.measures()
    for sentence in measures.missing():
        yield Finding("parsers", "note", sentence)
    if measures.missing():
        yield Finding(
            "parsers", "note", "documents from strangers are safer on a kernel or in a container that allows it"
        )
    else:
        yield Finding("parsers", "good", "no network, no files, no programs, no rights beyond reading one document")


def _index(settings: Settings) -> Iterator[Finding]:
    service = running_service(settings, PATIENCE_S)
    if service is None:
        yield _opened_index(settings)
        return
    with closing(service):
        told = checked(service.get("/v1/operator/status", headers=operator(settings))).json()
    yield _compared(told["index_points"], told["passages"], told["index_tasks_open"])


def _opened_index(settings: Settings) -> Finding:
    """Opens the index as a service would; where none has begun, none is created."""
    records = open_records(settings)
    if records.indexes.live() is None and not records.status.passages():
        return Finding("index", "note", "nothing has been taken in yet")
    kustos = open_kustos(settings)
    try:
        return _compared(kustos.points(), records.status.passages(), records.status.open_tasks())
    finally:
        kustos.close()


def _compared(points: int, passages: int, tasks: int) -> Finding:
    if points == passages:
        return Finding("index", "good", f"{counted(points, 'point')}, one for every passage")
    detail = f"{counted(points, 'point')} for {counted(passages, 'passage')}"
    if tasks:
        return Finding(
            "index", "note", f"{detail}; {counted(tasks, 'index task')} open, which the next ingest completes"
        )
    return Finding("index", "wrong", f"{detail}; run: kustos ingest --rebuild")


def _sources(settings: Settings) -> Iterator[Finding]:
    for source in open_records(settings).status.sources():
        for reference, problem in source.access_problems:
            yield Finding("rights", "wrong", f"{source.source}, {reference}: {problem}")
        if source.without_readers:
            yield Finding(
                "rights", "note", f"{source.source}: {counted(source.without_readers, 'document')} for nobody"
            )


HERE = (_home, _catalog, _models, _parsers, _index, _sources)
"""What is checked without Keycloak."""


def _identity(settings: Settings) -> Iterator[Finding]:
    if not settings.issuer:
        if DemoIssuer.load(settings.home) is None:
            yield Finding("identity", "note", NOBODY)
        return
    usable = usable_keys(settings)
    if not usable:
        yield Finding(
            "identity",
            "wrong",
            f"none of the keys at {settings.jwks_url} can be used; sign access tokens with {', '.join(ALGORITHMS)}",
        )
    named = issuer_named(settings)
    if named != settings.issuer:
        yield Finding(
            "identity", "wrong", ANOTHER_ISSUER.format(named=named, jwks=settings.jwks_url, ours=settings.issuer)
        )
    elif usable:
        yield Finding("identity", "good", f"usable keys of {settings.issuer}: {usable}")


def _sign_in(settings: Settings) -> Iterator[Finding]:
    """Whether the service would admit whoever has signed in on this command line."""
    try:
        token = SignedIn.at(settings).token()
    except (Misconfigured, NotAuthenticated):
        return  # nobody has, and `kustos login` says why nobody can
    try:
        open_identity(settings, None).caller(token)
    except NotAuthenticated as error:
        yield Finding("sign-in", "wrong", f"your own sign-in is not accepted: {error}; {MEND}")
    else:
        yield Finding("sign-in", "good", "your own sign-in is accepted")


def _clock(settings: Settings) -> Iterator[Finding]:
    """Whether tokens bear how far this machine's clock is from Keycloak's; silence is told elsewhere."""
    provider = open_provider(settings)
    if provider and provider.answers(PATIENCE_S) and provider.wrong_clock:
        yield Finding("clock", "wrong", provider.wrong_clock)


def _page(settings: Settings) -> Iterator[Finding]:
    """Whether the page's own address and secret are right, so that people can sign in there."""
    sessions = open_sessions(settings, open_identity(settings, None), open_records(settings).sessions)
    if sessions is not None:
        sessions.check()
        accepted = f"Keycloak accepts {settings.page_client} and its secret"
        yield Finding("page", "good", f"{accepted}; whether people reach the page at {sessions.url} is not tried")
    elif settings.issuer:
        yield Finding("page", "note", "nobody signs in at the page: set KUSTOS_PAGE_SECRET (docs/keycloak.md)")


def _realm(settings: Settings, export: Path | None) -> Iterator[Finding]:
    """What the realm's own configuration lacks or allows too much."""
    if export is not None:
        yield from _examined(settings, read_export(export))
    elif settings.issuer and not settings.service_secret:
        yield Finding("realm", "note", UNCHECKED.format(reason="KUSTOS_SERVICE_SECRET is not set"))
    elif settings.issuer:
        try:
            yield from _examined(settings, RealmReader.of(settings).realm())
        except ServiceClientRefused as error:
            yield Finding("realm", "wrong", str(error))
        except NotAllowed as error:
            yield Finding("realm", "note", UNCHECKED.format(reason=error))


def _examined(settings: Settings, realm: Realm) -> Iterator[Finding]:
    found = list(_of_configuration(settings, realm))
    of_all = everybody(realm, settings.audience, _accepted(settings), settings.realm)
    for principal, number in sorted(open_records(settings).status.documents_allowing(of_all).items()):
        found.append(
            Finding(
                "realm", "wrong", f"{counted(number, 'document')} for {principal}, which every account of the realm has"
            )
        )
    yield from _judged(settings, realm, found)


def _of_configuration(settings: Settings, realm: Realm) -> Iterator[Finding]:
    """What can be said of the realm without a catalog."""
    for each in faults(realm, settings.audience, _accepted(settings)):
        yield Finding("realm", each.state, each.detail)
    if settings.page_secret or settings.page_url != Settings().page_url:
        try:
            page = page_origin(settings)
        except Misconfigured as error:  # no address to lead back to
            yield Finding("page", "wrong", str(error))
            return
        issuer = urlsplit(settings.issuer)
        keycloak = f"{issuer.scheme}://{issuer.netloc}" if issuer.netloc else ""
        for each in led_elsewhere(realm, settings.page_client, page, CALLBACK, keycloak):
            yield Finding("realm", each.state, each.detail)


def _judged(settings: Settings, realm: Realm, found: list[Finding]) -> Iterator[Finding]:
    yield from found
    if not any(each.state == "wrong" for each in found):
        clients = ", ".join(sorted(_accepted(settings)))
        yield Finding("realm", "good", f"{realm.get('realm')} gives {clients} what Kustos needs")


def _accepted(settings: Settings) -> frozenset[str]:
    """The clients whose tokens are accepted."""
    return frozenset(settings.clients or {settings.audience})


def _directory(settings: Settings) -> Iterator[Finding]:
    """How far the groups of the realm are known, and which paths no longer mean what they say."""
    if not settings.issuer:
        return
    records = open_records(settings)
    followed = records.realm.followed()
    if followed is None:
        yield Finding(
            "directory",
            "note",
            "Keycloak's groups have not been read yet; kustos serve does, and so does: kustos directory sync",
        )
        return
    drifts = records.realm.tree().drifts()
    for drift in drifts:
        if drift.taken_by or drift.now is None:
            yield Finding(
                "directory",
                "note",
                f"rights for {drift.path} are not for the group that is called so now; "
                f"if they should be: kustos directory rebind {shlex.quote(drift.path)}",
            )
    yield from _named_in_vain(records, settings.realm)
    state: State = "note" if datetime.now(UTC) - followed.followed_at > timedelta(hours=1) else "good"
    yield Finding("directory", state, f"followed Keycloak until {followed.followed_at.isoformat(timespec='seconds')}")


def _named_in_vain(records: Records, realm: str) -> Iterator[Finding]:
    """Rights for groups that the realm does not have: they open and deny nothing, and a typo looks like them."""
    tree = records.realm.tree()
    for principal, number in sorted(records.status.documents_naming().items()):
        if why := tree.why_in_vain(realm, principal):
            named = f"{counted(number, 'document')} with rights for {principal}, which {why}"
            yield Finding("directory", "note", named)


def _demo(settings: Settings) -> Iterator[Finding]:
    if DemoIssuer.load(settings.home) is None:
        return
    if settings.issuer:
        yield Finding("demo", "wrong", "the demo issuer and a real one share this home; remove demo.json from it")
    else:
        yield Finding("demo", "note", "sample accounts can sign in without a password; never with real documents")
