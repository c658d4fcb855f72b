"""Manifests: text as users write it, to checked objects and to findings with file and line.

Used by `weft apply` and `weft up -f` before anything reaches the server, and by tests offline.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, structs

from weft.api import registry, yaml_reader
from weft.api.diagnostics import Diagnostic
from weft.api.field_errors import ErrorKind, FieldError, path_text
from weft.api.kinds import Kind
from weft.api.suggest import nearest
from weft.api.validation import check_manifest
from weft.api.yaml_reader import Path

# --- the codes of this module
UNREADABLE = "WEFT0101"
NO_OBJECT = "WEFT0102"
NO_KIND = "WEFT0103"
UNKNOWN_KIND = "WEFT0104"
UNKNOWN_FIELD = "WEFT0105"
MISSING_FIELD = "WEFT0106"
WRONG_TYPE = "WEFT0107"
UNSUPPORTED_VALUE = "WEFT0108"
INVALID_VALUE = "WEFT0109"
STANDS_TWICE = "WEFT0110"

_CODES: dict[ErrorKind, str] = {
    "Unknown": UNKNOWN_FIELD,
    "Required": MISSING_FIELD,
    "TypeInvalid": WRONG_TYPE,
    "NotSupported": UNSUPPORTED_VALUE,
}


class Document(Struct, frozen=True):
    """One object of a file."""

    value: dict[str, Any]
    kind: Kind | None
    """None when weft does not know the kind."""
    file: str
    line: int
    """Where the object starts, counted from 1."""
    lines: Mapping[Path, int] = {}
    prefix: Path = ()
    """Where the object lies in its document: `("items", 0)` in a List."""
    valid: bool = True
    """Whether no error was found in it."""

    @property
    def name(self) -> str:
        return str((self.value.get("metadata") or {}).get("name") or "")

    @property
    def namespace(self) -> str:
        return str((self.value.get("metadata") or {}).get("namespace") or "")

    def line_of(self, at: Path) -> int:
        """The line of a field; of the nearest field around it when it is not there."""
        steps = (*self.prefix, *at)
        for end in range(len(steps), len(self.prefix), -1):
            if steps[:end] in self.lines:
                return self.lines[steps[:end]]
        return self.line


class Checked(Struct, frozen=True):
    """All objects of a text, good and bad, and what is wrong, in the order of the lines."""

    documents: tuple[Document, ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        return not any(found.severity == "error" for found in self.diagnostics)


def diagnose(text: str, file: str) -> Checked:
    """Read and check a text of one or many objects. `file` is shown in findings. Never raises."""
    parsed, problems = yaml_reader.read(text)
    findings = [_unreadable(problem, file) for problem in problems]
    documents: list[Document] = []
    for document in _objects(parsed, file, findings):
        errors = _check(document)
        findings += errors
        documents.append(structs.replace(document, valid=False) if errors else document)
    findings.sort(key=lambda found: found.line)
    return Checked(tuple(documents), tuple(findings))


def parse(text: str, file: str = "") -> tuple[Document, ...]:
    """The objects of a text without checking them; unreadable parts are left out."""
    return tuple(_objects(yaml_reader.read(text)[0], file, []))


def _unreadable(problem: yaml_reader.Problem, file: str) -> Diagnostic:
    return Diagnostic(
        STANDS_TWICE if "stands twice" in problem.message else UNREADABLE,
        "error",
        problem.message,
        path=path_text(problem.path),
        hint=problem.hint,
        file=file,
        line=problem.line,
    )


def _objects(
    parsed: Iterable[yaml_reader.Parsed], file: str, findings: list[Diagnostic]
) -> list[Document]:
    """The objects of all documents, lists taken apart."""
    found: list[Document] = []
    for document in parsed:
        items = _items(document.value)
        if items is None:
            values: list[tuple[Path, Any]] = [((), document.value)]
        else:
            values = [(("items", i), item) for i, item in enumerate(items)]
        for prefix, value in values:
            line = document.lines.get(prefix, document.line)
            if isinstance(value, dict):
                kind = registry.kind_of(value)
                found.append(
                    Document(value, kind, file, line, document.lines, prefix, document.sound)
                )
            else:
                text = "an object starts with `apiVersion:` and `kind:`; this is none"
                hint = "separate objects by a line `---`" if isinstance(value, list) else ""
                findings.append(
                    Diagnostic(NO_OBJECT, "error", text, hint=hint, file=file, line=line)
                )
    return found


def _items(value: Any) -> list[Any] | None:
    if not isinstance(value, dict) or not str(value.get("kind") or "").endswith("List"):
        return None
    items = value.get("items")
    return items if isinstance(items, list) else None


def _check(document: Document) -> list[Diagnostic]:
    if document.kind is None:
        return [_unknown_kind(document)]
    return [_finding(document, error) for error in check_manifest(document.kind, document.value)]


def _about(document: Document) -> str:
    kind = document.value.get("kind") or "object"
    name = "/".join(part for part in (document.namespace, document.name) if part)
    return f"{kind} `{name}`" if name else f"{kind}"


def _finding(document: Document, error: FieldError) -> Diagnostic:
    about, field = _about(document), _field_name(error)
    match error.kind:
        case "Unknown":
            message = f"{about} has no field `{field}` here"
        case "Required":
            reason = f": {error.detail}" if error.detail else ""
            message = f"{about} lacks `{field}`{reason}"
        case "TypeInvalid":
            message = f"{about}: `{field}` {_type_text(error.detail)}"
        case _:
            message = f"{about}: `{field}`: {error.body}"
    return Diagnostic(
        _CODES.get(error.kind, INVALID_VALUE),
        "error",
        message,
        kind=str(document.value.get("kind") or ""),
        namespace=document.namespace,
        name=document.name,
        path=error.path,
        hint=error.suggestion,
        file=document.file,
        line=document.line_of(error.at),
    )


def _type_text(detail: str) -> str:
    """`must be of type integer: "string"` as `must be of type integer, not string`."""
    wanted, _, found = detail.partition(": ")
    return f"{wanted}, not {found.strip(chr(34))}" if found else wanted


def _field_name(error: FieldError) -> str:
    """The last part of the path that is a name, with indexes behind it: `route[1]`."""
    steps = list(error.at)
    start = len(steps) - 1
    while start > 0 and isinstance(steps[start], int):
        start -= 1
    return path_text(steps[start:])


# ------------------------------------------------------------------ kinds that do not exist


def _unknown_kind(document: Document) -> Diagnostic:
    api_version = str(document.value.get("apiVersion") or "")
    kind = str(document.value.get("kind") or "")
    if not api_version or not kind:
        field = "kind" if api_version else "apiVersion"
        return _at(document, NO_KIND, "", f"the object lacks `{field}`", _kind_example(kind))
    same = next((k for k in registry.KINDS if k.kind == kind), None)
    if same:
        text = f"`{kind}` is not served in `{api_version}`"
        hint = f"write `apiVersion: {same.api_version}`"
        return _at(document, UNKNOWN_KIND, "apiVersion", text, hint)
    text = f"weft knows no kind `{kind}` in `{api_version}`"
    return _at(document, UNKNOWN_KIND, "kind", text, _near_kind(kind, api_version))


def _near_kind(kind: str, api_version: str) -> str:
    """By name among all kinds; else what there is in the group, else all kinds."""
    near = nearest(kind, (k.kind for k in registry.KINDS))
    if near:
        found = next(k for k in registry.KINDS if k.kind == near)
        return f"did you mean `kind: {near}` with `apiVersion: {found.api_version}`?"
    group = api_version.rpartition("/")[0]
    here = [k.kind for k in registry.KINDS if k.group == group and group]
    listed = ", ".join(here or [k.kind for k in registry.KINDS])
    return f"kinds of `{group}`: {listed}" if here else f"kinds are: {listed}"


def _kind_example(kind: str) -> str:
    found = registry.by_name(kind) if kind else None
    if found:
        return f"write `apiVersion: {found.api_version}`"
    return "every object needs both, such as `apiVersion: v1` and `kind: Service`"


def _at(document: Document, code: str, field: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic(
        code,
        "error",
        message,
        kind=str(document.value.get("kind") or ""),
        namespace=document.namespace,
        name=document.name,
        path=field,
        hint=hint,
        file=document.file,
        line=document.line_of((field,)) if field else document.line,
    )
