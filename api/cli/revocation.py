"""`kustos eval revocation`: takes things away from people of a real Keycloak, and asks how long they still read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from api.cli.output import note, print_json, typed_failures
from rag.access import principals

if TYPE_CHECKING:
    import httpx

    from api.keycloak_realm.trial_realm import Person, TrialRealm
    from eval.revocation import Bound, Removal
    from rag.bootstrap import Records
    from rag.settings import Settings

SOURCE = "trial"
TEXT = "Whoever reads this has the right to."
ACCESS = "kustos_access: 1\nrealm: {realm}\nallow: [{allow}]\n"
REALM_FILE = Path("deploy/keycloak/realm-kustos.json")


@click.command()
@click.option(
    "--keycloak",
    envvar="KEYCLOAK_URL",
    show_envvar=True,
    required=True,
    metavar="URL",
    help="A Keycloak that may get a realm for the time of this.",
)
@click.option("--administrator", default="admin", show_default=True, help="Its administrator, of the realm master.")
@click.option(
    "--password", envvar="KEYCLOAK_ADMIN_PASSWORD", show_envvar=True, required=True, help="Password of that account."
)
@click.option(
    "--realm",
    "export",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=REALM_FILE,
    show_default=True,
    help="What the realm is made from.",
)
@click.option("--times", type=click.IntRange(2, 1_000), default=100, show_default=True, help="Removals of each kind.")
@click.option(
    "--freshness",
    "ages",
    type=click.FloatRange(0, 60),
    multiple=True,
    default=(0.0, 30.0),
    show_default=True,
    help="KUSTOS_FRESHNESS_S; may be given several times.",
)
@click.option(
    "--write",
    "page",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put the table into this page, docs/revocation.md.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.pass_obj
@typed_failures
def revocation(  # noqa: PLR0913  one parameter for each option
    settings: Callable[[], Settings],
    *,
    keycloak: str,
    administrator: str,
    password: str,
    export: Path,
    times: int,
    ages: Sequence[float],
    page: Path | None,
    as_json: bool,
) -> None:
    """Measure how long something that was taken away may still be read.

    Makes a realm with people of its own on a Keycloak, and a service with documents of its own in a temporary folder.
    Then it takes from one person after the other: the right at the source, his API key, a group, a role, a part of a
    composite role, the key that signed his token, the session and the account. It measures from when the removal
    has returned until the first request that obeys is answered. Both are removed afterwards.
    """
    from api.keycloak_realm.trial_realm import Administrator, trial_realm
    from eval.revocation import circumstances, table, write

    with (
        closing(Administrator(keycloak, administrator, password)) as admin,
        trial_realm(admin, export, times * len(ages)) as realm,
    ):
        bounds = [
            bound
            for at, age in enumerate(ages)
            for bound in _bounds(settings(), realm, realm.people[at * times : (at + 1) * times], age)
        ]
        if page:
            write(page, f"{table(bounds)}\n\n{circumstances(times)}")
    if as_json:
        print_json([each.as_json() for each in bounds])
    else:
        click.echo(table(bounds))


def _bounds(settings: Settings, realm: TrialRealm, people: Sequence[Person], age: float) -> Iterator[Bound]:
    from eval.revocation import measure

    with _service(settings, realm, people, age) as trial:
        for removal in trial.removals():
            bound = measure(removal, age, len(people))
            note(f"freshness {age:g} s, {removal.name}: {max(bound.lags_s):.3f} s at most")
            yield bound


@contextmanager
def _service(settings: Settings, realm: TrialRealm, people: Sequence[Person], age: float) -> Iterator[_Trial]:
    """A service of its own, with a document for each kind of removal."""
    from api.cli.connection import privately
    from api.service import following, open_service
    from rag.settings import Settings

    # What follows the realm is told to stop and not waited for, so it may still write while the folder is removed.
    with TemporaryDirectory(prefix="kustos-revocation-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        environment = {**realm.environment(), "KUSTOS_FRESHNESS_S": str(age), "KUSTOS_HOME": str(folder / "home")}
        own = replace(Settings.from_mapping(environment), models_dir=settings.models_dir, embedder=settings.embedder)
        with (
            open_service(own) as service,
            following(own, service),
            privately(service.app, service.ingesting.stop) as client,
        ):
            trial = _Trial(service.kustos.records, client, realm, people, folder / "share")
            trial.begin()
            yield trial


class _Trial:
    """People who read documents of a running service, and what can be taken from them."""

    def __init__(
        self, records: Records, client: httpx.Client, realm: TrialRealm, people: Sequence[Person], share: Path
    ) -> None:
        self._records = records
        self._settings = records.settings
        self._client = client
        self._realm = realm
        self._people = people
        self._share = share
        self._documents: dict[str, str] = {}
        self._tokens: dict[tuple[str, int], str] = {}
        self._keys: dict[int, str] = {}

    def begin(self) -> None:
        """Takes the documents in: one for each kind, and one for each person."""
        from api.keycloak_realm.trial_realm import GROUP, PART, ROLE, STAFF

        for folder, allow in {
            "group": f"{{group: /{GROUP}}}", "role": f"{{role: {ROLE}}}", "part": f"{{role: {PART}}}",
            "staff": f"{{role: {STAFF}}}", **{f"own-{at}": f"{{role: {STAFF}}}" for at in range(len(self._people))},
        }.items():  # fmt: skip
            self._allow(folder, allow)
            (self._share / folder / f"{folder}.txt").write_text(TEXT, encoding="utf-8")
        self._sync()
        reply = self._client.get("/v1/documents?limit=500", headers=self._header("begin", 0))
        listed = reply.raise_for_status().json()["documents"]
        self._documents = {each["source"].rsplit("/", 1)[-1].removesuffix(".txt"): each["id"] for each in listed}

    def removals(self) -> list[Removal]:
        """Every kind, in an order in which none disturbs the next."""
        from eval.revocation import Manner, Removal

        realm, person = self._realm, self._people.__getitem__
        return [
            Removal("right at the source, from the end of its sync", self._reads("own"), self._close, Manner.ALONE),
            Removal("API key", self._reads("staff", "API key"), self._revoke),
            Removal("membership of a group", self._reads("group"), lambda at: realm.leave_group(person(at))),
            Removal("role", self._reads("role"), lambda at: realm.take_role(person(at))),
            Removal("part of a composite role", self._reads("part"), lambda at: realm.take_part(person(at))),
            Removal(
                "key that signed the token", self._reads("staff", "key"), lambda _: realm.withdraw_key(),
                Manner.TOGETHER, realm.restore_key,
            ),
            Removal("session", self._reads("staff", "session"), lambda at: realm.end_sessions(person(at))),
            Removal("account", self._reads("staff", "account"), lambda at: realm.disable(person(at))),
        ]  # fmt: skip

    def _reads(self, folder: str, what: str = "") -> Callable[[int], bool]:
        """One request of a person, with a token that he got for this kind of removal."""
        from rag.errors import Unavailable

        def reads(at: int) -> bool:
            document = self._documents[f"own-{at}" if folder == "own" else folder]
            reply = self._client.get(f"/v1/documents/{document}", headers=self._header(what or folder, at))
            if reply.status_code in {200, 401, 404}:
                return reply.status_code == 200
            raise Unavailable(f"the service answered with status {reply.status_code}: {reply.text[:200]}")

        return reads

    def _header(self, what: str, at: int) -> dict[str, str]:
        if (what, at) not in self._tokens:
            self._tokens[what, at] = self._key(at) if what == "API key" else self._realm.token(self._people[at])
        return {"Authorization": f"Bearer {self._tokens[what, at]}"}

    def _key(self, at: int) -> str:
        from api.admission.key_issue import issue
        from rag.access.api_keys import KeyScope

        subject = principals.user(self._settings.realm, self._people[at].id)
        made, _ = issue(self._records, subject, {KeyScope.QUERY}, name=SOURCE, days=1, by=SOURCE)
        self._keys[at] = made.id
        return made.text

    def _revoke(self, at: int) -> None:
        from api.admission.key_issue import revoke

        revoke(self._records, self._keys[at], by=SOURCE)

    def _close(self, at: int) -> None:
        self._allow(f"own-{at}", "")
        self._sync()

    def _allow(self, folder: str, allow: str) -> None:
        path = self._share / folder / "_access.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ACCESS.format(realm=self._settings.realm, allow=allow), encoding="utf-8")
        path.chmod(0o644)

    def _sync(self) -> None:
        from api.cli.ingesting import sync

        sync(self._client, self._settings, SOURCE, self._share, moved=True)
