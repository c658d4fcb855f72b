"""Faults under load: what must go on, goes on. Each test starts its own instance."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e import steady
from tests.e2e.conftest import ISOLATIONS, fresh
from tests.e2e.instance import Instance, Load, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROLLING_REQUESTS = int(os.environ.get("WEFT_ROLLING_REQUESTS", "2000"))
HOST = {"Host": "api.example"}


@pytest.fixture(scope="module")
def served() -> Iterator[Instance]:
    """Three pods behind a gateway."""
    for weft in fresh(ISOLATIONS[0]):
        weft.up()
        text = (
            m.echo("api", "v1", 3)
            + m.service("api")
            + m.gateway("front", "*.example")
            + m.routes("api-front", m.to("api"), "api.example", "front")
        )
        weft.weft("apply", "-f", "-", stdin=text)
        weft.wait_ready("app=api", 3)
        weft.gateway()
        yield weft


def pods_by_name(weft: Instance) -> dict[str, tuple[int, int]]:
    """Ready pods: name -> (pid, restarts)."""
    status = json.loads(weft.weft("status", "-o", "json"))
    pids = {p["name"]: p["pid"] for p in status["pods"]}
    return {
        p["metadata"]["name"]: (
            pids[p["metadata"]["name"]],
            p["status"]["containerStatuses"][0]["restartCount"],
        )
        for p in weft.ready_pods("app=api")
    }


async def settled(load: Load, wanted: int = 50) -> None:
    await load.until(load.total + wanted)


async def until(condition: Any, what: str, seconds: float = 40.0) -> Any:
    return await asyncio.to_thread(wait_for, condition, what, seconds)


async def test_killed_pod_costs_no_request(served: Instance) -> None:
    victim, (pid, restarts) = next(iter(pods_by_name(served).items()))
    async with Load(served.gateway() + "/who", headers=HOST) as load:
        await settled(load, 300)
        os.kill(pid, signal.SIGKILL)
        await settled(load, 1500)
        await until(
            lambda: pods_by_name(served).get(victim, (0, 0))[1] == restarts + 1, "restarted"
        )
    assert load.failed == 0, load.report()


async def test_rolling_update_loses_no_request(served: Instance) -> None:
    before = set(pods_by_name(served))
    async with Load(served.gateway() + "/who", clients=16, headers=HOST) as load:
        await settled(load, 200)
        version = 2
        while load.total < ROLLING_REQUESTS or version <= 3:
            text = m.echo("api", "v1", 3).replace(
                "labels: {app: api, version: v1}\n    spec:",
                f"labels: {{app: api, version: v1}}\n      annotations: {{turn: '{version}'}}\n"
                "    spec:",
            )
            assert f"turn: '{version}'" in text
            await asyncio.to_thread(served.weft, "apply", "-f", "-", stdin=text)

            def rolled(turn: str = str(version)) -> bool:
                pods = served.ready_pods("app=api")
                turns = {p["metadata"].get("annotations", {}).get("turn") for p in pods}
                return (
                    len(pods) == 3 and turns == {turn} and len(served.items("pods", "app=api")) == 3
                )

            await until(rolled, f"rolling update {version} complete")
            version += 1
    assert load.total >= ROLLING_REQUESTS
    assert load.failed == 0, load.report()
    assert not before & set(pods_by_name(served))


async def test_scale_down_waits_for_requests_in_flight(served: Instance) -> None:
    url = served.gateway() + "/slow?seconds=3"
    async with Load(url, clients=12, headers=HOST) as load:
        await asyncio.sleep(1.0)
        await asyncio.to_thread(served.weft, "apply", "-f", "-", stdin=m.echo("api", "v1", 1))
        await until(lambda: len(served.items("pods", "app=api")) == 1, "one pod left")
    assert load.failed == 0, load.report()
    await asyncio.to_thread(served.weft, "apply", "-f", "-", stdin=m.echo("api", "v1", 3))
    await asyncio.to_thread(served.wait_ready, "app=api", 3)


async def test_weft_killed_and_restarted_under_load(served: Instance) -> None:
    """Also calls by name: the names are answered by a process of their own."""
    await asyncio.to_thread(served.weft, "apply", "-f", "-", stdin=json.dumps(steady.pod()))
    await asyncio.to_thread(steady.more_calls, served, "at first")
    before, servers = pods_by_name(served), steady.name_servers(served)
    async with Load(served.gateway() + "/who", headers=HOST) as load:
        await settled(load, 300)
        await asyncio.to_thread(served.kill_9)
        await settled(load, 1000)
        await asyncio.to_thread(steady.more_calls, served, "while weft does not run")
        await asyncio.to_thread(served.up)
        await settled(load, 1000)
        await until(lambda: len(served.ready_pods("app=api")) == 3, "pods ready again")
        await settled(load, 500)
    assert load.failed == 0, load.report()
    assert pods_by_name(served) == before, "pods are re-adopted, not replaced"
    assert steady.name_servers(served) == servers, "it is adopted"
    await asyncio.to_thread(steady.more_calls, served, "after the start")
    assert steady.calls(served)[1] == "[]"
    await asyncio.to_thread(steady.kill_name_server, served)
    await asyncio.to_thread(steady.more_calls, served, "after the DNS server was killed")


async def test_changes_still_apply_after_a_restart(served: Instance) -> None:
    await asyncio.to_thread(served.weft, "apply", "-f", "-", stdin=m.echo("api", "v1", 2))
    await until(lambda: len(served.items("pods", "app=api")) == 2, "scaled down")
    await asyncio.to_thread(served.weft, "apply", "-f", "-", stdin=m.echo("api", "v1", 3))
    await asyncio.to_thread(served.wait_ready, "app=api", 3)


async def test_envoy_killed_is_back_at_once(served: Instance) -> None:
    proxies = json.loads(served.weft("status", "-o", "json"))["proxies"]
    pid = proxies[0]["pid"]
    loop = asyncio.get_running_loop()
    async with Load(served.gateway() + "/who", headers=HOST) as load:
        await settled(load, 300)
        os.kill(pid, signal.SIGKILL)
        killed, good = loop.time(), load.statuses[200]
        await asyncio.sleep(0.05)
        while load.statuses[200] <= good + 8:
            assert loop.time() - killed < 10, load.report()
            await asyncio.sleep(0.005)
        outage = loop.time() - killed
        await settled(load, 300)
    assert outage < 5, f"answers came again after {outage:.2f} s"

    def told() -> bool:
        return "ProxyRestarted" in served.kubectl("get", "events", "-A")

    await asyncio.to_thread(wait_for, told, "an Event says that it was started again")


def processes_of(weft: Instance) -> list[int]:
    """Processes whose command line or environment names the instance's directories."""
    found = []
    marks = (str(weft.run_dir).encode(), str(weft.data_dir).encode())
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if any(mark in text for mark in marks):
                found.append(int(entry.name))
    return found


