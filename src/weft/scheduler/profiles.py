"""How nodes are scored by `schedulerName`: profiles of a KubeSchedulerConfiguration. Pure.

Source: Kubernetes' kubescheduler.config.k8s.io/v1, the plugin NodeResourcesFit and its strategies.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

from msgspec import Struct

from weft.scheduler.resources import CPU, MEMORY

Strategy = Literal["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"]
STRATEGIES: tuple[Strategy, ...] = ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio")
API_VERSION = "kubescheduler.config.k8s.io/v1"
NAME_DEFAULT = "default-scheduler"
PLUGIN = "NodeResourcesFit"
PROFILES_MAX = 16
WEIGHT_MAX = 100
SHAPE_SCORE_MAX = 10
"""Of a point of RequestedToCapacityRatio; nodes are scored from 0 to 100."""
PERCENT = 100.0


class BadProfiles(Exception):
    """What is wrong in a configuration, and where."""


class Profile(Struct, frozen=True):
    """How full a node should be for a pod to like it."""

    strategy: Strategy = "LeastAllocated"
    resources: tuple[tuple[str, int], ...] = ((CPU, 1), (MEMORY, 1))
    """(name, weight)"""
    shape: tuple[tuple[float, float], ...] = ()
    """(percent used, points) of RequestedToCapacityRatio, rising."""

    def fit(self, used: Mapping[str, float]) -> float:
        """0 to 100 for shares (0 to 1) that are used with the pod, by resource; what the node does
        not offer does not count."""
        total, weights = 0.0, 0
        for name, weight in self.resources:
            share = used.get(name)
            if share is not None:
                total += weight * self._points(min(share, 1.0))
                weights += weight
        return total / weights if weights else 0.0

    def _points(self, share: float) -> float:
        if self.strategy == "MostAllocated":
            return PERCENT * share
        if self.strategy == "LeastAllocated":
            return PERCENT * (1.0 - share)
        return interpolated(self.shape, PERCENT * share) * PERCENT / SHAPE_SCORE_MAX


SPREADING = Profile()
Profiles = Mapping[str, Profile]
"""By schedulerName."""
DEFAULT: Profiles = {NAME_DEFAULT: SPREADING}


def interpolated(shape: tuple[tuple[float, float], ...], at: float) -> float:
    """The value of the line through the points; outside of them that of the nearest."""
    if at <= shape[0][0]:
        return shape[0][1]
    for (left, low), (right, high) in pairwise(shape):
        if at <= right:
            return low + (high - low) * (at - left) / (right - left)
    return shape[-1][1]


def parse(document: Any) -> Profiles:
    """Of a KubeSchedulerConfiguration. Raises BadProfiles. Without the default scheduler's name
    among the profiles it schedules as ever."""
    if not isinstance(document, dict) or document.get("kind") != "KubeSchedulerConfiguration":
        raise BadProfiles("kind: must be KubeSchedulerConfiguration")
    if document.get("apiVersion") != API_VERSION:
        raise BadProfiles(f"apiVersion: must be {API_VERSION}")
    _only(document, ("kind", "apiVersion", "profiles"), "")
    listed = document.get("profiles") or []
    if not isinstance(listed, list) or len(listed) > PROFILES_MAX:
        raise BadProfiles(f"profiles: must be a list of at most {PROFILES_MAX}")
    found: dict[str, Profile] = {}
    for index, each in enumerate(listed):
        at = f"profiles[{index}]"
        if not isinstance(each, dict):
            raise BadProfiles(f"{at}: must be an object")
        _only(each, ("schedulerName", "pluginConfig"), at)
        name = each.get("schedulerName") or NAME_DEFAULT
        if not isinstance(name, str) or name in found:
            raise BadProfiles(f"{at}.schedulerName: must be a name that no other profile has")
        found[name] = _profile(each.get("pluginConfig") or [], f"{at}.pluginConfig")
    return {**DEFAULT, **found}


def _only(given: Mapping[str, Any], known: tuple[str, ...], at: str) -> None:
    for name in given:
        if name not in known:
            where = f"{at}.{name}" if at else str(name)
            raise BadProfiles(f"{where}: weft knows {', '.join(known)} here")


def _profile(configs: Any, at: str) -> Profile:
    if not isinstance(configs, list):
        raise BadProfiles(f"{at}: must be a list")
    profile = SPREADING
    for index, each in enumerate(configs):
        here = f"{at}[{index}]"
        if not isinstance(each, dict) or each.get("name") != PLUGIN:
            raise BadProfiles(f"{here}.name: weft takes the configuration of {PLUGIN} only")
        _only(each, ("name", "args"), here)
        args = each.get("args") or {}
        if not isinstance(args, dict):
            raise BadProfiles(f"{here}.args: must be an object")
        _only(args, ("apiVersion", "kind", "scoringStrategy"), f"{here}.args")
        profile = _strategy(args.get("scoringStrategy") or {}, f"{here}.args.scoringStrategy")
    return profile


def _strategy(given: Any, at: str) -> Profile:
    if not isinstance(given, dict):
        raise BadProfiles(f"{at}: must be an object")
    _only(given, ("type", "resources", "requestedToCapacityRatio"), at)
    strategy = given.get("type") or "LeastAllocated"
    if strategy not in STRATEGIES:
        raise BadProfiles(f"{at}.type: must be one of {', '.join(STRATEGIES)}")
    resources = []
    for index, each in enumerate(given.get("resources") or ()):
        name = each.get("name") if isinstance(each, dict) else None
        weight = (each.get("weight") or 1) if isinstance(each, dict) else 0
        if not isinstance(name, str) or not isinstance(weight, int):
            raise BadProfiles(f"{at}.resources[{index}]: must have a name and a weight")
        if not 1 <= weight <= WEIGHT_MAX:
            text = f"must be between 1 and {WEIGHT_MAX}"
            raise BadProfiles(f"{at}.resources[{index}].weight: {text}")
        resources.append((name, weight))
    shape: tuple[tuple[float, float], ...] = ()
    if strategy == "RequestedToCapacityRatio":
        ratio = given.get("requestedToCapacityRatio") or {}
        shape = _shape(ratio.get("shape"), f"{at}.requestedToCapacityRatio.shape")
    return Profile(strategy, tuple(resources) or SPREADING.resources, shape)


def _shape(points: Any, at: str) -> tuple[tuple[float, float], ...]:
    if not isinstance(points, list) or not points:
        raise BadProfiles(f"{at}: must have at least one point")
    found: list[tuple[float, float]] = []
    for index, each in enumerate(points):
        here = f"{at}[{index}]"
        used = each.get("utilization", 0) if isinstance(each, dict) else None
        score = each.get("score", 0) if isinstance(each, dict) else None
        if not isinstance(used, int) or not 0 <= used <= PERCENT:
            raise BadProfiles(f"{here}.utilization: must be between 0 and 100")
        if not isinstance(score, int) or not 0 <= score <= SHAPE_SCORE_MAX:
            raise BadProfiles(f"{here}.score: must be between 0 and {SHAPE_SCORE_MAX}")
        if found and used <= found[-1][0]:
            raise BadProfiles(f"{here}.utilization: must be greater than that of the point before")
        found.append((float(used), float(score)))
    return tuple(found)
