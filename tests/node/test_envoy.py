"""The node's Envoy: up, up again when killed, adopted, replaced, asked."""

import asyncio
import json
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from tests.node.machine import alive, kill, podhost
from weft.node.envoy import EnvoyError, EnvoyGoneError, EnvoySupervisor, admin_socket, count_active
from weft.node.podhost_client import PodhostRuntime
from weft.node.proxy_watch import ProxyWatch

ARGUMENTS = (
    "--concurrency", "1", "--log-level", "warning",
    "--drain-time-s", "1", "--parent-shutdown-time-s", "2",
)  # fmt: skip


def bootstrap(run_dir: Path, name: str = "node") -> dict[str, Any]:
    return {
        "node": {"id": name, "cluster": "test"},
        "admin": {"address": {"pipe": {"path": admin_socket(run_dir), "mode": 0o600}}},
        "static_resources": {
            "clusters": [
                {
                    "name": "one",
                    "load_assignment": {
                        "cluster_name": "one",
                        "endpoints": [{"lb_endpoints": [_endpoint(9), _endpoint(10)]}],
                    },
                }
            ]
        },
    }


def _endpoint(port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"endpoint": {"address": address}}


def supervisor(runtime: PodhostRuntime, run_dir: Path, name: str = "node") -> EnvoySupervisor:
    return EnvoySupervisor(runtime, run_dir, bootstrap(run_dir, name), arguments=ARGUMENTS)


@pytest.mark.slow
async def test_a_killed_envoy_is_back_at_once() -> None:
    async with podhost() as (runtime, directory):
        envoy = supervisor(runtime, directory)
        assert not await envoy.start()
        await envoy.ready()
        first = await envoy.state()
        assert first is not None
        told: list[str] = []
        watch = ProxyWatch(runtime, told.append)
        await watch.look()
        kill(first.pid)
        begun = time.monotonic()
        async with asyncio.timeout(10):
            while True:
                state = await envoy.state()
                if state and state.pid not in (0, first.pid) and await envoy.admin.live():
                    break
                await asyncio.sleep(0.01)
        assert time.monotonic() - begun < 5  # 0.1 s where the machine is not busy
        assert state.restarts == 1
        await watch.look()
        await watch.look()
        assert len(told) == 1
        assert "137 (Error) and was started again" in told[0]
        await envoy.stop()
        assert await runtime.list() == ()
        assert not alive(state.pid)


@pytest.mark.slow
async def test_an_unchanged_envoy_is_adopted_and_a_changed_one_replaced() -> None:
    async with podhost() as (runtime, directory):
        first = supervisor(runtime, directory)
        await first.start()
        await first.ready()
        before = await first.state()
        second = supervisor(runtime, directory)
        assert await second.start()
        assert await second.state() == before
        other = supervisor(runtime, directory, "renamed")
        assert not await other.start()
        await other.ready()
        state = await other.state()
        assert before is not None
        assert state is not None
        assert state.pid != before.pid
        file = directory / "envoy/bootstrap-2.json"
        assert "renamed" in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        await until_ended(before.pid)
        (only,) = [s for s in await runtime.list() if s.exit_code is None]
        assert only.pid == state.pid
        for one in (first, second, other):
            await one.close()


@pytest.mark.slow
async def test_one_takes_over_from_the_other_and_survives_being_killed() -> None:
    async with podhost() as (runtime, directory):
        envoy = supervisor(runtime, directory)
        await envoy.start()
        await envoy.ready()
        pids = []
        for epoch in ("1", "2"):
            before = await envoy.state()
            assert before is not None
            await envoy.restart()
            info = json.loads(await envoy.admin.get("/server_info"))
            assert info["command_line_options"]["restart_epoch"] == int(epoch)
            await until_ended(before.pid)
            pids.append(before.pid)
        last = await envoy.state()
        assert last is not None
        kill(last.pid)
        async with asyncio.timeout(10):
            while not await envoy.admin.live():  # noqa: ASYNC110 - another process becomes ready
                await asyncio.sleep(0.02)
        again = await envoy.state()
        assert again is not None
        assert again.restarts == 1
        await envoy.restart()
        current = await envoy.state()
        assert current is not None
        assert len({*pids, last.pid, again.pid, current.pid}) == 5
        await envoy.stop()
        assert not any(map(alive, (again.pid, current.pid)))
        assert [s for s in await runtime.list() if s.exit_code is None] == []


async def until_ended(pid: int) -> None:
    async with asyncio.timeout(15):
        while alive(pid):  # noqa: ASYNC110 - another process ends
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_the_admin_interface_answers() -> None:
    async with podhost() as (runtime, directory):
        envoy = supervisor(runtime, directory)
        with pytest.raises(EnvoyGoneError, match="does not run"):
            await envoy.admin.get("/ready")
        await envoy.start()
        await envoy.ready()
        assert (await envoy.admin.stats("^server.live$")) == {"server.live": 1}
        assert b"envoy_server_live" in await envoy.admin.prometheus()
        assert await envoy.admin.active_requests("127.0.0.1", (9,)) == 0
        statuses = (await envoy.admin.clusters())["cluster_statuses"]
        assert len(statuses[0]["host_statuses"]) == 2
        await envoy.admin.drain_listeners()
        with pytest.raises(EnvoyError, match="404"):
            await envoy.admin.get("/no/such")
        await envoy.stop()


@pytest.mark.slow
async def test_an_envoy_that_cannot_start_is_named() -> None:
    async with podhost() as (runtime, directory):
        envoy = EnvoySupervisor(
            runtime, directory, {}, arguments=ARGUMENTS, envoy_path="/no/such/envoy"
        )
        with pytest.raises(EnvoyError, match="/no/such/envoy"):
            await envoy.start()
        broken = EnvoySupervisor(runtime, directory, {"nonsense": 1}, arguments=ARGUMENTS)
        await broken.start()
        with pytest.raises(EnvoyError, match="not ready within 1 s"):
            await broken.ready(1)
        await broken.stop()


def test_active_requests_are_counted_per_endpoint() -> None:
    def host(address: str, port: int, active: str) -> dict[str, Any]:
        stats = [{"name": "rq_active", "value": active, "type": "GAUGE"}, {"name": "cx_active"}]
        place = {"socket_address": {"address": address, "port_value": port}}
        return {"address": place, "stats": stats}

    statuses = {
        "cluster_statuses": [
            {"name": "a", "host_statuses": [host("10.0.0.1", 80, "2"), host("10.0.0.2", 80, "9")]},
            {"name": "b", "host_statuses": [host("10.0.0.1", 81, "3"), {"address": {"pipe": {}}}]},
            {"name": "empty"},
        ]
    }
    assert count_active(statuses, "10.0.0.1", (80,)) == 2
    assert count_active(statuses, "10.0.0.1") == 5
    assert count_active(statuses, "10.0.0.3") == 0
    name = statuses["cluster_statuses"][0]["name"]
    assert count_active(statuses, "10.0.0.1", ignored=frozenset({name})) < 5
