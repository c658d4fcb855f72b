"""Objects of which building raises, kept out of the way of all others.

Building never raises on what users wrote, so this is about defects of weft itself. One object that
meets such a defect must not hold back the changes of all the others: until it is changed, the
version of it that was in force stays, or it is left out. A security policy is not left out: what it
selects is closed. Pure.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.istio import security
from weft.api.k8s.core_v1 import ConfigMap, Namespace, Node
from weft.api.snapshot import meta
from weft.api.weft.policy_v1alpha1 import AuthenticationPolicy, AuthenticationPolicySpec
from weft.mesh import findings as f
from weft.mesh.authorization import ANNOTATION_TRUE, DRY_RUN
from weft.mesh.findings import Findings
from weft.mesh.object_status import Rejection, consequence
from weft.mesh.quarantine import Held, Key, key

CULPRITS_MAX = 8
"""Objects that are looked for after one failure; with more, the last configuration stays whole."""
_NEEDED = (Node, Namespace, ConfigMap)
"""Without one of these more would be served than with it, or a node nothing: never left out."""
Problem = Callable[[Mapping[Key, Held]], BaseException | None]
"""What building raises while these objects are held."""


class Fault(Held, frozen=True):
    """An object in the version of which building raises."""

    def holds(self, obj: Struct) -> bool:
        """Any change may mend it, also one that counts as no new generation."""
        return obj is self.refused or obj == self.refused


class BuildFaults:
    """What changed since the last build that was whole, and what is held since."""

    def __init__(self) -> None:
        self.held: dict[Key, Held] = {}
        self.failure = ""
        """Why the last configuration is in force as a whole; empty when it is not."""
        self.failures_total = 0
        self._changes: dict[Key, tuple[Struct | None, Struct]] = {}
        """(the version in force, the version of now)."""

    def changed(self, before: Struct | None, after: Struct | None) -> None:
        """An object came, changed, or (None) went."""
        obj = after or before
        if obj is None:
            return
        its = key(obj)
        held = self.held.pop(its, None)
        if after is None:
            self._changes.pop(its, None)
            return
        if held is not None:
            before = held.instead
        elif its in self._changes:
            before = self._changes[its][0]
        self._changes[its] = (before, after)

    def keep(self, good: Struct) -> None:
        """An object was in force in this version in an earlier run."""
        its = key(good)
        if its in self._changes:
            self._changes[its] = (good, self._changes[its][1])

    def whole(self) -> None:
        """A build, with what is held, is with the proxies."""
        self.failure = ""
        self._changes.clear()

    def failed(self, error: BaseException, problem: Problem) -> tuple[Held, ...]:
        """Building raised. Gives the objects that are held from now on; when none is given, the
        cause was not found, and what is in force stays."""
        self.failures_total += 1
        self.failure = place(error)
        found = culprits(self._changes, self.held, problem)
        self.held.update(found)
        return tuple(found.values())

    def rejection(self, its: Key) -> Rejection | None:
        """Why an object is not in force as it is."""
        held = self.held.get(its)
        return held.rejection if held is not None else None

    def findings(self) -> tuple[Diagnostic, ...]:
        """What is not in force, for people."""
        report = Findings()
        for held in self.held.values():
            found = held.rejection
            report.add(
                f.NOT_BUILT, held.refused, "", error=found.error, consequence=consequence(found)
            )
        whole = f.BUILD_FAILED
        if not self.failure:
            return report.all()
        text = whole.message.format(error=self.failure)
        return (Diagnostic(whole.code, whole.severity, text, hint=whole.hint), *report.all())

    def exposition(self) -> str:
        """Numbers, as Prometheus text."""
        rows = (
            ("weft_mesh_build_failures_total", "counter", self.failures_total),
            ("weft_mesh_objects_not_built", "gauge", len(self.held)),
            ("weft_mesh_configuration_stale", "gauge", int(bool(self.failure))),
        )
        return "".join(f"# TYPE {name} {kind}\n{name} {n}\n" for name, kind, n in rows)


def culprits(
    changes: Mapping[Key, tuple[Struct | None, Struct]], held: Mapping[Key, Held], problem: Problem
) -> dict[Key, Held]:
    """Which of the changed objects to hold so that building succeeds; none when that does not
    help. Takes log2(changes) builds for each of them."""
    rows = [(its, *versions) for its, versions in changes.items()]
    able = [row for row in rows if row[1] is not None or row[0][0] not in _NEEDED]
    every = {its: _held(before, now, "") for its, before, now in able}
    if not able or problem({**held, **every}) is not None:
        return {}
    found: dict[Key, Held] = {}
    for _ in range(CULPRITS_MAX):
        # The fewest of the first objects with which it fails: the last of those is to blame.
        works, fails, error = 0, len(able), problem({**held, **found})
        if error is None:
            return found
        while fails - works > 1:
            middle = (works + fails) // 2
            rest = {its: every[its] for its, _, _ in able[middle:]}
            raised = problem({**held, **rest, **found})
            if raised is None:
                works = middle
            else:
                fails, error = middle, raised
        its, before, now = able.pop(fails - 1)
        found[its] = _held(before, now, place(error))
    return found if problem({**held, **found}) is None else {}


def _held(before: Struct | None, now: Struct, error: str) -> Fault:
    instead, consequence = closed(now)
    if instead is not None:
        return Fault(now, instead, Rejection("", error, closed=consequence))
    spec = getattr(before, "spec", None)
    kept = to_builtins(spec) if spec is not None else {} if before is not None else None
    return Fault(now, before, Rejection("", error, kept))


def closed(obj: Struct) -> tuple[Struct | None, str]:
    """A policy in place of `obj` that lets nobody through where that is for, and what this means;
    None for what secures nothing."""
    metadata = replace(meta(obj), annotations={})
    if isinstance(obj, security.AuthorizationPolicy):
        dry = meta(obj).annotations.get(DRY_RUN) == ANNOTATION_TRUE
        if dry or obj.spec.action == "AUDIT":
            return None, ""
        denial = replace(obj.spec, action="DENY", rules=(security.Rule(),), provider=None)
        return replace(obj, metadata=metadata, spec=denial), "all that it selects is denied"
    if isinstance(obj, security.RequestAuthentication):
        rules = tuple(_without_keys(rule) for rule in obj.spec.jwt_rules)
        spec = replace(obj.spec, jwt_rules=rules)
        return replace(obj, metadata=metadata, spec=spec), "all its tokens are refused"
    if isinstance(obj, security.PeerAuthentication):
        strict = replace(obj.spec, mtls=security.MutualTLS("STRICT"), port_level_mtls={})
        return replace(obj, metadata=metadata, spec=strict), "callers need an identity of the mesh"
    if isinstance(obj, AuthenticationPolicy):
        bare = AuthenticationPolicySpec(target_ref=obj.spec.target_ref)
        return replace(obj, metadata=metadata, spec=bare), "nobody gets in through its target"
    return None, ""


def _without_keys(rule: security.JWTRule) -> security.JWTRule:
    return security.JWTRule(
        issuer=rule.issuer,
        from_headers=rule.from_headers,
        from_params=rule.from_params,
        from_cookies=rule.from_cookies,
    )


def place(error: BaseException | None) -> str:
    """What was raised, and where. Not its text, which may hold what users keep secret."""
    if error is None:
        return ""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    name = type(error).__name__
    if at is None:
        return name
    return f"{name} in {at.tb_frame.f_globals.get('__name__', '?')}, line {at.tb_lineno}"
