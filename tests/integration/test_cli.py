"""The command line as scripts and people use it: exact JSON, exit status, and the sample company's answers per reader."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from api.admission.local_operator import LocalOperator
from tests.integration.conftest import CommandLine
from tests.security.watched import ROOT

ASKED = yaml.safe_load((ROOT / "examples" / "questions.yaml").read_text(encoding="utf-8"))
NEEDS_OCR = "Staplerunfall"  # its document is a scan; reading those comes with OCR


def relative(uri: str) -> str:
    """A document's address as the expectations write it."""
    return httpx.URL(uri).path.lstrip("/")


def test_the_demo_prints_the_answers_side_by_side_and_ends(demo) -> None:
    printed = (demo.home / "demo.txt").read_text(encoding="utf-8")
    for question in ASKED["questions"]:
        assert question["text"] in printed
    for who in ASKED["ask_as"]:
        assert who in printed
    assert "[1]" in printed
    assert "sign in without a password" in printed


def test_a_second_run_embeds_nothing(demo) -> None:
    ran = demo.run("demo", "--once")
    assert ran.returncode == 0
    assert " 0 passages embedded" in " ".join(ran.stderr.split())


@pytest.mark.parametrize("row", ASKED["expectations"], ids=lambda row: f"{row['as']}-{row['question'][:30]}")
def test_pi_01_each_reader_finds_what_is_his_and_nothing_else(demo_service, row) -> None:
    found = demo_service.search(row["question"], row["as"])
    sources = [relative(each["source"]) for each in found["passages"]]
    assert not set(sources) & set(row["never"])
    if row["answer_in"] and NEEDS_OCR not in row["question"]:
        assert set(sources[:5]) & set(row["answer_in"]), sources[:5]


def test_search_prints_exactly_what_scripts_rely_on(demo) -> None:
    found = demo.json("search", "Wie viele Urlaubstage habe ich?", "--as", "anna", "--limit", "3")
    assert set(found) == {"passages", "took_ms"}
    assert [each["rank"] for each in found["passages"]] == [1, 2, 3]
    for passage in found["passages"]:
        assert set(passage) >= {"document", "source", "title", "page", "text", "rank"}
        assert not {"score", "scores", "distance"} & set(passage)


def test_an_answer_cites_what_it_was_given(demo) -> None:
    told = demo.json("ask", ASKED["questions"][0]["text"], "--as", "anna")
    assert told["model"] == "extractive"
    assert told["answer"].startswith("Zurzeit antwortet kein Sprachmodell")
    numbers = {each["number"] for each in told["citations"]}
    assert numbers
    assert all(f"[{number}]" in told["answer"] for number in numbers)


def test_list_and_explain_agree(demo) -> None:
    mine = {each["source"] for each in demo.json("documents", "--as", "bjarne")["documents"]}
    everything = {each["source"] for each in demo.json("documents", "--as", "katharina")["documents"]} | mine
    for source in sorted(everything)[::7]:
        assert demo.json("explain", source, "--as", "bjarne")["allowed"] == (source in mine)


def test_an_explanation_of_the_past_knows_what_was_there_then(demo) -> None:
    (source, *_) = sorted(each["source"] for each in demo.json("documents", "--as", "bjarne")["documents"])
    now = demo.json("explain", source, "--as", "bjarne")
    then = demo.json("explain", source, "--as", "bjarne", "--at", now["as_of"])
    assert {**then, "as_of": now["as_of"]} == now
    assert demo.run("explain", source, "--as", "bjarne", "--at", "2020-01-01").returncode == 1
    assert demo.run("explain", source, "--as", "bjarne", "--at", "the other day").returncode == 2


def test_refused_documents_are_listed_with_a_reason_an_operator_can_act_on(demo) -> None:
    refused = {
        Path(relative(each["uri"])).name: each["reason"] for each in demo.json("documents", "--refused")["refused"]
    }
    assert refused["Kontoauszug 2025-05.pdf"] == "encrypted"
    assert refused["Kantinenordnung.docx"] == "damaged"
    assert refused["Grundriss Halle 2 Billwerder.dwg"] == "unsupported"


def test_what_was_refused_is_listed_by_source(demo) -> None:
    every = demo.json("documents", "--refused")
    assert every["refused"]
    assert demo.json("documents", "--refused", "--source", "hansekai") == every


