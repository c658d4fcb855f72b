"""DestinationRules beside the hosts, ports and pods that they are about."""

from collections.abc import Iterator

from weft.api.istio import networking_v1 as istio
from weft.api.istio import security
from weft.api.k8s.core_v1 import Node
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.services import nearest_labels, shown
from weft.mesh.analysis.world import Template, World, selected
from weft.mesh.authentication import PeerRules, peer_rules
from weft.mesh.findings import Findings
from weft.mesh.istio_policies import ROOT_NAMESPACE
from weft.mesh.protocols import HTTP


def subset_labels(world: World, report: Findings) -> None:
    """Subsets whose labels no pod of the service has, or that have none."""
    for rule in world.list(istio.DestinationRule):
        host = world.full(rule.spec.host, rule.metadata.namespace)
        service = world.services.get(host)
        chosen = world.pods_of(service) if service is not None else ()
        for index, subset in enumerate(rule.spec.subsets):
            path = f"spec.subsets[{index}]"
            if not subset.labels:
                report.add(c.SUBSET_WITHOUT_LABELS, rule, path, subset=subset.name)
            elif chosen and not selected(chosen, subset.labels):
                report.add(
                    f.SUBSET_EMPTY,
                    rule,
                    f"{path}.labels",
                    nearest_labels(chosen, subset.labels),
                    subset=subset.name,
                    host=host,
                    labels=shown(subset.labels),
                )


def policy_ports(world: World, report: Findings) -> None:
    """Settings for ports that the host does not have."""
    for rule in world.list(istio.DestinationRule):
        known = world.find(rule.spec.host, rule.metadata.namespace)
        if known is None or not known.ports:
            continue
        numbers = [number for number, _ in known.ports]
        for path, policy in _policies(rule):
            for index, each in enumerate(policy.port_level_settings):
                number = each.port.number if each.port else None
                if number is not None and number not in numbers:
                    report.add(
                        c.POLICY_PORT_UNKNOWN,
                        rule,
                        f"{path}.portLevelSettings[{index}].port.number",
                        host=rule.spec.host,
                        port=number,
                        ports=f.quoted(numbers),
                    )


def datagrams(world: World, report: Findings) -> None:
    """Settings that have no meaning for UDP ports."""
    for rule in world.list(istio.DestinationRule):
        policy, host = rule.spec.traffic_policy, rule.spec.host
        known = world.find(host, rule.metadata.namespace)
        if policy is None or known is None:
            continue
        at = "spec.trafficPolicy"
        special = {
            each.port.number: (f"{at}.portLevelSettings[{index}]", each)
            for index, each in enumerate(policy.port_level_settings)
            if each.port
        }
        for number in (number for number, protocol in known.ports if protocol == "udp"):
            path, held = special.get(number, (at, policy))
            for field, consequence in _without_effect(held):
                report.add(
                    c.RULE_OF_DATAGRAMS, rule, f"{path}.{field}", host=host, port=number,
                    field=field.rpartition(".")[2], consequence=consequence,
                )  # fmt: skip


def _without_effect(
    policy: istio.TrafficPolicy | istio.PortTrafficPolicy,
) -> Iterator[tuple[str, str]]:
    """Paths of fields, and what is the case instead."""
    balancer = policy.load_balancer
    if balancer is not None and balancer.simple in ("LEAST_REQUEST", "LEAST_CONN"):
        yield "loadBalancer.simple", "there are no requests to count; endpoints take turns"
    if policy.outlier_detection is not None:
        yield "outlierDetection", "nothing tells whether a datagram was served"
    if policy.tls is not None:
        yield "tls", "datagrams are sent as they are"


def unverified_servers(world: World, report: Findings) -> None:
    """TLS without a look at who answers."""
    for rule in world.list(istio.DestinationRule):
        known = world.find(rule.spec.host, rule.metadata.namespace)
        # Requests carry the host's name, which is checked; connections carry none.
        named = known is None or any(protocol in HTTP for _, protocol in known.ports)
        for path, tls in _tls_settings(rule):
            if tls.mode not in ("SIMPLE", "MUTUAL"):
                continue
            own = tls.ca_certificates or tls.credential_name
            if tls.insecure_skip_verify:
                report.add(c.SERVER_UNVERIFIED, rule, f"{path}.insecureSkipVerify")
            elif not (named or own or tls.sni or tls.subject_alt_names):
                report.add(c.SERVER_NAME_UNVERIFIED, rule, path)


def mutual_tls(world: World, report: Findings) -> None:
    """TLS of rules for calls within the mesh, which has mutual TLS of its own between nodes."""
    several = len(world.list(Node)) > 1
    strict = peer_rules(world.list(security.PeerAuthentication))
    for rule in world.list(istio.DestinationRule):
        host = world.full(rule.spec.host, rule.metadata.namespace)
        service = world.services.get(host)
        pods = world.pods_of(service) if service is not None else ()
        for path, tls in _tls_settings(rule) if pods else ():
            if tls.mode in ("SIMPLE", "MUTUAL") and several:
                report.add(c.TLS_BETWEEN_NODES, rule, f"{path}.mode", mode=tls.mode, host=host)
            elif tls.mode == "DISABLE" and any(_wants_mutual(strict, pod) for pod in pods):
                other = "PeerAuthentication STRICT"
                report.add(c.TLS_DISABLED_IN_VAIN, rule, f"{path}.mode", host=host, other=other)


def _wants_mutual(rules: PeerRules, pod: Template) -> bool:
    found = rules.of_pod(pod.namespace, pod.labels.items())
    return bool(found.required) or any(required for _, required in found.ports)


def callers(world: World, report: Findings) -> None:
    """Workload selectors that choose no caller: no pod, and no gateway of the root namespace."""
    for rule in world.list(istio.DestinationRule):
        wanted = rule.spec.workload_selector.match_labels if rule.spec.workload_selector else {}
        own = rule.metadata.namespace
        if not wanted or world.select(own, wanted):
            continue
        if own == ROOT_NAMESPACE and any(
            wanted.items() <= g.spec.selector.items() for g in world.list(istio.Gateway)
        ):
            continue
        report.add(
            c.WORKLOADS_UNMATCHED,
            rule,
            "spec.workloadSelector.matchLabels",
            nearest_labels(world.in_namespace(own), wanted),
            labels=shown(wanted),
            namespace=own,
        )


def _policies(rule: istio.DestinationRule) -> Iterator[tuple[str, istio.TrafficPolicy]]:
    if rule.spec.traffic_policy is not None:
        yield "spec.trafficPolicy", rule.spec.traffic_policy
    for index, subset in enumerate(rule.spec.subsets):
        if subset.traffic_policy is not None:
            yield f"spec.subsets[{index}].trafficPolicy", subset.traffic_policy


def _tls_settings(rule: istio.DestinationRule) -> Iterator[tuple[str, istio.ClientTLSSettings]]:
    for path, policy in _policies(rule):
        if policy.tls is not None:
            yield f"{path}.tls", policy.tls
        for index, port in enumerate(policy.port_level_settings):
            if port.tls is not None:
                yield f"{path}.portLevelSettings[{index}].tls", port.tls


CHECKS = (subset_labels, policy_ports, datagrams, unverified_servers, mutual_tls, callers)
