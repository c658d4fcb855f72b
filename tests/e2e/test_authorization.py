"""AuthorizationPolicy, RequestAuthentication, PeerAuthentication: who gets through, by real calls.

`front` and `other` call `api` (two versions) and `lines`, a server of bytes that speaks first.
"""

import asyncio
import base64
import json
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from textwrap import indent
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import fresh
from tests.e2e.instance import Instance, Load, ask, wait_for
from tests.e2e.tokens import Issuer
from tests.xds.certificates import make_certificate

pytestmark = [pytest.mark.e2e, pytest.mark.root]

ISSUER = "https://issuer.example/realms/a"


def account(name: str, text: str) -> str:
    """The deployment `name-v1` of `text`, run as a service account of its own."""
    spec = f"    spec:\n      serviceAccountName: {name}\n"
    made = f"---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}}}\n"
    return made + "---" + text.replace("    spec:\n", spec, 1)


SERVER = """
---
apiVersion: v1
kind: Service
metadata: {name: greeter}
spec:
  selector: {app: api, version: v1}
  ports: [{name: tcp-greet, port: 2525}]
"""


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh("netns"):
        instance.up()
        greeting = m.echo("api").replace(
            "value: v1}]", "value: v1}, {name: GREET_PORT, value: '2525'}]"
        )
        text = greeting + "---" + m.echo("api", "v2") + m.service("api") + SERVER
        for name in ("front", "other"):
            text += account(name, m.echo(name)) + m.service(name)
            text += m.gateway(name, f"{name}.example") + m.routes(
                name, m.to(name), f"{name}.example", name
            )
        text += m.gateway("api", "api.example") + m.routes("api-edge", m.to("api"), "api.example",
                                                           "api")  # fmt: skip
        instance.weft("apply", "-f", "-", stdin=text)
        for name, count in (("api", 2), ("front", 1), ("other", 1)):
            instance.wait_ready(f"app={name}", count)
        yield instance


def policy(name: str, spec: str, kind: str = "AuthorizationPolicy", namespace: str = "") -> str:
    where = f", namespace: {namespace}" if namespace else ""
    return f"""
---
apiVersion: security.istio.io/v1
kind: {kind}
metadata: {{name: {name}{where}}}
spec:
{indent(spec.strip(), "  ")}
"""


class Applied:
    """Policies that hold for the length of a `with` block."""

    def __init__(self, weft: Instance, *texts: str) -> None:
        self.weft, self.text = weft, "".join(texts)

    def __enter__(self) -> None:
        self.weft.weft("apply", "-f", "-", stdin=self.text)

    def __exit__(self, *_: object) -> None:
        self.weft.weft("delete", "-f", "-", stdin=self.text)


def call(weft: Instance, caller: str, path: str = "/who", host: str = "api", **headers: str) -> int:
    """Status of a call from a workload's pod to a service."""
    sent = {f"x-test-{k}": v for k, v in headers.items()}
    return ask(weft, f"/call?url=http://{host}{path}", f"{caller}.example", **sent)[0]


def settled(check: Callable[[], object], wanted: object, what: str) -> None:
    seen: list[object] = []

    def right() -> bool:
        seen.append(check())
        return seen[-1] == wanted

    try:
        wait_for(right, what, 10)
    except AssertionError:
        raise AssertionError(f"{what}: wanted {wanted}, last saw {seen[-1]}") from None


def both(weft: Instance, path: str = "/who") -> tuple[int, int]:
    return call(weft, "front", path), call(weft, "other", path)


def test_allow_by_identity(weft: Instance) -> None:
    assert both(weft) == (200, 200)
    rules = "rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/front]}}]}]"
    with Applied(weft, policy("front-only", f"selector: {{matchLabels: {{app: api}}}}\n{rules}")):
        settled(lambda: both(weft), (200, 403), "only front is let in")
        # Through the gateway the caller is the gateway.
        assert ask(weft, "/who", "api.example")[0] == 403
        # Nothing that a caller sends makes it somebody else.
        spoofed = {"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/default/sa/front"}
        assert ask(weft, "/who", "api.example", **spoofed)[0] == 403
        # Around the proxy, by the pod's own address, nobody knows who calls.
        for pod in weft.ready_pods("app=api"):
            assert call(weft, "front", host=f"{pod['status']['podIP']}:8080") == 403
    settled(lambda: both(weft), (200, 200), "all are let in again")


