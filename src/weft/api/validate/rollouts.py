"""Rules of Rollouts beyond their schema. Source: the validation of Argo Rollouts."""

from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, duplicate, forbidden, invalid, required
from weft.api.validate import names, pods
from weft.api.validate.analyses import duration
from weft.api.validate.workloads import int_or_percent, selector_of
from weft.lib.durations import parse_duration

Json = Mapping[str, Any]

STEPS_MAX = 256
_AT: Location = ("spec", "strategy")
_CANARY: Location = (*_AT, "canary")
_ROUTING: Location = (*_CANARY, "trafficRouting")
GATEWAY_PLUGIN = "argoproj-labs/gatewayAPI"
_ROUTER_HINT = (
    "plugins are programs that weft does not run; it divides requests by istio, by "
    "argoproj-labs/gatewayAPI (built in), or by itself: `trafficRouting: {}`"
)
_STEPS = (
    "setWeight", "pause", "experiment", "analysis", "setCanaryScale", "setHeaderRoute",
    "setMirrorRoute", "plugin", "replicaProgressThreshold",
)  # fmt: skip

_STEP_HINTS = {
    "plugin": "plugins are programs that weft does not run; `analysis` with a `job` runs a program",
    "replicaProgressThreshold": "weft waits for all pods of a step",
}


