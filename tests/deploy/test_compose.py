"""The compose file: who is published where, and that its parts name each other rightly."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradloom.service.cli.serve import serve_command

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def serve_words() -> list[str]:
    """The options that the service is started with."""
    script = "\n".join(SERVICES["gradloom"]["command"])
    _, _, options = script.partition("exec gradloom serve")
    return shlex.split(options)


def test_everything_is_published_on_loopback_only():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_ray_is_not_published_and_asks_for_its_token():
    head = SERVICES["ray-head"]
    assert "ports" not in head
    assert head["environment"]["RAY_AUTH_MODE"] == "token"
    assert head["environment"]["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray_token"


@pytest.mark.parametrize("name", ["ray-head", "gradloom"])
def test_what_runs_our_code_may_do_little(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


def test_nodes_and_service_see_the_same_data_at_the_same_path():
    data = "../examples:/data/examples:ro"
    assert all(data in SERVICES[name]["volumes"] for name in ("ray-head", "gradloom"))


def test_the_service_is_started_with_options_that_exist():
    known = {option for each in serve_command.params for option in each.opts}
    assert {word for word in serve_words() if word.startswith("--")} <= known


def test_the_service_uses_the_head_by_its_name():
    words = serve_words()
    host, port = words[words.index("--ray-address") + 1].split(":")
    assert host in SERVICES
    assert f"--port={port}" in SERVICES[host]["command"]


def test_prometheus_scrapes_the_port_that_the_service_serves():
    (target,) = PROMETHEUS["scrape_configs"][0]["static_configs"][0]["targets"]
    words = serve_words()
    host, port = target.split(":")
    assert host in SERVICES
    assert words[words.index("--http") + 1].endswith(f":{port}")


def test_the_image_is_of_this_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert COMPOSE["x-gradloom"]["image"] == f"gradloom:{version[1]}"
    assert f'image.version="{version[1]}"' in (ROOT / "Dockerfile").read_text()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_wrong():
    subprocess.run(
        ["promtool", "check", "config", ROOT / "deploy/prometheus.yml"],
        check=True,
        capture_output=True,
    )