def test_status_counts_and_lags_nothing(demo) -> None:
    told = demo.json("status")
    (source,) = told["sources"]
    assert source["documents"] + sum(source["refused"].values()) >= 50
    assert source["without_readers"] > 0  # the folder without any access file
    assert told["index_tasks_open"] == 0


def test_doctor_finds_nothing_wrong(demo) -> None:
    found = demo.json("doctor")["findings"]
    assert [each for each in found if each["state"] == "wrong"] == []


def _without_its_index(home: Path) -> None:
    shutil.rmtree(home / "index")


def _open_to_others(home: Path) -> None:
    home.chmod(0o755)


def _with_a_service_that_does_not_answer(home: Path) -> None:
    LocalOperator.announce(home, "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("harm", "check", "detail"),
    [
        (_without_its_index, "index", "kustos ingest --rebuild"),
        (_open_to_others, "home", "chmod 700"),
        (_with_a_service_that_does_not_answer, "index", "is running and busy"),
    ],
)
def test_doctor_names_what_is_wrong_and_what_to_do_and_mends_nothing_itself(
    demo, tmp_path, harm, check, detail
) -> None:
    shutil.copytree(demo.home, tmp_path / "home", ignore=shutil.ignore_patterns("service.json"))
    (tmp_path / "home").chmod(0o700)
    harm(tmp_path / "home")
    before = sorted(tmp_path.rglob("index/*"))
    ran = CommandLine(tmp_path / "home").run("doctor", "--json")
    assert ran.returncode == 1, ran.stderr
    wrong = [each for each in json.loads(ran.stdout)["findings"] if each["state"] == "wrong"]
    assert [each["check"] for each in wrong] == [check]
    assert detail in wrong[0]["detail"]
    assert sorted(tmp_path.rglob("index/*")) == before


def test_models_name_the_command_that_fetches_them(demo) -> None:
    listed = {each["name"]: each for each in demo.json("models")["models"]}
    assert listed["multilingual-e5-small"]["available"]
    assert not listed["text-general"]["available"]
    assert listed["text-general"]["fetch"].startswith("ollama pull ")


FAILURES = [
    (["search", "x", "--as", "nobody-of-that-name"], 1, "there is no sample account"),
    (["search", "  ", "--as", "anna"], 1, "empty"),
    (["search", "", "--as", "anna"], 1, "'query' must not be empty."),
    (["explain", "x", "--as", "anna", "--at", "soon"], 2, "today or yesterday"),
    (["documents", "--refused", "--source", "other"], 1, "there is no source 'other'; there are: hansekai"),
    (["documents", "--source", "hansekai"], 2, "goes with --refused"),
    (["search", "x"], 1, "--as WHO"),
    (["ask", "x", "--as", "anna", "--model", "gpt-9"], 1, "no model"),
    (["explain", "file://hansekai/nothing.txt", "--as", "anna"], 1, "no document"),
    (["ingest", "/nowhere", "--source", "x"], 2, "does not exist"),
    (["ingest", "examples/company"], 2, "--source"),
    (["ingest", "examples/company", "--source", "a share"], 2, "cannot be the name of a source"),
    (["ingest", "examples/company/Personal", "--source", "hansekai"], 1, "--moved"),
    (["documents"], 1, "--as WHO"),
    (["documents", "--refused", "--as", "anna"], 2, "either"),
    (["nonsense"], 2, "No such command"),
]


@pytest.mark.parametrize(
    ("arguments", "status", "message"), FAILURES, ids=lambda each: " ".join(each) if isinstance(each, list) else ""
)
def test_a_failure_says_what_to_do_on_stderr_and_nothing_on_stdout(demo, arguments, status, message) -> None:
    ran = demo.run(*arguments)
    assert ran.returncode == status
    assert message in " ".join(ran.stderr.split())
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr


def test_a_process_ends_and_prints_as_its_command_does(demo) -> None:
    alone, here = (run("search", "x") for run in (demo.run_alone, demo.run))
    assert alone.returncode == here.returncode == 1
    assert (alone.stdout, alone.stderr.split()) == ("", here.stderr.split())


