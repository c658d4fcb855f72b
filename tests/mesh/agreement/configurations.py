"""Random objects of a small world: the same services, routed in ever other ways.

The words are few, so that conditions and requests meet, overlap and miss each other often.
"""

from random import Random
from typing import Any

Json = dict[str, Any]

SERVICES = {
    ("default", "web"): ("10.96.0.10", [("http", 80, 8080)]),
    ("default", "api"): ("10.96.0.11", [("http-api", 80, 9090), ("auto", 7777, 7777)]),
    ("shop", "api"): ("10.96.1.11", [("http", 80, 8080)]),
    ("shop", "cart"): ("10.96.1.12", [("http", 8080, 8080), ("http-more", 9090, 9090)]),
    ("default", "db"): ("10.96.0.13", [("tcp", 5432, 5432)]),
    ("default", "mixed"): ("10.96.0.14", [("", 8080, 8080), ("tcp-more", 80, 80)]),
    ("default", "sec"): ("10.96.0.15", [("tls", 443, 8443), ("tcp-sql", 3306, 3306)]),
    ("default", "peers"): ("None", [("http", 8080, 8080)]),
}
DATAGRAMS = ("10.96.0.16", 5353)
"""A service of UDP."""
NODE_PORT_FIRST = 30000
EGRESS_GATEWAY = "istio-egressgateway.istio-system.svc.cluster.local"
CALLERS = (
    ("default", "front", {"app": "front", "version": "v1"}),
    ("shop", "till", {"app": "till"}),
)
EXTERNAL = ("ext.example.com", "wild.example.com")
EXTERNAL_ADDRESS = "240.240.7.7"
PATHS = ("/", "/api", "/api/", "/api/v1", "/API/x", "/items/12", "/items", "/a-b_c", "/v2/api",
         "/x%20y", "/deep/er/path", "/items/12/")  # fmt: skip
