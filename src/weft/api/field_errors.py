"""Errors about fields, with Kubernetes' wording (apimachinery's field.Error), and their paths."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

ErrorKind = Literal[
    "Unknown", "Required", "Invalid", "TypeInvalid", "NotSupported", "Duplicate", "Forbidden",
    "NotFound", "TooLong",
]  # fmt: skip
Location = tuple[str | int, ...]

_TITLES: dict[ErrorKind, str] = {
    "Unknown": "Unknown field",
    "Required": "Required value",
    "Invalid": "Invalid value",
    "TypeInvalid": "Invalid value",
    "NotSupported": "Unsupported value",
    "Duplicate": "Duplicate value",
    "Forbidden": "Forbidden",
    "NotFound": "Not found",
    "TooLong": "Too long",
}
_REASONS: dict[ErrorKind, str] = {
    "Unknown": "FieldValueInvalid",
    "Required": "FieldValueRequired",
    "Invalid": "FieldValueInvalid",
    "TypeInvalid": "FieldValueTypeInvalid",
    "NotSupported": "FieldValueNotSupported",
    "Duplicate": "FieldValueDuplicate",
    "Forbidden": "FieldValueForbidden",
    "NotFound": "FieldValueNotFound",
    "TooLong": "FieldValueTooLong",
}


def path_text(at: Sequence[str | int]) -> str:
    """`("spec", "http", 0, "route")` as `spec.http[0].route`; unusual keys as `[key]`."""
    text = ""
    for step in at:
        if isinstance(step, int) or "." in step or "/" in step:
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


_STEP = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")


def path_steps(text: str) -> Location:
    """The steps of a path as `path_text` writes it."""
    found = (index or name for index, name in _STEP.findall(text))
    return tuple(int(step) if step.isdigit() else step for step in found)


class FieldError(Struct, frozen=True):
    """One thing that is wrong in one place of an object."""

    path: str
    """e.g. `spec.http[0].route[1].destination`."""
    kind: ErrorKind
    value: Any = None
    detail: str = ""
    """What is wrong, in Kubernetes' words where Kubernetes has some."""
    suggestion: str = ""
    """For people: the right field or shape, one or two sentences; may be empty."""
    at: Location = ()
    """The same place as `path`, step by step."""

    @property
    def body(self) -> str:
        """The message without its path, as in a Status' cause."""
        if self.kind == "Unknown":
            return f'unknown field "{self.path}"'
        title = _TITLES[self.kind]
        if self.kind in ("Required", "Forbidden", "TooLong"):
            return f"{title}: {self.detail}" if self.detail else title
        text = f"{title}: {_shown(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    @property
    def message(self) -> str:
        """As in Kubernetes' answers, e.g. `spec.replicas: Invalid value: -1: must be ...`."""
        return self.body if self.kind == "Unknown" else f"{self.path}: {self.body}"

    @property
    def reason(self) -> str:
        """The reason of a Status' cause, e.g. `FieldValueRequired`."""
        return _REASONS[self.kind]


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def error(
    at: Location, kind: ErrorKind, value: Any = None, detail: str = "", suggestion: str = ""
) -> FieldError:
    return FieldError(path_text(at), kind, value, detail, suggestion, at)


def under(at: Location, errors: Iterable[FieldError]) -> list[FieldError]:
    """The errors of an object that is a part of another one, which has it at `at`."""
    return [
        msgspec.structs.replace(e, path=path_text((*at, *e.at)), at=(*at, *e.at)) for e in errors
    ]


def required(at: Location, detail: str = "", suggestion: str = "") -> FieldError:
    return error(at, "Required", None, detail, suggestion)


def invalid(at: Location, value: Any, detail: str, suggestion: str = "") -> FieldError:
    return error(at, "Invalid", value, detail, suggestion)


def forbidden(at: Location, detail: str, suggestion: str = "") -> FieldError:
    return error(at, "Forbidden", None, detail, suggestion)


def duplicate(at: Location, value: Any, suggestion: str = "") -> FieldError:
    return error(at, "Duplicate", value, "", suggestion)


def not_found(at: Location, value: Any, suggestion: str = "") -> FieldError:
    return error(at, "NotFound", value, "", suggestion)


def not_supported(
    at: Location, value: Any, supported: Iterable[str], suggestion: str = ""
) -> FieldError:
    listed = ", ".join(f'"{name}"' for name in supported)
    return error(at, "NotSupported", value, f"supported values: {listed}", suggestion)


def too_long(at: Location, bytes_max: int) -> FieldError:
    """The value itself is left out: it is long."""
    return error(at, "TooLong", None, f"may not be more than {bytes_max} bytes")
