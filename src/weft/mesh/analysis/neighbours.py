"""Which objects matter for one: so that a write is judged without looking at everything.

Objects are filed under what they provide (a host, a gateway, a pod with labels) and under what
they claim together with others (a host inside the mesh, a port of a gateway). What an object
asks for are keys of things that others provide.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from urllib.parse import urlsplit

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.api.istio import networking_v1 as istio
from weft.api.istio import security
from weft.api.istio.telemetry import Telemetry
from weft.api.k8s.core_v1 import ConfigMap, Namespace, Secret, Service
from weft.api.k8s.networking_v1 import Ingress, IngressClass
from weft.api.k8s.pod_v1 import Pod
from weft.api.objects import key_of
from weft.api.snapshot import ObjectSnapshot, controller_of, meta
from weft.api.weft.policy_v1alpha1 import AuthenticationPolicy, BackendPolicy, RateLimitPolicy
from weft.mesh.analysis.security_policies import POLICIES, Policy
from weft.mesh.analysis.world import TEMPLATED, pod_template
from weft.mesh.egress_gateways import SERVICE_NAME
from weft.mesh.gateway_api_objects import Route
from weft.mesh.gateway_api_resolve import references
from weft.mesh.istio_matches import MESH, full_gateway
from weft.mesh.istio_policies import ROOT_NAMESPACE
from weft.mesh.names import SERVICE_SUFFIX, covers, nearest, service_host
from weft.mesh.secrets import AUTHORITY_SUFFIX, plain_name

Key = tuple[str, ...]
_Id = tuple[type[Struct], str, str]
_OWNERS = frozenset(cls.__name__ for cls in TEMPLATED)
RIVALS_MAX = 64
"""So many objects that claim the same thing are looked at; a finding names one of them."""
PODS_MAX = 64
"""So many pods and templates behind a selector are looked at."""
NAMES_COMPARED_MAX = 256
"""So many names of a namespace are compared with one that nobody has."""
INGRESS_CLASSES: Key = ("ingress-classes", "all")
"""There are few, and one of them may be the default of Ingresses that name none."""
DEPTH_MAX = 3
"""A route names a service, which selects pods; a policy a service, which routes lead to."""


TargetedPolicy = RateLimitPolicy | BackendPolicy | AuthenticationPolicy


class Neighbours:
    """All objects that the analysis reads, by key. `put` keeps it current."""

    def __init__(self) -> None:
        self._filed: dict[Key, dict[_Id, Struct]] = {}
        self._wild: dict[_Id, Struct] = {}
        self._hosts: dict[str, dict[str, int]] = {}

    def put(self, before: Struct | None, after: Struct | None) -> None:
        """A change as informers report it; None is absent."""
        if before is not None:
            self._file(before, added=False)
        if after is not None:
            self._file(after, added=True)

    def around(self, obj: Struct) -> ObjectSnapshot:
        """The object as it is given, what it depends on, and what competes with it."""
        found: dict[_Id, Struct] = {_id(obj): obj}
        for rival in self._rivals(obj):
            found.setdefault(_id(rival), rival)
        edge: list[Struct] = [obj]
        for _ in range(DEPTH_MAX):
            edge = [each for near in edge for each in self._needed(near, found)]
        return ObjectSnapshot(found.values())

    def _needed(self, obj: Struct, found: dict[_Id, Struct]) -> Iterator[Struct]:
        given = [
            self._filed.get(key) or self._covering(key) or self._similar(key)
            for key in set(wants(obj))
        ]
        for namespace, labels in selectors(obj):
            given += self._selected(namespace, labels)
        for name, each in (item for group in given for item in group.items()):
            if name not in found:
                found[name] = each
                yield each

    def _selected(self, namespace: str, labels: Mapping[str, str]) -> list[dict[_Id, Struct]]:
        """Pods and templates with all the labels; else some with other values, for the hint."""
        keys = [("label", namespace, k, v) for k, v in labels.items()]
        groups = [self._filed.get(key, {}) for key in keys]
        rarest = min(groups, key=len, default={})
        chosen = ((i, o) for i, o in rarest.items() if all(i in group for group in groups))
        if found := dict(islice(chosen, PODS_MAX)):
            return [found]
        return [self._similar(key) for key in keys]

    def _rivals(self, obj: Struct) -> Iterator[Struct]:
        for key in sorted(set(claims(obj))):
            yield from islice(self._filed.get(key, {}).values(), RIVALS_MAX)
            if key[0] == "vs-host":
                yield from self._overlapping(key[1])

    def _overlapping(self, host: str) -> Iterator[Struct]:
        """VirtualServices for hosts that a wildcard covers, or the other way round."""
        if host.startswith("*."):
            names = (k[1] for k in self._filed if k[0] == "vs-host" and covers(host, k[1]))
            for name in islice(names, RIVALS_MAX):
                yield from self._filed["vs-host", name].values()

    def _covering(self, key: Key) -> dict[_Id, Struct]:
        """Hosts and rules with wildcards that stand for a host, and hosts that a wildcard means."""
        kind, name = key[0], key[-1]
        if kind not in ("host", "rule"):
            return {}
        if name.startswith("*") and kind == "host":
            found = (k for k in self._filed if k[0] == kind and covers(name, k[1]))
            return dict(next((self._filed[k] for k in found), {}))
        return {
            each: obj
            for each, obj in self._wild.items()
            if any(covers(k[-1], name) for k in provides(obj) if k[0] == kind)
        }

    def _similar(self, key: Key) -> dict[_Id, Struct]:
        """For a name that nobody has: the nearest one, for the hint."""
        kind, *space, name = key
        if kind == "host":
            first, _, rest = name.partition(".")
            namespace = rest.removesuffix(SERVICE_SUFFIX)
            names = self._hosts.get(f"host {namespace}", {})
            near = nearest(first, islice(names, NAMES_COMPARED_MAX))
            return self._filed.get(("host", service_host(near, namespace)), {}) if near else {}
        names = self._hosts.get(" ".join((kind, *space)), {})
        near = nearest(name, islice(names, NAMES_COMPARED_MAX))
        return self._filed.get((kind, *space, near), {}) if near else {}

    # --- filing

    def _file(self, obj: Struct, added: bool) -> None:
        name = _id(obj)
        keys = {*provides(obj), *claims(obj)}
        for key in keys:
            group = self._filed.setdefault(key, {})
            if added:
                group[name] = obj
            else:
                group.pop(name, None)
            if not group:
                del self._filed[key]
            self._list_name(key)
        if any(key[-1].startswith("*") for key in keys if key[0] in ("host", "rule")):
            if added:
                self._wild[name] = obj
            else:
                self._wild.pop(name, None)

    def _list_name(self, key: Key) -> None:
        """Keep the names of a namespace in one place, for hints."""
        kind, *space, name = key
        if kind == "host" and name.endswith(SERVICE_SUFFIX):
            name, _, namespace = name.removesuffix(SERVICE_SUFFIX).partition(".")
            space = [namespace]
        elif kind not in ("gateway", "vs", "secret", "gtw", "label"):
            return
        names = self._hosts.setdefault(" ".join((kind, *space)), {})
        if key in self._filed:
            names[name] = 1
        else:
            names.pop(name, None)


def _id(obj: Struct) -> _Id:
    return (type(obj), *key_of(obj))


# --- what objects provide, want and claim


def provides(obj: Struct) -> Iterator[Key]:
    """What others may name."""
    own = meta(obj)
    namespace, name = own.namespace, own.name
    if isinstance(obj, istio.Gateway) and istio.is_egress(obj):
        yield "host", service_host(SERVICE_NAME, ROOT_NAMESPACE)
    if isinstance(obj, TEMPLATED):
        yield from _labels(obj, pod_template(obj).metadata.labels)
    elif isinstance(obj, Pod):
        yield from _labels(obj, own.labels)
    elif isinstance(obj, Service):
        yield "host", service_host(name, namespace)
    elif isinstance(obj, istio.ServiceEntry):
        yield from (("host", host.lower()) for host in obj.spec.hosts)
    elif isinstance(obj, istio.WorkloadEntry):
        yield from (("label", namespace, k, v) for k, v in obj.spec.labels.items())
    elif isinstance(obj, istio.DestinationRule):
        yield from (("rule", host) for host in _spellings(obj.spec.host, namespace))
    elif isinstance(obj, IngressClass):
        yield INGRESS_CLASSES
    elif (kind := _NAMED.get(type(obj))) is not None:
        yield kind, namespace, name


_NAMED: dict[type[Struct], str] = {
    istio.VirtualService: "vs",
    istio.Gateway: "gateway",
    Secret: "secret",
    ConfigMap: "map",
    gw.GatewayClass: "class",
    gw.Gateway: "gtw",
    gw.ListenerSet: "gtw-set",
    gw.HTTPRoute: "route",
    gw.GRPCRoute: "route",
    Namespace: "namespace",
}


def claims(obj: Struct) -> Iterator[Key]:
    """What several objects may want for themselves."""
    own = meta(obj)
    for namespace, labels in selectors(obj):
        yield from (("selects", namespace, k, v) for k, v in labels.items())
    if isinstance(obj, istio.VirtualService):
        for host in obj.spec.hosts:
            yield from (("vs-host", name) for name in _spellings(host, own.namespace))
        for gateway in obj.spec.gateways:
            if gateway != MESH:
                yield "at-gateway", full_gateway(gateway, own.namespace)
        for wanted in (route.delegate for route in obj.spec.http):
            if wanted is not None:
                yield "delegates", wanted.namespace or own.namespace, wanted.name
    elif isinstance(obj, istio.DestinationRule):
        yield from (("rule", host) for host in _spellings(obj.spec.host, own.namespace))
    elif isinstance(obj, istio.Gateway):
        yield from (("port", str(s.port.number)) for s in obj.spec.servers if s.port is not None)
        yield from (("gateway-label", k, v) for k, v in obj.spec.selector.items())
    elif isinstance(obj, gw.Gateway):
        yield from (("port", str(listener.port)) for listener in obj.spec.listeners)
    elif isinstance(obj, istio.ServiceEntry):
        yield from (("host", host.lower()) for host in obj.spec.hosts)
        yield from (("address", address) for address in obj.spec.addresses)
        yield "entry", own.namespace, own.name
    elif isinstance(obj, TargetedPolicy | istio.Sidecar | Telemetry):
        target = _target(obj) if isinstance(obj, TargetedPolicy) else ""
        yield "policy", own.namespace, target
    elif isinstance(obj, gw.HTTPRoute | gw.GRPCRoute):
        for parent in obj.spec.parent_refs:
            yield "at-gtw", parent.namespace or own.namespace, parent.name
    elif isinstance(obj, gw.ReferenceGrant):
        yield "grant", own.namespace


def wants(obj: Struct) -> Iterator[Key]:
    """What an object names."""
    for cls, names in _WANTS:
        if isinstance(obj, cls):
            yield from names(obj)


def selectors(obj: Struct) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Namespace and labels of the pods that an object chooses."""
    if isinstance(obj, Service) and obj.spec.selector:
        yield obj.metadata.namespace, obj.spec.selector
    elif isinstance(obj, istio.ServiceEntry) and (chosen := obj.spec.workload_selector):
        yield obj.metadata.namespace, chosen.labels
    elif isinstance(obj, istio.DestinationRule) and (callers := obj.spec.workload_selector):
        yield obj.metadata.namespace, callers.match_labels
    elif isinstance(obj, Policy | Telemetry) and obj.spec.selector:
        yield obj.metadata.namespace, obj.spec.selector.match_labels


