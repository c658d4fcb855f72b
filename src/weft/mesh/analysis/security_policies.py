"""Security policies: whom they are for, and whom they name."""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.api.istio import networking_v1 as istio
from weft.api.istio import security
from weft.api.k8s.core_v1 import Service
from weft.api.snapshot import meta
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.services import nearest_labels, shown
from weft.mesh.analysis.world import World, selected
from weft.mesh.findings import Findings
from weft.mesh.istio_policies import ROOT_NAMESPACE

Policy = security.AuthorizationPolicy | security.RequestAuthentication | security.PeerAuthentication
POLICIES: tuple[type[Policy], ...] = (
    security.AuthorizationPolicy, security.RequestAuthentication, security.PeerAuthentication,
)  # fmt: skip
TARGETS: Mapping[str, tuple[type[Struct], ...]] = {
    "Service": (Service,),
    "Gateway": (gw.Gateway, istio.Gateway),
}
GATEWAY_NAME_LABEL = "gateway.networking.k8s.io/gateway-name"
CONDITIONS_ON_TOKENS = "request.auth."
"""So their keys begin."""


def _policies(world: World) -> Iterator[Policy]:
    for cls in POLICIES:
        yield from world.list(cls)


def selectors(world: World, report: Findings) -> None:
    """Selectors that choose neither a workload nor a gateway."""
    for policy in _policies(world):
        labels = policy.spec.selector.match_labels if policy.spec.selector else {}
        namespace = policy.metadata.namespace
        if not labels or GATEWAY_NAME_LABEL in labels or _chooses_gateway(world, labels):
            continue
        if namespace == ROOT_NAMESPACE:
            chosen = selected(world.templates, labels)
        else:
            chosen = list(world.select(namespace, labels))
        if not chosen:
            report.add(
                c.WORKLOADS_UNMATCHED,
                policy,
                "spec.selector.matchLabels",
                nearest_labels(world.in_namespace(namespace), labels),
                labels=shown(labels),
                namespace=namespace,
            )


def _chooses_gateway(world: World, labels: Mapping[str, str]) -> bool:
    return any(labels.items() <= g.spec.selector.items() for g in world.list(istio.Gateway))


def targets(world: World, report: Findings) -> None:
    """Targets that are not there."""
    for policy in _policies(world):
        if isinstance(policy, security.PeerAuthentication):
            continue
        spec = policy.spec
        refs = [(f"spec.targetRefs[{i}]", ref) for i, ref in enumerate(spec.target_refs)]
        refs += [("spec.targetRef", spec.target_ref)] if spec.target_ref else []
        for path, ref in refs:
            if ref.kind and ref.kind not in TARGETS:
                report.add(c.TARGET_KIND, policy, f"{path}.kind", kind=ref.kind)
                continue
            classes = TARGETS.get(ref.kind, ())
            own = ref.namespace or policy.metadata.namespace
            if not classes or any(world.snapshot.get(cls, ref.name, own) for cls in classes):
                continue
            known = {meta(o).name for cls in classes for o in world.snapshot.list(cls, own)}
            hint = f.suggest(ref.name, known, "there are")
            report.add(
                c.TARGET_UNKNOWN,
                policy,
                f"{path}.name",
                hint,
                kind=ref.kind,
                name=f"{own}/{ref.name}",
            )


def egress_addresses(world: World, report: Findings) -> None:
    """Addresses of callers, where callers have none."""
    gateways = [g for g in world.list(istio.Gateway) if istio.is_egress(g)]
    names = {(g.metadata.namespace, g.metadata.name) for g in gateways}
    for policy in world.list(security.AuthorizationPolicy):
        spec, own = policy.spec, policy.metadata.namespace
        labels = spec.selector.match_labels if spec.selector else {}
        refs = [*spec.target_refs, *([spec.target_ref] if spec.target_ref else [])]
        chosen = labels and any(labels.items() <= g.spec.selector.items() for g in gateways)
        if not chosen and not any((r.namespace or own, r.name) in names for r in refs):
            continue
        refuses = spec.action in ("DENY", "CUSTOM")
        consequence = "holds for everybody" if refuses else "holds for nobody"
        for path, field in _addresses(policy):
            report.add(c.EGRESS_ADDRESS, policy, path, field=field, consequence=consequence)


def _addresses(policy: security.AuthorizationPolicy) -> Iterator[tuple[str, str]]:
    for number, rule in enumerate(policy.spec.rules):
        for index, each in enumerate(rule.from_):
            given = each.source or security.Source()
            for name, blocks in (
                ("ipBlocks", given.ip_blocks), ("notIpBlocks", given.not_ip_blocks),
                ("remoteIpBlocks", given.remote_ip_blocks),
                ("notRemoteIpBlocks", given.not_remote_ip_blocks),
            ):  # fmt: skip
                if blocks:
                    yield f"spec.rules[{number}].from[{index}].source.{name}", name
        for index, condition in enumerate(rule.when):
            if condition.key in ("source.ip", "remote.ip"):
                yield f"spec.rules[{number}].when[{index}].key", condition.key


def source_namespaces(world: World, report: Findings) -> None:
    """Namespaces of callers that do not exist."""
    if not world.namespaces:
        return
    for policy in world.list(security.AuthorizationPolicy):
        for path, names in _namespaces(policy):
            for index, name in enumerate(names):
                if "*" not in name and name not in world.namespaces:
                    hint = f.suggest(name, world.namespaces, "there are")
                    report.add(
                        c.SOURCE_NAMESPACE_UNKNOWN, policy, f"{path}[{index}]", hint, namespace=name
                    )


def _namespaces(policy: security.AuthorizationPolicy) -> Iterator[tuple[str, Iterable[str]]]:
    for number, rule in enumerate(policy.spec.rules):
        for index, each in enumerate(rule.from_):
            if each.source is not None:
                path = f"spec.rules[{number}].from[{index}].source"
                yield f"{path}.namespaces", each.source.namespaces
                yield f"{path}.notNamespaces", each.source.not_namespaces


def optional_tokens(world: World, report: Findings) -> None:
    """Tokens that are checked where nothing demands one."""
    demanding = {
        policy.metadata.namespace
        for policy in world.list(security.AuthorizationPolicy)
        if any(_asks_token(rule) for rule in policy.spec.rules)
    }
    for policy in world.list(security.RequestAuthentication):
        own = policy.metadata.namespace
        everywhere = own == ROOT_NAMESPACE and bool(demanding)
        if policy.spec.jwt_rules and not (everywhere or demanding & {own, ROOT_NAMESPACE}):
            report.add(c.TOKEN_OPTIONAL, policy, "spec.jwtRules", namespace=own)


def _asks_token(rule: security.Rule) -> bool:
    sources = [each.source for each in rule.from_ if each.source is not None]
    named = any(s.request_principals or s.not_request_principals for s in sources)
    return named or any(
        when.key.startswith(CONDITIONS_ON_TOKENS)
        or (when.key == security.CEL_KEY and CONDITIONS_ON_TOKENS in " ".join(when.values))
        for when in rule.when
    )


CHECKS = (selectors, targets, egress_addresses, source_namespaces, optional_tokens)
