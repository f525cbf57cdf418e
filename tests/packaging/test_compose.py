"""The compose file: safe by default, and each service's command runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scaiqueue.cli.client import is_ready
from scaiqueue.settings import load_settings
from tests.eventually import eventually
from tests.packaging.compose import MissingVariable, read_compose, read_env_file
from tests.servers import MariaDbServer, RedisServer, free_port

DEVELOPMENT = read_env_file("docker-compose.dev.env")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = read_compose(DEVELOPMENT)["services"]
    return found


@pytest.mark.parametrize("name", sorted(DEVELOPMENT))
def test_nothing_secret_has_a_default(name: str) -> None:
    with pytest.raises(MissingVariable, match=name):
        read_compose({**DEVELOPMENT, name: ""})
    assert read_env_file(".env.example")[name] == ""


def test_the_services_wait_for_what_they_need(services: dict[str, Any]) -> None:
    assert set(services) == {"valkey", "mariadb", "migrate", "api", "worker", "locust"}
    assert services["locust"]["profiles"] == ["load"]
    for name in ("valkey", "mariadb", "api"):
        assert services[name]["healthcheck"]["test"]
    for name in ("api", "worker"):
        conditions = {one: wait["condition"] for one, wait in services[name]["depends_on"].items()}
        assert conditions == {
            "valkey": "service_healthy",
            "mariadb": "service_healthy",
            "migrate": "service_completed_successfully",
        }
    volumes = read_compose(DEVELOPMENT)["volumes"]
    assert {services[name]["volumes"][0].split(":")[0] for name in ("valkey", "mariadb")} == set(volumes)
    assert all("127.0.0.1" in port for one in services.values() for port in one.get("ports", []))


def test_the_override_names_only_services_that_exist(services: dict[str, Any]) -> None:
    assert set(read_compose({}, "docker-compose.dev.yml")["services"]) <= set(services)


@pytest.mark.parametrize("name", ["migrate", "api", "worker"])
def test_the_settings_of_the_services_make_sense(services: dict[str, Any], name: str) -> None:
    settings = load_settings(services[name]["environment"])
    assert settings.redis_url
    assert settings.database_url


async def test_the_commands_run(services: dict[str, Any], tmp_path: Path) -> None:
    command = services["valkey"]["command"]
    assert command[0] == "valkey-server"
    directives = dict(zip((name[2:] for name in command[1::2]), command[2::2], strict=True))
    password = directives.pop("requirepass")
    options = [one for one in services["mariadb"]["command"] if "buffer-pool" not in one]
    with RedisServer("valkey", **directives) as valkey, MariaDbServer(*options) as mariadb:
        with valkey.client() as client:
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
            assert client.config_get("appendonly")["appendonly"] == "yes"
            client.config_set("requirepass", password)
        port = free_port()
        moved = {
            "SCAIQUEUE_REDIS_URL": f"redis://:{password}@127.0.0.1:{valkey.port}/0",
            "SCAIQUEUE_DATABASE_URL": mariadb.create_database("scaiqueue"),
            "SCAIQUEUE_HOST": "127.0.0.1",
            "SCAIQUEUE_PORT": str(port),
        }

        def start(name: str) -> subprocess.Popen[bytes]:
            service = services[name]
            environment = {**os.environ, **service["environment"], **moved}
            words = [sys.executable, "-m", "scaiqueue", *service["command"]]
            log = (tmp_path / name).open("wb")
            return subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=log, stderr=log)

        assert start("migrate").wait(60) == 0
        api, worker = start("api"), start("worker")
        try:
            await eventually(lambda: is_ready(f"http://127.0.0.1:{port}"), timeout=60)
            await eventually(lambda: "worker_started" in (tmp_path / "worker").read_text(), timeout=60)
        finally:
            for process in (api, worker):
                process.terminate()
            assert [process.wait(30) for process in (api, worker)] == [0, 0]