def test_the_gateway_has_an_identity_of_its_own(weft: Instance) -> None:
    rules = """
rules:
- from: [{source: {principals: ["*/ns/istio-system/sa/istio-ingressgateway-service-account"]}}]
"""
    with Applied(weft, policy("edge", rules)):
        settled(lambda: call(weft, "front"), 403, "callers inside are not the gateway")
        assert ask(weft, "/who", "api.example")[0] == 200


def test_deny_comes_before_allow_and_dry_run_refuses_nothing(weft: Instance) -> None:
    deny = """
action: DENY
selector: {matchLabels: {app: api}}
rules:
- to: [{operation: {methods: [TRACE]}}]
- to: [{operation: {paths: ["/secret*"], notMethods: [OPTIONS]}}]
"""
    with Applied(weft, policy("no-secrets", deny)):
        settled(lambda: call(weft, "front", "/secret/x"), 403, "denied by path")
        told = weft.weft("why", "--from", "deploy/front-v1", "http://api/secret/x")
        assert "AuthorizationPolicy default/no-secrets (spec.rules[1]) denies it" in told
        assert call(weft, "front", "/open") == 200
        tried = policy("tried", deny.replace("/secret", "/open")).replace(
            "{name: tried}", "{name: tried, annotations: {istio.io/dry-run: 'true'}}"
        )
        with Applied(weft, tried):
            time.sleep(0.5)
            assert call(weft, "front", "/open") == 200


def test_pods_of_one_service_may_have_different_policies(weft: Instance) -> None:
    with Applied(weft, policy("v2-closed", "selector: {matchLabels: {app: api, version: v2}}")):
        settled(
            lambda: {call(weft, "front") for _ in range(20)}, {200, 403}, "one version is closed"
        )
        bodies = {ask(weft, "/call?url=http://api/who", "front.example") for _ in range(20)}
        assert {body for status, body in bodies if status == 200} == {"v1"}


def test_namespaces_ports_hosts_headers_and_templates(weft: Instance) -> None:
    spec = """
selector: {matchLabels: {app: api}}
rules:
- from: [{source: {namespaces: [default], notPrincipals: ["*/sa/other"]}}]
  to: [{operation: {ports: ["8080"], hosts: [API], paths: ["/items/{*}/parts/{**}"]}}]
  when: [{key: "request.headers[x-test-team]", values: [blue, "gre*"]}]
"""
    with Applied(weft, policy("detailed", spec)):
        settled(lambda: call(weft, "front", "/items/7/parts/a/b", team="green"), 200, "all hold")
        assert call(weft, "front", "/items/7/parts/a/b", team="red") == 403
        assert call(weft, "front", "/items/7/parts/a/b") == 403
        assert call(weft, "front", "/items/7/8/parts/a", team="blue") == 403
        assert call(weft, "other", "/items/7/parts/a", team="blue") == 403


def test_conditions_in_cel(weft: Instance) -> None:
    def statuses(path: str = "/who", **headers: str) -> tuple[int, int]:
        return tuple(call(weft, c, path, **headers) for c in ("front", "other"))  # type: ignore[return-value]

    condition = "source.principal.endsWith('/sa/' + request.headers['x-test-who'])"
    allow = f"""
selector: {{matchLabels: {{app: api}}}}
rules: [{{when: [{{key: weft.dev/cel, values: ["{condition}"]}}]}}]
"""
    with Applied(weft, policy("named", allow)):
        settled(lambda: statuses(who="front"), (200, 403), "who says its own name is let in")
        assert statuses(who="other") == (403, 200)
        assert statuses() == (403, 403)
        told = weft.weft(
            "why", "--from", "deploy/front-v1", "-H", "x-test-who: front", "http://api/who"
        )
        assert "AuthorizationPolicy default/named allows it" in told
    deny = """
action: DENY
selector: {matchLabels: {app: api}}
rules: [{when: [{key: weft.dev/cel, values: ["request.path.startsWith('/who')"]}]}]
"""
    with Applied(weft, policy("no-who", deny)):
        settled(statuses, (403, 403), "the path is denied")
        # What may be the same path in another writing is denied as well.
        assert statuses("/%77ho") == statuses("//who") == (403, 403)
        assert call(weft, "front", "/other%20path") == 200
    wrong = policy("wrong", allow.replace("source.principal", "source.pricipal"))
    refused = weft.run("apply", "-f", "-", stdin=wrong)
    assert refused.returncode != 0
    assert "spec.rules[0].when[0].values[0]" in refused.stdout + refused.stderr
    assert "there is no attribute `source.pricipal`" in refused.stdout + refused.stderr
    assert "(character 1)" in refused.stdout + refused.stderr