def validate(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _template(spec)
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and 0 <= deadline <= ready:
        text = "must be greater than minReadySeconds"
        errors.append(invalid(("spec", "progressDeadlineSeconds"), deadline, text))
    strategy = spec.get("strategy") or {}
    given = [name for name in ("canary", "blueGreen") if strategy.get(name) is not None]
    if len(given) != 1:
        text = "exactly one of `canary`, `blueGreen` says how versions change"
        return [*errors, required(_AT, text) if not given else invalid(_AT, given, text)]
    if given[0] == "canary":
        return errors + _canary(strategy["canary"])
    return errors + _blue_green(strategy["blueGreen"])


def _template(spec: Json) -> list[FieldError]:
    reference = spec.get("workloadRef")
    at: Location = ("spec", "template")
    if reference is None:
        errors = selector_of(spec) + pods.template(spec.get("template") or {}, at)
        pod = (spec.get("template") or {}).get("spec") or {}
        return errors + pods.restart_policy(pod, (*at, "spec"), ("Always",))
    errors = []
    if spec.get("template"):
        text = "the template is that of `workloadRef`"
        errors.append(forbidden(at, text, "leave out one of the two"))
    here: Location = ("spec", "workloadRef")
    if reference.get("kind") not in ("Deployment", "ReplicaSet", "PodTemplate"):
        text = "must be Deployment, ReplicaSet or PodTemplate"
        errors.append(invalid((*here, "kind"), reference.get("kind"), text))
    if reference.get("scaleDown") not in (None, "", "never", "onsuccess", "progressively"):
        text = "must be never, onsuccess or progressively"
        errors.append(invalid((*here, "scaleDown"), reference["scaleDown"], text))
    return errors


def _blue_green(strategy: Json) -> list[FieldError]:
    at: Location = (*_AT, "blueGreen")
    errors: list[FieldError] = []
    active, preview = strategy.get("activeService"), strategy.get("previewService")
    if active and active == preview:
        errors.append(duplicate((*at, "previewService"), preview))
    errors += int_or_percent(strategy.get("maxUnavailable"), (*at, "maxUnavailable"))
    for field in ("prePromotionAnalysis", "postPromotionAnalysis"):
        errors += _analysis(strategy.get(field), (*at, field))
    return errors + _anti_affinity(strategy, at)


def _canary(strategy: Json) -> list[FieldError]:
    surge, unavailable = strategy.get("maxSurge"), strategy.get("maxUnavailable")
    errors = int_or_percent(surge, (*_CANARY, "maxSurge"))
    errors += int_or_percent(unavailable, (*_CANARY, "maxUnavailable"))
    if surge in (0, "0%", "0") and unavailable in (0, "0%", "0"):
        text = "may not be 0 when `maxSurge` is 0"
        errors.append(invalid((*_CANARY, "maxUnavailable"), unavailable, text))
    canary, stable = strategy.get("canaryService"), strategy.get("stableService")
    if canary and canary == stable:
        errors.append(duplicate((*_CANARY, "canaryService"), canary))
    routing = strategy.get("trafficRouting")
    errors += _ping_pong(strategy)
    if routing is not None:
        errors += _routing(strategy, routing)
    elif strategy.get("scaleDownDelaySeconds") is not None:
        text = "can only be set with `trafficRouting`"
        errors.append(
            invalid((*_CANARY, "scaleDownDelaySeconds"), strategy["scaleDownDelaySeconds"], text)
        )
    errors += _dynamic(strategy, routing)
    errors += _analysis(strategy.get("analysis"), (*_CANARY, "analysis"))
    steps = strategy.get("steps") or ()
    if len(steps) > STEPS_MAX:
        errors.append(invalid((*_CANARY, "steps"), len(steps), f"at most {STEPS_MAX} steps"))
    most = (routing or {}).get("maxTrafficWeight") or 100
    for index, step in enumerate(steps):
        errors += _step(step, (*_CANARY, "steps", index), routing, most)
    return errors + _anti_affinity(strategy, _CANARY)


def _ping_pong(strategy: Json) -> list[FieldError]:
    turns = strategy.get("pingPong")
    if turns is None:
        return []
    at: Location = (*_CANARY, "pingPong")
    fields = ("pingService", "pongService")
    errors = [required((*at, field), "two Services take turns") for field in fields
              if not turns.get(field)]  # fmt: skip
    if turns.get("pingService") and turns.get("pingService") == turns.get("pongService"):
        errors.append(duplicate((*at, "pongService"), turns["pongService"]))
    return errors


def _dynamic(strategy: Json, routing: Json | None) -> list[FieldError]:
    if not strategy.get("dynamicStableScale"):
        return []
    at: Location = (*_CANARY, "dynamicStableScale")
    if routing is None:
        return [invalid(at, True, "can only be used with `trafficRouting`")]
    if strategy.get("scaleDownDelaySeconds"):
        return [invalid(at, True, "cannot be used with `scaleDownDelaySeconds`")]
    return []


def _routing(strategy: Json, routing: Json) -> list[FieldError]:
    errors: list[FieldError] = []
    for name in routing.get("plugins") or {}:
        if name != GATEWAY_PLUGIN:
            text = "weft has no such router"
            errors.append(forbidden((*_ROUTING, "plugins", name), text, _ROUTER_HINT))
    istio = routing.get("istio") or {}
    by_subset = istio.get("destinationRule") is not None
    if istio and not (istio.get("virtualService") or istio.get("virtualServices") or by_subset):
        errors.append(required((*_ROUTING, "istio", "virtualService"), "names what is edited"))
    if not by_subset and strategy.get("pingPong") is None:
        errors += [
            required((*_CANARY, field), "requests are divided between two Services")
            for field in ("canaryService", "stableService")
            if not strategy.get(field)
        ]
    managed = routing.get("managedRoutes") or ()
    return errors + names.unique(
        ((*_ROUTING, "managedRoutes", i, "name"), r.get("name")) for i, r in enumerate(managed)
    )


def _step(step: Json, at: Location, routing: Json | None, most: int) -> list[FieldError]:
    given = [name for name in _STEPS if step.get(name) is not None]
    if len(given) != 1:
        text = f"exactly one of {', '.join(f'`{s}`' for s in _STEPS[:7])}"
        return [required(at, text) if not given else invalid(at, ", ".join(given), text)]
    name = given[0]
    here: Location = (*at, name)
    if name in ("plugin", "replicaProgressThreshold"):
        return [forbidden(here, "weft has no such step", _STEP_HINTS[name])]
    if name == "setWeight" and not 0 <= step[name] <= most:
        return [invalid(here, step[name], f"must be between 0 and {most}")]
    if name == "pause":
        return _pause(step[name], here)
    if name == "analysis":
        return _analysis(step[name], here)
    if name == "experiment":
        return _experiment(step[name], here, routing)
    if name in ("setHeaderRoute", "setMirrorRoute"):
        return _managed(step[name], here, routing)
    if name == "setCanaryScale":
        return _scale(step[name], here, routing)
    return []


def _scale(scale: Json, at: Location, routing: Json | None) -> list[FieldError]:
    if routing is None:
        return [invalid(at, "", "can only be used with `trafficRouting`")]
    given = [f for f in ("weight", "replicas", "matchTrafficWeight") if scale.get(f) is not None]
    text = "exactly one of `weight`, `replicas`, `matchTrafficWeight`"
    return [] if len(given) == 1 else [invalid(at, ", ".join(given), text)]


def _pause(pause: Json, at: Location) -> list[FieldError]:
    value = pause.get("duration")
    text = "must be seconds or a duration such as 10m, and not negative"
    if value is None:
        return []
    try:
        seconds = float(value) if str(value).isdigit() else parse_duration(str(value))
    except ValueError:
        return [invalid((*at, "duration"), value, text)]
    return [] if seconds >= 0 else [invalid((*at, "duration"), value, text)]


def _managed(route: Json, at: Location, routing: Json | None) -> list[FieldError]:
    if routing is None:
        return [invalid(at, "", "can only be used with `trafficRouting`")]
    known = [r.get("name") for r in routing.get("managedRoutes") or ()]
    if route.get("name") not in known:
        hint = "add it to `trafficRouting.managedRoutes`"
        return [invalid((*at, "name"), route.get("name") or "", "is no managed route", hint)]
    return []


def _analysis(analysis: Json | None, at: Location) -> list[FieldError]:
    if analysis is None:
        return []
    templates = analysis.get("templates") or ()
    if not templates:
        return [required((*at, "templates"), "name the AnalysisTemplates")]
    errors = [
        required((*at, "templates", index, "templateName"))
        for index, template in enumerate(templates)
        if not template.get("templateName")
    ]
    return errors + _arguments(analysis, at)


def _arguments(analysis: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, arg in enumerate(analysis.get("args") or ()):
        which = (arg.get("valueFrom") or {}).get("podTemplateHashValue")
        if which not in (None, "", "Stable", "Latest"):
            here = (*at, "args", index, "valueFrom", "podTemplateHashValue")
            errors.append(invalid(here, which, "must be Stable or Latest"))
    return errors


def _experiment(step: Json, at: Location, routing: Json | None) -> list[FieldError]:
    templates = step.get("templates") or ()
    errors = duration(step, at, "duration")
    if not templates:
        errors.append(required((*at, "templates"), "an experiment runs something"))
    for index, template in enumerate(templates):
        if template.get("weight") is not None and routing is None:
            here = (*at, "templates", index, "weight")
            text = "can only be used with `trafficRouting`"
            errors.append(invalid(here, template["weight"], text))
    return errors


def _anti_affinity(strategy: Json, at: Location) -> list[FieldError]:
    affinity = strategy.get("antiAffinity")
    if affinity is None:
        return []
    here: Location = (*at, "antiAffinity")
    names_of = (
        "preferredDuringSchedulingIgnoredDuringExecution",
        "requiredDuringSchedulingIgnoredDuringExecution",
    )
    given = [name for name in names_of if affinity.get(name) is not None]
    if len(given) != 1:
        return [invalid(here, given, f"exactly one of `{names_of[0]}`, `{names_of[1]}`")]
    preferred = affinity.get(names_of[0])
    if preferred is not None and not 1 <= (preferred.get("weight") or 0) <= 100:
        at_weight = (*here, names_of[0], "weight")
        return [invalid(at_weight, preferred.get("weight"), "must be between 1 and 100")]
    return []
