"""A Rollout as text: where it stands, and what it consists of as a tree."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from weft.api.pod_columns import pod_state
from weft.lib.durations import parse_duration
from weft.lib.timefmt import age, parse_rfc3339
from weft.telemetry.signals import TrafficDocument, signals
from weft.views.tables import PLAIN, Style, render

Json = Mapping[str, Any]

HASH = "rollouts-pod-template-hash"
REVISION = "rollout.argoproj.io/revision"
_SIGNS = {
    "Healthy": "✔", "Running": "✔", "Successful": "✔", "Succeeded": "✔", "Paused": "॥",
    "Progressing": "◌", "Pending": "◌", "ScaledDown": "•", "Degraded": "✖", "Failed": "✖",
    "Error": "⚠", "Inconclusive": "?",
}  # fmt: skip
_BAD = ("BackOff", "Error", "Killed", "Evicted", "Lost")
"""How words of pods end that do not run as they should."""
UNREACHED = "unknown"
"""The version of calls that the proxy answered itself."""
WHY_CHARACTERS_MAX = 100
STEP_WORDS = {
    "setWeight": "weight", "pause": "pause", "experiment": "experiment", "analysis": "analysis",
    "setCanaryScale": "scale", "setHeaderRoute": "header route", "setMirrorRoute": "mirror route",
}  # fmt: skip


class Parts(Struct, frozen=True):
    """All objects of the Rollout's namespace that may belong to it."""

    rollout: Json
    sets: Sequence[Json] = ()
    pods: Sequence[Json] = ()
    runs: Sequence[Json] = ()
    experiments: Sequence[Json] = ()
    traffic: TrafficDocument | None = None
    """What the mesh saw of calls lately."""


def strategy_of(rollout: Json) -> str:
    return "BlueGreen" if (_spec(rollout).get("strategy") or {}).get("blueGreen") else "Canary"


def _spec(obj: Json) -> Json:
    return obj.get("spec") or {}


def _status(obj: Json) -> Json:
    return obj.get("status") or {}


def _meta(obj: Json) -> Json:
    return obj.get("metadata") or {}


def steps_of(rollout: Json) -> Sequence[Json]:
    return ((_spec(rollout).get("strategy") or {}).get("canary") or {}).get("steps") or ()


def weight_of(rollout: Json) -> int | None:
    """The new version's share in percent; None for blue-green and for canaries without routing."""
    weights = (_status(rollout).get("canary") or {}).get("weights") or {}
    found = (weights.get("canary") or {}).get("weight")
    return 0 if weights and found is None else found


def step_text(rollout: Json) -> str:
    """`2/8: pause 10m`; "" without steps."""
    steps, at = steps_of(rollout), _status(rollout).get("currentStepIndex")
    if not steps or at is None:
        return ""
    if at >= len(steps):
        return f"{len(steps)}/{len(steps)}"
    return f"{at}/{len(steps)}: {_step(steps[at])}"


def _step(step: Json) -> str:
    for key, word in STEP_WORDS.items():
        if key in step:
            value = step[key]
            if key == "setWeight":
                return f"{word} {value}"
            if key == "pause":
                return f"{word} {(value or {}).get('duration') or 'until promoted'}"
            return word
    return "step"


# ------------------------------------------------------------------ tables and trees


def list_lines(rollouts: Iterable[Json], style: Style = PLAIN) -> list[str]:
    headers = (
        "Name", "Strategy", "Status", "Step", "Weight", "Ready", "Desired", "Up-to-date",
        "Available",
    )  # fmt: skip
    rows = []
    for found in rollouts:
        status, wanted = _status(found), _spec(found).get("replicas", 1)
        weight = weight_of(found)
        rows.append((
            _meta(found).get("name", ""), strategy_of(found), status.get("phase") or "-",
            step_text(found).partition(":")[0] or "-", "-" if weight is None else weight,
            f"{status.get('readyReplicas') or 0}/{wanted}", wanted,
            status.get("updatedReplicas") or 0, status.get("availableReplicas") or 0,
        ))  # fmt: skip
    return render(headers, rows, style)


def lines(parts: Parts, now: float, style: Style = PLAIN) -> list[str]:
    """Where it stands, then revisions with their sets, pods and runs."""
    return [*_head(parts, now, style), *_calls(parts, style), "", *_tree(parts, now, style)]


