"""Ingresses, IngressClasses, NetworkPolicies, Endpoints and RuntimeClasses."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden, invalid, not_supported, required
from weft.api.validate import names
from weft.api.validate.metadata import immutable

Json = Mapping[str, Any]

_SPEC: Location = ("spec",)
CONTROLLER_LENGTH_MAX = 250
_BAD_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")
_POLICY_TYPES = ("Egress", "Ingress")


def validate_ingress(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors: list[FieldError] = []
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        text = "either `defaultBackend` or `rules` must be specified"
        errors.append(invalid(_SPEC, dict(spec), text))
    if spec.get("defaultBackend") is not None:
        errors += _backend(spec["defaultBackend"], (*_SPEC, "defaultBackend"))
    for index, tls in enumerate(spec.get("tls") or ()):
        for at, host in enumerate(tls.get("hosts") or ()):
            errors += _host(host, (*_SPEC, "tls", index, "hosts", at))
    for index, rule in enumerate(spec.get("rules") or ()):
        errors += _rule(rule, (*_SPEC, "rules", index))
    name = spec.get("ingressClassName")
    if name is not None and (problem := names.subdomain_problem(name)):
        errors.append(invalid((*_SPEC, "ingressClassName"), name, problem))
    return errors


def _host(host: str, at: Location) -> list[FieldError]:
    bare = host.removeprefix("*.") if host.startswith("*.") else host
    if "*" in host and (bare == host or "*" in bare):
        text = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain"
        )
        return [invalid(at, host, text)]
    problem = names.subdomain_problem(bare)
    return [invalid(at, host, problem)] if problem else []


def _rule(rule: Json, at: Location) -> list[FieldError]:
    host = rule.get("host") or ""
    errors: list[FieldError] = []
    if host and not names.ip_problem(host):
        errors.append(invalid((*at, "host"), host, "must be a DNS name, not an IP address"))
    elif host:
        errors += _host(host, (*at, "host"))
    http = rule.get("http")
    if http is None:
        return errors
    paths: Location = (*at, "http", "paths")
    if not http.get("paths"):
        errors.append(required(paths))
    for index, path in enumerate(http.get("paths") or ()):
        errors += _path(path, (*paths, index))
        errors += _backend(path.get("backend") or {}, (*paths, index, "backend"))
    return errors


def _path(found: Json, at: Location) -> list[FieldError]:
    kind, path = found.get("pathType"), found.get("path") or ""
    if not kind:
        return [required((*at, "pathType"), "pathType must be specified")]
    here: Location = (*at, "path")
    if kind in ("Exact", "Prefix"):
        if not path.startswith("/"):
            return [invalid(here, path, "must be an absolute path")]
        errors = [invalid(here, path, f"must not contain '{b}'") for b in _BAD_PARTS if b in path]
        ends = [b for b in _BAD_ENDS if path.endswith(b)]
        return errors + [invalid(here, path, f"cannot end with '{b}'") for b in ends]
    return [invalid(here, path, "must be an absolute path")] if path and path[0] != "/" else []


def _backend(backend: Json, at: Location) -> list[FieldError]:
    service, resource = backend.get("service"), backend.get("resource")
    if resource is not None:
        if service is not None:
            return [invalid(at, "", "cannot set both resource and service backends")]
        return [
            required((*at, "resource", key)) for key in ("kind", "name") if not resource.get(key)
        ]
    if service is None:
        return [required(at, "resource or service backend is required")]
    name, port = service.get("name") or "", service.get("port") or {}
    here: Location = (*at, "service")
    errors = names.named(name, (*here, "name"), names.label_1035_problem(name))
    if port.get("name") and port.get("number"):
        errors.append(invalid((*here, "port"), "", "cannot set both port name & port number"))
    elif port.get("name"):
        if problem := names.port_name_problem(port["name"]):
            errors.append(invalid((*here, "port", "name"), port["name"], problem))
    elif port.get("number"):
        errors += names.port_number(port["number"], (*here, "port", "number"))
    else:
        errors.append(required((*here, "port"), "port name or number is required"))
    return errors


def validate_ingress_class(obj: Json) -> list[FieldError]:
    controller = (obj.get("spec") or {}).get("controller") or ""
    at: Location = (*_SPEC, "controller")
    if not controller:
        return [required(at)]
    if len(controller) > CONTROLLER_LENGTH_MAX:
        return [invalid(at, controller, f"must be no more than {CONTROLLER_LENGTH_MAX} characters")]
    if "/" not in controller or names.subdomain_problem(controller.partition("/")[0]):
        return [invalid(at, controller, "must be a domain-prefixed path (such as "
                        '"acme.io/foo")')]  # fmt: skip
    return []


def validate_ingress_class_update(new: Json, old: Json) -> list[FieldError]:
    return immutable(new.get("spec") or {}, old.get("spec") or {}, _SPEC, "controller")


def validate_network_policy(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = names.label_selector(spec.get("podSelector"), (*_SPEC, "podSelector"))
    for key, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(key) or ()):
            at: Location = (*_SPEC, key, index)
            for n, port in enumerate(rule.get("ports") or ()):
                errors += _policy_port(port, (*at, "ports", n))
            for n, peer in enumerate(rule.get(peers) or ()):
                errors += _peer(peer, (*at, peers, n))
    types = spec.get("policyTypes") or ()
    here: Location = (*_SPEC, "policyTypes")
    if len(types) > len(_POLICY_TYPES):
        errors.append(invalid(here, list(types), "may not specify more than two policyTypes"))
    for index, kind in enumerate(types):
        if kind not in _POLICY_TYPES:
            errors.append(not_supported((*here, index), kind, _POLICY_TYPES))
    return errors


def _policy_port(port: Json, at: Location) -> list[FieldError]:
    number, end = port.get("port"), port.get("endPort")
    if number is None:
        if end is not None:
            text = "may not be specified when `port` is not specified"
            return [invalid((*at, "endPort"), end, text)]
        return []
    errors = names.port_number_or_name(number, (*at, "port"))
    if end is not None:
        if isinstance(number, str):
            text = "may not be specified when `port` is non-numeric"
            errors.append(invalid((*at, "endPort"), end, text))
        elif end < number:
            text = "must be greater than or equal to `port`"
            errors.append(invalid((*at, "endPort"), end, text))
        else:
            errors += names.port_number(end, (*at, "endPort"))
    return errors


def _peer(peer: Json, at: Location) -> list[FieldError]:
    block, selectors = peer.get("ipBlock"), [
        key for key in ("podSelector", "namespaceSelector") if peer.get(key) is not None
    ]  # fmt: skip
    if block is None and not selectors:
        return [required(at, "must specify a peer")]
    errors: list[FieldError] = []
    for key in selectors:
        errors += names.label_selector(peer[key], (*at, key))
    if block is None:
        return errors
    if selectors:
        text = "may not be specified if ipBlock is specified"
        errors.append(forbidden((*at, selectors[0]), text))
    cidr = block.get("cidr") or ""
    here: Location = (*at, "ipBlock")
    errors += names.named(cidr, (*here, "cidr"), names.cidr_problem(cidr))
    for index, part in enumerate(block.get("except") or ()):
        place: Location = (*here, "except", index)
        if problem := names.cidr_problem(part):
            errors.append(invalid(place, part, problem))
        elif not errors and not _within(part, cidr):
            errors.append(invalid(place, part, "must be a strict subset of `cidr`"))
    return errors


def _within(part: str, whole: str) -> bool:
    inner, outer = (ipaddress.ip_network(text, strict=False) for text in (part, whole))
    if inner.version != outer.version or inner == outer:
        return False
    return inner.subnet_of(outer)  # type: ignore[arg-type]


def validate_endpoints(obj: Json) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, subset in enumerate(obj.get("subsets") or ()):
        at: Location = ("subsets", index)
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.append(required(at, "must specify `addresses` or `notReadyAddresses`"))
        for key in ("addresses", "notReadyAddresses"):
            for n, address in enumerate(subset.get(key) or ()):
                ip = address.get("ip") or ""
                errors += names.named(ip, (*at, key, n, "ip"), names.ip_problem(ip) if ip else "")
        ports = subset.get("ports") or ()
        for n, port in enumerate(ports):
            here: Location = (*at, "ports", n)
            name = port.get("name") or ""
            if not name and len(ports) > 1:
                errors.append(required((*here, "name")))
            elif name and (problem := names.label_problem(name)):
                errors.append(invalid((*here, "name"), name, problem))
            errors += names.port_number(port.get("port") or 0, (*here, "port"))
    return errors


def validate_runtime_class(obj: Json) -> list[FieldError]:
    handler = obj.get("handler") or ""
    return names.named(handler, ("handler",), names.label_problem(handler) if handler else "")


def validate_runtime_class_update(new: Json, old: Json) -> list[FieldError]:
    return immutable(new, old, (), "handler")