def test_a_policy_on_bytes_leaks_not_a_byte(weft: Instance) -> None:
    def greeting(caller: str) -> bool:
        status, text = ask(weft, "/tcp?host=greeter&port=2525", f"{caller}.example")
        return status == 200 and text.startswith("220")

    assert greeting("front")
    assert greeting("other")
    rules = "rules: [{from: [{source: {serviceAccounts: [front]}}]}]"
    with Applied(weft, policy("greet", f"selector: {{matchLabels: {{app: api}}}}\n{rules}")):
        settled(lambda: greeting("other"), False, "other hears nothing")
        assert greeting("front")
        address = weft.ready_pods("app=api,version=v1")[0]["status"]["podIP"]
        _, text = ask(weft, f"/tcp?host={address}&port=2525", "front.example")
        assert not text.startswith("220"), "around the proxy nobody has an identity"


AT_NODE = """
---
apiVersion: v1
kind: Service
metadata: {name: at-node}
spec:
  type: NodePort
  selector: {app: api}
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30991}]
"""


def test_strict_refuses_callers_without_identity(weft: Instance) -> None:
    address = weft.ready_pods("app=api,version=v1")[0]["status"]["podIP"]
    assert call(weft, "front", host=f"{address}:8080") == 200
    with Applied(weft, policy("strict", "mtls: {mode: STRICT}", "PeerAuthentication")):
        settled(lambda: call(weft, "front", host=f"{address}:8080"), 599, "refused")
        told = weft.weft("why", "--from", "deploy/front-v1", f"http://{address}:8080/who")
        assert "is closed: " in told
        assert "PeerAuthentication default/strict (STRICT) refuses" in " ".join(told.split())
        assert both(weft) == (200, 200)
        with Applied(weft, AT_NODE):
            (node,) = weft.read("/api/v1/nodes")["items"]
            url = f"http://{node['status']['addresses'][0]['address']}:30991/who"
            told = weft.weft("why", "--from", "external", url)
            assert "PeerAuthentication default/strict, STRICT" in told
        excepted = """
selector: {matchLabels: {app: api}}
portLevelMtls: {"8080": {mode: PERMISSIVE}}
"""
        with Applied(weft, policy("open-port", excepted, "PeerAuthentication")):
            settled(lambda: call(weft, "front", host=f"{address}:8080"), 200, "a port is open")


def test_tokens(weft: Instance) -> None:
    issuer, stranger = Issuer(ISSUER), Issuer(ISSUER)
    believes = f"""
selector: {{matchLabels: {{app: api}}}}
jwtRules:
- issuer: {ISSUER}
  audiences: [api]
  jwks: '{issuer.key_set}'
  outputClaimToHeaders: [{{header: x-groups, claim: team}}]
"""

    def get(path: str, token: str = "") -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return ask(weft, path, "api.example", **headers)[0]

    good = issuer.token(sub="ann", aud="api", team="blue", scope="read write")
    with Applied(weft, policy("jwt", believes, "RequestAuthentication")):
        settled(lambda: get("/who", stranger.token(sub="ann", aud="api")), 401, "wrong key")
        assert get("/who", good) == 200
        assert get("/who") == 200, "a request without a token passes"
        assert get("/who", issuer.token(sub="ann", aud="other")) == 403, "as Envoy answers it"
        assert get("/who", issuer.token(sub="ann", aud="api", exp=int(time.time()) - 120)) == 401
        assert get("/who", issuer.unsigned(sub="ann", aud="api")) == 401
        assert get("/who", issuer.confused(sub="ann", aud="api")) == 401
        assert get("/who", good[:-4] + "AAAA") == 401
        status, body = ask(weft, "/x", "api.example", Authorization=f"Bearer {good}")
        assert status == 200
        headers = {k.lower(): v for k, v in json.loads(body)["headers"].items()}
        assert headers["x-groups"] == "blue"
        assert "authorization" not in headers
        allow = f"""
selector: {{matchLabels: {{app: api}}}}
rules:
- from: [{{source: {{requestPrincipals: ["{ISSUER}/ann"]}}}}]
  when:
  - {{key: "request.auth.claims[team]", values: [blue]}}
  - {{key: "request.auth.claims[scope]", values: [write]}}
"""
        with Applied(weft, policy("ann", allow)):
            settled(lambda: get("/who"), 403, "no token, no principal")
            assert get("/who", good) == 200
            assert (
                get("/who", issuer.token(sub="bob", aud="api", team="blue", scope="write")) == 403
            )
            assert get("/who", issuer.token(sub="ann", aud="api", team="red", scope="write")) == 403
            assert get("/who", issuer.token(sub="ann", aud="api", team="blue", scope="read")) == 403
            # Around the route, at the pods' own address, tokens count for nothing.
            assert call(weft, "front") == 403


