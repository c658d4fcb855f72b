"""Names of hosts and destinations, and how people's ways of writing them are read."""

from collections.abc import Container, Iterable
from difflib import get_close_matches

from weft.api.wellknown import CLUSTER_DOMAIN

SERVICE_SUFFIX = f".svc.{CLUSTER_DOMAIN}"
NEAREST_CUTOFF = 0.6
"""Similarity (0..1) from which a name is worth suggesting."""


def service_host(name: str, namespace: str) -> str:
    """The full DNS name of a Kubernetes service."""
    return f"{name}.{namespace}{SERVICE_SUFFIX}"


def full_host(host: str, namespace: str, known: Container[str] = ()) -> str:
    """A host as written in an Istio object of `namespace`, in full.

    A name without a dot is a service of the object's own namespace. Istio takes any other name as
    it stands; `name.namespace` and `name.namespace.svc` are completed as well when that names a
    known host and the short form does not.
    """
    host = host.lower().rstrip(".")
    if host.startswith("*") or not host:
        return host
    if "." not in host:
        return service_host(host, namespace)
    if host not in known:
        for longer in (f"{host}{SERVICE_SUFFIX}", f"{host}.{CLUSTER_DOMAIN}"):
            if longer in known:
                return longer
    return host


def destination_name(port: int, host: str, subset: str = "") -> str:
    """As Istio names clusters."""
    return f"outbound|{port}|{subset}|{host}"


def udp_destination_name(port: int, host: str) -> str:
    """A port number may stand for TCP and UDP at once; these are two destinations."""
    return f"outbound-udp|{port}||{host}"


def with_port(hosts: Iterable[str], port: int) -> tuple[str, ...]:
    """Each host bare and with the port, as clients write Host."""
    return tuple(domain for host in hosts for domain in (host, f"{host}:{port}"))


def covers(pattern: str, host: str) -> bool:
    """Whether a pattern (`*`, `*.suffix` or an exact name) covers a host or narrower pattern."""
    if pattern in ("*", host):
        return True
    return pattern.startswith("*.") and host.endswith(pattern[1:]) and host != pattern[1:]


def specificity(pattern: str) -> tuple[bool, int]:
    """Sort key: exact names above wildcards, longer above shorter."""
    return (not pattern.startswith("*"), len(pattern))


def intersection(left: str, right: str) -> str | None:
    """The narrower of two host patterns when one covers the other."""
    if covers(left, right):
        return right
    return left if covers(right, left) else None


def nearest(name: str, choices: Iterable[str]) -> str:
    """The most similar known name, or ""."""
    found = get_close_matches(name, sorted(set(choices)), n=1, cutoff=NEAREST_CUTOFF)
    return found[0] if found else ""


def nearest_host(written: str, namespace: str, hosts: Iterable[str]) -> str:
    """The known host most like what was written, in the shortest form that means it there."""
    own = f".{namespace}{SERVICE_SUFFIX}"
    shorter = {h.removesuffix(own).removesuffix(SERVICE_SUFFIX) for h in hosts}
    return nearest(written.removesuffix(own).removesuffix(SERVICE_SUFFIX), shorter)