PREFIXES = ("/", "/api", "/api/", "/items", "/v", "/API", "/deep/er")
REGEXES = (
    "/api/.*", "/v[0-9]+/api", r"/items/\d+", "/items/[[:digit:]]{2}", ".*", "/(api|items)/?",
    "/[a-z_-]+", "(?i)/API.*", "/api", r"/\w+", "/x%20y", "/[^/]+", r"/deep/\pL+/path", "",
)  # fmt: skip
HEADERS = ("x-user", "X-Env", "user-agent")
VALUES = ("jason", "Jason", "ann", "prod", "", "a,b", "7")
VALUE_REGEXES = ("j.*", "[A-Z].*", r"\d", ".*", "ann|jason", ".+", "")
QUERIES = ("debug", "page", "Q")
VERSIONS = ("v1", "v2")
RULES_MAX = 4
TLS_HOSTS = (["*"], ["*.example.com", "a.example.com"])
REPLACEMENTS = (
    {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"},
    {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v9"},
    {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v9/"},
    {"type": "ReplaceFullPath", "replaceFullPath": "/whole"},
)
ROUTE_REDIRECTS = (
    {"scheme": "https", "statusCode": 301}, {"hostname": "other.example"}, {"port": 8443},
)  # fmt: skip
DIRECT_STATUSES = (200, 204, 403, 418, 503)
REDIRECTS = (301, 302, 303, 307, 308)


NOWHERE = ""
"""Of the back ends: calls to pods of other nodes would go through those nodes' proxies."""


def node_ports() -> dict[int, tuple[str, int, str]]:
    """Port of the node -> (owner, port of the Service, transport), where the Service has one."""
    owned = [
        (f"Service {namespace}/{name}", port, "tcp")
        for (namespace, name), (_, ports) in SERVICES.items()
        for _, port, _ in ports
    ]
    owned.append(("Service default/talk", DATAGRAMS[1], "udp"))
    return {NODE_PORT_FIRST + number: each for number, each in enumerate(owned)}


def _exposed(random: Random, namespace: str, name: str, spec: Json) -> Json:
    """The Service with ports on the node, half of the time."""
    if spec.get("clusterIP") == "None" or random.random() < 0.5:
        return spec
    found = {(owner, port): node for node, (owner, port, _) in node_ports().items()}
    listed = [
        each | {"nodePort": found[f"Service {namespace}/{name}", each["port"]]}
        for each in spec["ports"]
    ]
    local = {"externalTrafficPolicy": "Local"} if random.random() < 0.1 else {}
    return spec | {"type": "NodePort", "ports": listed} | local


def documents(random: Random, netns: list[str], node: str) -> list[Json]:
    """One configuration. `netns` are the callers' network namespaces, on `node`."""
    made = [*_services(random), *_callers(netns, node), *_entries(random), *_gateways(random)]
    made += _datagrams(random)
    made = [*_egress(random), *made]
    made += _rules(random)
    made += _policies(random)
    made += [_virtual_service(random, number) for number in range(random.randint(1, 6))]
    made += [_http_route(random, number) for number in range(random.randint(0, 2))]
    return made


def _named(kind: str, api: str, name: str, namespace: str, spec: Json) -> Json:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": api, "kind": kind, "metadata": meta, "spec": spec}


def _istio(kind: str, name: str, namespace: str, spec: Json) -> Json:
    return _named(kind, "networking.istio.io/v1", name, namespace, spec)


def _services(random: Random) -> list[Json]:
    made: list[Json] = []
    for number, ((namespace, name), (address, ports)) in enumerate(SERVICES.items()):
        listed = [
            {"name": n, "port": p, "targetPort": t}
            if n
            else {"name": "", "port": p, "targetPort": t}
            for n, p, t in ports
        ]
        spec = {"clusterIP": address, "selector": {"app": name}, "ports": listed}
        spec = _exposed(random, namespace, name, spec)
        made.append(_named("Service", "v1", name, namespace, spec))
        pods = {}
        for index in range(random.choice((0, 1, 2, 2, 3))):
            version = random.choice(VERSIONS)
            pods[f"{name}-{version}-{index}"] = {
                "ip": f"10.245.{number}.{index + 1}",
                "labels": {"version": version},
                "state": random.choice(("ready",) * 6 + ("unready", "terminating")),
                "node": NOWHERE,
            }
        made.append(_backends(name, namespace, pods))
    return made


def _backends(service: str, namespace: str, pods: Json) -> Json:
    meta = {"name": f"{namespace}-{service}"}
    return {"kind": "Backends", "metadata": meta, "service": service, "namespace": namespace,
            "pods": pods}  # fmt: skip


def _datagrams(random: Random) -> list[Json]:
    address, port = DATAGRAMS
    listed = [{"name": "udp-talk", "port": port, "targetPort": 5353, "protocol": "UDP"}]
    spec = {"clusterIP": address, "selector": {"app": "talk"}, "ports": listed}
    pods = {
        f"talk-v1-{index}": {"ip": f"10.245.30.{index + 1}", "node": NOWHERE}
        for index in range(random.randint(0, 2))
    }
    spec = _exposed(random, "default", "talk", spec)
    return [_named("Service", "v1", "talk", "default", spec), _backends("talk", "default", pods)]


def _egress(random: Random) -> list[Json]:
    """Calls in two steps, in every third configuration."""
    if random.random() > 0.33:
        return []
    host = random.choice(("ext.example.com", "www.example.com", "web.default.svc.cluster.local"))
    hosts = random.choice((["*"], [host], [host], ["other.example.com"]))
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": hosts}
    gateway = _istio("Gateway", "out", "default",
                     {"selector": {"istio": "egressgateway"}, "servers": [server]})  # fmt: skip
    first: Json = {
        "match": [{"gateways": ["mesh"]}],
        "route": [{"destination": {"host": EGRESS_GATEWAY, "port": {"number": 80}}}],
    }
    if random.random() < 0.3:
        first["headers"] = {"request": _operations(random)}
    if random.random() < 0.3:
        first["rewrite"] = random.choice(({"uri": "/api"}, {"authority": "www.example.com"}))
    rules = [first]
    for prefix in random.choice(((), ("/",), ("/api", "/"), ("/api", "/items"))):
        match = {"gateways": ["default/out"], "uri": {"prefix": prefix}}
        rule: Json = {"match": [match]}
        if random.random() < 0.2:
            rule["directResponse"] = {"status": 418}
        else:
            rule["route"] = _shares(random)
            if random.random() < 0.3:
                rule["rewrite"] = {"uri": "/second"}
        rules.append(rule)
    spec = {"hosts": [host], "gateways": ["mesh", "default/out"], "http": rules}
    return [gateway, _istio("VirtualService", "out", "default", spec)]


def _policies(random: Random) -> list[Json]:
    """AuthorizationPolicies, in every third configuration."""
    if random.random() > 0.33:
        return []
    made = []
    for number in range(random.randint(1, 3)):
        namespace = random.choice(("default", "shop", "istio-system"))
        spec: Json = {"action": random.choice(("ALLOW", "DENY", "DENY"))}
        if random.random() < 0.2:
            edge = random.choice(("ingressgateway", "egressgateway"))
            spec["selector"] = {"matchLabels": {"istio": edge}}
        elif random.random() < 0.7:
            labels = {"app": random.choice(("web", "api", "cart", "db", "talk", "mixed"))}
            spec["selector"] = {"matchLabels": labels}
        if random.random() < 0.9:
            spec["rules"] = [_policy_rule(random) for _ in range(random.randint(1, 2))]
        kind = _named("AuthorizationPolicy", "security.istio.io/v1", f"p{number}", namespace, spec)
        made.append(kind)
    return made


def _policy_rule(random: Random) -> Json:
    rule: Json = {}
    if random.random() < 0.6:
        source = random.choice(
            (
                {"namespaces": ["shop"]},
                {"principals": ["cluster.local/ns/default/sa/*"]},
                {"notNamespaces": ["default"]},
                {"ipBlocks": ["10.244.9.10/32"]},
                {"ipBlocks": ["10.244.9.1/32"]},
            )
        )
        rule["from"] = [{"source": source}]
    if random.random() < 0.7:
        operation = random.choice(
            (
                {"paths": ["/api*"]},
                {"paths": ["/items/{*}"]},
                {"paths": ["/api", "*/path"]},
                {"methods": ["GET", "HEAD"]},
                {"notPaths": ["/items/*", "/"]},
                {"hosts": ["web*"]},
                {"ports": ["8080"]},
            )
        )
        rule["to"] = [{"operation": operation}]
    if random.random() < 0.2:
        rule["when"] = [{"key": "request.headers[x-user]", "values": ["jason", "a*"]}]
    return rule


def _callers(netns: list[str], node: str) -> list[Json]:
    made = []
    for number, ((namespace, name, labels), path) in enumerate(zip(CALLERS, netns, strict=True)):
        spec = {"clusterIP": f"10.96.9.{number + 1}", "selector": {}, "ports": []}
        pod = {
            "ip": f"10.244.9.{10 + number}",
            "labels": labels,
            "node": node,
            "annotations": {"weft.dev/netns": path},
        }
        made.append(_named("Service", "v1", f"of-{name}", namespace, spec))
        made.append(_backends(f"of-{name}", namespace, {f"{name}-0": pod}))
    return made


def _entries(random: Random) -> list[Json]:
    made = []
    if random.random() < 0.7:
        spec = {
            "hosts": ["ext.example.com"],
            "resolution": random.choice(("STATIC", "STATIC", "NONE")),
            "addresses": [EXTERNAL_ADDRESS],
            "location": "MESH_EXTERNAL",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080},
                      {"number": 443, "name": "tls", "protocol": "TLS", "targetPort": 8443}],
            "endpoints": [{"address": "10.245.40.1"}, {"address": "10.245.40.2"}],
        }  # fmt: skip
        if spec["resolution"] == "NONE":
            del spec["endpoints"]
        made.append(_istio("ServiceEntry", "ext", "default", spec))
    if random.random() < 0.5:
        spec = {
            "hosts": ["*.wild.example.com"],
            "resolution": "STATIC",
            "location": "MESH_EXTERNAL",
            "exportTo": random.choice((["*"], ["."], [])),
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 9090},
                      {"number": 443, "name": "tls", "protocol": "TLS", "targetPort": 8443}],
            "endpoints": [{"address": "10.245.41.1"}],
        }  # fmt: skip
        made.append(_istio("ServiceEntry", "wild", "shop", spec))
    return made


