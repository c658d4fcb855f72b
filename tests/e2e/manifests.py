"""Manifests for end-to-end tests, as a user would write them."""

from textwrap import dedent, indent


def echo(
    name: str, version: str = "v1", replicas: int = 1, extra: str = "", port: int = 8080
) -> str:
    """A deployment `<name>-<version>` of the echo program, labelled app=<name>."""
    more = indent(dedent(extra).strip(), " " * 10)
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}-{version}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: {name}, version: {version}}}
  template:
    metadata:
      labels: {{app: {name}, version: {version}}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
        - name: echo
          image: echo:1
          env: [{{name: VERSION, value: {version}}}]
          ports: [{{name: http, containerPort: {port}}}]
          readinessProbe:
            httpGet: {{path: /who, port: http}}
            periodSeconds: 1
{more}
"""


def service(name: str, port: int = 80, extra: str = "") -> str:
    return f"""
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector: {{app: {name}}}
{indent(dedent(extra).strip(), "  ")}
  ports: [{{name: http, port: {port}, targetPort: http}}]
"""


def gateway(name: str, host: str, port: int = 80) -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: {name}
spec:
  selector: {{istio: ingressgateway}}
  servers:
    - port: {{number: {port}, name: http, protocol: HTTP}}
      hosts: ["{host}"]
"""


def subsets(name: str, policy: str = "{}") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: {name}
spec:
  host: {name}
  trafficPolicy: {policy}
  subsets:
    - {{name: v1, labels: {{version: v1}}}}
    - {{name: v2, labels: {{version: v2}}}}
"""


def routes(name: str, http: str, host: str = "", gateway_name: str = "") -> str:
    """A VirtualService; `http` is the YAML list of routes."""
    gateways = f"gateways: [{gateway_name}]" if gateway_name else ""
    return f"""
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {name}
spec:
  hosts: ["{host or name}"]
  {gateways}
  http:
{indent(dedent(http).strip(), "    ")}
"""


def to(host: str) -> str:
    """Routes that send everything to one service."""
    return f"- route: [{{destination: {{host: {host}}}}}]"