def _head(parts: Parts, now: float, style: Style) -> list[str]:
    rollout = parts.rollout
    status, spec = _status(rollout), _spec(rollout)
    phase = str(status.get("phase") or "Progressing")
    facts = [
        ("Name", _meta(rollout).get("name", "")),
        ("Namespace", _meta(rollout).get("namespace", "")),
        ("Status", f"{_toned(phase, style)}"),
        ("Message", status.get("message") or ""),
        ("Strategy", strategy_of(rollout)),
        ("Step", step_text(rollout) + _left(rollout, now)),
    ]
    weight = weight_of(rollout)
    if weight is not None:
        facts.append(("Weight", f"{weight}% of requests to the new version"))
    lines_ = [f"{name + ':':<12}{value}" for name, value in facts if value != ""]
    images = _images(parts)
    for number, (image, roles) in enumerate(images.items()):
        name = "Images:" if not number else ""
        told = f" ({', '.join(roles)})" if roles else ""
        lines_.append(f"{name:<12}{image}{told}")
    counts = [
        ("Desired", spec.get("replicas", 1)), ("Current", status.get("replicas") or 0),
        ("Updated", status.get("updatedReplicas") or 0),
        ("Ready", status.get("readyReplicas") or 0),
        ("Available", status.get("availableReplicas") or 0),
    ]  # fmt: skip
    lines_.append("Replicas:")
    return lines_ + [f"  {name + ':':<11}{value}" for name, value in counts]


def _left(rollout: Json, now: float) -> str:
    """How much of a pause is still to come."""
    steps, at = steps_of(rollout), _status(rollout).get("currentStepIndex")
    pause = steps[at].get("pause") if steps and at is not None and at < len(steps) else None
    since = next((c.get("startTime") for c in _status(rollout).get("pauseConditions") or ()), "")
    if not pause or not pause.get("duration") or not since:
        return ""
    try:
        written = str(pause["duration"])
        seconds = float(written) if written.isdecimal() else parse_duration(written)
        left = parse_rfc3339(since) + seconds - now
    except ValueError:
        return ""
    return f", {age(left)} left" if left > 0 else ""


def _calls(parts: Parts, style: Style) -> list[str]:
    """What the mesh saw of each version; nothing when nobody called."""
    if parts.traffic is None:
        return []
    names = {_version(s): ", ".join(_roles(parts.rollout, s)) for s in reversed(_current(parts))}
    names[UNREACHED] = "no pod reached"
    owner = (_meta(parts.rollout).get("namespace", ""), _meta(parts.rollout).get("name", ""))
    rows = [
        (version, names.get(version, ""), f"{found.rate:.1f}/s", f"{found.error_percent:.1f}%",
         *("-" if ms is None else f"{ms:.0f} ms" for ms in (found.p50_ms, found.p99_ms)))
        for found in signals(parts.traffic, lambda e: (*e.callee, e.destination_version))
        for *callee, version in (found.name,)
        if tuple(callee) == owner and found.requests
    ]  # fmt: skip
    if not rows:
        return []
    headers = ("Version", "Is", "Requests", "Errors", "P50", "P99")
    table = render(headers, sorted(rows), style)
    return [
        "",
        f"Calls of the last {parts.traffic.seconds:.0f} s:",
        *(f"  {line}" for line in table),
    ]


def _current(parts: Parts) -> list[Json]:
    """Its ReplicaSets, the newest first."""
    return sorted(_owned(parts.sets, parts.rollout), key=_number, reverse=True)


def _version(replica_set: Json) -> str:
    """What the mesh calls its pods' version."""
    template = _spec(replica_set).get("template") or {}
    labels = _meta(template).get("labels") or {}
    names = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version", HASH)
    return next((str(labels[name]) for name in names if labels.get(name)), "")


def _images(parts: Parts) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for replica_set in _owned(parts.sets, parts.rollout):
        if not _spec(replica_set).get("replicas"):
            continue
        template = _spec(_spec(replica_set).get("template") or {})
        for container in template.get("containers") or ():
            roles = found.setdefault(str(container.get("image") or ""), [])
            roles += [r for r in _roles(parts.rollout, replica_set) if r not in roles]
    return found


def _roles(rollout: Json, replica_set: Json) -> list[str]:
    """stable, canary, active, preview: what the set is now."""
    digest = (_meta(replica_set).get("labels") or {}).get(HASH, "")
    status = _status(rollout)
    roles = []
    if digest == status.get("stableRS"):
        roles.append("stable")
    blue_green = status.get("blueGreen") or {}
    if digest and digest == blue_green.get("activeSelector"):
        roles.append("active")
    if digest == status.get("currentPodHash") and digest != status.get("stableRS"):
        roles.append("preview" if strategy_of(rollout) == "BlueGreen" else "canary")
    return [r for r in roles if not (r == "preview" and "active" in roles)]


def _owned(objects: Iterable[Json], owner: Json) -> list[Json]:
    uid = _meta(owner).get("uid")
    return [
        o for o in objects
        if any(r.get("uid") == uid for r in _meta(o).get("ownerReferences") or ())
    ]  # fmt: skip


