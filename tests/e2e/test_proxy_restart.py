"""A new Envoy takes over from the running one: nobody who asks or listens notices."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, Load, ask, run_inside, wait_for
from weft.lib.envoy_binary import PACKAGE, envoy_path

pytestmark = pytest.mark.e2e

HOST = {"Host": "web.example"}
CHANGES = 3
HOLD = """
import asyncio, builtins, os
from aiohttp import ClientSession
INSIDE = "http_proxy" not in os.environ
WEB = "web" if INSIDE else os.environ["WEB_SERVICE_HOST"]
async def main():
    session = builtins.SESSION = ClientSession()
    builtins.SOCKET = await session.ws_connect(f"http://{WEB}:8000/ws")
    builtins.COUNTS = {}
    builtins.STOP = False
    async def ask():
        async with ClientSession() as own:
            while not builtins.STOP:
                try:
                    async with own.get(f"http://{WEB}:8000/who") as answer:
                        found = answer.status
                except Exception as error:
                    found = repr(error)
                builtins.COUNTS[found] = builtins.COUNTS.get(found, 0) + 1
                await asyncio.sleep(0.002)
    builtins.TASKS = [asyncio.ensure_future(ask()) for _ in range(4)]
    return True
"""
SEEN = """
import builtins
async def main():
    await builtins.SOCKET.send_str("here")
    word = await builtins.SOCKET.receive_str(timeout=3)
    return [word.partition(":")[2], {str(k): n for k, n in builtins.COUNTS.items()}]
"""
STOP = """
import asyncio, builtins
async def main():
    builtins.STOP = True
    await asyncio.gather(*builtins.TASKS)
    await builtins.SESSION.close()
    return {str(k): n for k, n in builtins.COUNTS.items()}
"""


@pytest.fixture(scope="module")
def weft(isolated: Instance) -> Instance:
    """Without network namespaces the same happens: once is enough."""
    return isolated


@pytest.fixture(scope="module")
def web(weft: Instance) -> Instance:
    text = m.echo("web") + m.service("web", 8000) + m.gateway("front", "*.example")
    text += m.routes("web", m.to("web"), "web.example", "front")
    weft.weft("apply", "-f", "-", "--wait", stdin=text)
    wait_for(lambda: ask(weft, "/who", "web.example")[0] == 200, "web answers")
    return weft


def pid(weft: Instance) -> int:
    return int(weft.status()["proxies"][0]["pid"])


async def test_a_new_proxy_takes_over_under_load(web: Instance) -> None:
    assert await asyncio.to_thread(run_inside, web, "web.example", HOLD) is True
    before = pid(web)
    async with Load(web.gateway() + "/who", headers=HOST) as load:
        await load.until(300)
        said = await asyncio.to_thread(web.weft, "proxy", "restart")
        assert "took over from" in said
        assert pid(web) != before
        for number in range(1, CHANGES + 1):
            await load.until(load.total + 300)
            # What changes goes to both, and new connections go to the new one.
            text = m.routes("web", f"- timeout: {number}s\n  " + m.to("web")[2:], "web.example",
                            "front")  # fmt: skip
            await asyncio.to_thread(web.weft, "apply", "-f", "-", "--wait", stdin=text)
            word, _ = await asyncio.to_thread(run_inside, web, "web.example", SEEN)
            assert word == "here"
    assert load.failed == 0, load.report()
    counts = await asyncio.to_thread(run_inside, web, "web.example", STOP)
    assert set(counts) == {"200"}, counts
    assert counts["200"] > 100


async def test_weft_starts_again_after_it(web: Instance) -> None:
    before = pid(web)
    async with Load(web.gateway() + "/who", headers=HOST) as load:
        await load.until(200)
        await asyncio.to_thread(web.weft, "down", "--keep-pods")
        await load.until(load.total + 200)
        await asyncio.to_thread(web.up)
        await load.until(load.total + 200)
    assert load.failed == 0, load.report()
    assert pid(web) == before


async def test_an_upgraded_proxy_takes_over_when_weft_starts(
    web: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package of Envoy that weft finds now is another one, with its program elsewhere."""
    program = tmp_path / "newer/_bin/envoy"
    program.parent.mkdir(parents=True)
    program.symlink_to(envoy_path())
    package = tmp_path / f"{PACKAGE.replace('-', '_')}-999.dist-info"
    package.mkdir()
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 999\n")
    (package / "RECORD").write_text("newer/_bin/envoy,,\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = pid(web)
    async with Load(web.gateway() + "/who", headers=HOST) as load:
        await load.until(200)
        await asyncio.to_thread(web.weft, "down", "--keep-pods")
        await asyncio.to_thread(web.up)
        await asyncio.to_thread(wait_for, lambda: pid(web) != before, "another process", 20)
        await load.until(load.total + 300)
    assert load.failed == 0, load.report()
    assert Path(f"/proc/{pid(web)}/cmdline").read_bytes().startswith(bytes(program))


async def test_a_pod_comes_and_goes_while_the_old_proxy_drains(web: Instance) -> None:
    again = await asyncio.to_thread(web.run, "proxy", "restart")
    assert again.returncode == 0 or "still drains" in again.stderr
    async with Load(web.gateway() + "/who", headers=HOST) as load:
        for replicas in (2, 1):
            text = m.echo("web", replicas=replicas)
            await asyncio.to_thread(web.weft, "apply", "-f", "-", "--wait", stdin=text)
            await load.until(load.total + 200)
    assert load.failed == 0, load.report()