def test_as_works_with_the_demo_issuer_only(tmp_path) -> None:
    share, command_line = tmp_path / "share", CommandLine(tmp_path / "home")
    share.mkdir()
    command_line.json("ingest", str(share), "--source", "share")
    ran = command_line.run("search", "x", "--as", "anna")
    assert ran.returncode == 1
    assert "demo issuer" in " ".join(ran.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"], ["doctor"], ["documents", "--refused"], ["documents", "--as", "anna"], ["token", "--as", "anna"],
        ["search", "x", "--as", "anna"], ["ask", "x", "--as", "anna"], ["explain", "x", "--as", "anna"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_in_the_wrong_folder_says_so_and_begins_no_installation(tmp_path, arguments) -> None:
    home = tmp_path / "elsewhere"
    ran = CommandLine(home).run(*arguments)
    assert ran.returncode == 1
    assert f"no Kustos installation in {home}" in " ".join(ran.stderr.split())
    assert not home.exists()


def test_a_demo_beside_real_documents_is_refused_and_leaves_no_demo_issuer_there(tmp_path) -> None:
    share, command_line = tmp_path / "share", CommandLine(tmp_path / "home")
    share.mkdir()
    command_line.json("ingest", str(share), "--source", "share")
    ran = command_line.run("demo", "--once")
    assert ran.returncode == 1
    assert "holds documents of share" in " ".join(ran.stderr.split())
    assert not (command_line.home / "demo.json").exists()


def test_tv_25_a_bad_setting_is_named_with_its_value(demo) -> None:
    ran = demo.run("status", KUSTOS_PORT="eighty")
    assert ran.returncode == 1
    assert "KUSTOS_PORT" in ran.stderr
    assert "eighty" in ran.stderr


def test_the_home_is_for_its_owner_alone(demo) -> None:
    assert stat.S_IMODE(demo.home.stat().st_mode) == 0o700
    for secret in ("operator.key", "demo-key.pem"):
        assert stat.S_IMODE((demo.home / secret).stat().st_mode) == 0o600


class RunningService:
    """`kustos serve` over the sample company."""

    def __init__(self, command_line: CommandLine, url: str) -> None:
        self.command_line = command_line
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=60)

    def search(self, text: str, who: str) -> dict[str, list[dict[str, str]]]:
        token = self.http.post("/demo/token", json={"account": who}).json()["token"]
        reply = self.http.post("/v1/search", json={"query": text}, headers={"Authorization": f"Bearer {token}"})
        assert reply.status_code == 200, reply.text
        found: dict[str, list[dict[str, str]]] = reply.json()
        return found


@pytest.fixture(scope="module")
def demo_service(demo: CommandLine) -> Iterator[RunningService]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", "from api.cli import main; main()", "serve", "--port", str(port)],
        env=demo.environment(),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    service = RunningService(demo, f"http://127.0.0.1:{port}")
    try:
        _await_ready(service.http, process)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _await_ready(http: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            if http.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the service is not ready; its exit status is {process.poll()}")


def test_a_command_that_finds_the_index_taken_talks_to_the_service(demo_service) -> None:
    found = demo_service.command_line.json("search", "Gefahrgut", "--as", "anna")
    assert found["passages"]


def test_doctor_asks_a_running_service_about_its_index(demo_service) -> None:
    found = demo_service.command_line.json("doctor")["findings"]
    assert [each["state"] for each in found if each["check"] == "index"] == ["good"]


def test_rc_01_a_right_taken_away_while_serving_holds_in_the_next_question(demo_service, tmp_path) -> None:
    share = tmp_path / "share"
    (share / "team").mkdir(parents=True)
    (share / "team" / "note.txt").write_text("The vault combination is kept by Zyxwvut.", encoding="utf-8")
    access = share / "team" / "_access.yaml"
    access.write_text("kustos_access: 1\nrealm: hansekai\nallow:\n  - everyone\n", encoding="utf-8")
    os.chmod(access, 0o600)
    command_line = demo_service.command_line
    (report,) = command_line.json("ingest", str(share), "--source", "vault")["sources"]
    assert report["written"] == 1
    assert "Zyxwvut" in json.dumps(demo_service.search("Who keeps the vault combination?", "anna"))
    access.write_text("kustos_access: 1\nrealm: hansekai\nallow: []\n", encoding="utf-8")
    (report,) = command_line.json("ingest", str(share), "--source", "vault")["sources"]
    assert (report["written"], report["rights_changed"]) == (0, 1)
    assert "Zyxwvut" not in json.dumps(demo_service.search("Who keeps the vault combination?", "anna"))


def test_the_service_says_what_the_demo_is(demo_service) -> None:
    assert demo_service.http.get("/").headers["X-Kustos-Demo"] == "1"
