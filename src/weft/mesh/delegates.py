"""VirtualServices that leave a part of their routing to others, without hosts of their own.

A rule with `delegate` stands for the rules of the other object, each narrowed by the rule's own
conditions; what a delegate's rule does not say is taken from the rule that delegates.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import asdict, replace

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.istio_matches import MESH, Rule, full_gateway
from weft.mesh.mesh_visibility import visible_to

_INHERITED = (
    "redirect", "direct_response", "rewrite", "timeout", "retries", "fault", "mirror", "mirrors",
    "mirror_percent", "mirror_percentage", "cors_policy",
)  # fmt: skip


def delegates(obj: istio.VirtualService) -> bool:
    """Whether others have a say in the routes of the object."""
    return any(rule.delegate is not None for rule in obj.spec.http)


class Delegates:
    """All VirtualServices that others may delegate to."""

    def __init__(self, objects: Sequence[istio.VirtualService], report: Findings) -> None:
        self._report = report
        self._objects = objects
        self._known: dict[tuple[str, str], istio.VirtualService] = {}
        """By namespace and name, once one is asked for."""
        self._rules: dict[tuple[str, str], tuple[istio.VirtualService, tuple[Rule, ...]]] = {}

    def reporting_to(self, report: Findings) -> "Delegates":
        """The same, with findings of its own."""
        other = Delegates(self._objects, report)
        other._known = self._known
        return other

    def _by_name(self) -> Mapping[tuple[str, str], istio.VirtualService]:
        if not self._known:  # few objects delegate, if any
            self._known.update({(o.metadata.namespace, o.metadata.name): o for o in self._objects})
        return self._known

    def rules(self, obj: istio.VirtualService) -> tuple[Rule, ...]:
        """The HTTP rules of an object, with those of its delegates in their places."""
        key = (obj.metadata.namespace, obj.metadata.name)
        known = self._rules.get(key)
        if known is None or known[0] is not obj:
            known = self._rules[key] = (obj, tuple(self._read(obj)))
        return known[1]

    def _read(self, obj: istio.VirtualService) -> Iterator[Rule]:
        for index, route in enumerate(obj.spec.http):
            rule = Rule(obj, f"spec.http[{index}]", _name(obj, _label(route, index)), route)
            if route.delegate is None:
                yield rule
            else:
                yield from self._delegated(rule, route.delegate)

    def _delegated(self, rule: Rule, wanted: istio.Delegate) -> Iterator[Rule]:
        root = rule.obj
        namespace = wanted.namespace or root.metadata.namespace
        found = self._by_name().get((namespace, wanted.name))
        path = f"{rule.path}.delegate"
        if found is None or not _visible(found, root):
            names = [n for ns, n in self._by_name() if ns == namespace]
            hint = f.suggest(wanted.name, names, "VirtualServices there")
            if found is not None:
                hint = f"name `{root.metadata.namespace}` in its `exportTo`"
            name = f"{namespace}/{wanted.name}"
            self._report.add(f.DELEGATE_UNKNOWN, root, path, hint, name=name)
            return
        if found.spec.hosts:
            self._report.add(f.DELEGATE_HOSTS, root, path, name=f"{namespace}/{wanted.name}")
            return
        label = rule.name.rpartition("/")[2]
        for index, route in enumerate(found.spec.http):
            where = f"spec.http[{index}]"
            if route.delegate is not None:
                self._report.add(f.DELEGATE_NESTED, found, f"{where}.delegate")
                continue
            joined = _joined(rule.route, route, root.metadata.namespace)
            if joined is None:
                self._report.add(f.DELEGATE_CONFLICT, found, f"{where}.match", root=_ref(root))
                continue
            name = _name(root, f"{label}-{_label(route, index)}")
            yield Rule(found, where, name, joined)


def _label(route: istio.HTTPRoute, index: int) -> str:
    return route.name or f"http[{index}]"


def _name(obj: istio.VirtualService, label: str) -> str:
    return f"{_ref(obj)}/{label}"


def _ref(obj: istio.VirtualService) -> str:
    return f"{obj.metadata.namespace}/{obj.metadata.name}"


def _visible(found: istio.VirtualService, root: istio.VirtualService) -> bool:
    seen = visible_to(found.spec.export_to, found.metadata.namespace)
    return seen is not None and (not seen or root.metadata.namespace in seen)


def _joined(root: istio.HTTPRoute, own: istio.HTTPRoute, namespace: str) -> istio.HTTPRoute | None:
    """The delegate's rule under the root's; None when their conditions exclude each other."""
    outer = [_full(match, namespace) for match in root.match]
    if outer and own.match:
        pairs = (_both(a, b) for a in outer for b in own.match)
        match = tuple(m for m in pairs if m is not None)
        if not match:
            return None
    else:
        match = tuple(outer) or own.match
    changes: dict[str, Any] = {"match": match, "headers": _headers(root.headers, own.headers)}
    for name in _INHERITED:
        if not getattr(own, name):
            changes[name] = getattr(root, name)
    return replace(own, **changes)


def _full(match: istio.HTTPMatchRequest, namespace: str) -> istio.HTTPMatchRequest:
    gateways = tuple(g if g == MESH else full_gateway(g, namespace) for g in match.gateways)
    return replace(match, gateways=gateways)


def _both(
    root: istio.HTTPMatchRequest, own: istio.HTTPMatchRequest
) -> istio.HTTPMatchRequest | None:
    """A condition that holds when both do; None when that cannot be said in one."""
    changes: dict[str, Any] = {}
    for name in ("uri", "scheme", "method", "authority"):
        outer, inner = getattr(root, name), getattr(own, name)
        if outer is not None and inner is not None and not _narrower(outer, inner):
            return None
        changes[name] = inner if inner is not None else outer
    for name in ("headers", "without_headers", "query_params", "source_labels"):
        outer, inner = getattr(root, name), getattr(own, name)
        if any(inner.get(key, value) != value for key, value in outer.items()):
            return None
        changes[name] = {**outer, **inner}
    for name in ("port", "source_namespace", "ignore_uri_case"):
        outer, inner = getattr(root, name), getattr(own, name)
        if outer and inner and outer != inner:
            return None
        changes[name] = inner or outer
    return replace(own, gateways=root.gateways or own.gateways, **changes)


def _narrower(outer: istio.StringMatch, inner: istio.StringMatch) -> bool:
    """Whether every value that `inner` matches is matched by `outer` too."""
    if outer == inner:
        return True
    if outer.prefix is None:
        return False
    value = inner.exact if inner.exact is not None else inner.prefix
    return value is not None and value.startswith(outer.prefix)


def _headers(root: istio.Headers | None, own: istio.Headers | None) -> istio.Headers | None:
    if root is None or own is None:
        return own or root
    return istio.Headers(
        request=_operations(root.request, own.request),
        response=_operations(root.response, own.response),
    )


def _operations(
    root: istio.HeaderOperations | None, own: istio.HeaderOperations | None
) -> istio.HeaderOperations | None:
    if root is None or own is None:
        return own or root
    outer, inner = asdict(root), asdict(own)
    removed: Sequence[str] = (*root.remove, *own.remove)
    return istio.HeaderOperations(
        set=outer["set"] | inner["set"],
        add=outer["add"] | inner["add"],
        remove=tuple(dict.fromkeys(removed)),
    )
