"""EnvoyFilters: what users of Istio write them for, with real traffic."""

import gzip
import json
import socket
import urllib.request
from collections.abc import Iterator
from textwrap import dedent, indent

import pytest

from tests.e2e import manifests as m
from tests.e2e.callers import Caller
from tests.e2e.instance import Instance, ask_all, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.root]
TYPE = "type.googleapis.com/envoy.extensions.filters"
MANAGER = "envoy.filters.network.http_connection_manager"


@pytest.fixture(scope="module")
def caller(isolated: Instance) -> Caller:
    isolated.weft("apply", "-f", "-", stdin=m.echo("near") + m.service("near"))
    made = Caller(isolated)
    made.settles("http://near/who", 200)
    return made


def envoy_filter(name: str, patches: str, selector: str = "") -> str:
    chosen = f"workloadSelector: {{labels: {selector}}}" if selector else ""
    return f"""
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: {name}}}
spec:
  {chosen}
  configPatches:
{indent(dedent(patches).strip(), "    ")}
"""


@pytest.fixture
def applied(isolated: Instance) -> Iterator[list[str]]:
    """EnvoyFilters to apply; deleted at the end."""
    texts: list[str] = []
    yield texts
    for text in texts:
        isolated.weft("delete", "-f", "-", stdin=text)


