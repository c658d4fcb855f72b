"""Traces of requests through the mesh."""

import json

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, wait_for

pytestmark = pytest.mark.e2e

CLIENT = "client.example"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_calls_way_is_shown(stopped: Instance) -> None:
    """One that asks for it is traced whatever the share; its caller's trace goes on."""
    isolation = stopped.isolation
    stopped.weft("up", "--detach", "--port", "0", "--isolation", isolation, "--trace-percent", "1")
    text = m.echo("client") + "---" + m.service("client") + m.gateway("front", "*.example")
    text += m.routes("client-front", m.to("client"), CLIENT, "front")
    stopped.weft("apply", "-f", "-", stdin=text)
    wait_for(lambda: ask(stopped, "/who", CLIENT)[0] == 200, "client answers")
    wanted = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "x-client-trace-id": "mine"}
    assert ask(stopped, "/who", CLIENT, **wanted)[0] == 200
    line = wait_for(
        lambda: [x for x in stopped.weft("trace").splitlines() if x.startswith(TRACE)], "it", 15
    )[0]
    assert "ingress-gateway.weft-system" in line
    assert f"GET {CLIENT}" in line
    shown = stopped.weft("trace", TRACE).splitlines()
    assert shown[1].startswith(f"ingress-gateway.weft-system: GET {CLIENT}")
    _, body = stopped.api(f"/weft/v1/jaeger/api/traces/{TRACE}")
    (span,) = json.loads(body)["data"][0]["spans"]
    tags = {tag["key"]: tag["value"] for tag in span["tags"]}
    assert tags["http.status_code"] == "200"
    assert tags["weft.destination"].startswith("client-v1|default|")
