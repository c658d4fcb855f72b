"""Values that the Gateway API fills in for absent fields. Source: the API reference's defaults.

Every function changes the JSON it is given, which the caller must own.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]
GROUP = "gateway.networking.k8s.io"
WAITING = {"status": "Unknown", "reason": "Pending", "message": "Waiting for controller"}
NEVER = "1970-01-01T00:00:00Z"
"""The time of conditions that nobody has written yet."""


def gateway_class(obj: Json) -> None:
    _conditions(obj, "Accepted")


def gateway(obj: Json) -> None:
    _conditions(obj, "Accepted", "Programmed")
    spec = obj.get("spec") or {}
    _listeners(spec)
    for address in _items(spec, "addresses"):
        _set(address, {"type": "IPAddress"})
    if (allowed := spec.get("allowedListeners")) is not None:
        _set(_sub(allowed, "namespaces"), {"from": "None"})
    tls = spec.get("tls") or {}
    if (own := (tls.get("backend") or {}).get("clientCertificateRef")) is not None:
        _absent(own, {"group": "", "kind": "Secret"})
    frontend = tls.get("frontend") or {}
    for config in (frontend.get("default"), *(p.get("tls") for p in _items(frontend, "perPort"))):
        if config and config.get("validation") is not None:
            _set(config["validation"], {"mode": "AllowValidOnly"})


def listener_set(obj: Json) -> None:
    _conditions(obj, "Accepted", "Programmed")
    spec = obj.get("spec") or {}
    if spec.get("parentRef") is not None:
        _absent(spec["parentRef"], {"group": GROUP, "kind": "Gateway"})
    _listeners(spec)


def _listeners(spec: Json) -> None:
    for listener in _items(spec, "listeners"):
        if listener.get("tls") is not None:
            _set(listener["tls"], {"mode": "Terminate"})
            for ref in _items(listener["tls"], "certificateRefs"):
                _absent(ref, {"group": "", "kind": "Secret"})
        allowed = _sub(listener, "allowedRoutes")
        _set(_sub(allowed, "namespaces"), {"from": "Same"})
        for kind in _items(allowed, "kinds"):
            _absent(kind, {"group": GROUP})


def http_route(obj: Json) -> None:
    spec = _route(obj)
    if not spec.get("rules"):
        spec["rules"] = [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]
    for rule in _items(spec, "rules"):
        if not rule.get("matches"):
            rule["matches"] = [{"path": {"type": "PathPrefix", "value": "/"}}]
        for match in _items(rule, "matches"):
            _set(_sub(match, "path"), {"type": "PathPrefix", "value": "/"})
            for condition in (*_items(match, "headers"), *_items(match, "queryParams")):
                _set(condition, {"type": "Exact"})
        _backends_and_filters(rule)


def grpc_route(obj: Json) -> None:
    spec = _route(obj)
    for rule in _items(spec, "rules"):
        for match in _items(rule, "matches"):
            if match.get("method") is not None:
                _set(match["method"], {"type": "Exact"})
            for condition in _items(match, "headers"):
                _set(condition, {"type": "Exact"})
        _backends_and_filters(rule)


def connection_route(obj: Json) -> None:
    for rule in _items(_route(obj), "rules"):
        _backends_and_filters(rule)


def _route(obj: Json) -> Json:
    spec = _sub(obj, "spec")
    for parent in _items(spec, "parentRefs"):
        _absent(parent, {"group": GROUP, "kind": "Gateway"})
    return spec


def _backends_and_filters(rule: Json) -> None:
    backends = list(_items(rule, "backendRefs"))
    for backend in backends:
        _absent(backend, {"group": "", "kind": "Service", "weight": 1})
    for holder in (rule, *backends):
        for step in _items(holder, "filters"):
            if step.get("requestRedirect") is not None:
                _set(step["requestRedirect"], {"statusCode": 302})
            if (mirror := step.get("requestMirror")) is not None:
                _absent(_sub(mirror, "backendRef"), {"group": "", "kind": "Service"})
                if mirror.get("fraction") is not None:
                    _set(mirror["fraction"], {"denominator": 100})


def _conditions(obj: Json, *types: str) -> None:
    """What a new object says of itself until its controller has seen it."""
    status = _sub(obj, "status")
    if not status.get("conditions"):
        status["conditions"] = [
            {"type": kind, **WAITING, "lastTransitionTime": NEVER} for kind in types
        ]


def _absent(target: Json, values: Mapping[str, Any]) -> None:
    """Set what is absent; an empty group is a value, the core group."""
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _set(target: Json, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if target.get(key) in (None, ""):
            target[key] = value


def _items(target: Mapping[str, Any], key: str) -> Iterable[Json]:
    return [item for item in target.get(key) or () if isinstance(item, dict)]


def _sub(target: Json, key: str) -> Json:
    if target.get(key) is None:
        target[key] = {}
    found: Json = target[key]
    return found
