"""Envoy judges conditions in CEL as `weft why` does: real requests against a real Envoy."""

import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.rbac.v3 import rbac_pb2 as rules_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from google.protobuf.json_format import MessageToDict

from tests.xds.support import free_port
from weft.api.cel.conditions import Condition, check, evaluate
from weft.lib.envoy_binary import envoy_path
from weft.mesh.model import AccessCondition
from weft.xds.conditions import JWT_METADATA, set_conditions
from weft.xds.identity import PRINCIPAL_KEY

pytestmark = pytest.mark.slow

FILTERS = "type.googleapis.com/envoy.extensions.filters"
PRINCIPAL = "spiffe://td/ns/default/sa/web"
CLAIMS: dict[str, Any] = {
    "sub": "alice", "level": 3, "groups": ["a", "b", 7], "ok": True, "n": {"tenant": "t1"},
}  # fmt: skip
EXPRESSIONS = (
    "request.method == 'GET'",
    "request.path.matches('^/[0-9]+/x$') && request.path.startsWith('/')",
    "request.headers['x-a'] == 'b'",
    "request.headers['x-none'] == ''",
    "'x-a' in request.headers && !has(request.headers.none)",
    f"source.principal == '{PRINCIPAL}'",
    "source.principal == ''",
    "source.principal.contains('/ns/' + request.headers['x-ns'] + '/sa/')",
    "request.auth.claims.sub == 'alice'",
    "request.auth.claims.level == 3",
    "request.auth.claims.level > 3",
    "3 <= request.auth.claims.level",
    "request.auth.claims.sub >= 3",
    "'b' in request.auth.claims.groups",
    "'c' in request.auth.claims.groups",
    "'c' in request.auth.claims.nothing",
    "request.auth.claims.ok && request.auth.claims.ok == true",
    "request.auth.claims.sub",
    "request.auth.claims.groups == ''",
    "request.auth.claims.n.tenant == 't1'",
    "request.auth.claims.sub.tenant == 't1'",
    "request.auth.claims.no.tenant == ''",
    "has(request.auth.claims.n.tenant)",
    "has(request.auth.claims.sub.tenant)",
    "size(request.headers['x-a']) == 1 && size(request.auth.claims.groups) == 3",
    "request.headers['x-a'].upperAscii() == 'B'",
    "request.method in ['GET', request.headers['x-a']]",
    "request.method != 'GET' || (request.headers['x-a'] == 'b' ? false : true)",
    "request.method < 'Z'",
)


def look(attribute: Condition) -> Any:
    """The request that the test sends, but for its path."""
    kind, *operands = attribute
    headers = {"x-a": "b", "x-ns": "default"}
    if kind == "header":
        return headers.get(operands[0], "")
    if kind == "has_header":
        return operands[0] in headers
    if kind in ("method", "path", "principal"):
        return {"method": "GET", "path": "/1/x", "principal": PRINCIPAL}[kind]
    wanted, *steps = operands if kind == "claim" else (kind, *operands[2:])
    found: Any = CLAIMS
    for step in steps:
        found = found.get(step) if isinstance(found, dict) else None
    if wanted == "present":
        return found is not None
    if wanted == "compare_claim":
        compare: Condition = ("call", operands[0], ("value", found), ("value", operands[1]))
        return type(found) is int and evaluate(compare, look)
    empty = {"text": "", "list": [], "truth": False}[wanted]
    return found if isinstance(found, type(empty)) else empty


def refusing(source: str) -> dict[str, Any]:
    rules = rules_pb2.Policy(
        permissions=[rules_pb2.Permission(any=True)], principals=[rules_pb2.Principal(any=True)]
    )
    set_conditions(rules, [AccessCondition("cel", cel=(check(source),))], "payload")
    config = rbac_pb2.RBAC()
    config.rules.action = rules_pb2.RBAC.DENY
    config.rules.policies["p"].CopyFrom(rules)
    made = MessageToDict(rbac_pb2.RBACPerRoute(rbac=config), preserving_proto_field_name=True)
    return {"@type": f"{FILTERS}.http.rbac.v3.RBACPerRoute", **made}


def configuration(port: int) -> dict[str, Any]:
    """A route for each expression, with a token's claims and an identity."""
    routes = [
        {
            "match": {"prefix": f"/{number}/"},
            "direct_response": {"status": 200},
            "typed_per_filter_config": {"rbac": refusing(source)},
        }
        for number, source in enumerate(EXPRESSIONS)
    ]
    claims = {"metadata_namespace": JWT_METADATA, "value": {"payload": CLAIMS}}
    http_filters = [
        ("metadata", "http.set_metadata.v3.Config", {"metadata": [claims]}),
        ("rbac", "http.rbac.v3.RBAC", {}),
        ("router", "http.router.v3.Router", {}),
    ]
    manager = {
        "stat_prefix": "test",
        "route_config": {"virtual_hosts": [{"name": "a", "domains": ["*"], "routes": routes}]},
        "http_filters": [typed(*each) for each in http_filters],
    }
    identity = {
        "object_key": PRINCIPAL_KEY,
        "factory_key": "envoy.hashable_string",
        "format_string": {"text_format_source": {"inline_string": PRINCIPAL}},
    }
    facts = {"on_new_connection": [identity]}
    filters = [
        typed("facts", "network.set_filter_state.v3.Config", facts),
        typed("http", "network.http_connection_manager.v3.HttpConnectionManager", manager),
    ]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    listener = {"name": "l", "address": address, "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener]}}


def typed(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{FILTERS}.{kind}", **value}}


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    config = tmp_path_factory.mktemp("envoy") / "envoy.json"
    config.write_text(json.dumps(configuration(port)))
    command = [envoy_path(), "-c", str(config), "--use-dynamic-base-id", "--concurrency", "1"]
    process = subprocess.Popen([*command, "-l", "off"])
    try:
        for _ in range(100):
            try:
                status(port, "/none")
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path, headers={"x-a": "b", "x-ns": "default"})
    return connection.getresponse().status


def test_envoy_and_weft_why_agree(envoy: int) -> None:
    seen = [status(envoy, f"/{number}/x") == 403 for number in range(len(EXPRESSIONS))]
    said = [evaluate(check(source), look) for source in EXPRESSIONS]
    different = [e for e, a, b in zip(EXPRESSIONS, seen, said, strict=True) if a != b]
    assert not different
    assert {True, False} == set(seen)
