"""The access log is moved aside by size; its writer loses nothing meanwhile."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.xds.support import free_port
from weft.daemon.access_log_keeper import FILES_MAX, rotate
from weft.lib.envoy_binary import envoy_path
from weft.node.envoy import EnvoyAdmin

TYPES = "type.googleapis.com/envoy.extensions"


def test_a_small_file_stays_and_a_missing_one_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    assert not rotate(path)
    path.write_text("a")
    assert not rotate(path, 2)
    assert path.read_text() == "a"


def test_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    for number in range(FILES_MAX + 2):
        path.write_text(str(number))
        assert rotate(path, 1)
    found = {p.name: p.read_text() for p in tmp_path.iterdir()}
    assert found == {"access.log.1": "5", "access.log.2": "4", "access.log.3": "3"}


@pytest.mark.slow
@pytest.mark.tools("curl")
def test_envoy_opens_the_file_anew(tmp_path: Path) -> None:
    path, port = tmp_path / "access.log", free_port()
    logs = {"name": "file", "typed_config": {
        "@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog", "path": str(path),
        "log_format": {"text_format_source": {"inline_string": "%REQ(:PATH)%\n"}}}}  # fmt: skip
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "a", "access_log": [logs],
        "route_config": {"virtual_hosts": [{"name": "a", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": f"{TYPES}.filters.http.router.v3.Router"}}],
    }  # fmt: skip
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    config = {
        "admin": {"address": {"pipe": {"path": str(tmp_path / "admin")}}},
        "static_resources": {
            "listeners": [{"name": "l", "address": address, "filter_chains": [chain]}]
        },
    }
    (tmp_path / "envoy.json").write_text(json.dumps(config))
    command = [envoy_path(), "-c", str(tmp_path / "envoy.json"), "--use-dynamic-base-id"]
    envoy = subprocess.Popen([*command, "--file-flush-interval-msec", "50", "-l", "off"])
    try:
        asked(f"http://127.0.0.1:{port}/before")
        until(lambda: path.exists() and "/before" in path.read_text())
        assert rotate(path, 1)
        asyncio.run(reopened(str(tmp_path / "admin")))
        asked(f"http://127.0.0.1:{port}/after")
        until(lambda: path.exists() and "/after" in path.read_text())
        assert "/after" not in (tmp_path / "access.log.1").read_text()
    finally:
        envoy.terminate()
        envoy.wait()


async def reopened(admin: str) -> None:
    client = EnvoyAdmin(admin)
    await client.reopen_logs()
    await client.close()


def asked(url: str) -> None:
    command = ["curl", "-s", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", url]
    subprocess.run(command, check=True, timeout=30)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
