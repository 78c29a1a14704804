"""API keys on the command line: made, used, listed and taken back, beside a running service or without one."""

from __future__ import annotations

import pytest


def state_of(demo, identifier: str) -> str:
    return next(
        each["state"] for each in demo.json("keys", "list", "--for", "anna")["keys"] if each["id"] == identifier
    )


def test_a_key_is_printed_once_listed_without_its_secret_and_taken_back(demo) -> None:
    made = demo.json("keys", "create", "--for", "anna", "--scope", "query", "--expires", "7d", "--name", "notebook")
    listed = demo.run("keys", "list", "--json")
    assert made["id"] in listed.stdout
    assert made["key"][20:] not in listed.stdout
    assert state_of(demo, made["id"]) == "valid"
    assert demo.run("keys", "revoke", made["id"]).returncode == 0
    assert state_of(demo, made["id"]) == "revoked"


def test_the_key_alone_goes_to_stdout(demo) -> None:
    ran = demo.run("keys", "create", "--for", "anna", "--scope", "query", "--scope", "push")
    (key,) = ran.stdout.split()
    assert key.startswith("kustos_")
    assert key[7:19] in ran.stderr
    assert key[20:] not in ran.stderr


def test_a_scope_for_which_the_account_lacks_the_role_is_told(demo) -> None:
    ran = demo.run("keys", "create", "--for", "anna", "--scope", "push", "--scope", "evaluate", "--scope", "query")
    said = " ".join(ran.stderr.split())
    assert "scope push opens nothing as long as anna lacks the role operator" in said
    assert "scope evaluate opens nothing as long as anna lacks the role evaluator" in said
    for who, scope in (("lena", "push"), ("tobias", "evaluate")):
        assert "opens nothing" not in demo.run("keys", "create", "--for", who, "--scope", scope).stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("create", "--for", "nobody", "--scope", "query"), 1, "no sample account 'nobody'"),
        (
            ("create", "--for", "anna", "--scope", "query", "--expires", "tomorrow"),
            1,
            "not a number of days up to 366, as in 90d",
        ),
        (("create", "--for", "anna", "--scope", "query", "--expires", "900d"), 1, "1 to 366 days, and not 900"),
        (("create", "--for", "anna", "--scope", "query", "--expires", "90000d"), 1, "1 to 366 days"),
        (("create", "--for", "anna", "--scope", "query", "--expires", "0d"), 1, "1 to 366 days"),
        (("create", "--for", "anna"), 2, "--scope"),
        (("revoke", "0" * 12), 1, "no API key"),
        (("revoke", f"kustos_{'0' * 12}_x"), 1, "give the key's id"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(demo, arguments, status, said) -> None:
    ran = demo.run("keys", *arguments)
    assert ran.returncode == status
    assert said in ran.stderr