def _gateways(random: Random) -> list[Json]:
    server: Json = {
        "port": {"number": 80, "name": "http", "protocol": "HTTP"},
        "hosts": random.choice((["*"], ["*.example.com", "web.default.svc.cluster.local"])),
    }
    if random.random() < 0.1:
        server["tls"] = {"httpsRedirect": True}
    servers = [server]
    if random.random() < 0.4:
        more = {"port": {"number": 80, "name": "more", "protocol": "HTTP"},
                "hosts": ["www.example.com"]}  # fmt: skip
        if random.random() < 0.5:
            more["tls"] = {"httpsRedirect": True}
        servers.append(more)
    if random.random() < 0.6:
        servers.append({"port": {"number": 443, "name": "tls", "protocol": "TLS"},
                        "tls": {"mode": "PASSTHROUGH"},
                        "hosts": random.choice(TLS_HOSTS)})  # fmt: skip
    made = [_istio("Gateway", "edge", "default", {"selector": {"istio": "ingressgateway"},
                                                  "servers": servers})]  # fmt: skip
    if random.random() < 0.6:
        listeners = [{"name": "any", "port": 8081, "protocol": "HTTP",
                      "allowedRoutes": {"namespaces": {"from": "All"}}}]  # fmt: skip
        if random.random() < 0.5:
            listeners.append({"name": "one", "port": 8081, "protocol": "HTTP",
                              "hostname": random.choice(("*.example.com", "www.example.com")),
                              "allowedRoutes": {"namespaces": {"from": "All"}}})  # fmt: skip
        spec = {"gatewayClassName": "weft", "listeners": listeners}
        made.append(_named("Gateway", "gateway.networking.k8s.io/v1", "gtw", "default", spec))
    spec = {"controllerName": "weft.dev/gateway-controller"}
    each = _named("GatewayClass", "gateway.networking.k8s.io/v1", "weft", "", spec)
    made.append(each | {"metadata": {"name": "weft"}})
    return made


