"""Istio's MeshConfig: settings of the whole mesh, in the ConfigMap that its users have."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from weft.api.k8s.core_v1 import ConfigMap
from weft.api.snapshot import Snapshot
from weft.api.wellknown import TRUST_DOMAIN_DEFAULT
from weft.api.yaml_reader import read
from weft.mesh import findings as f
from weft.mesh.extension_providers import PROVIDERS, authorizers
from weft.mesh.findings import Findings
from weft.mesh.istio_policies import ROOT_NAMESPACE, Policy
from weft.mesh.mesh_defaults import (
    DEFAULTS,
    EntryVisibility,
    entry_visibility,
    traffic_defaults,
)
from weft.mesh.model import PASS_UNKNOWN, Authorizer, UnknownHosts

TRUST_DOMAIN_PATTERN = re.compile(r"[a-z0-9._-]{1,255}")
"""SPIFFE-ID.md, 2.1."""
CONFIG_MAP = "istio"
CONFIG_KEY = "mesh"
MODES = {
    "ALLOW_ANY": UnknownHosts("pass"),
    "REGISTRY_ONLY": UnknownHosts("refuse"),
    "ALLOW_ANY_DYNAMIC_DNS": UnknownHosts("resolve"),
}
"""What becomes of calls to unknown hosts."""
POLICY = "outboundTrafficPolicy"
ACCESS_LOG = "accessLogFile"
TRUST_DOMAIN, ALIASES = "trustDomain", "trustDomainAliases"
HONOURED = (POLICY, PROVIDERS, ACCESS_LOG, TRUST_DOMAIN, ALIASES, *DEFAULTS)
WITHOUT_MEANING = frozenset(
    {
        "accessLogEncoding", "configSources", "defaultProviders",
        "dnsRefreshRate", "enablePrometheusMerge", "rootNamespace",
        "enableAutoMtls", "defaultConfig", "proxyListenPort", "ingressClass",
        "ingressControllerMode", "ingressSelector", "ingressService",
    }
)  # fmt: skip
"""Settings of how Istio itself runs; every installation has some of them."""


class MeshConfig(Struct, frozen=True):
    """The settings that weft honours."""

    unknown: UnknownHosts = PASS_UNKNOWN
    authorizers: tuple[Authorizer, ...] = ()
    """That policies of action CUSTOM may name; their destinations are not known yet."""
    access_log: bool = False
    """Proxies write a line for each request; where, weft decides."""
    trust_domain: str = TRUST_DOMAIN_DEFAULT
    trust_domain_aliases: tuple[str, ...] = ()
    """Trust domains whose identities count as those of the mesh's own."""
    traffic: Policy = Policy()
    """Of destinations, where no DestinationRule says otherwise."""
    entries: EntryVisibility | None = None


def mesh_config(snapshot: Snapshot, default: MeshConfig, report: Findings) -> MeshConfig:
    """What `mesh` of the ConfigMap `istio` says in the root namespace, else the default."""
    found = snapshot.get(ConfigMap, CONFIG_MAP, ROOT_NAMESPACE)
    if found is None or CONFIG_KEY not in found.data:
        return default
    where = f"data.{CONFIG_KEY}"
    documents, problems = read(found.data[CONFIG_KEY])
    value = documents[0].value if documents else {}
    if problems or not isinstance(value, Mapping):
        problem = problems[0].message if problems else "it is no object"
        report.add(f.MESH_CONFIG_UNREADABLE, found, where, problem=problem)
        return default
    for name in value:
        if name not in HONOURED and name not in WITHOUT_MEANING:
            report.add(f.MESH_CONFIG_IGNORED, found, f"{where}.{name}", field=name)
    own, aliases = _trust_domains(found, value, default, report)
    return MeshConfig(
        unknown=_unknown(found, value, default, report),
        authorizers=authorizers(found, value, where, report),
        access_log=bool(value.get(ACCESS_LOG)),
        trust_domain=own,
        trust_domain_aliases=aliases,
        traffic=traffic_defaults(found, value, where, report),
        entries=entry_visibility(found, value, where, report),
    )


def _trust_domains(
    found: ConfigMap, value: Mapping[str, Any], default: MeshConfig, report: Findings
) -> tuple[str, tuple[str, ...]]:
    """The mesh's own, and its aliases; what is none is left out."""

    def usable(name: str, text: Any) -> bool:
        if isinstance(text, str) and TRUST_DOMAIN_PATTERN.fullmatch(text):
            return True
        report.add(
            f.VALUE_INVALID, found, f"data.{CONFIG_KEY}.{name}",
            "lower-case letters, digits, `.`, `-`, `_`",
            problem=f"`{text}` is no trust domain", part="setting",
        )  # fmt: skip
        return False

    own = value.get(TRUST_DOMAIN)
    if own is None or not usable(TRUST_DOMAIN, own):
        own = default.trust_domain
    listed = value.get(ALIASES) or ()
    aliases: list[Any] = listed if isinstance(listed, list) else [listed] if listed else []
    kept = dict.fromkeys(str(a) for a in aliases if usable(ALIASES, a) and a != own)
    return own, tuple(kept)


def _unknown(
    found: ConfigMap, value: Mapping[str, Any], default: MeshConfig, report: Findings
) -> UnknownHosts:
    policy = value.get(POLICY)
    if isinstance(policy, Mapping):
        for name in policy.keys() - {"mode"}:
            where = f"data.{CONFIG_KEY}.{POLICY}.{name}"
            report.add(f.MESH_CONFIG_IGNORED, found, where, field=f"{POLICY}.{name}")
    mode = policy.get("mode") if isinstance(policy, Mapping) else None
    if mode is None:
        return default.unknown
    if mode not in MODES:
        report.add(
            f.VALUE_INVALID,
            found,
            f"data.{CONFIG_KEY}.{POLICY}.mode",
            f"one of {', '.join(MODES)}",
            problem=f"`{mode}` is no mode",
            part="setting",
        )
        return default.unknown
    return MODES[mode]
