"""What a MeshConfig says for hosts on which nothing nearer does: traffic policies, localities, who
sees ServiceEntries."""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.meta_v1 import LabelSelector
from weft.api.selectors import from_selector
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.istio_policies import Policy, read_outlier, read_pool

TRAFFIC = "defaultTrafficPolicy"
LOCALITY = "localityLbSetting"
ZONES = "zoneAwareLbSetting"
VISIBILITY = "serviceEntryVisibility"
DEFAULTS = (TRAFFIC, LOCALITY, ZONES, VISIBILITY)
"""Settings that are read here."""
Visibility = Literal["", "UNSPECIFIED", "PUBLIC", "NAMESPACE", "NONE"]
T = TypeVar("T", bound=Struct)


class _Traffic(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    connection_pool: istio.ConnectionPoolSettings | None = None
    outlier_detection: istio.OutlierDetection | None = None


class _Rule(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    namespace_selector: LabelSelector | None = None


class VisibilityPolicy(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Who sees the ServiceEntries of some namespaces."""

    visibility: Visibility = ""
    matching_rules: tuple[_Rule, ...] = ()
    """All must hold; none at all holds for every namespace."""

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether it is for a namespace with these labels. A rule that says nothing holds for no
        namespace."""
        selectors = (rule.namespace_selector for rule in self.matching_rules)
        return all(
            (found := from_selector(wanted)) is not None and found.matches(labels)
            for wanted in selectors
        )


class EntryVisibility(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Who sees ServiceEntries, whatever their `exportTo` says: the first policy that holds for the
    entry's namespace decides."""

    default_visibility: Visibility = ""
    policies: tuple[VisibilityPolicy, ...] = ()
    apply_to_sidecars: bool | None = None
    """Without a meaning in weft: it always holds."""

    def of(self, labels: Mapping[str, str]) -> Visibility:
        """For the entries of a namespace with these labels."""
        found = (each.visibility for each in self.policies if each.holds(labels))
        return next(found, self.default_visibility)


def traffic_defaults(
    found: ConfigMap, value: Mapping[str, Any], where: str, report: Findings
) -> Policy:
    """What holds for destinations where no DestinationRule says otherwise."""
    traffic = _read(found, value, TRAFFIC, _Traffic, where, report) or _Traffic()
    made = Policy(
        locality=_read(found, value, LOCALITY, istio.LocalityLbSetting, where, report),
        zones=_read(found, value, ZONES, istio.ZoneAwareLbSetting, where, report),
    )
    path = f"{where}.{TRAFFIC}"
    if traffic.connection_pool is not None:
        pool = read_pool(found, traffic.connection_pool, f"{path}.connectionPool", report)
        made = replace(made, pool=pool)
    if traffic.outlier_detection is not None:
        outlier = read_outlier(found, traffic.outlier_detection, f"{path}.outlierDetection", report)
        made = replace(made, outlier=outlier)
    return made


def entry_visibility(
    found: ConfigMap, value: Mapping[str, Any], where: str, report: Findings
) -> EntryVisibility | None:
    """None: ServiceEntries are seen by whom their `exportTo` names. What cannot be read hides them
    from other namespaces: whoever wrote it did not mean everybody."""
    if VISIBILITY not in value:
        return None
    made = _read(found, value, VISIBILITY, EntryVisibility, where, report)
    return made or EntryVisibility(default_visibility="NAMESPACE")


def _read(  # noqa: PLR0917 - a setting and where it stands
    found: ConfigMap,
    value: Mapping[str, Any],
    name: str,
    kind: type[T],
    where: str,
    report: Findings,
) -> T | None:
    if value.get(name) is None:
        return None
    try:
        return msgspec.convert(value[name], type=kind)
    except msgspec.ValidationError as error:
        report.add(f.VALUE_INVALID, found, f"{where}.{name}", problem=str(error), part="setting")
        return None
