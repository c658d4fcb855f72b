"""Policies of action CUSTOM: real servers are asked, over HTTP and gRPC; AUDIT and dry runs leave
their marks in the access log."""

import json
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS, fresh
from tests.e2e.instance import Instance, ask_all, wait_for
from tests.e2e.test_authorization import Applied, call, policy, settled

pytestmark = [pytest.mark.e2e, pytest.mark.root]

AUTHZ = """
---
apiVersion: v1
kind: Pod
metadata: {name: authz, labels: {app: authz}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: authz:1
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: authz}
spec:
  selector: {app: authz}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 9000}]
---
apiVersion: v1
kind: Service
metadata: {name: gone}
spec: {selector: {app: gone}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stdout
    extensionProviders:
    - name: over-http
      envoyExtAuthzHttp:
        service: authz.default.svc.cluster.local
        port: 80
        timeout: 1s
        pathPrefix: /check
        statusOnError: "504"
        includeRequestHeadersInCheck: [x-test-user, x-test-slow]
        includeAdditionalHeadersInCheck: {x-added: "yes"}
        includeRequestBodyInCheck: {maxRequestBytes: 4096, allowPartialMessage: true}
        headersToUpstreamOnAllow: ["x-us*"]
        headersToDownstreamOnDeny: [x-reason]
        headersToDownstreamOnAllow: [x-told]
    - name: over-grpc
      envoyExtAuthzGrpc: {service: default/authz.default.svc.cluster.local, port: 9000}
    - name: gone
      envoyExtAuthzHttp: {service: gone.default.svc.cluster.local, port: 80, statusOnError: "503"}
    - name: gone-open
      envoyExtAuthzHttp: {service: gone.default.svc.cluster.local, port: 80, failOpen: true}
"""


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh("netns"):
        instance.image("authz:1", APPS / "authz", sys.executable, "app.py")
        instance.up()
        greeting = m.echo("api").replace(
            "value: v1}]", "value: v1}, {name: GREET_PORT, value: '2525'}]"
        )
        text = greeting + m.service("api") + "---" + m.echo("front") + m.service("front") + AUTHZ
        for name in ("front", "api"):
            text += m.gateway(name, f"{name}.example")
            text += m.routes(f"{name}-edge", m.to(name), f"{name}.example", name)
        instance.weft("apply", "-f", "-", stdin=text)
        for name in ("api", "front", "authz"):
            instance.wait_ready(f"app={name}", 1)
        yield instance


Answer = tuple[int, str, dict[str, str]]


def get(weft: Instance, path: str = "/x", user: str = "", **headers: str) -> Answer:
    sent = {"x-test-user": user} if user else {}
    return ask_all(weft, path, "api.example", headers={**sent, **headers})


def status(weft: Instance, path: str = "/x", user: str = "") -> int:
    return get(weft, path, user)[0]


def custom(name: str, provider: str, more: str = "", selector: str = "{app: api}") -> str:
    spec = f"action: CUSTOM\nprovider: {{name: {provider}}}\n"
    spec += f"selector: {{matchLabels: {selector}}}\n"
    where = "istio-system" if "istio" in selector else ""
    return policy(name, spec + (more or "rules: [{}]"), namespace=where)


PATHS = "rules: [{to: [{operation: {paths: [/secret*], ports: ['8080']}}]}]"


def test_over_http(weft: Instance) -> None:
    with Applied(weft, custom("asked", "over-http", PATHS)):
        settled(partial(status, weft, "/secret"), 401, "nobody is refused by the server")
        code, body, headers = get(weft, "/secret")
        assert (code, body) == (401, "who are you")
        assert headers["x-reason"] == "nobody"
        assert "x-no" not in headers
        code, body, headers = get(weft, "/secret", "ann")
        assert code == 200
        received = {k.lower(): v for k, v in json.loads(body)["headers"].items()}
        assert received["x-user"] == "Ann"
        assert "x-hidden" not in received
        assert {"x-added", "x-test-user"} <= set(headers["x-told"].split(","))
        # Paths in doubt are asked about, others are not.
        assert status(weft, "/SECRET") == 401
        assert status(weft, "/open") == 200
        assert call(weft, "front", "/secret") == 401, "calls inside are asked about as well"
        address = weft.ready_pods("app=api")[0]["status"]["podIP"]
        assert call(weft, "front", "/secret", host=f"{address}:8080") == 401, "at the pod's door"


