"""The file of tenants: what it may say, and what it makes of the installation's settings."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rag.errors import Misconfigured
from rag.settings import Settings
from rag.tenants import GIVEN, OWN, bare, home_of, read_tenants, the_tenant

KEYCLOAK = "https://sso.example/realms"
SECRET = "s3cret-of-north"


def table(name: str, **more: object) -> str:
    """A table of the file with all that a tenant needs; None leaves a key out."""
    usual = {
        "issuer": f"{KEYCLOAK}/{name}",
        "jwks_url": f"{KEYCLOAK}/{name}/protocol/openid-connect/certs",
        "realm": name,
        "page_url": f"https://{name}.kustos.example",
        "service_secret": SECRET,
    }
    lines = [f"{key} = {_toml(value)}" for key, value in {**usual, **more}.items() if value is not None]
    return "\n".join((f"[{name}]", *lines, ""))


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float | list) else f'"{value}"'


Write = Callable[..., Settings]


@pytest.fixture
def installation(tmp_path: Path) -> Write:
    def write(*tables: str, mode: int = 0o600, **settings: str) -> Settings:
        path = tmp_path / "tenants.toml"
        path.write_text("\n".join(tables), encoding="utf-8")
        path.chmod(mode)
        env = {"KUSTOS_HOME": str(tmp_path / "home"), "KUSTOS_TENANTS": str(path), **settings}
        return Settings.from_mapping(env)

    return write


def refused(base: Settings) -> str:
    with pytest.raises(Misconfigured) as caught:
        read_tenants(base)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_tenant_has_the_installations_settings_but_for_his_own(installation) -> None:
    base = installation(
        table("north", languages=["fr", "de"], freshness_s=5, requests_per_key=7, audit_text="question"),
        table("south"),
        KUSTOS_LANGUAGES="en",
        KUSTOS_CLIENTS="kustos-page,kustos-cli",
        KUSTOS_PORT="8090",
    )
    north, south = read_tenants(base).values()
    assert (north.tenant, north.home, north.realm) == ("north", base.home / "tenants" / "north", "north")
    assert (north.languages, north.freshness_s, north.requests_per_key) == (("fr", "de"), 5.0, 7)
    assert (south.languages, south.freshness_s, south.audit_text) == (("en",), 0.0, "off")
    assert {each.clients for each in (north, south)} == {("kustos-page", "kustos-cli")}
    assert {each.port for each in (north, south)} == {8090}
    assert (north.public_name, north.tenants) == ("north.kustos.example", "")


def test_what_makes_the_wall_is_in_no_table_but_the_tenants_own(installation) -> None:
    base = installation(table("north", audit_key="k" * 32), table("south", page_url=None))
    north, south = read_tenants(base).values()
    assert (north.audit_key, south.audit_key, south.page_url, south.public_name) == ("k" * 32, "", "", "")
    assert north.home != south.home


@pytest.mark.parametrize("name", OWN)
def test_the_installation_has_no_value_that_all_tenants_would_share(installation, name) -> None:
    base = installation(table("north"), **{f"KUSTOS_{name.upper()}": "https://x.example"})
    assert f"KUSTOS_{name.upper()} is of one tenant" in refused(base)


@pytest.mark.parametrize(
    ("what", "more"),
    [
        ("issuer", {"issuer": f"{KEYCLOAK}/north"}),
        ("issuer", {"issuer": f"{KEYCLOAK}/north/"}),
        ("issuer", {"issuer": f"{KEYCLOAK}/NORTH"}),
        ("jwks_url", {"jwks_url": f"{KEYCLOAK}/north/protocol/openid-connect/certs"}),
        ("realm", {"realm": "north"}),
        ("realm", {"realm": "North"}),
        ("realm", {"realm": "ｎorth"}),
        ("host of page_url", {"page_url": "https://north.kustos.example"}),
        ("host of page_url", {"page_url": "https://NORTH.kustos.example:8443"}),
        ("host of page_url", {"page_url": "https://north.kustos.example."}),
    ],
)
def test_two_tenants_share_nothing_that_would_be_a_door_between_them(installation, what, more) -> None:
    assert f"[north] and [south] have the same {what}" in refused(installation(table("north"), table("south", **more)))


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "..",
        ".",
        "",
        "North",
        "nörth",
        "nоrth",
        "a/b",
        "a.b",
        "a b",
        "-a",
        "a-",
        "1a",
        "a" * 41,
        "a\\u0000",
        "a_b",
    ],
)
def test_a_name_is_a_plain_word(installation, name) -> None:
    base = installation(table("north").replace("[north]", f'["{name}"]'))
    assert "cannot be the name of a tenant" in refused(base)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (["realm = 'north'"], "stands outside of any tenant"),
        ([table("north", port=1)], "'port' is not a setting that tenants differ in"),
        ([table("north", home="/tmp")], "'home' is not a setting"),
        ([table("north", tenant="south")], "'tenant' is not a setting"),
        ([table("north", embedder="x")], "'embedder' is not a setting"),
        ([table("north", Issuer="x")], "'Issuer' is not a setting"),
        ([table("north"), "[north.deeper]", "x = 1"], "'deeper' is not a setting"),
        ([table("north"), table("north")], "is not TOML"),
        ([table("north", issuer=None)], "issuer is missing"),
        ([table("north", service_secret="")], "service_secret is missing"),
        ([table("north", service_secret=5)], "service_secret is of another kind"),
        ([table("north", clients="kustos")], "clients is of another kind"),
        ([table("north", clients=[1])], "clients is of another kind"),
        ([table("north", requests_per_key=True)], "requests_per_key is true or false"),
        ([table("north", requests_per_key=1.5)], "requests_per_key is of another kind"),
        ([table("north", requests_per_key=-1)], "out of range"),
        ([table("north", freshness_s=1_000)], "out of range"),
        ([table("north", audit_text="all")], "one of off, question, passages"),
        ([table("north", page_url="https://nörth.example")], "ASCII"),
        ([table("north", page_url="north.example")], "page_url must be"),
        ([table("north", page_url="https://[north")], "page_url must be"),
        ([table("north", freshness_s=float("nan"))], "out of range"),
        ([table("north", page_url=None, page_secret="x")], "page_url is missing"),
        ([""], "names no tenant"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(installation, tables, message) -> None:
    assert message in refused(installation(*tables))


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o602, 0o666])
def test_a_file_with_secrets_that_others_can_read_or_write_is_not_believed(installation, mode) -> None:
    assert "chmod 600" in refused(installation(table("north"), mode=mode))


def test_the_command_that_closes_the_file_holds_its_path_as_one_word(installation, tmp_path) -> None:
    base = installation(table("north"), mode=0o644)
    path = Path(base.tenants).rename(tmp_path / "tenants & more.toml")
    assert shlex.split(refused(replace(base, tenants=str(path))).split("run: ")[1]) == ["chmod", "600", str(path)]


def test_a_file_that_is_not_there_or_no_text_is_said(installation, tmp_path) -> None:
    base = installation(table("north"))
    Path(base.tenants).write_bytes(b"\xff\xfe")
    assert "not TOML" in refused(base)
    assert "cannot be read" in refused(replace(base, tenants=str(tmp_path / "none.toml")))


def test_who_names_no_tenant_is_asked_for_one(installation) -> None:
    base = installation(table("north"), table("main"))
    with pytest.raises(Misconfigured, match=r"say for which tenant, .*: north, main"):
        the_tenant(base)
    with pytest.raises(Misconfigured, match="has no tenant 'east'; it has north, main"):
        the_tenant(replace(base, tenant="east"))
    assert the_tenant(replace(base, tenant="main")).realm == "main"


def test_without_a_file_everything_is_as_it_was() -> None:
    base = Settings.from_mapping({"KUSTOS_REALM": "acme"})
    assert base.tenant == "main"
    assert the_tenant(base) is base


def test_a_tenant_whom_no_table_describes_has_a_home_and_nobody(installation) -> None:
    base = installation(table("north"), KUSTOS_CATALOG_URL="postgresql://db/kustos")
    found = bare(base, "gone")
    assert (found.tenant, found.issuer, found.catalog_url) == ("gone", "", base.catalog_url)
    assert found.home == home_of(base, "gone")


def test_every_setting_of_a_table_is_a_setting() -> None:
    assert set(GIVEN) <= set(Settings.__slots__)
    assert set(OWN) <= set(GIVEN)