def test_where_tokens_are_looked_for(weft: Instance) -> None:
    """Places that a rule names, and no others; the payload goes on in a header."""
    issuer, stranger = Issuer(ISSUER), Issuer(ISSUER)
    believes = f"""
selector: {{matchLabels: {{app: api}}}}
jwtRules:
- issuer: {ISSUER}
  jwks: '{issuer.key_set}'
  forwardOriginalToken: true
  fromHeaders: [{{name: x-token, prefix: "Token "}}]
  fromParams: [ticket]
  fromCookies: [session]
  outputPayloadToHeader: x-payload
"""

    def get(place: str, token: str) -> tuple[int, str]:
        """Status, and who the payload says it is."""
        path = f"/x?ticket={token}" if place == "parameter" else "/x"
        headers = {
            "header": {"x-token": f"Token {token}"},
            "cookie": {"Cookie": f"a=b; session={token}"},
            "authorization": {"Authorization": f"Bearer {token}"},
        }.get(place, {})
        status, body = ask(weft, path, "api.example", **headers)
        if status != 200:
            return status, ""
        seen = {k.lower(): v for k, v in json.loads(body)["headers"].items()}
        payload = seen.get("x-payload", "")
        padded = payload + "=" * (-len(payload) % 4)
        return status, json.loads(base64.urlsafe_b64decode(padded))["sub"] if payload else ""

    good, bad = issuer.token(sub="ann"), stranger.token(sub="ann")
    with Applied(weft, policy("places", believes, "RequestAuthentication")):
        settled(lambda: get("header", good), (200, "ann"), "a token in a header of its own")
        for place in ("header", "parameter", "cookie"):
            assert get(place, good) == (200, "ann"), place
            assert get(place, bad) == (401, ""), place
        assert get("authorization", bad) == (200, ""), "not a place of this rule"


NOBODY = "192.0.2.1"
FRONT = "address of front"
API = "addresses of api"
ME, OTHER = (f"cluster.local/ns/default/sa/{name}" for name in ("front", "other"))
FIELDS = [
    # A field of a rule (`not`: values that must not be), what holds for the call, what does not.
    ("source.remoteIpBlocks", FRONT, NOBODY),
    ("source.notRemoteIpBlocks", NOBODY, FRONT),
    ("source.ipBlocks", FRONT, NOBODY),
    ("source.notIpBlocks", NOBODY, FRONT),
    ("source.trustDomains", "cluster.local", "elsewhere.example"),
    ("source.notTrustDomains", "elsewhere.example", "cluster.local"),
    ("source.principals", ME, OTHER),
    ("source.notPrincipals", OTHER, ME),
    ("source.serviceAccounts", "front", "other"),
    ("source.notServiceAccounts", "other", "front"),
    ("source.namespaces", "default", "other"),
    ("source.notNamespaces", "other", "default"),
    ("source.requestPrincipals", f"{ISSUER}/ann", f"{ISSUER}/bob"),
    ("source.notRequestPrincipals", f"{ISSUER}/bob", f"{ISSUER}/ann"),
    ("operation.hosts", "api", "web"),
    ("operation.notHosts", "web", "api"),
    ("operation.ports", "8080", "8081"),
    ("operation.notPorts", "8081", "8080"),
    ("operation.methods", "GET", "POST"),
    ("operation.notMethods", "POST", "GET"),
    ("operation.notPaths", "*/other", "*/who"),
    ("when.remote.ip", FRONT, NOBODY),
    ("when.source.ip", FRONT, NOBODY),
    ("when.not source.ip", NOBODY, FRONT),
    ("when.source.namespace", "default", "other"),
    ("when.not source.namespace", "other", "default"),
    ("when.source.principal", ME, OTHER),
    ("when.not source.principal", OTHER, ME),
    ("when.source.serviceAccount", "default/front", "default/other"),
    ("when.destination.ip", API, NOBODY),
    ("when.destination.port", "8080", "8081"),
    ("when.not destination.port", "8081", "8080"),
    ("when.request.headers[x-test-team]", "blue", "red"),
    ("when.not request.headers[x-test-team]", "red", "blue"),
    ("when.request.auth.principal", f"{ISSUER}/ann", f"{ISSUER}/bob"),
    ("when.request.auth.audiences", "api", "other"),
    ("when.request.auth.presenter", "till", "other"),
    ("when.not request.auth.presenter", "other", "till"),
    ("when.request.auth.claims[team][name]", "blue", "red"),
    ("when.not request.auth.claims[team][name]", "red", "blue"),
]


