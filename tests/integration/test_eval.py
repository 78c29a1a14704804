"""Evaluations with the real model, index, catalog and gate, through the command that scripts call."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eval.cli import evaluate
from eval.corpus import REALM, SOURCE, Corpus, acl_of, memberships
from eval.datasets import AccessSuite, DocumentAccess, User, load_access_suite, load_dataset
from eval.installation import Installation, installed
from eval.leakage import audit
from eval.measures import mean_measures
from eval.progress import progress_bars
from eval.run import KustosService, PermittedOnly, audit_access, rank
from ingest.progress import Silent
from rag.access.acl import Acl
from rag.retrieval import Mode
from rag.settings import Settings
from rag.stores.catalog_writing import Place

ROOT = Path(__file__).parents[2]
MODELS = ROOT / ".kustos-models"
DATA = Path(os.environ.get("KUSTOS_EVAL_DATA", ROOT.parent / "shared" / "data")) / "retrieval"

needs_data = pytest.mark.skipif(
    not (DATA / "xquad_de").is_dir(),
    reason=f"no evaluation data in {DATA}; set KUSTOS_EVAL_DATA to the folder that holds retrieval/xquad_de",
)
pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason="the bundled model is not here; fetch it with: make setup")

DOCUMENTS = {
    "reise": ("Reisekosten", "Bahnfahrten der zweiten Klasse werden gegen Vorlage der Fahrkarten erstattet.", ["staff"], [], []),
    "urlaub": ("Urlaub", "Jeder Beschäftigte hat dreißig Urlaubstage im Kalenderjahr.", ["staff"], [], ["eva"]),
    "lohn": ("Gehälter", "Das Gehalt der Fahrer steigt im Mai um vier Prozent.", ["hr"], [], []),
    "vertrag": ("Vertrag", "Der Mietvertrag der Lagerhalle läuft bis Ende des Jahres.", [], ["eva"], []),
    "server": ("Servers", "The mail server is restarted every Sunday at four.", ["it", "hr"], [], []),
    "canteen": ("Canteen", "Lunch is served between twelve and two.", ["staff"], [], []),
    "niemand": ("Geheim", "Die Übernahme des Mitbewerbers wird vorbereitet.", [], [], []),
}  # fmt: skip
QUERIES = {
    "q-reise": ("Wird meine Fahrkarte für die Bahn erstattet?", "reise"),
    "q-urlaub": ("Wie viele Tage Urlaub habe ich?", "urlaub"),
    "q-lohn": ("Um wie viel Prozent steigen die Gehälter?", "lohn"),
    "q-vertrag": ("Wann endet der Mietvertrag der Halle?", "vertrag"),
    "q-server": ("When are mail servers restarted?", "server"),
    "q-canteen": ("When is lunch served?", "canteen"),
}
USERS = {"eva": ["staff", "hr"], "tom": ["staff"], "ida": ["it"], "nobody": []}
READABLE = {
    "eva": {"reise", "lohn", "vertrag", "server", "canteen"},
    "tom": {"reise", "urlaub", "canteen"},
    "ida": {"server"},
    "nobody": set(),
}
SETTINGS = Settings(home=Path("/nonexistent/home"), models_dir=MODELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A German and English dataset in a folder whose name says English."""
    folder = tmp_path_factory.mktemp("data") / "mixed_en"
    (folder / "qrels").mkdir(parents=True)
    write(
        folder / "corpus.jsonl",
        [
            {
                "_id": each,
                "title": title,
                "text": text,
                "metadata": {"acl": {"groups": groups, "users": users, "deny": deny}},
            }
            for each, (title, text, groups, users, deny) in DOCUMENTS.items()
        ],
    )
    write(folder / "queries.jsonl", [{"_id": each, "text": text} for each, (text, _) in QUERIES.items()])
    judged = "".join(f"{query}\t{gold}\t1\n" for query, (_, gold) in QUERIES.items())
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    (folder / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq-lohn\tcanteen\t1\n")
    write(folder / "users.jsonl", [{"user_id": user, "groups": groups} for user, groups in USERS.items()])
    write(
        folder / "acl_tests.jsonl",
        [
            {
                "test_id": f"{user}-{query}",
                "query_id": query,
                "user_id": user,
                "groups": USERS[user],
                "expected": "allow" if gold in READABLE[user] else "deny",
                "gold": [gold],
            }
            for user in USERS
            for query, (_, gold) in QUERIES.items()
        ],
    )
    return folder


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(evaluate, [str(each) for each in arguments], obj=lambda: SETTINGS)


@pytest.mark.parametrize("retriever", ["dense", "lexical", "hybrid"])
def test_retrieval_prints_exactly_the_agreed_document(folder: Path, retriever: str) -> None:
    result = run("retrieval", folder, "--retriever", retriever, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    seconds = told.pop("seconds")
    assert told == {
        "dataset": "mixed_en",
        "retriever": retriever,
        "documents": 7,
        "queries": 6,
        "measures": {"nDCG@10": 1.0, "R@10": 1.0, "MRR@10": 1.0},
        "model": "multilingual-e5-small",
    }, "words are inflected, so the lexical leg needs the language of each text, whatever the folder is called"
    assert 0 < seconds < 120


def test_another_split_has_its_own_judgements(folder: Path) -> None:
    told = json.loads(run("retrieval", folder, "--split", "dev", "--json").stdout)
    assert told["queries"] == 1
    assert told["measures"]["MRR@10"] < 1.0


def test_documents_are_read_out_of_the_files_they_were_cut_from(folder: Path) -> None:
    pages = folder / "originals"
    pages.mkdir(exist_ok=True)
    of = {name: text for name, (_, text, *_) in DOCUMENTS.items()}
    page = f"<h1>Regeln</h1><p>{of['reise']}</p><p>Der Hof ist nachts beleuchtet.</p><p>{of['urlaub'].upper()}</p>"
    (pages / "regeln.html").write_text(f"<meta charset=utf-8>{page}", encoding="utf-8")

    told = json.loads(run("retrieval", folder, "--originals", "originals", "--json").stdout)

    assert (told["documents"], told["from_originals"], told["measures"]["R@10"]) == (7, 2, 1.0)


def test_originals_that_are_not_there_are_wrong_usage(folder: Path) -> None:
    result = run("retrieval", folder, "--originals", "nowhere")
    assert (result.exit_code, "is a folder" in result.stderr) == (2, True)


def test_an_audit_prints_exactly_the_agreed_document(folder: Path) -> None:
    result = run("access", folder, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {"tests": 24, "leaks": 0, "wrongly_denied": 0, "recall@10": 1.0}


def test_people_get_the_same_in_words(folder: Path) -> None:
    assert run("access", folder).stdout == "tests 24   leaks 0   wrongly_denied 0   recall@10 1.0\n"


@pytest.mark.parametrize("command", ["retrieval", "access"])
def test_a_folder_that_is_not_there_is_wrong_usage(command: str, tmp_path: Path) -> None:
    result = run(command, tmp_path / "nowhere", "--json")
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize("command", ["retrieval", "access"])
def test_a_folder_without_data_is_a_failure_that_names_the_file(command: str, tmp_path: Path) -> None:
    result = run(command, tmp_path, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "corpus.jsonl cannot be read" in result.stderr


def test_a_missing_model_is_a_failure_that_names_the_command(folder: Path, tmp_path: Path) -> None:
    without = replace(SETTINGS, models_dir=tmp_path)
    result = CliRunner().invoke(evaluate, ["retrieval", str(folder)], obj=lambda: without)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "fetch it with" in result.stderr


def test_the_installation_of_the_operator_is_neither_read_nor_made(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    own = replace(SETTINGS, home=home, catalog_url="postgresql://nowhere", qdrant_url="http://127.0.0.1:1")
    result = CliRunner().invoke(evaluate, ["retrieval", str(folder), "--retriever", "lexical"], obj=lambda: own)
    assert result.exit_code == 0
    assert not home.exists()


@pytest.mark.parametrize("command", [[], ["retrieval"], ["access"], ["parse"]])
def test_help_needs_no_settings(command: list[str]) -> None:
    result = CliRunner().invoke(evaluate, [*command, "--help"])
    assert result.exit_code == 0
    assert "FOLDER" in result.stdout


@pytest.fixture(scope="module")
def suite(folder: Path) -> AccessSuite:
    return load_access_suite(folder)


@pytest.fixture
def installation(suite: AccessSuite) -> Iterator[Installation]:
    with installed(SETTINGS, Corpus(suite.documents, open_to_all=False), Silent()) as installation:
        installation.kustos.records.directory.replace(SETTINGS.tenant, REALM, memberships(suite.users))
        yield installation


def test_what_a_user_finds_is_what_a_corpus_of_his_documents_alone_would_show(
    suite: AccessSuite, installation: Installation
) -> None:
    service = KustosService(SETTINGS, installation)
    with PermittedOnly(SETTINGS, suite, service, installation.embedder) as ideal:
        for test in suite.tests:
            found = service.found(test.user, test.query)
            assert found == (ideal.found(test.user, test.query) if READABLE[test.user.id] else [])
            assert set(found) <= READABLE[test.user.id]


def test_rights_that_are_wider_in_the_catalog_than_in_the_data_are_leaks(
    suite: AccessSuite, installation: Installation
) -> None:
    _regrant(installation, suite, "lohn", DocumentAccess(groups=frozenset({"staff"})))
    service = KustosService(SETTINGS, installation)
    with PermittedOnly(SETTINGS, suite, service, installation.embedder) as ideal:
        report = audit(suite, service, ideal)
    assert {(each.user, each.document) for each in report.leaks} == {("tom", "lohn")}
    assert ("opened", None) in {(each.way, each.test) for each in report.leaks}


def test_rights_that_are_narrower_in_the_catalog_than_in_the_data_are_wrong_denials(
    suite: AccessSuite, installation: Installation
) -> None:
    _regrant(installation, suite, "urlaub", DocumentAccess(groups=frozenset({"staff"}), deny=frozenset({"tom", "eva"})))
    service = KustosService(SETTINGS, installation)
    with PermittedOnly(SETTINGS, suite, service, installation.embedder) as ideal:
        report = audit(suite, service, ideal)
    assert report.leaks == ()
    assert {(each.way, each.user, each.document) for each in report.wrongly_denied} == {("not opened", "tom", "urlaub")}
    assert report.recall == pytest.approx(8 / 9, abs=1e-4)


def test_a_search_that_loses_what_its_user_may_read_is_a_wrong_denial(
    suite: AccessSuite, installation: Installation
) -> None:
    """The document still opens by id, so only the ranking over the user's own documents can show the loss."""
    service = KustosService(SETTINGS, installation)
    forgetful = _Forgetful(service)
    with PermittedOnly(SETTINGS, suite, service, installation.embedder) as ideal:
        report = audit(suite, forgetful, ideal)
    assert {(each.way, each.user, each.document) for each in report.wrongly_denied} == {("not found", "tom", "urlaub")}


class _Forgetful(KustosService):
    """Never finds the holidays."""

    def __init__(self, service: KustosService) -> None:
        self._service = service
        self.opened = service.opened  # type: ignore[method-assign]

    def found(self, user: User, query: object) -> Sequence[str]:
        return [each for each in self._service.found(user, query) if each != "urlaub"]  # type: ignore[arg-type]


def _regrant(installation: Installation, suite: AccessSuite, document: str, access: DocumentAccess) -> None:
    """Other rights for the place of one document, in the catalog alone."""
    corpus = Corpus([each for each in suite.documents if each.id == document], open_to_all=False)
    (place,) = corpus.list().access
    wrong: Acl = acl_of(access)
    installation.kustos.records.writer.set_places(SOURCE, [Place(place, wrong, "a mistake")])


@needs_data
def test_hybrid_is_no_worse_than_its_better_leg_on_german_rules() -> None:
    dataset = load_dataset(DATA / "htwg_de")
    with installed(SETTINGS, Corpus(dataset.documents, open_to_all=True), Silent()) as installation:
        rankings = {mode: rank(SETTINGS, installation, dataset, mode, lambda _: None) for mode in Mode}
    measured = {mode: mean_measures(dataset.relevance, found) for mode, found in rankings.items()}
    for measure in ("nDCG@10", "R@10", "MRR@10"):
        assert measured[Mode.HYBRID][measure] >= max(measured[Mode.DENSE][measure], measured[Mode.LEXICAL][measure])


@needs_data
def test_nobody_is_shown_too_much_or_too_little_of_xquad_de() -> None:
    """Every user opens every document; a part of the searches keeps this short."""
    suite = load_access_suite(DATA / "xquad_de")
    with progress_bars("access tests", 0) as bars:
        report = audit_access(SETTINGS, replace(suite, tests=suite.tests[::25]), bars)
    assert (report.leaks, report.wrongly_denied) == ((), ())
    assert report.recall > 0.97