def _of_virtual_service(obj: istio.VirtualService) -> Iterator[Key]:
    own = obj.metadata.namespace
    if not obj.spec.hosts:
        yield "delegates", own, obj.metadata.name
    hosts = dict.fromkeys(obj.spec.hosts)
    for http in obj.spec.http:
        hosts |= dict.fromkeys(s.destination.host for s in http.route if s.destination)
        hosts |= dict.fromkeys(m.destination.host for m in http.mirrors if m.destination)
        if http.mirror is not None:
            hosts[http.mirror.host] = None
        if http.delegate is not None:
            yield "vs", http.delegate.namespace or own, http.delegate.name
    connections: Sequence[istio.TLSRoute | istio.TCPRoute] = (*obj.spec.tls, *obj.spec.tcp)
    for l4 in connections:
        hosts |= dict.fromkeys(s.destination.host for s in l4.route if s.destination)
    for host in hosts:
        for name in _spellings(host, own):
            yield "host", name
            yield "rule", name
    for gateway in obj.spec.gateways:
        if gateway != MESH:
            yield "gateway", *full_gateway(gateway, own).split("/", 1)


def _of_rule(obj: istio.DestinationRule) -> Iterator[Key]:
    own = obj.metadata.namespace
    yield from (("host", host) for host in _spellings(obj.spec.host, own))
    if obj.spec.workload_selector is not None and own == ROOT_NAMESPACE:
        labels = obj.spec.workload_selector.match_labels
        yield from (("gateway-label", k, v) for k, v in labels.items())
    policies = (obj.spec.traffic_policy, *(s.traffic_policy for s in obj.spec.subsets))
    for policy in policies:
        if policy is None:
            continue
        for tls in (policy.tls, *(port.tls for port in policy.port_level_settings)):
            if tls is not None and tls.credential_name:
                yield from _secret(tls.credential_name, own)


