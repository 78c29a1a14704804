"""No secret is in what a log line, a traceback or a failed assertion would show of the thing that holds it (SC-15)."""

from __future__ import annotations

import pytest

from api.admission.doors import Proof
from api.admission.local_operator import LocalOperator
from api.cli import signed_in
from api.sign_in import sessions
from api.sign_in.oidc import Device, Tokens
from rag.access.api_keys import NewKey
from rag.settings import Settings

SECRET = "hush-4711"
SECRET_SETTINGS = ("catalog_url", "qdrant_api_key", "page_secret", "service_secret", "audit_key")


@pytest.mark.parametrize(
    "holder",
    [
        Settings.from_mapping({f"KUSTOS_{name.upper()}": SECRET for name in SECRET_SETTINGS}),
        NewKey("id", SECRET),
        Tokens(SECRET, SECRET, SECRET, 1),
        Device(SECRET, "user code", "https://id.example", "https://id.example", 1, 1),
        Proof(token=SECRET, key=SECRET, cookie=SECRET),
        LocalOperator(SECRET),
        sessions.Kept(SECRET, SECRET, 1, "Ann"),
        signed_in.Kept("https://id.example", "Ann", SECRET, SECRET, 1),
    ],
    ids=lambda each: f"{type(each).__module__}.{type(each).__name__}",
)
def test_a_secret_is_not_in_what_is_shown_of_its_holder(holder: object) -> None:
    assert SECRET not in repr(holder)
