"""Services and EndpointSlices."""

from collections.abc import Mapping, Sequence
from typing import Any

from weft.api.field_errors import (
    FieldError,
    Location,
    duplicate,
    forbidden,
    invalid,
    required,
)
from weft.api.validate import names
from weft.api.validate.metadata import immutable

Json = Mapping[str, Any]

_SPEC: Location = ("spec",)
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
ENDPOINTS_MAX = 1000
ADDRESSES_MAX = 100
AFFINITY_SECONDS_MAX = 86400


def validate_service(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    kind = spec.get("type") or "ClusterIP"
    headless = spec.get("clusterIP") == "None"
    errors = names.labels(spec.get("selector"), (*_SPEC, "selector"))
    ports = spec.get("ports") or ()
    if not ports and not headless and kind != "ExternalName":
        errors.append(required((*_SPEC, "ports")))
    errors += _ports(ports, kind)
    errors += _addresses(spec, kind) + _affinity(spec)
    return errors + _by_type(spec, kind)


def _ports(ports: Sequence[Json], kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    at: Location = (*_SPEC, "ports")
    for index, port in enumerate(ports):
        here = (*at, index)
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            hint = "with several ports each needs a name, such as `http`"
            errors.append(required((*here, "name"), suggestion=hint))
        elif name and (problem := names.label_problem(name)):
            errors.append(invalid((*here, "name"), name, problem))
        errors += names.port_number(port.get("port"), (*here, "port"))
        if port.get("targetPort") is not None:
            errors += names.port_number_or_name(port["targetPort"], (*here, "targetPort"))
        if port.get("nodePort"):
            if kind not in _WITH_NODE_PORTS:
                text = f"may not be used when `type` is '{kind}'"
                errors.append(forbidden((*here, "nodePort"), text))
            errors += names.port_number(port["nodePort"], (*here, "nodePort"))
        protocol = port.get("appProtocol") or ""
        if protocol and (problem := names.qualified_name_problem(protocol)):
            errors.append(invalid((*here, "appProtocol"), protocol, problem))
    errors += names.unique(
        ((*at, i, "name"), port["name"]) for i, port in enumerate(ports) if port.get("name")
    )
    for index, port in enumerate(ports):
        pair = (port.get("protocol") or "TCP", port.get("port"))
        earlier = [(p.get("protocol") or "TCP", p.get("port")) for p in ports[:index]]
        if pair in earlier:
            value = {"protocol": pair[0], "port": pair[1]}
            errors.append(duplicate((*at, index), value))
    return errors


def _addresses(spec: Json, kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    address = spec.get("clusterIP") or ""
    if address and address != "None":
        if kind == "ExternalName":
            text = "may not be set when `type` is 'ExternalName'"
            errors.append(forbidden((*_SPEC, "clusterIP"), text))
        elif problem := names.ip_problem(address):
            errors.append(invalid((*_SPEC, "clusterIPs", 0), address, problem))
    many = spec.get("clusterIPs") or ()
    if address and many and many[0] != address:
        text = "first value must match `clusterIP`"
        errors.append(invalid((*_SPEC, "clusterIPs"), list(many), text))
    for index, external in enumerate(spec.get("externalIPs") or ()):
        if problem := names.ip_problem(external):
            errors.append(invalid((*_SPEC, "externalIPs", index), external, problem))
    return errors


def _affinity(spec: Json) -> list[FieldError]:
    config = spec.get("sessionAffinityConfig")
    if spec.get("sessionAffinity") != "ClientIP":
        if config is None:
            return []
        text = "must not be set when session affinity is None"
        return [forbidden((*_SPEC, "sessionAffinityConfig"), text)]
    seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
    if seconds is not None and not 0 < seconds <= AFFINITY_SECONDS_MAX:
        at = (*_SPEC, "sessionAffinityConfig", "clientIP", "timeoutSeconds")
        return [
            invalid(at, seconds, f"must be greater than 0 and less than {AFFINITY_SECONDS_MAX}")
        ]
    return []


def _by_type(spec: Json, kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if kind == "ExternalName":
        name = (spec.get("externalName") or "").rstrip(".")
        errors += names.named(name, (*_SPEC, "externalName"), names.subdomain_problem(name))
    ranges = spec.get("loadBalancerSourceRanges") or ()
    if ranges and kind != "LoadBalancer":
        text = "may only be used when `type` is 'LoadBalancer'"
        hint = "set `type: LoadBalancer`, or leave the ranges out"
        errors.append(forbidden((*_SPEC, "loadBalancerSourceRanges"), text, hint))
    for index, block in enumerate(ranges):
        if problem := names.cidr_problem(block.strip()):
            errors.append(invalid((*_SPEC, "loadBalancerSourceRanges", index), block, problem))
    if spec.get("externalTrafficPolicy") and kind not in _WITH_NODE_PORTS:
        text = "may only be set for externally-accessible services"
        policy = spec["externalTrafficPolicy"]
        errors.append(invalid((*_SPEC, "externalTrafficPolicy"), policy, text))
    return errors


def validate_service_update(new: Json, old: Json) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if "ExternalName" in (spec.get("type"), before.get("type")) or not before.get("clusterIP"):
        return []
    if spec.get("clusterIP") == before["clusterIP"]:
        return []
    value = [spec.get("clusterIP") or ""]
    return [invalid((*_SPEC, "clusterIPs", 0), value, "may not change once set")]


def validate_endpoint_slice(obj: Json) -> list[FieldError]:
    family = obj.get("addressType") or ""
    errors: list[FieldError] = [] if family else [required(("addressType",))]
    endpoints = obj.get("endpoints") or ()
    if len(endpoints) > ENDPOINTS_MAX:
        text = f"must have at most {ENDPOINTS_MAX} items"
        errors.append(invalid(("endpoints",), len(endpoints), text))
    for index, endpoint in enumerate(endpoints):
        at: Location = ("endpoints", index, "addresses")
        addresses = endpoint.get("addresses") or ()
        if not addresses:
            errors.append(required(at, "must contain at least 1 address"))
        if len(addresses) > ADDRESSES_MAX:
            errors.append(invalid(at, len(addresses), f"must have at most {ADDRESSES_MAX} items"))
        for place, address in enumerate(addresses):
            errors += _slice_address(address, family, (*at, place))
    ports = obj.get("ports") or ()
    errors += names.unique((("ports", i, "name"), p.get("name") or "") for i, p in enumerate(ports))
    for index, port in enumerate(ports):
        name = port.get("name") or ""
        if name and (problem := names.label_problem(name)):
            errors.append(invalid(("ports", index, "name"), name, problem))
        errors += names.port_number(port.get("port"), ("ports", index, "port"))
    return errors


def _slice_address(address: str, family: str, at: Location) -> list[FieldError]:
    if family == "FQDN":
        problem = names.subdomain_problem(address)
    else:
        problem = names.ip_problem(address)
        if not problem and family and (":" in address) != (family == "IPv6"):
            problem = f"must be an {family} address"
    return [invalid(at, address, problem)] if problem else []


def validate_endpoint_slice_update(new: Json, old: Json) -> list[FieldError]:
    return immutable(new, old, (), "addressType")