def _rules(random: Random) -> list[Json]:
    made = []
    for namespace, name in SERVICES:
        if random.random() < 0.4:
            continue
        subsets = [{"name": v, "labels": {"version": v}} for v in VERSIONS]
        spec: Json = {"host": name, "subsets": subsets}
        if random.random() < 0.4:
            algorithm = random.choice(("RANDOM", "ROUND_ROBIN", "LEAST_REQUEST"))
            spec["trafficPolicy"] = {"loadBalancer": {"simple": algorithm}}
        elif random.random() < 0.2:
            key = {"httpHeaderName": "x-user"}
            spec["trafficPolicy"] = {"loadBalancer": {"consistentHash": key}}
        elif random.random() < 0.3:
            spec["trafficPolicy"] = {"connectionPool": {"http": {"http2MaxRequests": 1000}}}
        made.append(_istio("DestinationRule", name, namespace, spec))
    return made


# --- VirtualServices


def _virtual_service(random: Random, number: int) -> Json:
    namespace = random.choice(("default", "default", "shop"))
    hosts = random.sample(
        ("web", "api", "api.shop.svc.cluster.local", "cart.shop", "mixed", "nowhere",
         "ext.example.com", "a.wild.example.com", "*.example.com", "www.example.com", "peers",
         "web.default.svc.cluster.local"),
        random.randint(1, 2),
    )  # fmt: skip
    gateways = random.choice(([], [], ["mesh"], ["default/edge"], ["mesh", "default/edge"]))
    spec: Json = {"hosts": hosts, "gateways": gateways}
    if random.random() < 0.85:
        spec["http"] = [_http(random, index) for index in range(random.randint(1, RULES_MAX))]
        if random.random() < 0.5:
            spec["http"].append({"route": _shares(random)})
    if random.random() < 0.3:
        spec["tcp"] = [_tcp(random)]
        spec["hosts"] = random.choice((["db"], ["mixed"], ["db", *hosts], ["api"]))
    if random.random() < 0.3:
        names = random.sample(
            ("sec", "ext.example.com", "*.example.com", "a.wild.example.com"), random.randint(1, 2)
        )
        spec["hosts"] = list(dict.fromkeys([*names, *spec["hosts"]]))
        spec["tls"] = [_tls(random, names) for _ in range(random.randint(1, 2))]
    if random.random() < 0.15:
        spec["exportTo"] = ["."]
    return _istio("VirtualService", f"vs{number}", namespace, spec)


