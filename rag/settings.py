"""Settings: read once from an explicit mapping, frozen afterwards. A bad value names its key and what would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from rag.errors import Misconfigured

PREFIX = "KUSTOS_"
RANGES = {
    "port": (0, 65_535),
    "requests_per_subject": (0, 1_000_000),
    "requests_per_key": (0, 1_000_000),
    "failures_per_address": (0, 1_000_000),
    "max_document_bytes": (1, 2**40),
    "parse_timeout_s": (0.1, 86_400.0),
    "ocr_pages": (0, 100_000),
    "freshness_s": (0.0, 300.0),
    "audit_names_days": (0, 36_500),
    "audit_days": (0, 36_500),
    "audit_prune_days": (1, 36_500),
    "break_glass_hours": (0, 72),
    "directory_interval_s": (1.0, 86_400.0),
    "history_days": (1, 36_500),
}
"""Smallest and largest value of each number."""
CHOICES = {
    "pdf_reader": ("pymupdf", "pdfium"),
    "ocr": ("rapidocr", "tesseract", "off"),
    "audit_text": ("off", "question", "passages"),
}
"""Values of settings that have no others."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of Kustos with its default; `from_mapping` reads `KUSTOS_<NAME>` in upper case.

    Attributes:
        home: folder of catalog, index and local secrets.
        tenant: the tenant that this process is for; empty, where there is a file of tenants, means all of them.
        tenants: file of the tenants that this installation has (`rag.tenants`); empty means the one above.
        catalog_url: SQLAlchemy URL; empty means SQLite in `home`.
        qdrant_url: Qdrant server; empty means Qdrant Edge in `home`.
        qdrant_api_key: key of the Qdrant server.
        embedder: name of the embedding model in the registry (`kustos models`).
        models_dir: folder of local model files.
        ollama_url: Ollama server; empty means no generation.
        chat_model: Ollama model behind `text-general`.
        languages: ISO 639-1 codes expected in documents and questions; the first is the default.
        host, port: where `kustos serve` listens.
        public_name: host name that a TLS proxy on this machine keeps in its requests.
        url: the service that people's commands ask; empty means that of `home`.
        api_key: with it these ask, in place of a sign-in.
        issuer, audience, jwks_url: the identity provider whose tokens are accepted; with it there is no demo.
        clients: clients of that provider whose tokens are accepted (`azp`); empty means the one named `audience`.
        realm: name that qualifies the principals of that issuer.
        page_url: where people open the page; sign-in leads back there.
        page_client, page_secret: what the page signs people in with; without the secret it does not.
        service_client, service_secret: what Kustos itself asks Keycloak with, at each request.
        freshness_s: what Keycloak said of a token holds so many seconds at most; 0 asks at each request.
        directory_interval_s: so often the directory follows what Keycloak's administrators did.
        history_days: so long what ended is kept for explanations of the past.
        requests_per_subject, requests_per_key: requests of a person, and of an API key, in a minute; 0 for any number.
        failures_per_address: requests without a valid token or key from an address in a minute; 0 for any number.
        max_document_bytes: larger files are refused.
        parse_timeout_s: wall time for reading one document.
        pdf_reader: `pymupdf` (AGPL or commercial) or `pdfium` (permissive).
        ocr: what recognises characters on pages without text: `rapidocr`, `tesseract` or `off`.
        ocr_pages: pages of one document, at most, whose characters are recognised.
        audit_key: secret under the audit's chain; empty means a file of `home`.
        audit_names_days: after so many days the names behind the audit's pseudonyms are forgotten.
        audit_days: after so many days records of the audit are removed; 0 means never.
        audit_prune_days: what an auditor removes by hand is at least so many days old.
        audit_text: text that is kept beside the audit: `off`, `question` or `passages`.
        break_glass_hours: longest break-glass grant; 0 means that there is none.
        audit_syslog: where records of the audit are sent as well; empty means nowhere.
    """

    home: Path = Path(".kustos")
    tenant: str = "main"
    tenants: str = ""
    catalog_url: str = field(default="", repr=False)
    qdrant_url: str = ""
    qdrant_api_key: str = field(default="", repr=False)
    embedder: str = "multilingual-e5-small"
    models_dir: Path = Path(".kustos-models")
    ollama_url: str = "http://127.0.0.1:11434"
    chat_model: str = ""
    languages: tuple[str, ...] = ("de", "en")
    host: str = "127.0.0.1"
    port: int = 8080
    public_name: str = ""
    url: str = ""
    api_key: str = field(default="", repr=False)
    issuer: str = ""
    audience: str = "kustos"
    clients: tuple[str, ...] = ()
    jwks_url: str = ""
    realm: str = ""
    page_url: str = "http://127.0.0.1:8080"
    page_client: str = "kustos-page"
    page_secret: str = field(default="", repr=False)
    service_client: str = "kustos-service"
    service_secret: str = field(default="", repr=False)
    freshness_s: float = 0.0
    directory_interval_s: float = 15.0
    history_days: int = 1_095
    requests_per_subject: int = 600
    requests_per_key: int = 300
    failures_per_address: int = 60
    max_document_bytes: int = 100_000_000
    parse_timeout_s: float = 60.0
    pdf_reader: str = "pymupdf"
    ocr: str = "rapidocr"
    ocr_pages: int = 100
    audit_key: str = field(default="", repr=False)
    audit_names_days: int = 90
    audit_days: int = 0
    audit_prune_days: int = 30
    audit_text: str = "off"
    audit_syslog: str = ""
    break_glass_hours: int = 0

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Settings:
        """Settings from `KUSTOS_*` keys of `env`.

        Raises:
            Misconfigured: an unknown key, or a value of the wrong type or out of range.
        """
        defaults = cls()
        known = {f"{PREFIX}{name.upper()}": name for name in cls.__slots__}
        values: dict[str, object] = {}
        for key, text in env.items():
            if not key.startswith(PREFIX) or key.startswith(f"{PREFIX}TEST_") or key == f"{PREFIX}EVAL_DATA":
                continue
            if key not in known:
                raise Misconfigured(_unknown(key, sorted(known)))
            name = known[key]
            values[name] = value = _convert(key, text, getattr(defaults, name))
            _check(key, text, name, value)
        if values.get("tenants"):
            values.setdefault("tenant", "")
        return cls(**values)  # type: ignore[arg-type]


def typed(key: str, name: str, value: object) -> object:
    """A value from a file that knows types, as the setting `name` has it.

    Raises:
        Misconfigured: it is of another type, or out of range. The message names `key` and repeats no secret.
    """
    default = getattr(Settings(), name)
    match default, value:
        case (tuple(), list()) if all(isinstance(each, str) for each in value):
            return tuple(value)
        case (str(), str()):
            found: object = value
        case (int() | float(), bool()):
            raise Misconfigured(f"{key} is true or false, and should be a number, such as {default!r}")
        case (float(), int() | float()):
            found = float(value)
        case (int(), int()):
            found = value
        case _:
            raise Misconfigured(f"{key} is of another kind than its default, {default!r}")
    _check(key, str(value), name, found)
    return found


KINDS: Mapping[type, str] = {bool: "yes or no (1 or 0)", int: "a whole number", float: "a number"}
"""What a setting of each type takes, for people; one of another type takes a text."""


def _unknown(key: str, known: Sequence[str]) -> str:
    near = get_close_matches(key.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known], n=1)
    if near:
        return f"{key} is not a setting; did you mean {PREFIX}{near[0]}? docs/settings.md lists them"
    return f"{key} is not a setting; the settings are {', '.join(known)}"


def _check(key: str, text: str, name: str, value: object) -> None:
    if isinstance(value, int | float) and not RANGES[name][0] <= value <= RANGES[name][1]:
        raise Misconfigured(f"{key}={text} is out of range; it is {RANGES[name][0]} to {RANGES[name][1]}")
    if name in CHOICES and value not in CHOICES[name]:
        raise Misconfigured(f"{key}={text} is not known here; it is one of {', '.join(CHOICES[name])}")


def _convert(key: str, text: str, default: object) -> object:
    try:
        text.encode()
        match default:
            case bool():
                return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
            case int():
                return int(text)
            case float():
                return float(text)
            case tuple():
                return tuple(part.strip() for part in text.split(",") if part.strip())
            case Path():
                return Path(text)
            case _:
                return text
    except (ValueError, KeyError) as error:
        if type(default) not in KINDS:
            raise Misconfigured(f"{key} is not written in UTF-8") from error
        raise Misconfigured(f"{key}={text!r} is not {KINDS[type(default)]}; without it {default} holds") from error
