"""Istio's MeshConfig: settings of the whole mesh, in the ConfigMap that its users have."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from weft.api.k8s.core_v1 import ConfigMap
from weft.api.snapshot import Snapshot
from weft.api.yaml_reader import read
from weft.mesh import findings as f
from weft.mesh.extension_providers import PROVIDERS, authorizers
from weft.mesh.findings import Findings
from weft.mesh.istio_policies import ROOT_NAMESPACE
from weft.mesh.model import PASS_UNKNOWN, Authorizer, UnknownHosts

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
WITHOUT_MEANING = frozenset(
    {
        "accessLogEncoding", "configSources", "defaultProviders",
        "dnsRefreshRate", "enablePrometheusMerge", "rootNamespace",
        "trustDomain", "enableAutoMtls", "defaultConfig", "proxyListenPort", "ingressClass",
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
        if name not in (POLICY, PROVIDERS, ACCESS_LOG) and name not in WITHOUT_MEANING:
            report.add(f.MESH_CONFIG_IGNORED, found, f"{where}.{name}", field=name)
    return MeshConfig(
        unknown=_unknown(found, value, default, report),
        authorizers=authorizers(found, value, where, report),
        access_log=bool(value.get(ACCESS_LOG)),
    )


def _unknown(
    found: ConfigMap, value: Mapping[str, Any], default: MeshConfig, report: Findings
) -> UnknownHosts:
    policy = value.get(POLICY)
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