async def test_down_leaves_nothing_behind(stopped: Instance) -> None:
    await asyncio.to_thread(stopped.up)
    text = m.echo("api", "v1", 2) + m.service("api")
    await asyncio.to_thread(stopped.weft, "apply", "-f", "-", stdin=text)
    await asyncio.to_thread(stopped.wait_ready, "app=api", 2)
    pids = [pid for pid, _ in pods_by_name(stopped).values()]
    assert processes_of(stopped)
    await asyncio.to_thread(stopped.weft, "down")
    assert processes_of(stopped) == []
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not stopped.run_dir.exists()
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(stopped.run_dir) not in mounts
    assert not [d for d in Path("/sys/class/net").iterdir() if stopped.run_dir.name[:6] in d.name]
    await asyncio.to_thread(stopped.up)
    await asyncio.to_thread(stopped.wait_ready, "app=api", 2)


async def test_down_cleans_up_after_a_killed_weft(stopped: Instance) -> None:
    await asyncio.to_thread(stopped.up)
    text = m.echo("api", "v1", 1) + m.service("api")
    await asyncio.to_thread(stopped.weft, "apply", "-f", "-", stdin=text)
    await asyncio.to_thread(stopped.wait_ready, "app=api", 1)
    pids = [pid for pid, _ in pods_by_name(stopped).values()]
    await asyncio.to_thread(stopped.kill_9)
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    await asyncio.to_thread(stopped.weft, "down")
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert processes_of(stopped) == []


async def test_two_instances_side_by_side(served: Instance, stopped: Instance) -> None:
    await asyncio.to_thread(stopped.up)
    text = (
        m.echo("api", "other", 1)
        + m.service("api")
        + m.gateway("front", "*.example")
        + m.routes("api-front", m.to("api"), "api.example", "front")
    )
    await asyncio.to_thread(stopped.weft, "apply", "-f", "-", stdin=text)
    await asyncio.to_thread(stopped.wait_ready, "app=api", 1)
    assert stopped.running.port != served.running.port
    assert stopped.gateway() != served.gateway()
    async with (
        Load(served.gateway() + "/who", headers=HOST) as first,
        Load(stopped.gateway() + "/who", headers=HOST) as second,
    ):
        await until(lambda: second.statuses[200] > 100, "the second answers")
        await first.until(200)
    assert set(first.bodies) == {"v1"}, first.report()
    assert "other" in second.bodies
    await asyncio.to_thread(stopped.weft, "down")
    async with Load(served.gateway() + "/who", headers=HOST) as first:
        await first.until(100)
    assert first.failed == 0, first.report()