def test_bodies_and_time_outs(weft: Instance) -> None:
    with Applied(weft, custom("asked", "over-http")):
        settled(partial(status, weft), 401, "asked")

        def post(body: bytes) -> int:
            sent = {"x-test-user": "ann"}
            return ask_all(weft, "/x", "api.example", method="POST", body=body, headers=sent)[0]

        assert post(b"good") == 200
        assert post(b"bad") == 401
        assert get(weft, "/x", "ann", **{"x-test-slow": "1"})[0] == 504


def test_over_grpc_at_the_gateway_and_both_together(weft: Instance) -> None:
    hosts = "rules: [{to: [{operation: {hosts: [api.example]}}]}]"
    edge = custom("edge", "over-grpc", hosts, selector="{istio: ingressgateway}")
    with Applied(weft, edge):
        settled(partial(status, weft), 402, "refused at the gateway")
        assert get(weft)[1] == "grpc says no"
        code, body, _ = get(weft, "/x", "ann")
        assert code == 200
        assert json.loads(body)["headers"]["x-user"] == "Ann"
        assert call(weft, "front") == 200, "other hosts and calls inside are not asked about"
        with Applied(weft, custom("asked", "over-http")):
            settled(lambda: call(weft, "front"), 401, "inside, too")
            assert status(weft) in (401, 402)
            assert status(weft, "/x", "ann") == 200


def test_when_nobody_can_be_asked(weft: Instance) -> None:
    with Applied(weft, custom("asked", "gone")):
        settled(partial(status, weft), 503, "closed")
    with Applied(weft, custom("asked", "gone-open")):
        settled(partial(status, weft), 200, "open")
    with Applied(weft, custom("asked", "no-such-provider")):
        settled(partial(status, weft), 403, "a provider that does not exist refuses")
        assert "WEFT2621" in weft.weft("status")


def test_denials_come_after_and_bytes_go_nowhere(weft: Instance) -> None:
    deny = "action: DENY\nselector: {matchLabels: {app: api}}\n" + PATHS
    service = """
---
apiVersion: v1
kind: Service
metadata: {name: greeter}
spec: {selector: {app: api}, ports: [{name: tcp-greet, port: 2525}]}
"""

    def greeted() -> bool:
        path = "/tcp?host=greeter&port=2525"
        code, text, _ = ask_all(weft, path, "front.example")
        return code == 200 and text.startswith("220")

    with Applied(weft, service):
        settled(greeted, True, "bytes flow")
        with Applied(weft, custom("asked", "over-http"), policy("denied", deny)):
            settled(partial(status, weft, "/secret", "ann"), 403, "denied although allowed")
            assert status(weft, "/x", "ann") == 200
            settled(greeted, False, "nobody can be asked about bytes")


def test_why_says_who_is_asked(weft: Instance) -> None:
    with Applied(weft, custom("asked", "over-http", PATHS)):
        settled(partial(status, weft, "/secret"), 401, "asked")
        said = weft.weft("why", "--from", "deploy/front-v1", "http://api/secret")
        assert "AuthorizationPolicy default/asked asks `over-http`" in said


EDGE = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: asking}
spec:
  gatewayClassName: weft
  listeners: [{name: http, port: 8085, protocol: HTTP}]
"""


def rule(path: str, backend: str, settings: str) -> str:
    return f"""
  - matches: [{{path: {{value: {path}}}}}]
    backendRefs: [{{name: api, port: 80}}]
    filters:
    - type: ExternalAuth
      externalAuth: {{backendRef: {{{backend}}}, {settings}}}
"""


HTTP = (
    "protocol: HTTP, forwardBody: {maxSize: 64}, http: {path: /check,"
    " allowedHeaders: [x-test-user], allowedResponseHeaders: [x-user]}"
)


ALL = "protocol: HTTP, http: {path: /check, allowedHeaders: [X-Test-User]}"


def http_route(name: str, parent: str, *rules: str) -> str:
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{{parent}}}]
  rules:{"".join(rules)}
  - backendRefs: [{{name: api, port: 80}}]
"""