def _of_gateway(obj: istio.Gateway) -> Iterator[Key]:
    for server in obj.spec.servers:
        if server.tls is not None:
            tls = server.tls
            names = (tls.credential_name, *tls.credential_names, tls.ca_cert_credential_name)
            for name in names:
                yield from _secret(name, obj.metadata.namespace) if name else ()


def _of_gateway_api(obj: gw.Gateway) -> Iterator[Key]:
    own = obj.metadata.namespace
    yield "class", "", obj.spec.gateway_class_name
    for listener in obj.spec.listeners:
        for ref in listener.tls.certificate_refs if listener.tls else ():
            yield "secret", ref.namespace or own, ref.name
            yield "grant", ref.namespace or own
    frontend = obj.spec.tls.frontend if obj.spec.tls else None
    if frontend is not None:
        for each in (frontend.default, *(port.tls for port in frontend.per_port)):
            for ca in each.validation.ca_certificate_refs if each.validation else ():
                kind = "secret" if ca.kind == "Secret" else "map"
                yield kind, ca.namespace or own, ca.name
                yield "grant", ca.namespace or own


def _of_listeners(obj: gw.ListenerSet) -> Iterator[Key]:
    own, parent = obj.metadata.namespace, obj.spec.parent_ref
    yield "gtw", parent.namespace or own, parent.name
    yield "namespace", "", own
    for listener in obj.spec.listeners:
        for ref in listener.tls.certificate_refs if listener.tls else ():
            yield "secret", ref.namespace or own, ref.name
            yield "grant", ref.namespace or own


