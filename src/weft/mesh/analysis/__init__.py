"""What is wrong or doubtful in a set of objects, beyond what building the model reports.

A check reads the world and reports; nothing here changes what is in force. One file for each
subject; each ends with the tuple of its checks.
"""

from collections.abc import Callable

from weft.api.diagnostics import Diagnostic
from weft.api.snapshot import Snapshot
from weft.mesh.analysis import (
    annotations,
    destination_rules,
    exposed_services,
    gateway_api,
    gateways,
    http_rules,
    ingresses,
    namespaces,
    network_policies,
    proxy_objects,
    security_policies,
    service_entries,
    services,
    telemetry_objects,
    virtual_services,
    workloads,
)
from weft.mesh.analysis.world import World
from weft.mesh.build import BuildSettings, Built, build
from weft.mesh.findings import Findings

Check = Callable[[World, Findings], None]
CHECKS: tuple[Check, ...] = (
    *services.CHECKS,
    *exposed_services.CHECKS,
    *proxy_objects.CHECKS,
    *telemetry_objects.CHECKS,
    *workloads.CHECKS,
    *annotations.CHECKS,
    *namespaces.CHECKS,
    *http_rules.CHECKS,
    *virtual_services.CHECKS,
    *destination_rules.CHECKS,
    *gateways.CHECKS,
    *service_entries.CHECKS,
    *gateway_api.CHECKS,
    *ingresses.CHECKS,
    *security_policies.CHECKS,
    *network_policies.CHECKS,
)


def analyze(
    snapshot: Snapshot, settings: BuildSettings, built: Built | None = None
) -> tuple[Diagnostic, ...]:
    """All findings, those of the build included. `built` saves building again."""
    built = built or build(snapshot, settings)
    report = Findings()
    report.extend(built.diagnostics)
    world = World(snapshot, built)
    for check in CHECKS:
        check(world, report)
    return report.all()