def _http(random: Random, index: int) -> Json:
    rule: Json = {}
    if random.random() < 0.75:
        rule["match"] = [_match(random) for _ in range(random.randint(1, 2))]
    if random.random() < 0.3:
        rule["name"] = f"rule-{index}"
    action = random.random()
    if action < 0.15:
        rule["redirect"] = _redirect(random)
    elif action < 0.25:
        rule["directResponse"] = {
            "status": random.choice(DIRECT_STATUSES), "body": {"string": f"answer {index}"},
        }  # fmt: skip
    else:
        rule["route"] = _shares(random)
        rule |= _changes(random)
    if random.random() < 0.3:
        rule["headers"] = _headers(random)
    if random.random() < 0.1:
        rule["corsPolicy"] = {
            "allowOrigins": [random.choice(({"exact": "http://a.example"}, {"regex": ".*"}))],
            "allowMethods": ["GET"],
            "unmatchedPreflights": random.choice(("FORWARD", "IGNORE")),
        }
    return rule


def _match(random: Random) -> Json:
    match: Json = {}
    if random.random() < 0.7:
        match["uri"] = _string(random, PATHS, PREFIXES, REGEXES)
        if random.random() < 0.25:
            match["ignoreUriCase"] = True
    if random.random() < 0.2:
        match["method"] = _string(random, ("GET", "POST"), ("P", "G"), ("GET|POST", "P.*"))
    if random.random() < 0.15:
        names = ("web", "api:80", "www.example.com")
        match["authority"] = _string(random, names, ("w", "api"), (r"[a-z.]+", "w.*"))
    if random.random() < 0.05:
        match["scheme"] = {"exact": random.choice(("http", "https"))}
    if random.random() < 0.35:
        match["headers"] = {n: _value(random) for n in random.sample(HEADERS, random.randint(1, 2))}
    if random.random() < 0.35:
        match["withoutHeaders"] = {random.choice(HEADERS): _value(random)}
    if random.random() < 0.25:
        match["queryParams"] = {random.choice(QUERIES): _value(random)}
    if random.random() < 0.1:
        match["port"] = random.choice((80, 8080))
    if random.random() < 0.1:
        match["sourceLabels"] = random.choice(({"app": "front"}, {"version": "v1"}, {"app": "x"}))
    if random.random() < 0.1:
        match["sourceNamespace"] = random.choice(("default", "shop"))
    if random.random() < 0.1:
        match["gateways"] = random.choice((["mesh"], ["default/edge"]))
    return match


def _string(
    random: Random, exact: tuple[str, ...], prefix: tuple[str, ...], regex: tuple[str, ...]
) -> Json:
    kind, values = random.choice((("exact", exact), ("prefix", prefix), ("regex", regex)))
    return {kind: random.choice(values)}


def _value(random: Random) -> Json:
    if random.random() < 0.2:
        return {}
    return _string(random, VALUES, ("j", "a", "J"), VALUE_REGEXES)