def _of_route(obj: Route) -> Iterator[Key]:
    own = obj.metadata.namespace
    yield "namespace", "", own
    for parent in obj.spec.parent_refs:
        namespace = parent.namespace or own
        if parent.kind == "Service":
            yield "host", service_host(parent.name, namespace)
        else:
            kind = "gtw-set" if parent.kind == "ListenerSet" else "gtw"
            yield kind, namespace, parent.name
    for ref in references(obj):
        yield "host", service_host(ref.name, ref.namespace or own)
        yield "grant", ref.namespace or own


def _of_ingress(obj: Ingress) -> Iterator[Key]:
    own = obj.metadata.namespace
    yield INGRESS_CLASSES
    paths = (path for rule in obj.spec.rules if rule.http for path in rule.http.paths)
    for backend in (obj.spec.default_backend, *(path.backend for path in paths)):
        if backend is not None and backend.service is not None:
            yield "host", service_host(backend.service.name, own)
    for tls in obj.spec.tls:
        yield "secret", own, tls.secret_name


def _of_policy(obj: TargetedPolicy) -> Iterator[Key]:
    own, name = obj.metadata.namespace, _target(obj)
    yield "host", service_host(name, own)
    yield "gateway", own, name
    yield "gtw", own, name
    yield "at-gateway", f"{own}/{name}"
    yield "at-gtw", own, name
    yield "route", own, name
    yield "vs-host", service_host(name, own)
    for spare in obj.spec.failover if isinstance(obj, BackendPolicy) else ():
        host = service_host(spare.service or name, spare.namespace or own)
        yield "host", host
        yield "rule", host


