"""The manifests of test_analysis_codes: `@` stands for the wrong value, then for the sound one."""

from msgspec import Struct


class Case(Struct, frozen=True):
    code: str
    name: str
    text: str
    wrong: str
    sound: str
    kind: str
    object: str
    path: str
    says: str = ""


WEB = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-db, port: 5432}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v1}}
    spec:
      containers: [{name: app, image: web:1, ports: [{containerPort: 8080}, {containerPort: 5432}]}]
---
"""
EDGE = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]
---
"""
ISTIO = "apiVersion: networking.istio.io/v1\nkind: "
TO_WEB = "[{destination: {host: web, port: {number: 80}}}]"


def rules(http: str, more: str = "", name: str = "web", hosts: str = "web") -> str:
    return f"""{ISTIO}VirtualService
metadata: {{name: {name}}}
spec: {{hosts: [{hosts}], {more} http: [{http}]}}
---
"""


def rule(text: str) -> str:
    return f"{ISTIO}DestinationRule\nmetadata: {{name: web}}\nspec: {{host: web, {text}}}\n---\n"


def entry(text: str, name: str = "db", created: str = "") -> str:
    stamp = f", creationTimestamp: '{created}'" if created else ""
    return f"{ISTIO}ServiceEntry\nmetadata: {{name: {name}{stamp}}}\nspec: {{{text}}}\n---\n"


def pod(spec: str, where: str = "") -> str:
    return f"""apiVersion: v1
kind: Pod
metadata: {{name: p, labels: {{app: p}}{where}}}
spec: {{{spec}}}
---
"""


def gateway_api(listener: str = "", more: str = "") -> str:
    listener = listener or "{name: http, port: 8000, protocol: HTTP}"
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: weft}}
spec: {{controllerName: weft.dev/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gate}}
spec: {{gatewayClassName: weft, listeners: [{listener}]}}
---
{more}"""


def http_route(spec: str, name: str = "r", created: str = "2026-01-01T00:00:00Z") -> str:
    return f"""apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, creationTimestamp: "{created}"}}
spec: {{{spec}}}
---
"""


GATE = "parentRefs: [{name: gate}]"
BACK = "rules: [{backendRefs: [{name: web, port: 80}]}]"
MACHINE = f"{ISTIO}WorkloadEntry\nmetadata: {{name: vm}}\nspec: {{address: 192.0.2.1, labels: "
OTHER_NAMESPACE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
"""
GRANT = """
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: g, namespace: @}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: "", kind: Service}]
---
"""


def tls_gateway(name: str, port: int, host: str, secret: str) -> str:
    return f"""{ISTIO}Gateway
metadata: {{name: {name}}}
spec:
  servers:
  - port: {{number: {port}, name: https, protocol: HTTPS}}
    hosts: [{host}]
    tls: {{mode: SIMPLE, credentialName: {secret}}}
---
"""


def node(annotation: str, text: str) -> str:
    return f"""apiVersion: v1
kind: Node
metadata: {{name: n, annotations: {{weft.dev/{annotation}: '{text}'}}}}
---
"""


def sidecar(name: str, labels: str) -> str:
    return f"""{ISTIO}Sidecar
metadata: {{name: {name}, creationTimestamp: "2026-01-01T00:00:0{len(name)}Z"}}
spec: {{workloadSelector: {{labels: {labels}}}, egress: [{{hosts: ["*/*"]}}]}}
---
"""


def telemetry(name: str, spec: str) -> str:
    return f"""apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: {name}, creationTimestamp: "2026-01-01T00:00:0{len(name)}Z"}}
spec: {{{spec}}}
---
"""


def envoy_filter(name: str, operation: str, priority: str = "0", thing: str = "HTTP_FILTER") -> str:
    return f"""{ISTIO}EnvoyFilter
metadata: {{name: {name}}}
spec:
  priority: {priority}
  configPatches: [{{applyTo: {thing}, patch: {{operation: {operation}, value: {{name: x}}}}}}]
---
"""


