"""The compose file and the image keep what they promise. Containers are not started here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.keycloak_realm.check import faults
from api.server import SHUTDOWN_S
from ingest.parsers.legacy import PACKAGES
from rag.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
SERVICES = sorted(COMPOSE["services"].items())
RUNS_AS_ROOT = {"ollama-folder"}  # for one chown, without a network
REALM: dict[str, Any] = json.loads((ROOT / "deploy/keycloak/realm-kustos.json").read_text(encoding="utf-8"))
PINNED = re.compile(r"[a-z0-9./-]+:v?\d+(\.\d+)+(-[a-z]+)?")


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_every_container_has_the_least_privilege(name: str, service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["CHOWN"] if name in RUNS_AS_ROOT else [])
    assert not service.get("privileged")
    assert not [volume for volume in service.get("volumes", []) if "docker.sock" in volume]


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_every_image_is_pinned_to_a_version(name: str, service: dict[str, Any]) -> None:
    assert PINNED.fullmatch(service["image"]), name


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_every_lasting_service_has_a_health_check(name: str, service: dict[str, Any]) -> None:
    assert "healthcheck" in service or service["restart"] == "no"


def test_fb_18_only_kustos_publishes_a_port_and_only_on_loopback() -> None:
    ports = {name: service["ports"] for name, service in SERVICES if "ports" in service}
    assert ports == {"kustos": ["127.0.0.1:8080:8080"]}


def test_no_lasting_service_has_a_route_out() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert COMPOSE["networks"]["proxy"]["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    reach_out = {name for name, service in SERVICES if set(service.get("networks", [])) - {"inside", "proxy"}}
    assert reach_out == {"fetch-chat-model", "fetch-model"}
    assert all(COMPOSE["services"][name]["profiles"] == ["fetch"] for name in reach_out)


def test_another_model_is_fetched_to_where_both_services_read_it_and_neither_can_change_it() -> None:
    folder = re.search(r"KUSTOS_MODELS_DIR=(\S+)", DOCKERFILE)[1]  # type: ignore[index]
    assert f"models:{folder}" in COMPOSE["services"]["fetch-model"]["volumes"]
    for name in ("kustos", "sync"):
        assert f"models:{folder}:ro" in COMPOSE["services"][name]["volumes"]
        assert COMPOSE["services"][name]["environment"]["KUSTOS_EMBEDDER"].startswith("${EMBEDDER:-")
    assert "models" in COMPOSE["volumes"]
    # A fresh volume takes over the owner: the user of the image, or the fetched files could not be written.
    assert f"COPY --from=build --chown=10001:10001 /opt/models {folder}\n" in DOCKERFILE


def test_what_reaches_out_knows_no_secret_and_no_document() -> None:
    fetch = COMPOSE["services"]["fetch-model"]
    assert not [key for key in fetch["environment"] if re.search(r"PASSWORD|KEY|URL", key)]
    assert [volume.split(":")[0] for volume in fetch["volumes"]] == ["models"]


def test_kustos_accepts_the_settings_of_both_of_its_services() -> None:
    for name in ("kustos", "sync"):
        settings = Settings.from_mapping(COMPOSE["services"][name]["environment"])
        assert settings.catalog_url.startswith("postgresql"), name


def test_without_a_word_of_yours_both_accept_the_clients_of_the_realm_that_is_here() -> None:
    for name in ("kustos", "sync"):
        left_out = COMPOSE["services"][name]["environment"]["KUSTOS_CLIENTS"].removeprefix("${CLIENTS:-").rstrip("}")
        assert faults(REALM, "kustos", frozenset(left_out.split(","))) == []
        assert "kustos-page" in left_out


def test_both_get_the_time_to_stop_that_they_may_take() -> None:
    for name in ("kustos", "sync"):
        assert int(COMPOSE["services"][name]["stop_grace_period"].removesuffix("s")) >= 3 * SHUTDOWN_S


def test_the_image_brings_the_packages_that_refusals_advise_only_if_it_is_asked_to() -> None:
    assert 'ARG PACKAGES=""' in DOCKERFILE
    assert COMPOSE["services"]["kustos"]["build"]["args"] == {"PACKAGES": "${PACKAGES:-}"}
    assert all(package in DOCKERFILE for package in PACKAGES.values())


def test_no_secret_stands_in_the_compose_file() -> None:
    secrets = [
        value
        for _, service in SERVICES
        for key, value in service.get("environment", {}).items()
        if re.search(r"PASSWORD|API_KEY", key) and not value.startswith("${")
    ]
    assert not secrets


def test_compose_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not here; its plugin would check the file")
    secrets = {
        "POSTGRES_PASSWORD": "a",
        "KEYCLOAK_PASSWORD": "b",
        "QDRANT_API_KEY": "c",
        "PUBLIC_NAME": "kustos.example",
    }
    command = [docker, "compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    done = subprocess.run(command, env=secrets, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_images_run_without_root_and_from_pinned_bases() -> None:
    final = DOCKERFILE.split("\nFROM ")[-3:]
    assert re.search(r"^USER 10001:10001$", next(s for s in final if " AS kustos\n" in s), re.MULTILINE)
    assert re.search(r"^USER 1000$", next(s for s in final if " AS keycloak\n" in s), re.MULTILINE)
    assert all(PINNED.match(base) for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))


def test_the_image_holds_every_package() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    assert copied == {"rag", "connectors", "ingest", "eval", "api"}
    allowed = set((ROOT / ".dockerignore").read_text(encoding="utf-8").split())
    assert {f"!{package}" for package in copied} <= allowed


def test_the_image_switches_off_the_telemetry_that_the_code_switches_off() -> None:
    code = "import json, os; os.environ.clear(); import rag; print(json.dumps(dict(os.environ)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    switches = json.loads(ran.stdout)
    assert switches
    image = DOCKERFILE.split(" AS kustos\n")[1].split("\nFROM ")[0]
    assert switches.items() <= dict(re.findall(r"(\w+)=(\S+)", image)).items()
