"""Rules of Gateway, ServiceEntry, WorkloadEntry. Source: the public Istio reference."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden, invalid, not_found, required
from weft.api.suggest import nearest
from weft.api.validate import istio_common as common
from weft.api.validate import names

Json = Mapping[str, Any]

_WITH_TLS = ("HTTPS", "TLS")
_ENDS_TLS = ("", "SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")
# Envoy refuses the whole listener for any other text.
_FINGERPRINTS = {
    "verifyCertificateHash": (
        re.compile(r"[0-9A-Fa-f]{64}|([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}"),
        "must be a SHA-256 digest: 64 hexadecimal digits, or 32 pairs with colons between them",
        "openssl x509 -in CERTIFICATE -outform DER | openssl dgst -sha256",
    ),
    "verifyCertificateSpki": (
        re.compile(r"[A-Za-z0-9+/]{43}="),
        "must be a SHA-256 digest in base64: 44 characters",
        "openssl x509 -in CERTIFICATE -noout -pubkey | openssl pkey -pubin -outform DER | "
        "openssl dgst -sha256 -binary | openssl enc -base64",
    ),
}
_UNIX = "unix://"
_DNS_RESOLUTIONS = ("DNS", "DNS_ROUND_ROBIN")
_WILDCARD_RESOLUTIONS = ("NONE", "DYNAMIC_DNS")


# ------------------------------------------------------------------ Gateway


def validate_gateway(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    servers = spec.get("servers") or ()
    at: Location = ("spec", "servers")
    errors = names.labels(spec.get("selector"), ("spec", "selector"))
    if not servers:
        errors.append(required(at))
    for index, server in enumerate(servers):
        errors += _server(server, (*at, index))
    errors += names.unique(
        ((*at, i, "port", "name"), server["port"]["name"])
        for i, server in enumerate(servers)
        if (server.get("port") or {}).get("name")
    )
    return errors + names.unique(
        ((*at, i, "name"), server["name"]) for i, server in enumerate(servers) if server.get("name")
    )


def _server(server: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    if server.get("hosts") is not None and not server["hosts"]:
        errors.append(required((*at, "hosts")))
    for index, host in enumerate(server.get("hosts") or ()):
        errors += _server_host(host or "", (*at, "hosts", index))
    port = server.get("port")
    if port is None:
        return errors
    errors += common.service_port(port, (*at, "port"))
    protocol = (port.get("protocol") or "").upper()
    tls = server.get("tls")
    if protocol in _WITH_TLS and tls is None:
        hint = "e.g. `tls: {mode: SIMPLE, credentialName: my-certificate}`"
        errors.append(required((*at, "tls"), f"is needed for protocol {protocol}", hint))
    if tls is not None:
        errors += _server_tls(tls, protocol, (*at, "tls"))
    return errors


def _server_host(host: str, at: Location) -> list[FieldError]:
    namespace, _, name = host.rpartition("/")
    if namespace and namespace not in ("*", ".") and (problem := names.label_problem(namespace)):
        return [invalid(at, host, problem)]
    problem = common.host_problem(name)
    return [invalid(at, host, problem)] if problem else []


def _server_tls(tls: Json, protocol: str, at: Location) -> list[FieldError]:
    mode = tls.get("mode") or ""
    if protocol not in _WITH_TLS:
        extra = [key for key, value in tls.items() if value and key != "httpsRedirect"]
        text = f"only `httpsRedirect` is possible for protocol {protocol or 'HTTP'}"
        hint = "set the port's `protocol` to HTTPS"
        return [forbidden((*at, key), text, hint) for key in extra]
    if tls.get("httpsRedirect"):
        return [forbidden((*at, "httpsRedirect"), f"is not possible for protocol {protocol}")]
    if mode in _ENDS_TLS:
        return _certificate(tls, mode, at)
    return []


def _certificate(tls: Json, mode: str, at: Location) -> list[FieldError]:
    sources = ("credentialName", "credentialNames", "tlsCertificates", "serverCertificate")
    given = [key for key in sources if tls.get(key)]
    shown = mode or "SIMPLE"
    errors: list[FieldError] = []
    if not given:
        hint = "name a Secret in `credentialName`, or files in `serverCertificate` and `privateKey`"
        text = f"a certificate is needed when `mode` is {shown}"
        errors.append(required((*at, "credentialName"), text, hint))
    if given == ["serverCertificate"] and not tls.get("privateKey"):
        errors.append(required((*at, "privateKey"), "is needed beside `serverCertificate`"))
    authorities = tls.get("caCertificates") or tls.get("caCertCredentialName")
    if mode == "MUTUAL" and given == ["serverCertificate"] and not authorities:
        text = "is needed when `mode` is MUTUAL"
        errors.append(required((*at, "caCertificates"), text))
    for index, pair in enumerate(tls.get("tlsCertificates") or ()):
        for key in ("serverCertificate", "privateKey"):
            if not pair.get(key):
                errors.append(required((*at, "tlsCertificates", index, key)))
    return errors + _fingerprints(tls, at)


def _fingerprints(tls: Json, at: Location) -> list[FieldError]:
    return [
        invalid((*at, key, index), digest, problem, f"type `{command}`")
        for key, (pattern, problem, command) in _FINGERPRINTS.items()
        for index, digest in enumerate(tls.get(key) or ())
        if not pattern.fullmatch(digest)
    ]


# ------------------------------------------------------------------ ServiceEntry


def validate_service_entry(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    resolution = spec.get("resolution") or "NONE"
    errors = common.export_to(spec)
    found = spec.get("hosts") or ()
    if "hosts" in spec and not found:
        errors.append(required(("spec", "hosts")))
    errors += common.hosts(found, ("spec", "hosts"), resolution in _WILDCARD_RESOLUTIONS)
    for index, host in enumerate(found):
        if host == "*":
            errors.append(invalid(("spec", "hosts", index), host, "must not be a full wildcard"))
    errors += _entry_ports(spec.get("ports") or (), ("spec", "ports"))
    errors += _entry_addresses(spec, resolution)
    return errors + _endpoints(spec, resolution)


def validate_workload_entry(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    address = spec.get("address") or ""
    if not address:
        return [required(("spec", "address"))]
    errors: list[FieldError] = []
    if address.startswith(_UNIX):
        if spec.get("ports"):
            text = "ports are not possible with a Unix socket"
            errors.append(forbidden(("spec", "ports"), text))
    elif names.ip_problem(address) and (problem := common.host_problem(address, False)):
        errors.append(invalid(("spec", "address"), address, problem))
    return errors + names.labels(spec.get("labels"), ("spec", "labels"))


def _entry_ports(ports: Sequence[Json], at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, port in enumerate(ports):
        with_default = {"protocol": "TCP"} | {k: v for k, v in port.items() if v}
        errors += common.service_port(with_default, (*at, index))
    for key in ("name", "number"):
        errors += names.unique(
            ((*at, i, key), port[key]) for i, port in enumerate(ports) if port.get(key)
        )
    return errors


def _entry_addresses(spec: Json, resolution: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, address in enumerate(spec.get("addresses") or ()):
        at: Location = ("spec", "addresses", index)
        problem = names.cidr_problem(address) if "/" in address else names.ip_problem(address)
        if problem:
            errors.append(invalid(at, address, problem))
        elif "/" in address and resolution not in ("NONE", "STATIC"):
            text = "address blocks are only possible with resolution NONE and STATIC"
            errors.append(invalid(at, address, text))
    return errors


def _endpoints(spec: Json, resolution: str) -> list[FieldError]:
    at: Location = ("spec", "endpoints")
    endpoints: Sequence[Json] = spec.get("endpoints") or ()
    if endpoints and spec.get("workloadSelector"):
        return [forbidden(at, "may not be used together with `workloadSelector`")]
    if endpoints and resolution in _WILDCARD_RESOLUTIONS:
        hint = "set `resolution` to STATIC for IP addresses, to DNS for names"
        return [forbidden(at, f"may not be set when `resolution` is {resolution}", hint)]
    if resolution == "STATIC" and not endpoints and not spec.get("workloadSelector"):
        hint = "list addresses under `endpoints`, or set `resolution` to DNS"
        return [required(at, "must be provided when `resolution` is STATIC", hint)]
    if resolution == "DNS_ROUND_ROBIN" and len(endpoints) > 1:
        text = "at most one endpoint is possible when `resolution` is DNS_ROUND_ROBIN"
        hint = "set `resolution` to DNS for several"
        return [invalid((*at, 1), endpoints[1].get("address") or "", text, hint)]
    ports = [port.get("name") or "" for port in spec.get("ports") or ()]
    return [
        error
        for index, endpoint in enumerate(endpoints)
        for error in _endpoint(endpoint, resolution, ports, (*at, index))
    ]


def _endpoint(
    endpoint: Json, resolution: str, ports: Sequence[str], at: Location
) -> list[FieldError]:
    address = endpoint.get("address") or ""
    errors: list[FieldError] = []
    if not address:
        errors.append(required((*at, "address")))
    elif address.startswith(_UNIX):
        if resolution != "STATIC":
            text = "Unix sockets are only possible with resolution STATIC"
            errors.append(invalid((*at, "address"), address, text))
    elif resolution == "STATIC":
        if problem := names.ip_problem(address):
            hint = "set `resolution` to DNS for host names"
            errors.append(invalid((*at, "address"), address, problem, hint))
    elif resolution in _DNS_RESOLUTIONS and (problem := common.host_problem(address, False)):
        errors.append(invalid((*at, "address"), address, problem))
    for name in endpoint.get("ports") or {}:
        if name not in ports:
            near = nearest(name, ports)
            hint = f"did you mean `{near}`?" if near else f"ports here: {', '.join(ports)}"
            errors.append(not_found((*at, "ports", name), name, hint))
    return errors + names.labels(endpoint.get("labels"), (*at, "labels"))