def rule_of(field: str, values: list[str], path: str) -> Any:
    """For requests of one path."""
    kind, name = field.split(".", 1)
    operation = {"paths": [path]}
    if kind == "operation":
        return {"to": [{"operation": operation | {name: values}}]}
    rule: dict[str, Any] = {"to": [{"operation": operation}]}
    if kind == "source":
        return rule | {"from": [{"source": {name: values}}]}
    key = name.removeprefix("not ")
    return rule | {"when": [{"key": key, "values" if key == name else "notValues": values}]}


def test_every_further_field_decides(weft: Instance) -> None:
    """A denial by one field: a call that it holds for is refused, another is not. A policy that
    believes several issuers takes each one's tokens by its own keys."""
    issuer, second = Issuer(ISSUER), Issuer("https://second.example")
    places: dict[str, list[str]] = {}
    for place, app in ((FRONT, "front"), (API, "api")):
        places[place] = [p["status"]["podIP"] for p in weft.ready_pods(f"app={app}")]
    good = issuer.token(sub="ann", aud="api", azp="till", team={"name": "blue"})

    def get(path: str, token: str) -> int:
        return ask(weft, path, "api.example", Authorization=f"Bearer {token}")[0]

    def status(field: str, path: str) -> int:
        by_token = "request.auth" in field or "equestPrincipals" in field
        return get(path, good) if by_token else call(weft, "front", path, team="blue")

    rules, asked = [], {}
    for number, (field, *sorts) in enumerate(FIELDS):
        asked[field] = [f"/{number}/{sort}/who" for sort in ("holds", "not")]
        for path, value in zip(asked[field], sorts, strict=True):
            rules.append(rule_of(field, places.get(value, [value]), path))
    rules.append(rule_of("source.requestPrincipals", [f"{second.name}/ann"], "/second"))
    api = {"selector": {"matchLabels": {"app": "api"}}}
    believed = [{"issuer": each.name, "jwks": each.key_set} for each in (issuer, second)]
    believes, denies = {**api, "jwtRules": believed}, {**api, "action": "DENY", "rules": rules}
    with Applied(
        weft,
        policy("fields", json.dumps(believes), "RequestAuthentication"),
        policy("fields", json.dumps(denies)),
    ):
        settled(lambda: get("/second", second.token(sub="ann")), 403, "in force")
        found = {field: tuple(status(field, p) for p in paths) for field, paths in asked.items()}
        assert {f: codes for f, codes in found.items() if codes != (403, 200)} == {}
        assert get("/second", issuer.token(sub="ann")) == 200
        issuer.name = second.name
        assert get("/second", issuer.token(sub="ann")) == 401, "by keys of another"


def tls_gateway() -> str:
    """A gateway that speaks TLS for two hosts; `front` answers."""
    certificate, key = make_certificate("one.tls.example", "two.tls.example")
    secret = {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "tls", "namespace": "istio-system"},
        "stringData": {"tls.crt": certificate, "tls.key": key},
    }  # fmt: skip
    gateway = m.gateway("tls", "*.tls.example", 443).replace("protocol: HTTP", "protocol: HTTPS")
    gateway = gateway.replace("hosts:", "tls: {mode: SIMPLE, credentialName: tls}\n      hosts:")
    routes = m.routes("tls", m.to("front"), "*.tls.example", "tls")
    return json.dumps(secret) + "\n---" + gateway + routes


@pytest.fixture(scope="module")
def https(weft: Instance) -> tuple[str, int]:
    """Where the gateway speaks TLS."""
    weft.weft("apply", "-f", "-", stdin=tls_gateway())
    return weft.bound(443)