def apply(weft: Instance, applied: list[str], text: str) -> str:
    applied.append(text)
    done = weft.run("apply", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def lua(text: str, context: str, listener: str = "") -> str:
    return f"""
    - applyTo: HTTP_FILTER
      match:
        context: {context}
        listener:
          {listener}
          filterChain:
            filter: {{name: {MANAGER}, subFilter: {{name: envoy.filters.http.router}}}}
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.http.lua
          typed_config:
            "@type": {TYPE}.http.lua.v3.Lua
            inlineCode: |
              {text}
"""


ADD_HEADER = 'function envoy_on_response(h) h:headers():add("x-lua", "{}") end'


def headers_at_gateway(weft: Instance, caller: Caller) -> dict[str, str]:
    return ask_all(weft, "/who", caller.host)[2]


def test_lua_at_the_gateway(isolated: Instance, caller: Caller, applied: list[str]) -> None:
    text = envoy_filter("edge", lua(ADD_HEADER.format("edge"), "GATEWAY"))
    apply(isolated, applied, text)
    wait_for(lambda: headers_at_gateway(isolated, caller).get("x-lua") == "edge", "header", 15)
    assert "x-lua" not in caller.request("http://near/who")[2]


def test_lua_for_calls_of_a_workload(
    isolated: Instance, caller: Caller, applied: list[str]
) -> None:
    patch = lua(ADD_HEADER.format("out"), "SIDECAR_OUTBOUND", "portNumber: 80")
    apply(isolated, applied, envoy_filter("calls", patch, "{app: caller}"))
    wait_for(lambda: caller.request("http://near/who")[2].get("x-lua") == "out", "header", 15)
    assert "x-lua" not in headers_at_gateway(isolated, caller)


def test_local_rate_limit_of_a_workload(
    isolated: Instance, caller: Caller, applied: list[str]
) -> None:
    """The filter of Istio's task "Enabling Rate Limits using Envoy", for inbound calls."""
    apply(isolated, applied, envoy_filter("limit", f"""
    - applyTo: HTTP_FILTER
      match:
        context: SIDECAR_INBOUND
        listener:
          filterChain:
            filter: {{name: {MANAGER}}}
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.http.local_ratelimit
          typed_config:
            "@type": type.googleapis.com/udpa.type.v1.TypedStruct
            type_url: {TYPE}.http.local_ratelimit.v3.LocalRateLimit
            value:
              stat_prefix: http_local_rate_limiter
              token_bucket: {{max_tokens: 4, tokens_per_fill: 4, fill_interval: 600s}}
              filter_enabled:
                runtime_key: local_rate_limit_enabled
                default_value: {{numerator: 100, denominator: HUNDRED}}
              filter_enforced:
                runtime_key: local_rate_limit_enforced
                default_value: {{numerator: 100, denominator: HUNDRED}}
              response_headers_to_add:
                - append_action: OVERWRITE_IF_EXISTS_OR_ADD
                  header: {{key: x-local-rate-limit, value: 'true'}}
    """, "{app: near}"))  # fmt: skip
    wait_for(lambda: caller.status("http://near/who") == 429, "limited", 20)
    assert caller.request("http://near/who")[2]["x-local-rate-limit"] == "true"


def test_compression_at_the_gateway(isolated: Instance, caller: Caller, applied: list[str]) -> None:
    apply(isolated, applied, envoy_filter("gzip", f"""
    - applyTo: HTTP_FILTER
      match:
        context: GATEWAY
        listener: {{filterChain: {{filter: {{name: {MANAGER}}}}}}}
      patch:
        operation: INSERT_FIRST
        value:
          name: envoy.filters.http.compressor
          typed_config:
            "@type": {TYPE}.http.compressor.v3.Compressor
            response_direction_config: {{common_config: {{min_content_length: 100}}}}
            compressor_library:
              name: text_optimized
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip
    """))  # fmt: skip
    url = f"{isolated.gateway()}/long"
    headers = {"Host": caller.host, "Accept-Encoding": "gzip", "x-filler": "x" * 500}

    def compressed() -> bytes | None:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            body: bytes = answer.read()
            return body if answer.headers.get("Content-Encoding") == "gzip" else None

    assert b"x-filler" in gzip.decompress(wait_for(compressed, "a compressed answer", 15))


def test_settings_of_the_connection_manager(
    isolated: Instance, caller: Caller, applied: list[str]
) -> None:
    apply(isolated, applied, envoy_filter("server", f"""
    - applyTo: NETWORK_FILTER
      match: {{context: GATEWAY, listener: {{filterChain: {{filter: {{name: {MANAGER}}}}}}}}}
      patch:
        operation: MERGE
        value:
          typed_config:
            "@type": {TYPE}.network.http_connection_manager.v3.HttpConnectionManager
            via: shop
            xff_num_trusted_hops: 1
    """))  # fmt: skip
    wait_for(lambda: headers_at_gateway(isolated, caller).get("via") == "shop", "via", 15)


def test_routes_of_some_callers(isolated: Instance, caller: Caller, applied: list[str]) -> None:
    """Route tables are shared; who gets another one is not seen by the others."""
    other = Caller(isolated, "second")
    apply(isolated, applied, envoy_filter("vhost", """
    - applyTo: VIRTUAL_HOST
      match:
        context: SIDECAR_OUTBOUND
        routeConfiguration: {name: "80", vhost: {name: "near.default.svc.cluster.local:80"}}
      patch:
        operation: MERGE
        value:
          response_headers_to_add: [{header: {key: x-vhost, value: patched}}]
    - applyTo: CLUSTER
      match:
        context: SIDECAR_OUTBOUND
        cluster: {service: near.default.svc.cluster.local, portNumber: 80}
      patch: {operation: MERGE, value: {connect_timeout: 3s}}
    """, "{app: caller}"))  # fmt: skip
    for url in ("http://near.default.svc.cluster.local/who", "http://near/who"):
        wait_for(lambda u=url: caller.request(u)[2].get("x-vhost") == "patched", "header", 15)
        assert "x-vhost" not in other.request(url)[2]


def codes(weft: Instance) -> dict[tuple[str, str], str]:
    return {
        (d["name"], d["code"]): d["message"]
        for d in weft.status()["diagnostics"]
        if d["kind"] == "EnvoyFilter"
    }


def test_a_patch_that_envoy_refuses_costs_nothing_but_itself(
    isolated: Instance, caller: Caller, applied: list[str]
) -> None:
    both = envoy_filter("good", lua(ADD_HEADER.format("good"), "GATEWAY"))
    both += envoy_filter("bad", lua("function envoy_on_response(h) this is no lua", "GATEWAY"))
    apply(isolated, applied, both)
    wait_for(lambda: ("bad", "WEFT2125") in codes(isolated), "a report", 20)
    wait_for(lambda: headers_at_gateway(isolated, caller).get("x-lua") == "good", "header", 20)
    assert ("good", "WEFT2125") not in codes(isolated)


def test_what_is_wrong_is_said(isolated: Instance, caller: Caller, applied: list[str]) -> None:
    said = apply(isolated, applied, envoy_filter("wrong", """
    - applyTo: CLUSTER
      match: {context: SIDECAR_OUTBOUND, cluster: {service: near.default.svc.cluster.local}}
      patch: {operation: MERGE, value: {conect_timeout: 3s}}
    - applyTo: BOOTSTRAP
      patch: {operation: MERGE, value: {stats_flush_interval: 1s}}
    - applyTo: CLUSTER
      match: {cluster: {service: nobody.default.svc.cluster.local}}
      patch: {operation: MERGE, value: {connect_timeout: 3s}}
    """))  # fmt: skip
    assert "conect_timeout" in said
    assert "WEFT2344" in said
    wait_for(lambda: ("wrong", "WEFT2440") in codes(isolated), "unused", 10)
    assert "conect_timeout" in codes(isolated)["wrong", "WEFT2345"]


SAYS = (
    f'[{{name: says, typed_config: {{"@type": "{TYPE}.network.direct_response.v3.Config",'
    " response: {inline_string: WORDS}}}]"
)
FREE_PORT = 18099


def test_everything_else_that_is_patched(
    isolated: Instance, caller: Caller, applied: list[str]
) -> None:
    """Listeners, chains, filters of listeners, tables, routes, configurations by themselves."""
    apply(isolated, applied, envoy_filter("added", f"""
    - applyTo: LISTENER
      match: {{context: GATEWAY}}
      patch:
        operation: ADD
        value:
          name: added
          address: {{socket_address: {{address: 127.0.0.1, port_value: {FREE_PORT}}}}}
          filter_chains:
          - filters: {SAYS.replace("WORDS", "listener")}
    - applyTo: FILTER_CHAIN
      match: {{context: GATEWAY, listener: {{portNumber: 80}}}}
      patch:
        operation: ADD
        value:
          name: added
          filter_chain_match:
            direct_source_prefix_ranges: [{{address_prefix: 127.0.0.99, prefix_len: 32}}]
          filters: {SAYS.replace("WORDS", "chain")}
    - applyTo: LISTENER_FILTER
      match: {{context: GATEWAY, listener: {{portNumber: 80}}}}
      patch:
        operation: INSERT_FIRST
        value:
          name: envoy.filters.listener.proxy_protocol
          typed_config:
            "@type": {TYPE}.listener.proxy_protocol.v3.ProxyProtocol
            allow_requests_without_proxy_protocol: true
    - applyTo: EXTENSION_CONFIG
      patch:
        operation: ADD
        value:
          name: by-itself
          typed_config:
            "@type": {TYPE}.http.lua.v3.Lua
            inlineCode: |
              {ADD_HEADER.format("by itself")}
    - applyTo: HTTP_FILTER
      match: {{context: GATEWAY, listener: {{filterChain: {{filter: {{name: {MANAGER}}}}}}}}}
      patch:
        operation: INSERT_FIRST
        value:
          name: by-itself
          config_discovery:
            config_source: {{ads: {{}}, resource_api_version: V3}}
            type_urls: [{TYPE}.http.lua.v3.Lua]
    - applyTo: ROUTE_CONFIGURATION
      match: {{context: GATEWAY}}
      patch:
        operation: MERGE
        value:
          response_headers_to_add: [{{header: {{key: x-table, value: patched}}}}]
    """))  # fmt: skip

    def patched() -> bool:
        found = headers_at_gateway(isolated, caller)
        return (found.get("x-lua"), found.get("x-table")) == ("by itself", "patched")

    wait_for(patched, "headers", 20)
    host, port = isolated.gateway().removeprefix("http://").split(":")
    wait_for(lambda: words("127.0.0.1", FREE_PORT) == "listener", "the added listener", 15)
    wait_for(lambda: words(host, int(port), "127.0.0.99") == "chain", "the added chain", 15)
    request = f"GET /x HTTP/1.1\r\nHost: {caller.host}\r\nConnection: close\r\n\r\n"
    announced = "PROXY TCP4 203.0.113.9 203.0.113.1 4000 80\r\n" + request
    assert "203.0.113.9" in words(host, int(port), say=announced)


def words(host: str, port: int, source: str = "", say: str = "") -> str:
    """All that a server says; nothing when nobody listens."""
    try:
        with socket.create_connection((host, port), 5, (source, 0) if source else None) as s:
            s.sendall(say.encode())
            return b"".join(iter(lambda: s.recv(4096), b"")).decode()
    except OSError:
        return ""


def test_clusters_and_routes_of_some_callers(
    isolated: Instance, caller: Caller, applied: list[str]
) -> None:
    """A cluster that speaks TLS to a server that knows none; a cluster that is added, and a route
    that leads there."""
    other = Caller(isolated, "second")
    isolated.weft(
        "apply",
        "-f",
        "-",
        "--wait",
        stdin=m.service("alias").replace("{app: alias}", "{app: near}")
        + m.service("other").replace("{app: other}", "{app: near}"),
    )
    (pod,) = isolated.items("pods", "app=second")
    apply(isolated, applied, envoy_filter("clusters", f"""
    - applyTo: CLUSTER
      match:
        context: SIDECAR_OUTBOUND
        cluster: {{service: alias.default.svc.cluster.local, portNumber: 80}}
      patch:
        operation: MERGE
        value:
          transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": {TYPE.removesuffix("filters")}transport_sockets.tls.v3.UpstreamTlsContext
    - applyTo: CLUSTER
      match: {{context: SIDECAR_OUTBOUND}}
      patch:
        operation: ADD
        value:
          name: elsewhere
          type: STATIC
          connect_timeout: 3s
          load_assignment:
            cluster_name: elsewhere
            endpoints:
            - lb_endpoints:
              - endpoint:
                  address:
                    socket_address: {{address: {pod["status"]["podIP"]}, port_value: 8080}}
    - applyTo: HTTP_ROUTE
      match:
        context: SIDECAR_OUTBOUND
        routeConfiguration:
          name: "80"
          vhost: {{name: "other.default.svc.cluster.local:80", route: {{name: default}}}}
      patch:
        operation: MERGE
        value:
          route: {{cluster: elsewhere}}
          response_headers_to_add: [{{header: {{key: x-route, value: patched}}}}]
    """, "{app: caller}"))  # fmt: skip
    caller.settles("http://alias/who", 503)
    assert other.status("http://alias/who") == 200
    wait_for(lambda: caller.request("http://other/x")[2].get("x-route") == "patched", "route", 15)
    assert json.loads(caller.request("http://other/x")[1])["pod"].startswith("second-")
    _, body, headers = other.request("http://other/x")
    assert (json.loads(body)["pod"][:5], headers.get("x-route")) == ("near-", None)


def named_lua(operation: str, name: str, beside: str = "") -> str:
    """A filter of the gateway that says its name to the server."""
    there = f", subFilter: {{name: {beside}}}" if beside else ""
    return f"""
    - applyTo: HTTP_FILTER
      match: {{context: GATEWAY, listener: {{filterChain: {{filter: {{name: {MANAGER}{there}}}}}}}}}
      patch:
        operation: {operation}
        value:
          name: {name}
          typed_config:
            "@type": {TYPE}.http.lua.v3.Lua
            inlineCode: |
              function envoy_on_request(h)
                local before = h:headers():get("x-passed") or ""
                h:headers():replace("x-passed", before .. "{name} ")
              end
"""


def test_where_filters_are_put(isolated: Instance, caller: Caller, applied: list[str]) -> None:
    """Requests pass filters in their order: first, left, middle, right, last; of these one is
    removed and one gives way to another."""
    router = "envoy.filters.http.router"
    steps = [
        ("INSERT_BEFORE", "right", router),
        ("INSERT_BEFORE", "left", "right"),
        ("INSERT_AFTER", "middle", "left"),
        ("INSERT_FIRST", "first", ""),
        ("ADD", "last", ""),
    ]

    def passed() -> list[str]:
        status, body, _ = ask_all(isolated, "/x", caller.host)
        found = json.loads(body)["headers"] if status == 200 else {}
        return {name.lower(): value for name, value in found.items()}.get("x-passed", "").split()

    text = "".join(named_lua(*step) for step in steps)
    apply(isolated, applied, envoy_filter("order", text))
    wanted = ["first", "left", "middle", "right", "last"]
    wait_for(lambda: passed() == wanted, "all in their order", 20)
    text += named_lua("REPLACE", "instead", "middle") + named_lua("REMOVE", "left", "left")
    isolated.weft("apply", "-f", "-", stdin=envoy_filter("order", text))
    wanted = ["first", "instead", "right", "last"]
    wait_for(lambda: passed() == wanted, "one replaced, one removed", 20)


def answers(name: str, path: str, operation: str, beside: str = "") -> str:
    """A route of calls to `near` that answers by its name."""
    there = f", route: {{name: {beside}}}" if beside else ""
    return f"""
    - applyTo: HTTP_ROUTE
      match:
        context: SIDECAR_OUTBOUND
        routeConfiguration: {{vhost: {{name: "near.default.svc.cluster.local:80"{there}}}}}
      patch:
        operation: {operation}
        value:
          name: {name}
          match: {{{path}}}
          direct_response: {{status: 200, body: {{inline_string: {name}}}}}
"""


def host_patch(operation: str, match: str, domain: str) -> str:
    there = f", vhost: {{name: '{match}:80'}}" if match else ""
    return f"""
    - applyTo: VIRTUAL_HOST
      match: {{context: SIDECAR_OUTBOUND, routeConfiguration: {{name: "80"{there}}}}}
      patch:
        operation: {operation}
        value:
          name: {domain}
          domains: [{domain}]
          routes:
          - match: {{prefix: /}}
            direct_response: {{status: 200, body: {{inline_string: {domain}}}}}
"""


SWAPPED, GONE, LOST = (f"{name}.default.svc.cluster.local" for name in ("swapped", "gone", "lost"))
WHOLE = host_patch("ADD", "", "added.test") + host_patch("REPLACE", SWAPPED, SWAPPED)
WHOLE += (
    host_patch("REMOVE", GONE, GONE)
    + f"""
    - applyTo: CLUSTER
      match: {{context: SIDECAR_OUTBOUND, cluster: {{service: {LOST}, portNumber: 80}}}}
      patch: {{operation: REMOVE}}
"""
)


def test_where_routes_are_put_and_what_is_removed(
    isolated: Instance, caller: Caller, applied: list[str]
) -> None:
    """Of all routes that match a path the first answers."""
    other = Caller(isolated, "second")
    services = "".join(
        m.service(name).replace(f"{{app: {name}}}", f"{{app: {app}}}")
        for name, app in (("swapped", "near"), ("lost", "near"), ("gone", "second"))
    )
    isolated.weft("apply", "-f", "-", "--wait", stdin=services)
    text = (
        answers("before", "prefix: /a", "INSERT_BEFORE", "default")
        + answers("after", "prefix: /a", "INSERT_AFTER", "before")
        + answers("first", "path: /a/first", "INSERT_FIRST")
        + answers("later", "path: /b", "INSERT_AFTER", "default")
        + answers("added", "prefix: /", "ADD")
    )
    url = "http://near.default.svc.cluster.local"

    def said(*paths: str) -> list[str]:
        return [caller.request(url + path)[1] for path in paths]

    def pods(path: str) -> bool:
        return "near-" in said(path)[0]

    apply(isolated, applied, envoy_filter("routes", text, "{app: caller}"))
    wait_for(lambda: said("/a/first", "/a") == ["first", "before"], "routes in their order", 20)
    assert pods("/b")
    text += answers("instead", "prefix: /a", "REPLACE", "before")
    text += answers("none", "prefix: /", "REMOVE", "default") + WHOLE
    isolated.weft("apply", "-f", "-", stdin=envoy_filter("routes", text, "{app: caller}"))
    wait_for(lambda: said("/a", "/b", "/c") == ["instead", "later", "added"], "replaced", 20)
    assert "near-" in other.request(url + "/b")[1]
    assert caller.request(url, "added.test")[1] == "added.test"
    assert caller.request(f"http://{SWAPPED}")[1] == SWAPPED
    caller.settles(f"http://{LOST}", 503)
    for host in (SWAPPED, LOST):
        assert "near-" in other.request(f"http://{host}/x")[1]
    # Of a host that nothing names the address decides, as for any other unknown host.
    assert "second-" in other.request(url + "/x", GONE)[1]
    assert "near-" in caller.request(url + "/x", GONE)[1]