def _number(obj: Json) -> int:
    text = str((_meta(obj).get("annotations") or {}).get(REVISION) or "0")
    return int(text) if text.isdigit() else 0


def _age(obj: Json, now: float) -> str:
    try:
        return age(now - parse_rfc3339(str(_meta(obj).get("creationTimestamp") or "")))
    except ValueError:
        return ""


def _toned(word: str, style: Style, *, ends: bool = False) -> str:
    """`ends`: running is not the aim."""
    if ends and word == "Running":
        return f"{style.busy}◌ {word}{style.reset}"
    good = word in ("Healthy", "Running", "Successful", "Succeeded")
    bad = word in ("Degraded", "Failed", "Error") or "Err" in word or word.endswith(_BAD)
    colour = style.good if good else style.bad if bad else style.busy
    return f"{colour}{_SIGNS.get(word, '⚠' if bad else '◌')} {word}{style.reset}"


class _Node(Struct, frozen=True):
    text: str
    below: tuple["_Node", ...] = ()


def _tree(parts: Parts, now: float, style: Style) -> list[str]:
    phase = str(_status(parts.rollout).get("phase") or "Progressing")
    name = _meta(parts.rollout).get("name", "")
    root = f"⟳ {style.bold}{name}{style.reset}  Rollout  {_toned(phase, style)}"
    owned = [
        *_owned(parts.sets, parts.rollout), *_owned(parts.runs, parts.rollout),
        *_owned(parts.experiments, parts.rollout),
    ]  # fmt: skip
    numbers = sorted({_number(o) for o in owned}, reverse=True)
    revisions = []
    for number in numbers:
        below = [_node(parts, o, now, style) for o in owned if _number(o) == number]
        revisions.append(_Node(f"# revision:{number}", tuple(below)))
    return [root, *_drawn(revisions, "")]


def _node(parts: Parts, obj: Json, now: float, style: Style) -> _Node:
    name, kind = _meta(obj).get("name", ""), str(obj.get("kind") or "")
    if kind == "ReplicaSet":
        wanted = _spec(obj).get("replicas") or 0
        available = _status(obj).get("availableReplicas") or 0
        word = "ScaledDown" if not wanted else "Healthy" if available >= wanted else "Progressing"
        roles = ", ".join(_roles(parts.rollout, obj))
        pods = [_pod(p, now, style) for p in _owned(parts.pods, obj)]
        text = f"⧉ {name}  ReplicaSet  {_toned(word, style)}  {_age(obj, now)}  {roles}".rstrip()
        return _Node(text, tuple(pods))
    phase = str(_status(obj).get("phase") or "Pending")
    sign = "α" if kind == "AnalysisRun" else "Σ"
    message = "  ".join(t for t in (_counts(obj), _status(obj).get("message") or "") if t)
    state = _toned(phase, style, ends=True)
    text = f"{sign} {name}  {kind}  {state}  {_age(obj, now)}  {message}".rstrip()
    below = [
        _node(parts, o, now, style)
        for o in (*_owned(parts.sets, obj), *_owned(parts.runs, obj))
    ]  # fmt: skip
    return _Node(text, tuple(below))


def _counts(run: Json) -> str:
    """Measurements of an AnalysisRun: good, bad, neither, errors."""
    results = _status(run).get("metricResults") or ()
    kinds = (("✔", "successful"), ("✖", "failed"), ("?", "inconclusive"), ("⚠", "error"))
    found = ((sign, sum(r.get(key) or 0 for r in results)) for sign, key in kinds)
    return " ".join(f"{sign} {number}" for sign, number in found if number)


def _why(pod: Json) -> str:
    """Why it does not run, in the words of its conditions and containers."""
    status = _status(pod)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or "")
    for container in (
        *(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()),
    ):  # fmt: skip
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("message"):
            return str(waiting["message"])
    return ""


def _pod(pod: Json, now: float, style: Style) -> _Node:
    status = _status(pod)
    phase = pod_state(pod)
    states = status.get("containerStatuses") or ()
    ready = sum(bool(s.get("ready")) for s in states)
    total = len(_spec(pod).get("containers") or ())
    name = _meta(pod).get("name", "")
    text = f"□ {name}  Pod  {_toned(phase, style)}  {_age(pod, now)}  ready:{ready}/{total}"
    why = _why(pod) if ready < total else ""
    if len(why) > WHY_CHARACTERS_MAX:
        why = why[: WHY_CHARACTERS_MAX - 1] + "…"
    return _Node(f"{text}  {why}".rstrip())


def _drawn(nodes: Sequence[_Node], indent: str) -> list[str]:
    found = []
    for number, node in enumerate(nodes):
        last = number == len(nodes) - 1
        found.append(f"{indent}{'└──' if last else '├──'}{node.text}")
        found += _drawn(node.below, indent + ("   " if last else "│  "))
    return found
