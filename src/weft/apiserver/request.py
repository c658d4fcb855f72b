"""What a request asks for, read from its method, path and query. Pure."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal

import orjson
from msgspec import Struct

from weft.api.kinds import MEASURED, QUESTION, Kind
from weft.api.selectors import parse_fields
from weft.api.wellknown import MANAGER
from weft.apiserver import failures
from weft.apiserver.access import Attributes
from weft.apiserver.catalog import BUILT_IN, Catalog

Verb = Literal["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
FieldValidation = Literal["Strict", "Warn", "Ignore"]
TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
POSTED_SUBRESOURCES = frozenset({"attach", "binding", "eviction", "exec", "portforward", "token"})
"""A POST to one of these is the verb create."""
REVISION_DIGITS_MAX = 20
"""Of a number of 64 bits."""
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class Target(Struct, frozen=True):
    """The resource that a path names."""

    kind: Kind
    version: str
    """The served version that the path asks for."""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


APPLIERS = ("kubectl-client-side-apply", "helm", MANAGER)
"""Field managers of tools that write whole configurations by patches."""


class WriteOptions(Struct, frozen=True):
    """Query parameters of create, update and patch."""

    dry_run: bool = False
    field_validation: FieldValidation = "Warn"
    field_manager: str = ""
    force: bool = False
    tracks: bool = False
    """Whether an object that has no managedFields yet gets some."""
    server_side: bool = False
    """Server-side apply."""

    @property
    def applies(self) -> bool:
        """Whether a whole configuration is applied, by whatever tool."""
        return self.server_side or self.field_manager in APPLIERS


class ListOptions(Struct, frozen=True):
    """Query parameters of list, watch and deletecollection. Empty and 0 mean not given."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    watch: bool = False
    bookmarks: bool = False
    send_initial_events: bool | None = None
    timeout_seconds: int | None = None


class DeleteOptions(Struct, frozen=True):
    """Body or query parameters of delete."""

    dry_run: bool = False
    grace_period_seconds: int | None = None
    propagation: str = ""
    """Background, Foreground, Orphan; "" leaves it to the object's finalizers."""
    uid: str = ""
    resource_version: str = ""


class Continue(Struct, frozen=True):
    """What a continue token says: the list's revision and the last key returned."""

    revision: int
    after: str


def parse_target(path: str, catalog: Catalog = BUILT_IN) -> Target | None:
    """The resource of a path under /api/v1 or /apis/<group>/<version>; None when it names none
    that is served."""
    parts = [p for p in path.split("/") if p]
    if parts[:2] == ["api", "v1"]:
        group, version, rest = "", "v1", parts[2:]
    elif len(parts) > 3 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    if not 1 <= len(rest) <= 3:
        return None
    kind = catalog.by_resource(group, version, rest[0])
    name, subresource = (*rest[1:], "", "")[:2]
    if kind is None or (namespace and not kind.namespaced):
        return None
    if name and kind.namespaced and not namespace:
        return None
    if subresource and subresource not in subresources_of(kind, version):
        return None
    return Target(kind, version, namespace, name, subresource)


def subresources_of(kind: Kind, version: str) -> tuple[str, ...]:
    """Versions of custom kinds differ in theirs."""
    if kind.definition is None:
        return kind.subresources
    having = {"status": kind.definition.status, "scale": kind.definition.scale}
    return tuple(sub for sub in kind.subresources if version in having[sub])


def verb_of(method: str, target: Target, query: Mapping[str, str]) -> Verb:
    """What a method means on a target. Raises ApiError 405."""
    named = bool(target.name)
    if target.kind.verbs == QUESTION and (method != "POST" or named):
        raise failures.method_not_allowed()
    if target.kind.verbs == MEASURED and (
        method not in ("GET", "HEAD") or (not named and flag(query, "watch"))
    ):
        raise failures.method_not_allowed()
    if method in ("GET", "HEAD"):
        if named:
            return "get"
        return "watch" if flag(query, "watch") else "list"
    verbs: dict[tuple[str, bool], Verb] = {
        ("POST", False): "create",
        ("PUT", True): "update",
        ("PATCH", True): "patch",
        ("DELETE", True): "delete",
        ("DELETE", False): "deletecollection",
    }
    if method == "POST" and named and target.subresource in POSTED_SUBRESOURCES:
        return "create"
    if (method, named) not in verbs or (target.subresource and method == "DELETE"):
        raise failures.method_not_allowed()
    return verbs[method, named]


