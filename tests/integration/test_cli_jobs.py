"""What jobs do by a key and people by their duty: measure the sample company, and bring it up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

QUESTION = "Was darf eine Hotelübernachtung für den Vertrieb kosten?"


@pytest.fixture
def folder(demo, tmp_path: Path) -> Path:
    """One query, to which the rules of sales are relevant, and a page that only managers read."""
    told = demo.json("documents", "--as", "katharina")["documents"]
    (rules,) = [each for each in told if each["source"].endswith("/Reisekosten%20Vertrieb.pdf")]
    (managers,) = [each for each in told if each["source"].endswith("/Reisekosten%20Gesch%C3%A4ftsleitung.pdf")]
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": QUESTION}) + "\n", encoding="utf-8")
    (tmp_path / "qrels").mkdir()
    judged = f"q\t{rules['source']}\t1\nq\t{managers['id']}\t1\n"
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, encoding="utf-8")
    return tmp_path


def recall(told: Any) -> float:
    return float(told["measures"]["R@10"])


def test_an_evaluator_measures_what_he_reads(demo, folder: Path) -> None:
    told = demo.json("eval", "service", str(folder), "--as", "tobias")
    assert told["queries"] == 1
    assert recall(told) == 0.5, "he does not read the managers' page"
    printed = demo.run("eval", "service", str(folder), "--as", "tobias").stdout
    assert "1 query for tobias" in printed
    assert "R@10 0.5000" in printed


def test_a_key_measures_for_an_evaluator_and_for_nobody_else(demo, folder: Path) -> None:
    made = {who: demo.json("keys", "create", "--for", who, "--scope", "evaluate") for who in ("tobias", "anna")}
    asked = ("eval", "service", str(folder), "--json")
    assert recall(json.loads(demo.run(*asked, KUSTOS_API_KEY=made["tobias"]["key"]).stdout)) == 0.5
    for refused in (
        demo.run(*asked, KUSTOS_API_KEY=made["anna"]["key"]),
        demo.run(*asked, "--as", "anna"),
    ):
        assert refused.returncode == 1
        assert "role 'evaluator'" in refused.stderr
    reading = demo.run("search", "Hotel", KUSTOS_API_KEY=made["tobias"]["key"])
    assert reading.returncode == 1
    assert "lacks 'query'" in reading.stderr


def test_a_key_to_push_has_a_known_source_brought_up_to_date(demo) -> None:
    key = demo.json("keys", "create", "--for", "lena", "--scope", "push")["key"]
    told = json.loads(demo.run("sync", "hansekai", "--json", KUSTOS_API_KEY=key).stdout)
    assert told["written"] == 0
    assert told["listed"] > 50
    absent = demo.run("sync", "nothing", KUSTOS_API_KEY=key)
    assert absent.returncode == 1
    assert "no source 'nothing'" in absent.stderr
    assert "role 'operator'" in demo.run("sync", "hansekai", "--as", "anna").stderr


def test_a_key_to_query_is_asked_with_like_a_sign_in(demo) -> None:
    key = demo.json("keys", "create", "--for", "anna", "--scope", "query")["key"]
    found = json.loads(demo.run("search", "Urlaub", "--json", KUSTOS_API_KEY=key).stdout)
    by_name = demo.json("search", "Urlaub", "--as", "anna")
    assert found["passages"] == by_name["passages"]