def test_filters_of_routes(weft: Instance) -> None:
    rules = (
        rule("/http", "name: authz, port: 80", HTTP),
        rule("/all", "name: authz, port: 80", ALL),
        rule("/grpc", "name: authz, port: 9000", "protocol: GRPC, grpc: {}"),
        rule("/few", "name: authz, port: 9000", "protocol: GRPC, grpc: {allowedHeaders: [x-no]}"),
        rule("/gone", "name: gone, port: 80", "protocol: HTTP, http: {}"),
        rule("/none", "name: nobody, port: 80", "protocol: HTTP, http: {}"),
    )  # fmt: skip
    edge = http_route("asking", "name: asking", *rules)
    inside = http_route("inside", 'group: "", kind: Service, name: api', *rules[:1])

    def sent(path: str, user: str = "", body: bytes | None = None) -> Answer:
        headers = {"x-test-user": user} if user else {}
        method = "POST" if body else "GET"
        return ask_all(
            weft, path, "any.example", port=8085, gateway="default/asking", headers=headers,
            method=method, body=body,
        )  # fmt: skip

    def received(answer: Answer) -> dict[str, str]:
        assert answer[0] == 200
        return {k.lower(): v for k, v in json.loads(answer[1])["headers"].items()}

    with Applied(weft, EDGE, edge, inside):
        settled(lambda: sent("/http/x")[0], 401, "refused over HTTP")
        assert sent("/http/x")[1] == "who are you"
        got = received(sent("/http/x", "ann"))
        assert got["x-user"] == "Ann"
        assert "x-hidden" not in got
        assert sent("/open")[0] == 200
        assert sent("/http/x", "ann", b"good")[0] == 200
        assert sent("/http/x", "ann", b"bad")[0] == 401
        assert sent("/http/x", "ann", b"g" * 65)[0] == 413
        # Without a list the back end gets all headers, and still its own body.
        got = received(sent("/all", "ann", b"g" * 100))
        assert (got["x-hidden"], got["content-length"]) == ("1", "100")
        assert sent("/grpc")[:2] == (402, "grpc says no")
        assert received(sent("/grpc", "ann"))["x-user"] == "Ann"
        assert sent("/few", "ann")[0] == 402, "the header that lets ann in is not sent"
        assert sent("/gone", "ann")[0] == 403, "nobody answers"
        assert sent("/none", "ann")[0] == 500, "there is no such Service"
        assert "BackendNotFound" in weft.kubectl("get", "httproute", "asking", "-o", "yaml")
        settled(lambda: call(weft, "front", "/http"), 401, "calls inside are asked about as well")
        assert call(weft, "front", "/open") == 200
        said = weft.weft("why", "--from", "deploy/front-v1", "http://api/http")
        assert "`authz.default.svc.cluster.local:80` over HTTP" in said


def logged(weft: Instance, path: str) -> dict[str, Any]:
    """The line about a request for this path; the proxy writes lines after some seconds."""
    log = weft.data_dir / "log/access.log"
    found: dict[str | None, Any] = {}

    def seen() -> bool:
        lines = log.read_text().split("\n")[:-1] if log.exists() else []
        found.update({entry.get("path"): entry for entry in map(json.loads, lines)})
        return path in found

    wait_for(seen, f"{path} in the access log")
    return dict(found[path])


def test_audit_and_trials_leave_marks_in_the_access_log(weft: Instance) -> None:
    spec = "selector: {matchLabels: {app: api}}\nrules: [{to: [{operation: {paths: [/marked*]}}]}]"
    trial = "{name: trial, annotations: {istio.io/dry-run: 'true'}}"
    audit = policy("seen", f"action: AUDIT\n{spec}")
    deny = policy("trial", f"action: DENY\n{spec}").replace("{name: trial}", trial)
    shut = policy("shut", "selector: {matchLabels: {app: api}}")
    # Once a later policy is in force, the earlier ones are.
    with Applied(weft, audit, deny), Applied(weft, shut):
        settled(partial(status, weft), 403, "all is in force")
        for path in ("/marked/1", "/plain/1"):
            assert status(weft, path) == 403
        line = logged(weft, "/marked/1")
        assert (line["audit"], line["dry_run_denied_by"]) == ("default/seen[0]", "default/trial[0]")
        line = logged(weft, "/plain/1")
        assert line["audit"] is line["dry_run_denied_by"] is None
