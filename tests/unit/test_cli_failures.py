"""What a person can get wrong at the command line is said in words, before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from api.admission.local_operator import LocalOperator
from api.cli.commands import kustos
from ingest.parsers.options import OCR_ENGINES, PDF_READERS
from rag.errors import Misconfigured
from rag.settings import CHOICES, RANGES, Settings
from rag.stores.catalog_audit import KeepText

EXAMPLES = Path(__file__).parents[2] / "examples"
LATIN_1 = os.fsdecode("grün".encode("latin-1"))


def run(*arguments: str, **environment: str) -> Result:
    usual = {name: None for name in os.environ if name.startswith("KUSTOS_")}
    return CliRunner().invoke(kustos, arguments, env={**usual, "KUSTOS_OLLAMA_URL": "", **environment})


def said(result: Result) -> str:
    """What went to stderr, if the command ended as commands do: any other exception is a traceback to its caller."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    return " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"KUSTOS_ISSUER": "https://id.example/realms/acme"}, "KUSTOS_ISSUER"),
        ({"KUSTOS_HOST": "0.0.0.0"}, "KUSTOS_HOST=127.0.0.1"),
        ({"KUSTOS_PUBLIC_NAME": "kustos.example"}, "KUSTOS_PUBLIC_NAME"),
    ],
)
def test_settings_that_bear_no_demo_are_refused_before_anything_is_written(tmp_path, environment, words) -> None:
    home = tmp_path / "home"
    ran = run("demo", "--once", "--examples", str(EXAMPLES), KUSTOS_HOME=str(home), **environment)
    assert words in said(ran)
    assert ran.exit_code == 1
    assert not home.exists()


@pytest.mark.parametrize(
    "arguments",
    [("search", LATIN_1, "--as", "anna"), ("ingest", LATIN_1, "--source", "x"), (LATIN_1,), ("eval", "run", LATIN_1)],
)
def test_an_argument_that_is_not_utf_8_is_wrong_usage(tmp_path, arguments) -> None:
    ran = run(*arguments, KUSTOS_HOME=str(tmp_path))
    assert "'gr\\udcfcn' is not UTF-8" in said(ran)
    assert ran.exit_code == 2


def test_a_folder_below_one_whose_name_is_not_utf_8_is_wrong_usage(tmp_path, monkeypatch) -> None:
    folder = tmp_path / LATIN_1
    folder.mkdir()
    monkeypatch.chdir(folder)
    ran = run("ingest", ".", "--source", "x", KUSTOS_HOME=str(tmp_path / "home"))
    assert "is not UTF-8; rename that folder" in said(ran)
    assert ran.exit_code == 2


@pytest.mark.parametrize("command", [("ingest", ".", "--source", "x"), ("demo", "--once", "--examples", str(EXAMPLES))])
@pytest.mark.parametrize("home", ["/proc/nope", "FILE/x", "FILE", "n" * 300])
def test_a_home_that_cannot_be_made_is_said_with_the_setting_that_names_it(tmp_path, command, home) -> None:
    (tmp_path / "file").touch()
    ran = run(*command, KUSTOS_HOME=home.replace("FILE", str(tmp_path / "file")))
    assert "the home folder" in said(ran)
    assert "KUSTOS_HOME" in said(ran)
    assert ran.exit_code == 1


def test_no_service_runs_in_a_home_that_cannot_be(tmp_path) -> None:
    (tmp_path / "file").touch()
    assert LocalOperator.running_url(tmp_path / "file" / "home") is None


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("PORT", "99999"),
        ("PORT", "-1"),
        ("MAX_DOCUMENT_BYTES", "0"),
        ("PARSE_TIMEOUT_S", "0"),
        ("PARSE_TIMEOUT_S", "nan"),
        ("PARSE_TIMEOUT_S", "inf"),
        ("OCR_PAGES", "-1"),
    ],
)
def test_a_number_out_of_range_is_named_with_the_range(key, text) -> None:
    with pytest.raises(Misconfigured, match=f"KUSTOS_{key}={text} is out of range; it is .* to "):
        Settings.from_mapping({f"KUSTOS_{key}": text})


@pytest.mark.parametrize(("key", "text"), [("OCR", "foo"), ("PDF_READER", "PyMuPDF"), ("OCR", "")])
def test_a_choice_that_there_is_not_is_named_with_those_that_there_are(key, text) -> None:
    with pytest.raises(Misconfigured, match=f"KUSTOS_{key}={text} is not known here; it is one of .*, "):
        Settings.from_mapping({f"KUSTOS_{key}": text})


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("ISUER", "x", "KUSTOS_ISUER is not a setting; did you mean KUSTOS_ISSUER? docs/settings.md lists them"),
        ("KEYCLOAK_URL_OF_MINE", "x", "is not a setting; the settings are KUSTOS_"),
        ("FRESHNESS_S", "soon", "KUSTOS_FRESHNESS_S='soon' is not a number; without it 0.0 holds"),
        ("PORT", "80.5", "KUSTOS_PORT='80.5' is not a whole number; without it 8080 holds"),
    ],
)
def test_a_setting_that_is_not_right_is_said_in_words_for_people(key, text, words) -> None:
    with pytest.raises(Misconfigured) as caught:
        Settings.from_mapping({f"KUSTOS_{key}": text})
    assert words in str(caught.value)


def test_a_secret_that_is_not_utf_8_is_not_repeated() -> None:
    with pytest.raises(Misconfigured) as caught:
        Settings.from_mapping({"KUSTOS_SERVICE_SECRET": LATIN_1})
    assert str(caught.value) == "KUSTOS_SERVICE_SECRET is not written in UTF-8"


def test_every_number_has_its_range_and_every_reader_its_choice() -> None:
    numbers = {name for name in Settings.__slots__ if isinstance(getattr(Settings(), name), int | float)}
    assert set(RANGES) == numbers
    assert {name: set(values) for name, values in CHOICES.items()} == {
        "pdf_reader": set(PDF_READERS),
        "ocr": set(OCR_ENGINES),
        "audit_text": set(KeepText),
    }
    assert Settings.from_mapping({"KUSTOS_OCR_PAGES": "50"}).ocr_pages == 50


@pytest.mark.parametrize("text", ["1", "65535"])
def test_a_number_at_the_edge_of_its_range_is_taken(text) -> None:
    assert Settings.from_mapping({"KUSTOS_PORT": text}).port == int(text)


def test_a_setting_that_is_not_utf_8_is_named() -> None:
    with pytest.raises(Misconfigured, match="KUSTOS_HOME"):
        Settings.from_mapping({"KUSTOS_HOME": LATIN_1})
