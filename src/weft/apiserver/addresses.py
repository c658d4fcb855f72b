"""Service addresses: which a Service holds, which it lacks, which may be asked for. Pure.

The store keeps one key per address in use, written in the Service's own transaction, so two
writers never get the same one.
"""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from weft.apiserver import keys

HEADLESS = "None"
NODE_PORT_TYPES = ("NodePort", "LoadBalancer")
Random = Callable[[int], int]
"""A random number in [0, n)."""


class Ranges(Struct, frozen=True):
    """What addresses are taken from."""

    service_cidr: str = "10.96.0.0/16"
    node_port_first: int = 30000
    node_port_last: int = 32767

    @property
    def network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(self.service_cidr)

    @property
    def kubernetes_ip(self) -> str:
        """The address of the `kubernetes` Service: the first of the range, as kube-apiserver."""
        return str(self.network[1])


class Problem(Struct, frozen=True):
    """An address that may not be had, as a Status cause."""

    field: str
    message: str


def settle(new: dict[str, Any]) -> None:
    """Make clusterIP and clusterIPs agree, and drop what the Service's type does not have."""
    spec = new.setdefault("spec", {})
    if not _has_ip(spec):
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(field, None)
    elif spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    elif spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec["clusterIP"] = spec["clusterIPs"][0]
    if _has_ip(spec):
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec.get("type") not in NODE_PORT_TYPES:
        for port in _ports(spec):
            port.pop("nodePort", None)
    if not _has_health_port(spec):
        spec.pop("healthCheckNodePort", None)


def held(service: Mapping[str, Any]) -> frozenset[str]:
    """The address keys that a Service claims."""
    spec = service.get("spec") or {}
    ips = [ip for ip in spec.get("clusterIPs") or [] if ip != HEADLESS] if _has_ip(spec) else []
    ports = {p["nodePort"] for p in _ports(spec) if p.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        ports.add(spec["healthCheckNodePort"])
    return frozenset(
        [keys.address("clusterips", ip) for ip in ips]
        + [keys.address("nodeports", str(port)) for port in sorted(ports)]
    )


def problems(service: Mapping[str, Any], ranges: Ranges) -> list[Problem]:
    """Addresses that are not in the ranges."""
    spec = service.get("spec") or {}
    found = []
    for ip in spec.get("clusterIPs") or []:
        if ip != HEADLESS and not _inside(ip, ranges):
            found.append(
                Problem(
                    "spec.clusterIPs",
                    f'Invalid value: ["{ip}"]: failed to allocate IP {ip}: the provided IP ({ip}) '
                    "is not in the valid range. The range of valid IPs is "
                    f"{ranges.service_cidr}",
                )
            )
    for at, port in enumerate(_ports(spec)):
        number = port.get("nodePort")
        if number and not ranges.node_port_first <= number <= ranges.node_port_last:
            found.append(
                Problem(
                    f"spec.ports[{at}].nodePort",
                    f"Invalid value: {number}: provided port is not in the valid range. The range "
                    f"of valid ports is {ranges.node_port_first}-{ranges.node_port_last}",
                )
            )
    return found


def taken(service: Mapping[str, Any], key: str) -> Problem:
    """The answer to a wish for an address that another Service holds."""
    value = key.rpartition("/")[2]
    if key.startswith(keys.address("clusterips", "")):
        why = f"failed to allocate IP {value}: provided IP is already allocated"
        return Problem("spec.clusterIPs", f'Invalid value: ["{value}"]: {why}')
    ports = [p.get("nodePort") for p in _ports(service.get("spec") or {})]
    at = ports.index(int(value)) if int(value) in ports else 0
    return Problem(
        f"spec.ports[{at}].nodePort", f"Invalid value: {value}: provided port is already allocated"
    )


def assign(service: dict[str, Any], ranges: Ranges, used: frozenset[str], random: Random) -> bool:
    """Give a Service the addresses it lacks, none of them in `used` (address keys). False when a
    range is exhausted."""
    spec = service["spec"]
    if _has_ip(spec) and not spec.get("clusterIPs"):
        network = ranges.network
        # The network, broadcast and `kubernetes` addresses are not for everyone.
        at = _free(2, network.num_addresses - 2, used, random, lambda n: _ip_key(network, n))
        if at is None:
            return False
        spec["clusterIP"] = str(network[at])
        spec["clusterIPs"] = [spec["clusterIP"]]
    if (
        spec.get("type") not in NODE_PORT_TYPES
        or spec.get("allocateLoadBalancerNodePorts") is False
    ):
        return _assign_health_port(spec, ranges, used, random)
    mine = {keys.address("nodeports", str(p.get("nodePort"))) for p in _ports(spec)}
    for port in _ports(spec):
        if port.get("nodePort"):
            continue
        number = _free_node_port(ranges, used | mine, random)
        if number is None:
            return False
        port["nodePort"] = number
        mine.add(keys.address("nodeports", str(number)))
    return _assign_health_port(spec, ranges, used | mine, random)


def _assign_health_port(
    spec: dict[str, Any], ranges: Ranges, used: frozenset[str] | set[str], random: Random
) -> bool:
    if not _has_health_port(spec) or spec.get("healthCheckNodePort"):
        return True
    number = _free_node_port(ranges, used, random)
    if number is not None:
        spec["healthCheckNodePort"] = number
    return number is not None


def _free_node_port(ranges: Ranges, used: frozenset[str] | set[str], random: Random) -> int | None:
    first, last = ranges.node_port_first, ranges.node_port_last
    return _free(first, last, used, random, lambda n: keys.address("nodeports", str(n)))


def _has_health_port(spec: Mapping[str, Any]) -> bool:
    """Whether load balancers outside have to be told which nodes have endpoints."""
    local = spec.get("externalTrafficPolicy") == "Local"
    return spec.get("type") == "LoadBalancer" and local


def lacking(service: Mapping[str, Any]) -> bool:
    """Whether `assign` has anything to do."""
    spec = service.get("spec") or {}
    if _has_ip(spec) and not spec.get("clusterIPs"):
        return True
    if spec.get("type") not in NODE_PORT_TYPES:
        return False
    if _has_health_port(spec) and not spec.get("healthCheckNodePort"):
        return True
    wanted = spec.get("allocateLoadBalancerNodePorts") is not False
    return bool(wanted) and any(not p.get("nodePort") for p in _ports(spec))


def _free(
    first: int,
    last: int,
    used: frozenset[str] | set[str],
    random: Random,
    key: Callable[[int], str],
) -> int | None:
    size = last - first + 1
    start = random(size)
    numbers = (first + (start + step) % size for step in range(size))
    return next((n for n in numbers if key(n) not in used), None)


def _ip_key(network: ipaddress.IPv4Network, at: int) -> str:
    return keys.address("clusterips", str(network[at]))


def _inside(ip: str, ranges: Ranges) -> bool:
    try:
        return ipaddress.IPv4Address(ip) in ranges.network
    except ValueError:
        return False


def _has_ip(spec: Mapping[str, Any]) -> bool:
    return bool(spec.get("type", "ClusterIP") != "ExternalName")


def _ports(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [p for p in spec.get("ports") or [] if isinstance(p, dict)]
