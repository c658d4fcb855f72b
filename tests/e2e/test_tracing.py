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
        lambda: [x for x in stopped.weft("trace").splitlines() if x.startswith(TRACE)], "it"
    )[0]
    assert "ingress-gateway.weft-system" in line
    assert f"GET {CLIENT}" in line
    shown = stopped.weft("trace", TRACE).splitlines()
    assert shown[1].startswith(f"ingress-gateway.weft-system: GET {CLIENT}")
    _, body = stopped.api(f"/weft/v1/jaeger/api/traces/{TRACE}")
    (trace,) = json.loads(body)["data"]
    (span,), (maker,) = trace["spans"], trace["processes"].values()
    who = {tag["key"]: tag["value"] for tag in maker["tags"]}
    assert who == {"k8s.namespace.name": "weft-system", "weft.workload": "ingress-gateway"}
    tags = {tag["key"]: tag["value"] for tag in span["tags"]}
    assert tags["http.status_code"] == "200"
    assert tags["weft.destination"].startswith("client-v1|default|")


TELEMETRY = """
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: mesh, namespace: istio-system}
spec:
  tracing:
    - randomSamplingPercentage: 100
      customTags:
        home: {literal: {value: here}}
        user: {header: {name: x-user, defaultValue: nobody}}
  accessLogging: [{filter: {expression: "response.code >= 400"}}]
  metrics:
    - overrides:
        - {match: {metric: RESPONSE_SIZE}, disabled: false}
        - match: {metric: REQUEST_COUNT}
          tagOverrides:
            user: {value: "request.headers['x-user']"}
            team: {value: "'shop'"}
            response_code: {operation: REMOVE}
"""


def test_telemetry_objects_say_what_is_traced_and_logged(stopped: Instance) -> None:
    stopped.up()
    text = m.echo("client") + "---" + m.service("client") + m.gateway("front", "*.example")
    text += m.routes("client-front", m.to("client"), CLIENT, "front")
    stopped.weft("apply", "-f", "-", stdin=text)
    wait_for(lambda: ask(stopped, "/who", CLIENT)[0] == 200, "client answers")
    namespace = {"metadata": {"name": "istio-system"}}
    stopped.api("/api/v1/namespaces", "POST", namespace)
    stopped.weft("apply", "--wait", "-f", "-", stdin=TELEMETRY)
    (_, first), (status, _) = (
        ask(stopped, "/who?n=1", CLIENT, **{"x-user": "ann"}),
        ask(stopped, "/flaky?key=a&times=100&status=404", CLIENT),
    )
    assert (first, status) == ("v1", 404)
    log = stopped.data_dir / "log/access.log"
    line = json.loads(wait_for(lambda: log.exists() and log.read_text(), "the log").splitlines()[0])
    assert (line["status"], line["path"]) == (404, "/flaky?key=a&times=100&status=404")

    def spans() -> list[dict[str, str]]:
        query = "/weft/v1/jaeger/api/traces?service=ingress-gateway.weft-system&limit=20"
        found = json.loads(stopped.api(query)[1])["data"]
        return [{t["key"]: t["value"] for t in s["tags"]} for x in found for s in x["spans"]]

    wait_for(lambda: any(tags.get("user") == "ann" for tags in spans()), "its span")
    assert {tags.get("home") for tags in spans()} == {"here"}
    sizes = b'istio_response_bytes_bucket{reporter="source",source_workload="ingress-gateway"'
    metrics = wait_for(lambda: with_text(stopped, sizes), "sizes")
    assert b'le="100"' in metrics
    # A label with what a header says, whatever it says; one text; one that is left out.
    forged = "bob;evil|x=y,response_code=999"
    assert ask(stopped, "/who", CLIENT, **{"x-user": forged})[0] == 200
    wanted = f'team="shop",user="{forged}"'.encode()
    metrics = wait_for(lambda: with_text(stopped, wanted), "its label", 15)
    counted = [line for line in metrics.splitlines() if b'team="shop"' in line]
    assert all(line.startswith(b"istio_requests_total{") for line in counted), counted
    assert any(b'user="ann"' in line for line in counted), counted
    assert not any(b'response_code="' in line for line in counted), counted
    assert b'response_code="200"' in metrics, "of the other metrics"
    assert len({line.rpartition(b" ")[0] for line in counted}) == len(counted)
    stopped.weft("delete", "telemetry", "mesh", "-n", "istio-system")
    done = stopped.run("apply", "-f", "-", stdin=TELEMETRY.replace("response.code", "reponse.code"))
    assert "unknown name `reponse`" in done.stdout + done.stderr


def with_text(weft: Instance, text: bytes) -> bytes:
    """The metrics page, once it has the text."""
    page = weft.api("/metrics")[1]
    return page if text in page else b""
