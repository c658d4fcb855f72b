"""Rules of DestinationRule. Source: the public Istio reference and its published constraints."""

from collections.abc import Mapping, Sequence
from typing import Any

from weft.api import registry
from weft.api.field_errors import FieldError, Location, forbidden, invalid, required
from weft.api.schema import schema_for
from weft.api.validate import istio_common as common
from weft.api.validate import names

Json = Mapping[str, Any]

_HASH_KEYS = ("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName")
_CLIENT_FILES = ("clientCertificate", "privateKey", "caCertificates", "credentialName")
_WARMUP_ALGORITHMS = ("", "ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN", "UNSPECIFIED")
SHARES_TOTAL = 100
DURATION_MIN_SECONDS = 0.001


def validate(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    kind = registry.find("networking.istio.io", "v1", "DestinationRule")
    assert kind is not None
    errors = common.formats(schema_for(kind), obj, ()) + common.export_to(spec)
    host = spec.get("host") or ""
    if "host" in spec and not host:
        errors.append(required(("spec", "host")))
    elif host and (problem := common.host_problem(host)):
        errors.append(invalid(("spec", "host"), host, problem))
    errors += _policy(spec.get("trafficPolicy") or {}, ("spec", "trafficPolicy"))
    errors += _subsets(spec.get("subsets") or (), ("spec", "subsets"))
    selector = (spec.get("workloadSelector") or {}).get("matchLabels")
    return errors + names.labels(selector, ("spec", "workloadSelector", "matchLabels"))


def _subsets(subsets: Sequence[Json], at: Location) -> list[FieldError]:
    errors = names.unique(
        ((*at, i, "name"), subset["name"]) for i, subset in enumerate(subsets) if subset.get("name")
    )
    for index, subset in enumerate(subsets):
        here = (*at, index)
        name = subset.get("name") or ""
        if "name" in subset and not name:
            errors.append(required((*here, "name")))
        elif name and (problem := names.label_problem(name.lower())):
            errors.append(invalid((*here, "name"), name, problem))
        errors += names.labels(subset.get("labels"), (*here, "labels"))
        errors += _policy(subset.get("trafficPolicy") or {}, (*here, "trafficPolicy"))
    return errors


def _policy(policy: Json, at: Location) -> list[FieldError]:
    errors = _settings(policy, at)
    for index, port in enumerate(policy.get("portLevelSettings") or ()):
        here = (*at, "portLevelSettings", index)
        if not (port.get("port") or {}).get("number"):
            errors.append(required((*here, "port", "number")))
        errors += _settings(port, here)
    return errors


def _settings(policy: Json, at: Location) -> list[FieldError]:
    """What a policy and the policy of one port have in common."""
    errors: list[FieldError] = []
    if policy.get("loadBalancer") is not None:
        errors += _load_balancer(policy["loadBalancer"], (*at, "loadBalancer"))
    pool = policy.get("connectionPool") or {}
    tcp = pool.get("tcp") or {}
    errors += common.at_least(tcp, (*at, "connectionPool", "tcp"), "connectTimeout", 0.001)
    detection = policy.get("outlierDetection") or {}
    for key in ("interval", "baseEjectionTime"):
        errors += common.at_least(detection, (*at, "outlierDetection"), key, DURATION_MIN_SECONDS)
    if policy.get("tls") is not None:
        errors += _tls(policy["tls"], (*at, "tls"))
    return errors


def _load_balancer(found: Json, at: Location) -> list[FieldError]:
    errors = common.one_of(found, at, ("simple", "consistentHash"), needed=False)
    if not any(value is not None for value in found.values()):
        errors.append(required(at, "must specify one of: `simple`, `consistentHash`"))
    if found.get("consistentHash") is not None:
        errors += _hash(found["consistentHash"], (*at, "consistentHash"))
    if found.get("localityLbSetting") is not None:
        errors += _locality(found["localityLbSetting"], (*at, "localityLbSetting"))
    errors += common.one_of(found, at, ("warmup", "warmupDurationSecs"), needed=False)
    for key in ("warmup", "warmupDurationSecs"):
        if found.get(key) and (
            found.get("consistentHash") or (found.get("simple") or "") not in _WARMUP_ALGORITHMS
        ):
            text = "is only supported with ROUND_ROBIN and LEAST_REQUEST"
            errors.append(forbidden((*at, key), text))
    return errors


def _hash(found: Json, at: Location) -> list[FieldError]:
    errors = common.one_of(found, at, _HASH_KEYS)
    errors += common.one_of(found, at, ("ringHash", "maglev"), needed=False)
    cookie = found.get("httpCookie") or {}
    if "name" in cookie and not cookie["name"]:
        errors.append(required((*at, "httpCookie", "name")))
    return errors


def _locality(found: Json, at: Location) -> list[FieldError]:
    errors = common.one_of(found, at, ("distribute", "failover"), needed=False)
    for index, rule in enumerate(found.get("distribute") or ()):
        shares = rule.get("to") or {}
        total = sum(share or 0 for share in shares.values())
        if total != SHARES_TOTAL:
            text = f"the shares must add up to {SHARES_TOTAL}, these to {total}"
            errors.append(invalid((*at, "distribute", index, "to"), dict(shares), text))
    for index, rule in enumerate(found.get("failover") or ()):
        if rule.get("from") and rule.get("from") == rule.get("to"):
            here = (*at, "failover", index, "to")
            errors.append(invalid(here, rule["to"], "must differ from `from`"))
    return errors


def _tls(tls: Json, at: Location) -> list[FieldError]:
    mode = tls.get("mode") or "DISABLE"
    if mode == "ISTIO_MUTUAL":
        text = "may not be set when `mode` is ISTIO_MUTUAL, whose certificates the mesh makes"
        return [forbidden((*at, key), text) for key in _CLIENT_FILES if tls.get(key)]
    if mode == "MUTUAL" and not tls.get("credentialName"):
        text = "is needed when `mode` is MUTUAL and `credentialName` is not set"
        return [
            required((*at, key), text)
            for key in ("clientCertificate", "privateKey")
            if not tls.get(key)
        ]
    return []