WEB_80 = "service: {name: web, port: {number: 80}}"
TLS_SECRET = """
---
apiVersion: v1
kind: Secret
metadata: {name: cert}
type: kubernetes.io/tls
stringData: {tls.crt: x, tls.key: y}
"""


def ingress(more: str, backend: str) -> str:
    return f"""
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: front}}
spec:
  {more}
  defaultBackend: {{{backend}}}
"""


CASES = (
    # --- references
    Case(
        "WEFT2150", "host", EDGE + WEB + rules(
            f"{{route: {TO_WEB}}}", "gateways: [edge],", hosts='shop.example.com, "@"'
        ),
        "pay.example.com", "SHOP.example.com", "VirtualService", "web", "spec.hosts[1]",
        "`shop.example.com`",
    ),
    Case(
        "WEFT2151", "selector",
        WEB + entry("hosts: [db.corp], resolution: STATIC, ports: [{number: 5432, name: tcp, "
                    "protocol: TCP}], workloadSelector: {labels: {app: @}}"),
        "wep", "web", "ServiceEntry", "db", "spec.workloadSelector.labels", "did you mean `web`?",
    ),
    Case(
        "WEFT2151", "callers", WEB + rule("workloadSelector: {matchLabels: {app: @}}"),
        "wep", "web", "DestinationRule", "web", "spec.workloadSelector.matchLabels",
        "did you mean `web`?",
    ),
    Case(
        "WEFT2152", "port", WEB + rule(
            "trafficPolicy: {portLevelSettings: [{port: {number: @}, loadBalancer: "
            "{simple: RANDOM}}]}"
        ),
        "8080", "80", "DestinationRule", "web",
        "spec.trafficPolicy.portLevelSettings[0].port.number", "`80`, `5432`",
    ),
    Case(
        "WEFT2153", "port", WEB + rules(f"{{match: [{{port: @}}], route: {TO_WEB}}}"),
        "8080", "80", "VirtualService", "web", "spec.http[0].match[0].port", "`80`, `5432`",
    ),
    Case(
        "WEFT2154", "target port", WEB.replace("targetPort: 8080", "targetPort: @"),
        "8081", "8080", "Service", "web", "spec.ports[0].targetPort", "`5432`, `8080`",
    ),
    Case(
        "WEFT2155", "http rules", f"""apiVersion: v1
kind: Service
metadata: {{name: db}}
spec: {{selector: {{app: db}}, ports: [{{name: @, port: 5432}}]}}
---
{rules("{route: [{destination: {host: db}}]}", name="db", hosts="db")}""",
        "tcp", "http", "VirtualService", "db", "spec.http", "carries HTTP",
    ),
    Case(
        "WEFT2156", "labels", entry(
            "hosts: [db.corp], resolution: STATIC, ports: [{number: 5432, name: tcp, protocol: "
            "TCP}], workloadSelector: {labels: {app: db}}"
        ) + MACHINE + "{app: @}}\n",
        "bd", "db", "WorkloadEntry", "vm", "spec.labels", "`app=bd`",
    ),
    Case(
        "WEFT2157", "secret", "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\n---\n" + pod(
            "containers: [{name: a, image: a:1, envFrom: [{secretRef: {name: @}}]}]"
        ),
        "kyes", "keys", "Pod", "p", "spec.containers[0].envFrom[0].secretRef.name",
        "did you mean `keys`?",
    ),
    Case(
        "WEFT2157", "config map", pod(
            "containers: [{name: a, image: a:1}], volumes: [{name: v, configMap: {name: c@}}]"
        ),
        "", ", optional: true", "Pod", "p", "spec.volumes[0].configMap.name", "ConfigMap `c`",
    ),
    Case(
        "WEFT2158", "namespace",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: @}\n",
        "shopp", "shop", "ConfigMap", "c", "metadata.namespace", "did you mean `shop`?",
    ),
    Case(
        "WEFT2159", "gateway", WEB + gateway_api() + http_route(
            f"parentRefs: [{{name: @}}], {BACK}"
        ),
        "gat", "gate", "HTTPRoute", "r", "spec.parentRefs[0].name",
        "did you mean `default/gate`?",
    ),
    Case(
        "WEFT2160", "listener", WEB + gateway_api() + http_route(
            f"parentRefs: [{{name: gate, sectionName: @}}], {BACK}"
        ),
        "https", "http", "HTTPRoute", "r", "spec.parentRefs[0]", "NoMatchingParent",
    ),
    Case(
        "WEFT2780", "class", WEB + ingress("ingressClassName: @", WEB_80), "wefd", "weft",
        "Ingress", "front", "spec.ingressClassName", "did you mean `weft`?",
    ),
    Case(
        "WEFT2781", "resource", WEB + ingress("", "@"), "resource: {kind: Bucket, name: b}", WEB_80,
        "Ingress", "front", "spec.defaultBackend", "name a Service",
    ),
    Case(
        "WEFT2782", "secret", WEB + TLS_SECRET + ingress("tls: [{secretName: @}]", WEB_80),
        "other", "cert", "Ingress", "front", "spec.tls[0].secretName", "no Secret `other`",
    ),
    Case(
        "WEFT2161", "ingress", WEB + ingress("", "service: {name: @, port: {number: 80}}"),
        "wep", "web", "Ingress", "front", "spec.defaultBackend.service.name", "did you mean `web`?",
    ),
    Case(
        "WEFT2162", "ingress", WEB + ingress("", "service: {name: web, port: {number: @}}"),
        "81", "80", "Ingress", "front", "spec.defaultBackend.service.port", "`80`",
    ),
    Case(
        "WEFT2161", "service", WEB + gateway_api() + http_route(
            f"{GATE}, rules: [{{backendRefs: [{{name: @, port: 80}}]}}]"
        ),
        "wep", "web", "HTTPRoute", "r", "spec.rules[0].backendRefs[0].name",
        "did you mean `web`?",
    ),
    Case(
        "WEFT2162", "port", WEB + gateway_api() + http_route(
            f"{GATE}, rules: [{{backendRefs: [{{name: web, port: @}}]}}]"
        ),
        "8080", "80", "HTTPRoute", "r", "spec.rules[0].backendRefs[0].port", "`80`",
    ),
    Case(
        "WEFT2163", "grant", OTHER_NAMESPACE + GRANT + gateway_api() + http_route(
            f"{GATE}, rules: [{{backendRefs: [{{name: web, namespace: shop, port: 80}}]}}]"
        ),
        "other", "shop", "HTTPRoute", "r", "spec.rules[0].backendRefs[0].namespace",
        "ReferenceGrant",
    ),
    Case(
        "WEFT2163", "called", OTHER_NAMESPACE + WEB + http_route(
            'parentRefs: [{group: "", kind: Service, name: web, namespace: @}], '
            "rules: [{backendRefs: [{name: web, namespace: shop, port: 80}]}]"
        ),
        "default", "shop", "HTTPRoute", "r", "spec.rules[0].backendRefs[0].namespace",
        "ReferenceGrant",
    ),
    Case(
        "WEFT2164", "class", gateway_api().replace("gatewayClassName: weft", "gatewayClassName: @"),
        "wefd", "weft", "Gateway", "gate", "spec.gatewayClassName", "did you mean `weft`?",
    ),
    Case(
        "WEFT2165", "kind", WEB + gateway_api() + http_route(
            f"{GATE}, rules: [{{backendRefs: [{{@name: web, port: 80}}]}}]"
        ),
        "group: example.com, kind: Bucket, ", "", "HTTPRoute", "r",
        "spec.rules[0].backendRefs[0].kind", "`Bucket`",
    ),
    Case(
        "WEFT2166", "certificate", gateway_api(
            "{name: s, port: 8443, protocol: @, tls: {certificateRefs: [{name: none}]}}"
        ),
        "HTTPS", "HTTP", "Gateway", "gate", "spec.listeners[0].tls.certificateRefs",
        "`default/none` does not exist",
    ),
    Case(
        "WEFT2167", "filter", WEB + gateway_api() + http_route(
            f"{GATE}, rules: [{{filters: [@], backendRefs: [{{name: web, port: 80}}]}}]"
        ),
        "{type: RequestHeaderModifier, "
        "requestHeaderModifier: {set: [{name: a, value: \"\\x01\"}]}}",
        "",
        "HTTPRoute", "r", "spec.rules[0].filters", "left out",
    ),
    Case(
        "WEFT2151", "policy", WEB + """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only}
spec: {selector: {matchLabels: {app: @}}, rules: [{}]}
""",
        "wep", "web", "AuthorizationPolicy", "only", "spec.selector.matchLabels",
        "did you mean `web`?",
    ),
    Case(
        "WEFT2168", "target", WEB + """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only}
spec: {targetRefs: [{kind: Service, name: @}], rules: [{}]}
""",
        "wep", "web", "AuthorizationPolicy", "only", "spec.targetRefs[0].name",
        "did you mean `web`?",
    ),
    Case(
        "WEFT2169", "namespace", """apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only, namespace: shop}
spec: {rules: [{from: [{source: {namespaces: [@]}}]}]}
""",
        "shopp", "shop", "AuthorizationPolicy", "only",
        "spec.rules[0].from[0].source.namespaces[0]", "did you mean `shop`?",
    ),
    Case(
        "WEFT2460", "tokens", """apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens}
spec: {jwtRules: [{issuer: a, jwks: "{}"}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only}
spec: {rules: [{from: [{source: {@: ["*"]}}]}]}
""",
        "principals", "requestPrincipals", "RequestAuthentication", "tokens", "spec.jwtRules",
        "requestPrincipals",
    ),
    # --- conflicts
    Case(
        "WEFT2250", "secret", tls_gateway("a", 443, "a.example.com", "wild")
        + tls_gateway("b", 443, "b.example.com", "@"),
        "wild", "own", "Gateway", "b", "spec.servers[0].tls.credentialName", "Gateway default/a",
    ),
    Case(
        "WEFT2251", "protocol",
        entry("hosts: [api.corp], resolution: DNS, ports: [{number: 80, name: p, protocol: HTTP}]",
              "first", "2026-01-01T00:00:00Z")
        + entry("hosts: [api.corp], resolution: DNS, ports: [{number: 80, name: p, protocol: @}]",
                "second", "2026-01-02T00:00:00Z"),
        "TCP", "HTTP", "ServiceEntry", "second", "spec.ports[0].protocol",
        "ServiceEntry default/first",
    ),
    Case(
        "WEFT2252", "wildcard", WEB + rules(f"{{route: {TO_WEB}}}", name="all",
                                            hosts='"*.example.com"')
        + rules(f"{{route: {TO_WEB}}}", name="one", hosts="@"),
        "a.example.com", "example.org", "VirtualService", "all", "spec.hosts[0]",
        "VirtualService default/one",
    ),
    Case(
        "WEFT2253", "gateway", WEB + EDGE
        + rules(f"{{@route: {TO_WEB}}}", "gateways: [edge],", "a", "shop.example.com")
        + rules(f"{{match: [{{uri: {{prefix: /b}}}}], route: {TO_WEB}}}", "gateways: [edge],",
                "b", "shop.example.com"),
        "", "match: [{uri: {prefix: /a}}], ", "VirtualService", "b", "spec.hosts[0]",
        "VirtualService default/a",
    ),
    Case(
        "WEFT2255", "match", WEB + gateway_api()
        + http_route(f"{GATE}, rules: [{{matches: [{{path: {{value: /a}}}}], backendRefs: "
                     "[{name: web, port: 80}]}]", "first")
        + http_route(f"{GATE}, rules: [{{matches: [{{path: {{value: @}}}}], backendRefs: "
                     "[{name: web, port: 80}]}]", "second", "2026-01-02T00:00:00Z"),
        "/a", "/b", "HTTPRoute", "second", "spec.rules[0].matches[0]", "default/first",
    ),
    Case(
        "WEFT2256", "listeners", gateway_api(
            "{name: one, port: 8000, protocol: HTTP}, {name: two, port: 9000, protocol: @}"
        ),
        "DTLS", "TCP", "Gateway", "gate", "spec.listeners[1]", "UnsupportedProtocol",
    ),
    Case(
        "WEFT2257", "subset", WEB + EDGE + rule("subsets: [{name: v1, labels: {version: v1}}]")
        + rules(f"{{route: {TO_WEB}}}", "gateways: [edge],", "edge", "shop.example.com")
        + rules("{route: [{destination: {host: web, port: {number: 80}@}}]}"),
        ", subset: v1", "", "VirtualService", "edge", "spec.http[0].route[0].destination",
        "VirtualService default/web",
    ),
    # --- values
    Case(
        "WEFT2350", "ports", pod(
            "containers: [{name: a, image: a:1}]",
            ', annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: "@"}',
        ),
        "80,http", "80,443", "Pod", "p",
        "metadata.annotations[traffic.sidecar.istio.io/excludeOutboundPorts]", "`http` is no port",
    ),
    Case(
        "WEFT2350", "start-after", pod(
            "containers: [{name: a, image: a:1}]", ", annotations: {weft.dev/start-after: @/db}",
        ),
        "deploymnt", "deployment", "Pod", "p", "metadata.annotations[weft.dev/start-after]",
        "did you mean `deployment/db`?",
    ),
    Case(
        "WEFT2351", "addresses", entry(
            "hosts: [db.corp], @ports: [{number: 5432, name: tcp, protocol: TCP}]"
        ),
        "", "addresses: [192.0.2.7], ", "ServiceEntry", "db", "spec.ports[0]", "carries tcp",
    ),
    Case(
        "WEFT2352", "auto", pod("containers: [{name: istio-proxy, image: @}]"),
        "auto", "web:1", "Pod", "p", "spec.containers[0].image", "weft opens the ports",
    ),
    Case(
        "WEFT2355", "retries", WEB + rules(
            f"{{timeout: @, retries: {{attempts: 3, perTryTimeout: 2s}}, route: {TO_WEB}}}"
        ),
        "5s", "6s", "VirtualService", "web", "spec.http[0].retries.perTryTimeout", "the 5s of",
    ),
    Case(
        "WEFT2356", "exact", WEB + rules(
            f"{{match: [{{uri: {{@}}}}], route: {TO_WEB}}}"
        ),
        'exact: "/api/*"', "prefix: /api/", "VirtualService", "web",
        "spec.http[0].match[0].uri.exact", "prefix: /api/",
    ),
    Case(
        "WEFT2357", "rewrite", WEB + rules(
            f"{{match: [{{uri: {{prefix: @}}}}], rewrite: {{uri: /}}, route: {TO_WEB}}}"
        ),
        "/api", "/api/", "VirtualService", "web", "spec.http[0].match[0].uri.prefix",
        "`/api/x` turns into `//x`",
    ),
    Case(
        "WEFT2358", "appProtocol", WEB.replace("port: 80,", "port: 80, appProtocol: @,"),
        "htp", "http", "Service", "web", "spec.ports[0].appProtocol", "did you mean `http`?",
    ),
    Case(
        "WEFT2359", "port", "apiVersion: v1\nkind: Service\nmetadata: {name: ext}\nspec: {type: "
        "ExternalName, externalName: example.com, ports: [{name: @, port: 443}]}\n",
        "web", "tls-web", "Service", "ext", "spec.ports[0].name", "`tls-`",
    ),
    Case(
        "WEFT2360", "subset", WEB + rule("subsets: [{name: all@}]"),
        "", ", labels: {version: v1}", "DestinationRule", "web", "spec.subsets[0]", "`all`",
    ),
    Case(
        "WEFT2361", "skip", WEB + rule(
            "trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: @}}"
        ),
        "true", "false", "DestinationRule", "web", "spec.trafficPolicy.tls.insecureSkipVerify",
        "not checked",
    ),
    Case(
        "WEFT2362", "name", entry(
            "hosts: [db.corp], resolution: DNS, ports: [{number: 5432, name: tcp, protocol: TCP}]"
        ) + f"{ISTIO}DestinationRule\nmetadata: {{name: db}}\nspec: {{host: db.corp, "
        "trafficPolicy: {tls: {mode: SIMPLE@}}}\n",
        "", ", sni: db.corp", "DestinationRule", "db", "spec.trafficPolicy.tls", "`sni`",
    ),
    Case(
        "WEFT2363", "nodes", WEB + rule("trafficPolicy: {tls: {mode: @, sni: web}}")
        + "".join(f"apiVersion: v1\nkind: Node\nmetadata: {{name: {n}}}\n---\n" for n in "ab"),
        "SIMPLE", "ISTIO_MUTUAL", "DestinationRule", "web", "spec.trafficPolicy.tls.mode",
        "mode SIMPLE",
    ),
    Case(
        "WEFT2364", "strict", WEB + rule("trafficPolicy: {tls: {mode: DISABLE}}")
        + """apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: @}}
""",
        "STRICT", "PERMISSIVE", "DestinationRule", "web", "spec.trafficPolicy.tls.mode",
    ),
    # --- style
    Case(
        "WEFT2450", "annotation", pod(
            "containers: [{name: a, image: a:1}]", ', annotations: {sidecar.istio.io/@: "true"}'
        ),
        "injekt", "inject", "Pod", "p", "metadata.annotations[sidecar.istio.io/injekt]",
        "did you mean `sidecar.istio.io/inject`?",
    ),
    Case(
        "WEFT2451", "annotation", WEB.replace(
            "kind: Deployment\nmetadata: {name: web}",
            'kind: Deployment\nmetadata: {name: web, annotations: {@: "false"}}',
        ),
        "sidecar.istio.io/inject", "example.com/inject", "Deployment", "web",
        "metadata.annotations[sidecar.istio.io/inject]",
        "move it to `spec.template.metadata.annotations`",
    ),
    Case(
        "WEFT2452", "annotation", pod(
            "containers: [{name: a, image: a:1}]", ", annotations: {@: x}"
        ),
        "alpha.istio.io/identity", "example.com/identity", "Pod", "p",
        "metadata.annotations[alpha.istio.io/identity]", "remove it",
    ),
    Case(
        "WEFT2453", "annotation", pod(
            "containers: [{name: a, image: a:1}]", ", annotations: {@: 100m}"
        ),
        "sidecar.istio.io/proxyCPU", "example.com/cpu", "Pod", "p",
        "metadata.annotations[sidecar.istio.io/proxyCPU]", "no sidecars",
    ),
    Case(
        "WEFT2454", "prefix", WEB + rules(
            f"{{match: [{{uri: {{prefix: /a}}}}], route: {TO_WEB}}}, "
            f"{{match: [{{uri: {{prefix: @}}, method: {{exact: GET}}}}], route: {TO_WEB}}}"
        ),
        "/api", "/b", "VirtualService", "web", "spec.http[1].match[0]", "`spec.http[0].match[0]`",
    ),
    Case(
        "WEFT2455", "weights", WEB + rule(
            "subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {app: web}}]"
        ) + rules(
            "{route: [{destination: {host: web, subset: v1, port: {number: 80}}, weight: 30}, "
            "{destination: {host: web, subset: v2, port: {number: 80}}, weight: @}]}"
        ),
        "30", "70", "VirtualService", "web", "spec.http[0].route", "`50%`, `50%`",
    ),
    Case(
        "WEFT2456", "weight", WEB + rules(
            "{route: [{destination: {host: web, port: {number: 80}}, weight: @}]}"
        ),
        "10", "100", "VirtualService", "web", "spec.http[0].route[0].weight", "weight 10",
    ),
    Case(
        "WEFT2457", "destination", WEB + rules(
            "{route: [{destination: {host: web, port: {number: 80}}, weight: 50}, "
            "{destination: {host: web, port: {number: @}}, weight: 50}]}"
        ),
        "80", "5432", "VirtualService", "web", "spec.http[0].route[1].destination",
        "`spec.http[0].route[0]`",
    ),
    Case(
        "WEFT2458", "readiness", "apiVersion: v1\nkind: Service\nmetadata: {name: p}\nspec: "
        "{selector: {app: p}, ports: [{name: http, port: 80}]}\n---\n"
        + pod("containers: [{name: a, image: a:1@}]"),
        "", ", readinessProbe: {httpGet: {port: 80}}", "Pod", "p", "spec.containers[0]",
        "`readinessProbe`",
    ),
    Case(
        "WEFT2459", "host network", pod("hostNetwork: @, containers: [{name: a, image: a:1}]"),
        "true", "false", "Pod", "p", "spec.hostNetwork", "not routed",
    ),
    Case(
        "WEFT2500", "taken port", WEB
        + node("service-places", '{"Service default/web":{"@":[["127.0.0.1",30080,80,"tcp"]]}}'),
        "lacking", "places", "Service", "web", "spec.ports", "port 30080 of 127.0.0.1",
    ),
    Case(
        "WEFT2514", "datagrams", """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: weft, listeners: [{name: dns, protocol: UDP, port: 53}]}
---
""" + node("relayed", "@"),
        "true", "false", "Gateway", "edge", "spec.listeners[0]", "port 53",
    ),
    Case(
        "WEFT2514", "http3", """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, annotations: {weft.dev/http3: "@"}}
spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
""" + node("relayed", "true"),
        "true", "false", "Gateway", "edge", "metadata.annotations[weft.dev/http3]", "HTTP/3",
    ),
    Case(
        "WEFT2501", "affinity", WEB.replace(
            "  selector: {app: web}\n  ports",
            "  selector: {app: web}\n  sessionAffinity: ClientIP\n"
            "  sessionAffinityConfig: {clientIP: {timeoutSeconds: @}}\n  ports", 1
        ),
        "60", "10800", "Service", "web", "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        "60 s",
    ),
    Case(
        "WEFT2502", "address", WEB.replace(
            "  selector: {app: web}\n  ports",
            "  selector: {app: web}\n  type: LoadBalancer\n  loadBalancerIP: @\n  ports", 1
        ) + node("gateway-bindings", '{"Service default/web":{"unusable":["192.0.2.1"]}}'),
        "192.0.2.1", "192.0.2.2", "Service", "web", "spec.loadBalancerIP", "192.0.2.1",
    ),
    Case(
        "WEFT2511", "bind", """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"], bind: @}]
---
""" + node("gateway-bindings", '{"bind 192.0.2.1":{"unusable":["192.0.2.1"]}}'),
        "192.0.2.1", "192.0.2.2", "Gateway", "edge", "spec.servers[0].bind", "192.0.2.1",
    ),
    Case(
        "WEFT2503", "overlap", WEB + sidecar("a", "{app: web}") + sidecar("b", "@"),
        "{version: v1}", "{version: v2}", "Sidecar", "b", "spec.workloadSelector", "default/a",
    ),
    Case(
        "WEFT2504", "order", envoy_filter("a", "ADD") + envoy_filter("b", "INSERT_BEFORE", "@"),
        "0", "10", "EnvoyFilter", "b", "spec.configPatches[0].patch.operation", "priority",
    ),
    Case(
        "WEFT2505", "operation", envoy_filter("a", "@", thing="CLUSTER"),
        "REPLACE", "ADD", "EnvoyFilter", "a", "spec.configPatches[0].patch.operation", "CLUSTER",
    ),
    Case(
        "WEFT2513", "addresses at egress gateways", f"""{ISTIO}Gateway
metadata: {{name: out}}
spec: {{selector: {{istio: @}}, servers: []}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p}}
spec:
  targetRefs: [{{kind: Gateway, name: out}}]
  rules: [{{from: [{{source: {{notIpBlocks: [10.0.0.0/8]}}}}]}}]
""",
        "egressgateway", "ingressgateway", "AuthorizationPolicy", "p",
        "spec.rules[0].from[0].source.notIpBlocks", "holds for nobody",
    ),
    Case(
        "WEFT2161", "datagrams", gateway_api("{name: dns, port: 53, protocol: UDP}") + http_route(
            f"{GATE}, rules: [{{backendRefs: [{{name: @, port: 53}}]}}]"
        ).replace("HTTPRoute", "UDPRoute")
        + WEB.replace("port: 5432}]", "port: 53, protocol: UDP}]", 1),
        "wep", "web", "UDPRoute", "r", "spec.rules[0].backendRefs[0].name",
        "its datagrams are dropped",
    ),
    Case(
        "WEFT2162", "calls of gRPC", WEB + gateway_api() + http_route(
            f"{GATE}, rules: [{{backendRefs: [{{name: web, port: @}}]}}]"
        ).replace("HTTPRoute", "GRPCRoute"),
        "8080", "80", "GRPCRoute", "r", "spec.rules[0].backendRefs[0].port",
        "its calls are answered UNAVAILABLE",
    ),
    Case(
        "WEFT2506", "kind of target", WEB + """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p}
spec: {targetRefs: [{kind: @, name: web}], rules: [{}]}
""",
        "ServiceEntry", "Service", "AuthorizationPolicy", "p", "spec.targetRefs[0].kind",
        "ServiceEntry",
    ),
    Case(
        "WEFT2507", "telemetry overlap", WEB
        + telemetry("a", "selector: {matchLabels: {app: web}}")
        + telemetry("ab", "selector: {matchLabels: {version: @}}"),
        "v1", "v2", "Telemetry", "ab", "spec.selector", "pod `web`",
    ),
    Case(
        "WEFT2507", "telemetry of gateways",
        telemetry("a", "selector: {matchLabels: {istio: ingressgateway}}")
        + telemetry("ab", "selector: {matchLabels: {istio: @}}"),
        "ingressgateway", "other", "Telemetry", "ab", "spec.selector", "gateways",
    ),
    Case(
        "WEFT2508", "telemetry twice", telemetry("a", "") + telemetry("ab", "@"),
        "", "selector: {matchLabels: {app: web}}", "Telemetry", "ab", "spec", "default/a",
    ),
    Case(
        "WEFT2509", "datagrams", WEB.replace("port: 5432}]", "port: 53, protocol: UDP}]", 1)
        + rule("trafficPolicy: {loadBalancer: {simple: @}}"),
        "LEAST_REQUEST", "ROUND_ROBIN", "DestinationRule", "web",
        "spec.trafficPolicy.loadBalancer.simple", "UDP port 53",
    ),
    Case(
        "WEFT2509", "datagrams of a port",
        WEB.replace("port: 5432}]", "port: 53, protocol: UDP}]", 1)
        + rule("trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}, portLevelSettings: "
               "[{port: {number: 53}, outlierDetection: @}]}"),
        "{interval: 1s}", "null", "DestinationRule", "web",
        "spec.trafficPolicy.portLevelSettings[0].outlierDetection", "datagram",
    ),
    Case(
        "WEFT2629", "nothing holds it", node("isolation", "@") + """---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {}}
""",
        "host", "netns", "NetworkPolicy", "closed", "spec", "not enforced",
    ),
)  # fmt: skip