def _redirect(random: Random) -> Json:
    made: Json = {}
    if random.random() < 0.5:
        made["uri"] = random.choice(("/new", "/new?x=1", "/"))
    if random.random() < 0.5:
        made["authority"] = random.choice(("other.example", "other.example:8080"))
    if random.random() < 0.3:
        made["scheme"] = random.choice(("https", "http"))
    if random.random() < 0.3:
        made["port"] = random.choice((80, 443, 8443))
    if random.random() < 0.5:
        made["redirectCode"] = random.choice(REDIRECTS)
    return made or {"uri": "/new"}


def _target(random: Random) -> Json:
    host = random.choice(
        ("web", "api", "api.shop.svc.cluster.local", "cart.shop.svc.cluster.local", "peers",
         "web.default.svc.cluster.local", "nobody", "ext.example.com", "mixed")
    )  # fmt: skip
    target: Json = {"host": host}
    if random.random() < 0.4:
        target["subset"] = random.choice((*VERSIONS, *VERSIONS, "v9"))
    ports = {"cart.shop.svc.cluster.local": 8080, "peers": 8080, "mixed": 8080}
    if host in ports or random.random() < 0.3:
        target["port"] = {"number": ports.get(host, 80)}
    return target


def _shares(random: Random) -> list[Json]:
    kind = random.random()
    if kind < 0.6:
        share: Json = {"destination": _target(random)}
        if random.random() < 0.15:
            share["headers"] = _headers(random)
        return [share]
    weights = random.choice(((0, 100), (100, 0), (50, 50), (1, 99), (0, 50, 50)))
    made = []
    for weight in weights:
        share = {"destination": _target(random), "weight": weight}
        if random.random() < 0.15:
            share["headers"] = _headers(random)
        made.append(share)
    return made


def _changes(random: Random) -> Json:
    made: Json = {}
    if random.random() < 0.4:
        made["rewrite"] = random.choice(
            (
                {"uri": "/rewritten"},
                {"uri": "/"},
                {"authority": "inside.example"},
                {"uri": "/v9", "authority": "inside.example"},
                {"uriRegexRewrite": {"match": "/([a-z]+)", "rewrite": r"/\1\1"}},
                {"uriRegexRewrite": {"match": r"^/items/(\d+)(.*)$", "rewrite": r"\2/i\1"}},
                {"uriRegexRewrite": {"match": "[a-z]*", "rewrite": "y"}},
            )
        )
    if random.random() < 0.1:
        status = random.choice((418, 503, 429))
        made["fault"] = {"abort": {"httpStatus": status, "percentage": {"value": 100}}}
    if random.random() < 0.2:
        made["retries"] = random.choice(({"attempts": 0}, {"attempts": 3, "retryOn": "5xx"}))
    if random.random() < 0.2:
        made["timeout"] = "3s"
    if random.random() < 0.05:
        made["mirrors"] = [{"destination": {"host": "web"}, "percentage": {"value": 100}}]
    return made


def _headers(random: Random) -> Json:
    made: Json = {}
    if random.random() < 0.7:
        made["request"] = _operations(random)
    if random.random() < 0.5:
        made["response"] = _operations(random)
    return made


def _operations(random: Random) -> Json:
    made: Json = {}
    if random.random() < 0.5:
        made["set"] = {random.choice(("x-set", "x-user", "Host")): f"set-{random.randint(0, 9)}"}
    if random.random() < 0.5:
        made["add"] = {random.choice(("x-add", "x-user")): f"add-{random.randint(0, 9)}"}
    if random.random() < 0.3:
        made["remove"] = [random.choice(("x-user", "X-Env", "x-set"))]
    return made


def _tcp(random: Random) -> Json:
    match: Json = {}
    if random.random() < 0.4:
        match["destinationSubnets"] = [
            random.choice(
                ("10.96.0.0/24", "10.96.0.9/24", "10.96.0.13", "10.96.0.13/32", "10.96.0.14")
            )
        ]
    if random.random() < 0.3:
        match["port"] = random.choice((5432, 80, 8080, 7777))
    if random.random() < 0.3:
        match["sourceLabels"] = {"app": random.choice(("front", "till"))}
    if random.random() < 0.2:
        match["sourceNamespace"] = random.choice(("default", "shop"))
    route = [{"destination": random.choice((
        {"host": "db", "port": {"number": 5432}}, {"host": "sec", "port": {"number": 3306}},
        {"host": "mixed", "port": {"number": 80}}, {"host": "db", "subset": "v1"}))}]  # fmt: skip
    return {"route": route} | ({"match": [match]} if match else {})