def attributes(target: Target, verb: Verb, query: Mapping[str, str]) -> Attributes:
    """What authorization is asked. A list or watch of one object by its name is about that one;
    a namespace is in itself."""
    name, namespace, node = target.name, target.namespace, ""
    if verb in ("list", "watch", "deletecollection"):
        name = _selected(query.get("fieldSelector", ""), "metadata", "name")
        node = _selected(query.get("fieldSelector", ""), "spec", "nodeName")
    if target.kind.plural == "namespaces" and not target.kind.group:
        namespace = name
    return Attributes(
        verb, group=target.kind.group, version=target.version, resource=target.kind.plural,
        subresource=target.subresource, namespace=namespace, name=name,
        selected_node=node,
    )  # fmt: skip


def _selected(selector: str, *path: str) -> str:
    """As the list itself reads it: another reading would authorize one object and show others.
    One that cannot be read names nothing; the list refuses it."""
    try:
        return parse_fields(selector).value_of(*path) or ""
    except ValueError:
        return ""


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean as Go's strconv reads it. A name without value is true. Raises ApiError 400."""
    value = query.get(name)
    if value is None or value in FALSE:
        return False
    if value in TRUE or value == "":
        return True
    raise failures.bad_request(
        f'invalid query parameter {name}: strconv.ParseBool: parsing "{value}": invalid syntax'
    )


def natural(query: Mapping[str, str], name: str) -> int | None:
    """A number that may not be negative. Raises ApiError 400."""
    found = number(query, name)
    if found is not None and found < 0:
        raise failures.bad_request(
            f"invalid query parameter {name}: {found}: must be greater than or equal to 0"
        )
    return found


def number(query: Mapping[str, str], name: str) -> int | None:
    """An integer, None when absent. Raises ApiError 400."""
    value = query.get(name, "")
    if value == "":
        return None
    try:
        return int(value)
    except ValueError:
        raise failures.bad_request(
            f'invalid query parameter {name}: strconv.ParseInt: parsing "{value}": invalid syntax'
        ) from None


def write_options(query: Mapping[str, str]) -> WriteOptions:
    """Raises ApiError 400 or 422 for values that are not known."""
    validation = query.get("fieldValidation") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        raise failures.bad_request(
            f'fieldValidation: Unsupported value: "{validation}": '
            'supported values: "Ignore", "Strict", "Warn"'
        )
    return WriteOptions(
        _dry_run(query.get("dryRun", "")),
        validation,  # type: ignore[arg-type]
        query.get("fieldManager", ""),
        flag(query, "force"),
        tracks=True,
    )


def _dry_run(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    if bad := [v for v in values if v not in ("", "All")]:
        raise failures.bad_request(
            f'dryRun: Unsupported value: "{bad[0]}": supported values: "All"'
        )
    return "All" in values


def list_options(query: Mapping[str, str]) -> ListOptions:
    """Raises ApiError 400."""
    initial = flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    options = ListOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        limit=natural(query, "limit") or 0,
        continue_token=query.get("continue", ""),
        resource_version=query.get("resourceVersion", ""),
        resource_version_match=query.get("resourceVersionMatch", ""),
        watch=flag(query, "watch"),
        bookmarks=flag(query, "allowWatchBookmarks"),
        send_initial_events=initial,
        timeout_seconds=natural(query, "timeoutSeconds"),
    )
    _check_revision_match(options)
    return options


_LIST_OPTIONS = Kind("meta.k8s.io", "v1", "ListOptions", "listoptions")
_MATCHES = ("Exact", "NotOlderThan")