def spoken(place: tuple[str, int], context: ssl.SSLContext, name: str = "one.tls.example") -> str:
    """The version and the first line that a server answers over TLS, or why it does not."""
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(place, timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=name) as stream,
        ):
            stream.sendall(f"GET /who HTTP/1.1\r\nhost: {name}\r\n\r\n".encode())
            return f"{stream.version()} {stream.recv(12).decode()}"
    except ssl.SSLError as error:
        return str(error.reason)
    except OSError as error:
        return repr(error)


def test_the_name_that_tls_asked_for_decides(weft: Instance, https: tuple[str, int]) -> None:
    def statuses() -> list[str]:
        names = ("one.tls.example", "two.tls.example")
        return [spoken(https, ssl.create_default_context(), n)[-3:] for n in names]

    settled(statuses, ["200", "200"], "both are served")
    spec = """
selector: {matchLabels: {istio: ingressgateway}}
action: DENY
rules: [{when: [{key: connection.sni, values: [two.tls.example]}]}]
"""
    with Applied(weft, policy("names", spec, namespace="istio-system")):
        settled(statuses, ["200", "403"], "one of the names is denied")


CBC = "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256"
SHA1 = "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"
NO_SECRECY = "AES128-GCM-SHA256:AES256-GCM-SHA384"


@pytest.mark.parametrize(
    ("version", "ciphers", "said"),
    [
        ("TLSv1_1", "ALL", "TLSV1_ALERT_PROTOCOL_VERSION"),
        ("TLSv1_2", SHA1, "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        ("TLSv1_2", CBC, "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        ("TLSv1_2", NO_SECRECY, "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        ("TLSv1_2", "ECDHE+AESGCM", "TLSv1.2 HTTP/1.1"),
        ("TLSv1_3", "ALL", "TLSv1.3 HTTP/1.1"),
    ],
)
def test_old_tls_is_refused(
    weft: Instance, https: tuple[str, int], version: str, ciphers: str, said: str
) -> None:
    """By gateways and by the API server, to clients that would speak it."""

    def heard(place: tuple[str, int]) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        return spoken(place, context)

    assert heard(https).startswith(said)
    # The API server's event loop closes the connection before it has sent the alert.
    at_server = heard(("127.0.0.1", weft.running.port))
    assert at_server.startswith((said, "UNEXPECTED_EOF") if "ALERT" in said else said)


def test_what_the_gateway_itself_asks(weft: Instance) -> None:
    spec = """
selector: {matchLabels: {istio: ingressgateway}}
action: DENY
rules: [{to: [{operation: {hosts: [front.example], paths: [/env]}}]}]
"""
    with Applied(weft, policy("at-the-edge", spec, namespace="istio-system")):
        settled(lambda: ask(weft, "/env", "front.example")[0], 403, "denied at the gateway")
        # A port in Host, or another case, is no way around.
        assert ask(weft, "/env", "FRONT.example:80")[0] == 403
        assert ask(weft, "/who", "front.example")[0] == 200
        assert ask(weft, "/env", "other.example")[0] == 200


async def test_policies_change_under_load(weft: Instance) -> None:
    """20 changes: those who stay allowed notice none, and a policy holds once it is applied."""
    url = f"{weft.gateway()}/call?url=http://api/who"
    policies = "/apis/security.istio.io/v1/namespaces/default/authorizationpolicies"

    def allow(names: list[str]) -> Any:
        rule = {"from": [{"source": {"serviceAccounts": names}}]}
        return {"selector": {"matchLabels": {"app": "api"}}, "rules": [rule]}

    # Through the API: 20 commands would take longer than what is tested.
    body = {"metadata": {"name": "changing"}, "spec": allow(["front"])}
    made = weft.api(policies, "POST", body)
    assert made[0] == 201, made
    settled(lambda: call(weft, "other"), 403, "the first version")

    def change(number: int) -> None:
        names = ["front"] if number % 2 else ["front", "other"]
        spec = {"spec": allow(names)}
        assert weft.api(f"{policies}/changing", "PATCH", spec)[0] == 200
        wanted = 403 if number % 2 else 200
        settled(lambda: call(weft, "other"), wanted, f"change {number}")
        assert [call(weft, "other") for _ in range(3)] == [wanted] * 3

    async with Load(url, clients=4, headers={"Host": "front.example"}) as load:
        for number in range(20):
            await asyncio.to_thread(change, number)
        await load.until(500)
    assert weft.api(f"{policies}/changing", "DELETE")[0] == 200
    assert load.failed == 0, load.report()
