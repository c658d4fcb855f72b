"""Whether a route's conditions hold for a request, and which one does not."""

from collections.abc import Mapping

from weft.mesh.explain import regex
from weft.mesh.explain.paths import query_parameters, without_query
from weft.mesh.explain.request import Request
from weft.mesh.model import HttpMatch, NamedMatch, StringMatch, Workload


def mismatch(match: HttpMatch, request: Request, caller: Workload | None) -> str:
    """Why a match does not hold for a request; empty when it does. A gateway's callers are None."""
    return (
        _other_caller(match, caller)
        or _other_path(match, request)
        or _other_parts(match, request)
        or _other_names(match, request)
        or ("it holds for 0 % of the requests" if not match.percent else "")
    )


def _other_caller(match: HttpMatch, caller: Workload | None) -> str:
    if match.source_namespaces and (
        caller is None or caller.namespace not in match.source_namespaces
    ):
        return f"it is for callers of {', '.join(match.source_namespaces)}"
    who = "" if caller is None else f"{caller.namespace}/{caller.workload}"
    if match.source_workload and match.source_workload != who:
        return f"it is for calls of {match.source_workload}"
    labels = () if caller is None else caller.labels
    if missing := [f"{k}={v}" for k, v in match.source_labels if (k, v) not in labels]:
        return f"it is for callers with label {', '.join(missing)}"
    return ""


def _other_path(match: HttpMatch, request: Request) -> str:
    wanted, path = match.path, without_query(request.path)
    if wanted is None or wanted.kind == "present":
        return ""
    if match.ignore_path_case and wanted.kind != "regex":
        held = _path_holds(wanted.value.lower(), path.lower(), match, wanted.kind)
    elif wanted.kind == "regex":
        held = regex.holds(f"(?i){wanted.value}" if match.ignore_path_case else wanted.value, path)
    else:
        held = _path_holds(wanted.value, path, match, wanted.kind)
    if held:
        return ""
    if match.path_segments and wanted.kind == "prefix":
        return f"path `{path}` is not `{wanted.value}` or below it"
    return f"path `{path}` is not {in_words(wanted)}"


def _path_holds(wanted: str, path: str, match: HttpMatch, kind: str) -> bool:
    if kind == "exact":
        return path == wanted
    if match.path_segments:
        return path == wanted or path.startswith(f"{wanted}/")
    return path.startswith(wanted)


def _other_parts(match: HttpMatch, request: Request) -> str:
    for label, wanted, value in (
        ("method", match.method, request.method),
        ("host", match.authority, request.authority),
        ("scheme", match.scheme, "https" if request.scheme == "https" else "http"),
    ):
        if wanted is not None and not value_holds(wanted, value):
            return f"{label} `{value}` is not {in_words(wanted)}"
    return ""


def _other_names(match: HttpMatch, request: Request) -> str:
    headers = {name.lower(): value for name, value in request.headers.items()}
    for header in match.headers:
        if reason := named_mismatch("header", header, headers, header.name.lower()):
            return reason
    if match.query:
        parameters = query_parameters(request.path)
        for parameter in match.query:
            if reason := named_mismatch("query parameter", parameter, parameters, parameter.name):
                return reason
    return ""


def named_mismatch(label: str, wanted: NamedMatch, values: Mapping[str, str], key: str) -> str:
    """Why a condition on a header or parameter does not hold; empty when it does."""
    match, value = wanted.match, values.get(key)
    if match.kind == "present" or (match.kind == "prefix" and not match.value):
        held = value is not None
    elif value is None:
        # "without this value" also holds for requests that lack the header: it counts as empty.
        held = wanted.invert and value_holds(match, "")
    else:
        held = value_holds(match, value)
    if held != wanted.invert:
        return ""
    if wanted.invert:
        return f"{label} `{wanted.name}` is {in_words(match)}, which it must not be"
    if value is None:
        return f"{label} `{wanted.name}` is absent"
    return f"{label} `{wanted.name}` is `{value}`, not {in_words(match)}"


def value_holds(match: StringMatch, value: str) -> bool:
    """Whether a condition holds for a value that is there."""
    if match.kind == "exact":
        return value == match.value
    if match.kind == "prefix":
        return value.startswith(match.value)
    if match.kind == "suffix":
        return value.endswith(match.value)
    return match.kind == "present" or regex.holds(match.value, value)


def in_words(match: StringMatch) -> str:
    """A condition on a text."""
    return "present" if match.kind == "present" else f"{match.kind} `{match.value}`"
