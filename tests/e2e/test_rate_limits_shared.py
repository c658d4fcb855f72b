"""Global limits counted in Redis; limits of Gateway API objects; limits on bytes."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import ISOLATIONS, fresh
from tests.e2e.instance import Instance, ask, wait_for
from weft.daemon.rate_limits import REDIS_VARIABLE

pytestmark = [pytest.mark.e2e, pytest.mark.tools("redis-server")]

GATEWAY = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: weft
  listeners: [{name: http, port: 80, protocol: HTTP}]
"""


def route(name: str, host: str, service: str) -> str:
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: front}}]
  hostnames: ["{host}"]
  rules: [{{backendRefs: [{{name: {service}, port: 80}}]}}]
"""


def limits(name: str, target: str, text: str) -> str:
    return f"""
---
apiVersion: policy.weft.dev/v1alpha1
kind: RateLimitPolicy
metadata: {{name: {name}}}
spec:
  targetRef: {{group: gateway.networking.k8s.io, {target}}}
  {text}
"""


HOURLY = "rules: [{limit: {requests: 3, per: hour}}]"


class Redis:
    """A server of our own on a Unix socket."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program
        command = (program, "--port", "0", "--unixsocket", f"{self.folder}/s", "--save", "")
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        wait_for(Path(f"{self.folder}/s").exists, "Redis listens", 20)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with tempfile.TemporaryDirectory() as folder:
        server = Redis(folder)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def shop(redis: Redis) -> Iterator[Instance]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(REDIS_VARIABLE, f"unix://{redis.folder}/s")
        for weft in fresh(ISOLATIONS[0]):
            weft.up()
            text = m.echo("one") + m.service("one") + "---" + m.echo("two") + m.service("two")
            text += GATEWAY
            for name in ("one", "two", "three"):
                text += route(name, f"{name}.test", "two" if name == "two" else "one")
            weft.weft("apply", "-f", "-", stdin=text)
            weft.wait_ready("app=one", 1)
            weft.wait_ready("app=two", 1)
            served(weft)
            yield weft


def served(weft: Instance) -> None:
    for name in ("one", "two", "three"):
        wait_for(lambda name=name: ask(weft, "/who", f"{name}.test")[0] == 200, name)


def statuses(weft: Instance, host: str, count: int) -> list[int]:
    return [ask(weft, "/who", host)[0] for _ in range(count)]


def test_counts_in_redis_outlive_weft(shop: Instance) -> None:
    """An HTTPRoute as the target: the other routes of the Gateway are not counted."""
    text = limits("shared", "kind: HTTPRoute, name: one", "scope: global\n  " + HOURLY)
    shop.weft("apply", "-f", "-", stdin=text)
    wait_for(lambda: 429 in statuses(shop, "one.test", 4), "the limit holds", 15)
    assert statuses(shop, "three.test", 5) == [200] * 5
    shop.kill_9()
    shop.up()
    wait_for(lambda: ask(shop, "/who", "two.test")[0] == 200, "weft is back")
    wait_for(lambda: ask(shop, "/who", "one.test")[0] == 429, "what was counted is not forgotten")
    assert statuses(shop, "one.test", 3) == [429] * 3


def test_while_redis_is_away(shop: Instance, redis: Redis) -> None:
    """Requests pass limits that fail open (the default), and are refused by those that fail
    closed; both count again when Redis is back."""
    closed = "scope: global\n  failureMode: closed\n  " + HOURLY
    open_ = "scope: global\n  " + HOURLY
    text = limits("closed", "kind: HTTPRoute, name: two", closed)
    text += limits("shared", "kind: HTTPRoute, name: one", open_)
    shop.weft("apply", "-f", "-", stdin=text)
    wait_for(lambda: 429 in statuses(shop, "two.test", 4), "the limit holds", 15)
    redis.stop()
    assert statuses(shop, "two.test", 3) == [503] * 3
    assert statuses(shop, "one.test", 3) == [200] * 3
    redis.start()
    wait_for(lambda: 429 in statuses(shop, "two.test", 4), "it counts again", 15)
    shop.weft("delete", "ratelimitpolicy", "closed", "shared")


def test_all_requests_through_a_gateway(shop: Instance) -> None:
    """A Gateway of the Gateway API: its routes share the limit."""
    shop.weft("apply", "-f", "-", stdin=limits("all", "kind: Gateway, name: front", HOURLY))
    hosts = ("one.test", "two.test", "three.test")
    wait_for(lambda: all(ask(shop, "/who", h)[0] == 429 for h in hosts), "429 for all", 15)
    shop.weft("delete", "ratelimitpolicy", "all")
    wait_for(lambda: all(ask(shop, "/who", h)[0] == 200 for h in hosts), "no limit", 15)


def test_bandwidth(shop: Instance) -> None:
    """400 KiB at 200 KiB/s take more than a second, in each direction; nothing is refused."""
    text = "bandwidth: {requestKibPerSecond: 200, responseKibPerSecond: 200}"
    shop.weft("apply", "-f", "-", stdin=limits("slow", "kind: HTTPRoute, name: one", text))

    def seconds(host: str, path: str, body: bytes | None = None) -> float:
        started = time.monotonic()
        method = "POST" if body else "GET"
        status, _ = ask(shop, path, host, method=method, body=body)
        assert status == 200
        return time.monotonic() - started

    size = f"/size?bytes={400 * 1024}"
    wait_for(lambda: seconds("one.test", size) > 1, "answers are slow", 15)
    assert seconds("one.test", "/digest", b"x" * 400 * 1024) > 1, "requests, too"
    shop.weft("delete", "ratelimitpolicy", "slow")
    wait_for(lambda: seconds("one.test", size) < 1, "answers are fast again", 15)


def test_what_cannot_be_reached_is_said_at_start(stopped: Instance) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(REDIS_VARIABLE, "http://nothing")
        said = stopped.run("up", "--detach", "--port", "0")
    assert said.returncode != 0
    assert f"{REDIS_VARIABLE} is no address of a Redis" in said.stderr + said.stdout