def _tls(random: Random, names: list[str]) -> Json:
    hosts = [n for n in names if n != "sec"] or ["sec.default.svc.cluster.local"]
    match: Json = {"sniHosts": [random.choice(hosts)], "port": random.choice((443, 443, 9443))}
    if random.random() < 0.2:
        match["sourceLabels"] = {"app": random.choice(("front", "till"))}
    host = random.choice(("sec", "sec.default.svc.cluster.local", "ext.example.com"))
    route = [{"destination": {"host": host, "port": {"number": 443}}}]
    return {"match": [match], "route": route}


# --- HTTPRoutes


def _http_route(random: Random, number: int) -> Json:
    namespace = random.choice(("default", "shop"))
    if random.random() < 0.6:
        parent: Json = {"name": "gtw", "namespace": "default"}
    else:
        parent = {"group": "", "kind": "Service", "name": random.choice(("web", "api", "cart"))}
    spec: Json = {"parentRefs": [parent], "rules": [
        _route_rule(random) for _ in range(random.randint(1, 3))
    ]}  # fmt: skip
    if "namespace" in parent and random.random() < 0.6:
        spec["hostnames"] = random.choice((["www.example.com"], ["*.example.com"], ["web"]))
    api = "gateway.networking.k8s.io/v1"
    return _named("HTTPRoute", api, f"route{number}", namespace, spec)


def _route_rule(random: Random) -> Json:
    rule: Json = {}
    if random.random() < 0.8:
        rule["matches"] = [_route_match(random) for _ in range(random.randint(1, 2))]
    filters: list[Json] = []
    if random.random() < 0.2:
        path = random.choice(REPLACEMENTS)
        prefixed = all(
            m.get("path", {}).get("type") == "PathPrefix" for m in rule.get("matches", [])
        )
        if path["type"] == "ReplaceFullPath" or (prefixed and len(rule.get("matches", [])) == 1):
            filters.append({"type": "URLRewrite", "urlRewrite": {"path": path}})
    if not filters and random.random() < 0.15:
        redirect = random.choice(ROUTE_REDIRECTS)
        return rule | {"filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]}
    if random.random() < 0.3:
        change = {"set": [{"name": "X-Set", "value": "route"}], "remove": ["x-user"]}
        filters.append({"type": "RequestHeaderModifier", "requestHeaderModifier": change})
    names = random.choice((("web",), ("web", "api"), ("nobody",), ("cart",)))
    ports = {"cart": 8080}
    refs = [
        {"name": n, "port": ports.get(n, 80), "weight": random.choice((0, 1, 1, 2))} for n in names
    ]
    return rule | {"backendRefs": refs} | ({"filters": filters} if filters else {})


def _route_match(random: Random) -> Json:
    match: Json = {}
    if random.random() < 0.8:
        kind = random.choice(("Exact", "PathPrefix", "PathPrefix", "RegularExpression"))
        values = {
            "Exact": PATHS,
            "PathPrefix": ("/", "/api", "/api/", "/items", "/deep/er"),
            "RegularExpression": ("/api/.*", r"/items/\d+", "/[a-z]+"),
        }[kind]
        match["path"] = {"type": kind, "value": random.choice(values)}
    if random.random() < 0.2:
        match["method"] = random.choice(("GET", "POST"))
    if random.random() < 0.3:
        kind = random.choice(("Exact", "RegularExpression"))
        value = random.choice([v for v in VALUES if v] if kind == "Exact" else ("j.*", r"\d"))
        match["headers"] = [{"type": kind, "name": random.choice(HEADERS), "value": value}]
    if random.random() < 0.2:
        match["queryParams"] = [{"type": "Exact", "name": random.choice(QUERIES), "value": "7"}]
    return match