def _of_security(obj: Policy) -> Iterator[Key]:
    """What a policy is for: objects, or gateways with the labels."""
    own = obj.metadata.namespace
    if obj.spec.selector:
        yield from (("gateway-label", k, v) for k, v in obj.spec.selector.match_labels.items())
        if own == ROOT_NAMESPACE:
            yield from (("any-label", k, v) for k, v in obj.spec.selector.match_labels.items())
    if isinstance(obj, security.PeerAuthentication):
        return
    for ref in (*obj.spec.target_refs, *((obj.spec.target_ref,) if obj.spec.target_ref else ())):
        namespace = ref.namespace or own
        yield "host", service_host(ref.name, namespace)
        yield "gateway", namespace, ref.name
        yield "gtw", namespace, ref.name
        yield "entry", namespace, ref.name


def _of_tokens(obj: security.RequestAuthentication) -> Iterator[Key]:
    """Where keys are fetched."""
    for rule in obj.spec.jwt_rules:
        host = urlsplit(rule.jwks_uri).hostname if rule.jwks_uri else None
        for name in _spellings(host, obj.metadata.namespace) if host else ():
            yield "host", name


def _of_telemetry(obj: Telemetry) -> Iterator[Key]:
    if obj.metadata.namespace == ROOT_NAMESPACE and obj.spec.selector:
        yield from (("any-label", k, v) for k, v in obj.spec.selector.match_labels.items())


def _target(obj: TargetedPolicy) -> str:
    return obj.spec.target_ref.name if obj.spec.target_ref else ""


def _of_machine(obj: istio.WorkloadEntry) -> Iterator[Key]:
    for key, value in obj.spec.labels.items():
        yield "selects", obj.metadata.namespace, key, value


_WANTS: tuple[tuple[type[Struct], Callable[..., Iterable[Key]]], ...] = (
    (istio.VirtualService, _of_virtual_service),
    (istio.DestinationRule, _of_rule),
    (istio.Gateway, _of_gateway),
    (istio.WorkloadEntry, _of_machine),
    (gw.Gateway, _of_gateway_api),
    (gw.HTTPRoute, _of_route),
    (gw.GRPCRoute, _of_route),
    (gw.TLSRoute, _of_route),
    (gw.TCPRoute, _of_route),
    (gw.UDPRoute, _of_route),
    (gw.ListenerSet, _of_listeners),
    (Ingress, _of_ingress),
    (RateLimitPolicy, _of_policy),
    (BackendPolicy, _of_policy),
    (AuthenticationPolicy, _of_policy),
    (Telemetry, _of_telemetry),
    (security.RequestAuthentication, _of_tokens),
    *((cls, _of_security) for cls in POLICIES),
)


def _spellings(host: str, namespace: str) -> tuple[str, ...]:
    """All full names that a written host may mean."""
    host = host.lower().rstrip(".")
    if "." not in host and host != "*":
        return (service_host(host, namespace),)
    if host.startswith("*") or host.endswith(SERVICE_SUFFIX):
        return (host,)
    return host, f"{host}{SERVICE_SUFFIX}", f"{host}.{SERVICE_SUFFIX.rpartition('.svc.')[2]}"


def _secret(written: str, namespace: str) -> Iterator[Key]:
    name = plain_name(written)
    for place in (namespace, ROOT_NAMESPACE):
        yield "secret", place, name
        yield "secret", place, name + AUTHORITY_SUFFIX


def _labels(obj: Struct, labels: Mapping[str, str]) -> Iterator[Key]:
    """Labels of pods; what a controller made repeats those of its template."""
    owner = controller_of(obj)
    if owner is None or owner.kind not in _OWNERS:
        yield from (("label", meta(obj).namespace, k, v) for k, v in labels.items())
        yield from (("any-label", k, v) for k, v in labels.items())