def _check_revision_match(options: ListOptions) -> None:
    """Which of resourceVersion, resourceVersionMatch, continue and sendInitialEvents go together
    (the documentation of API concepts). Raises ApiError 422."""
    match, initial = options.resource_version_match, options.send_initial_events
    field = "resourceVersionMatch"
    if match and match not in _MATCHES:
        listed = ", ".join(f'"{name}"' for name in _MATCHES)
        _refuse_option(field, f'Unsupported value: "{match}": supported values: {listed}')
    if initial is not None:
        if not options.watch:
            _forbid_option("sendInitialEvents", "sendInitialEvents is forbidden for list")
        if match != "NotOlderThan":
            _forbid_option(
                field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
        return
    if not match:
        return
    if options.watch:
        _forbid_option(
            field, f"{field} is forbidden for watch unless sendInitialEvents is provided"
        )
    if options.continue_token:
        _forbid_option(field, f"{field} is forbidden when continue is provided")
    if not options.resource_version:
        _forbid_option(field, f"{field} is forbidden unless resourceVersion is provided")
    if match == "Exact" and options.resource_version == "0":
        _forbid_option(field, f'{field} "exact" is forbidden for resourceVersion "0"')


def _forbid_option(field: str, why: str) -> None:
    _refuse_option(field, f"Forbidden: {why}", "FieldValueForbidden")


def _refuse_option(field: str, message: str, reason: str = "FieldValueNotSupported") -> None:
    cause = {"reason": reason, "message": message, "field": field}
    raise failures.invalid(_LIST_OPTIONS, "", [cause])


def parse_revision(text: str) -> int:
    """A resourceVersion as a number; "" is 0. Raises ApiError 400."""
    if text == "":
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= REVISION_DIGITS_MAX):
        raise failures.bad_request(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: '
            f'parsing "{text}": invalid syntax'
        )
    return int(text)


def delete_options(query: Mapping[str, str], body: Mapping[str, Any]) -> DeleteOptions:
    """The body wins; without one the query counts. Raises ApiError 400."""
    found: dict[str, Any] = dict(body)
    if not body:
        found = {
            "dryRun": query.get("dryRun", ""),
            "gracePeriodSeconds": number(query, "gracePeriodSeconds"),
            "propagationPolicy": query.get("propagationPolicy", ""),
        }
        if "orphanDependents" in query:
            found["orphanDependents"] = flag(query, "orphanDependents")
    preconditions = found.get("preconditions") or {}
    if not isinstance(preconditions, Mapping):
        raise failures.bad_request("preconditions: Invalid value: must be an object")
    propagation = found.get("propagationPolicy") or ""
    if not propagation and found.get("orphanDependents") is not None:
        propagation = "Orphan" if found["orphanDependents"] else "Background"
    if propagation not in ("", "Background", "Foreground", "Orphan"):
        raise failures.bad_request(
            f'propagationPolicy: Unsupported value: "{propagation}": '
            'supported values: "Foreground", "Background", "Orphan"'
        )
    grace = found.get("gracePeriodSeconds")
    if grace is not None and not isinstance(grace, int):
        raise failures.bad_request("gracePeriodSeconds: Invalid value: must be an integer")
    return DeleteOptions(
        _dry_run(found.get("dryRun") or ""),
        grace,
        propagation,
        str(preconditions.get("uid") or ""),
        str(preconditions.get("resourceVersion") or ""),
    )


NEWEST = -1
"""In a continue token: not the revision of the first page, which is gone, but the present one."""


def continue_token(revision: int, after: str) -> str:
    """Opaque to clients; the same content as Kubernetes', so that tools can show it."""
    body = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": after})
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def parse_continue(token: str, prefix: str) -> Continue:
    """Raises ApiError 400 for what was not made by `continue_token` for this prefix."""
    try:
        padded = token + "=" * (-len(token) % 4)
        found = orjson.loads(base64.urlsafe_b64decode(padded))
        parsed = Continue(int(found["rv"]), str(found["start"]))
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise failures.bad_request("continue key is not valid") from error
    if not parsed.after.startswith(prefix) or not (
        parsed.revision >= 1 or parsed.revision == NEWEST
    ):
        raise failures.bad_request("continue key is not valid")
    return parsed
