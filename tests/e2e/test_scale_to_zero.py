"""Scale to zero: calls to what sleeps are held, whatever they are, until it is awake."""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest

from tests.e2e import manifests as m
from tests.e2e.callers import Caller
from tests.e2e.conftest import ISOLATIONS, fresh
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = pytest.mark.e2e
CALLS = 50
GREETED = """
async def main():
    import asyncio
    async def one():
        reader, writer = await asyncio.open_connection("bytes", 2500)
        said = (await asyncio.wait_for(reader.readline(), 20)).decode()
        writer.close()
        return said
    return await asyncio.gather(*(one() for _ in range(10)))
"""


def sleeper(name: str, replicas: int, note: str = "") -> str:
    """A deployment that sleeps, its service, and a way in from outside."""
    notes = f'annotations: {{weft.dev/scale-to-zero-after: "6s"{note}}}'
    text = m.echo(name, replicas=replicas)
    text = text.replace(f"name: {name}-v1\n", f"name: {name}-v1\n  {notes}\n", 1)
    text = text.replace("value: v1}", "value: v1}, {name: GREET_PORT, value: '2525'}")
    ports = ", {name: tcp-greet, port: 2500, targetPort: 2525}]"
    text += m.service(name).replace("targetPort: http}]", "targetPort: http}" + ports)
    host = f"{name}.example"
    return text + m.gateway(name, host) + m.routes(name, m.to(name), host, name)


def scaled(name: str) -> str:
    """A deployment that an autoscaler may take to zero, and brings to two."""
    text = sleeper(name, 1).replace('weft.dev/scale-to-zero-after: "6s"', "example.com/a: b")
    about = {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{name}-v1"}
    metric = {"type": "Object", "object": {
        "describedObject": about, "metric": {"name": "requests_per_second"},
        "target": {"type": "AverageValue", "averageValue": "2"}}}  # fmt: skip
    scaler = {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "annotations": {"weft.dev/scale-to-zero-after": "6s"}},
        "spec": {"scaleTargetRef": about, "minReplicas": 0, "maxReplicas": 2, "metrics": [metric],
                 "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
    }  # fmt: skip
    return text + "\n---\n" + json.dumps(scaler)


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh(ISOLATIONS[0]):
        instance.up()
        missing = sleeper("missing", 0, ', weft.dev/hold-timeout: "2s"')
        missing = missing.replace("image: echo:1", "image: missing:1")
        every = (sleeper("web", 2), sleeper("bytes", 0), missing, scaled("auto"))
        instance.weft("apply", "-f", "-", stdin="\n---\n".join(every))
        instance.wait_ready("app=web", 2)
        yield instance


def asleep(weft: Instance, name: str) -> bool:
    found = json.loads(weft.kubectl("get", f"deployment/{name}-v1", "-o", "json"))
    return found["spec"]["replicas"] == 0 and not weft.items("pods", f"app={name}")


async def at_once(url: str, host: str) -> list[tuple[int, str]]:
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def one() -> tuple[int, str]:
            async with session.get(url, headers={"Host": host}) as answer:
                return answer.status, await answer.text()

        return list(await asyncio.gather(*(one() for _ in range(CALLS))))


def test_connections_from_pods_wake_it_and_the_server_speaks_first(weft: Instance) -> None:
    caller = Caller(weft)
    assert asleep(weft, "bytes")
    found = run_inside(weft, caller.host, GREETED)
    assert len(found) == 10
    assert all(line.startswith("220") for line in found), found


def test_it_sleeps_and_many_calls_at_once_wake_it(weft: Instance) -> None:
    wait_for(lambda: asleep(weft, "web"), "it sleeps")
    found = asyncio.run(at_once(weft.gateway(80) + "/who", "web.example"))
    assert {status for status, _ in found} == {200}, [f for f in found if f[0] != 200][:3]
    wait_for(lambda: len(weft.ready_pods("app=web")) == 2, "as many replicas as before")
    wait_for(lambda: asleep(weft, "web"), "it sleeps again")
    said = weft.kubectl("get", "events", "-o", "custom-columns=R:.reason,M:.message")
    assert "scaled to zero: nobody called for 6 s; the next call wakes it" in said
    assert "a call wakes it: 2 replicas" in said


def test_an_autoscaler_takes_it_to_zero_and_from_one_to_many(weft: Instance) -> None:
    wait_for(lambda: asleep(weft, "auto"), "it sleeps")
    reason = "{.status.conditions[?(@.type=='ScalingActive')].reason}"
    said = lambda: weft.kubectl("get", "hpa", "auto", "-o", f"jsonpath={reason}")  # noqa: E731
    wait_for(lambda: said() == "ScaledToZero", "it says so")

    def called() -> bool:
        found = asyncio.run(at_once(weft.gateway(80) + "/who", "auto.example"))
        assert {status for status, _ in found} == {200}
        return len(weft.ready_pods("app=auto")) == 2

    wait_for(called, "the first call wakes one, the load brings the second")


def test_what_does_not_start_is_answered_503_within_bounds(weft: Instance) -> None:
    status, text = ask(weft, "/who", "missing.example")
    assert status == 503
    assert "deployment/missing-v1 was woken and does not serve after 2 s: ErrImage" in text
    weft.kubectl("annotate", "deployment/missing-v1", "weft.dev/hold-timeout-")

    def timed() -> tuple[int, float]:
        began = time.monotonic()
        return ask(weft, "/who", "missing.example")[0], time.monotonic() - began

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(timed)
        wait_for(lambda: "\nweft_held_requests{" in metrics(weft), "it is held")
        weft.kill_9()
        status, seconds = answer.result(20)
    assert status == 503
    assert seconds < 10
    weft.up()
    weft.kubectl("set", "image", "deployment/missing-v1", "echo=echo:1")
    assert ask(weft, "/who", "missing.example")[0] == 200


def metrics(weft: Instance) -> str:
    return weft.api("/weft/v1/proxy-metrics")[1].decode()
