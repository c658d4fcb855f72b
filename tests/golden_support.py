"""Golden files: recorded outputs that reviews read and tests compare.

`tests/golden/<group>/<case>.in.yaml` is an input, written by hand; `<case>.<what>` next to it, or
in another group, is what some stage made of it. `pytest --golden-update` rewrites the outputs and
deletes those whose input is gone.
"""

import difflib
from pathlib import Path
from typing import Any

import msgspec
import yaml

GOLDEN = Path(__file__).parent / "golden"
INPUT_SUFFIX = ".in.yaml"
DIFF_LINES_MAX = 80
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""Those in C, where PyYAML has them, take a tenth of the time and give the same."""


def case_names(group: str) -> list[str]:
    """The cases that have an input in a group, sorted."""
    found = (GOLDEN / group).glob(f"*{INPUT_SUFFIX}")
    return sorted(path.name.removesuffix(INPUT_SUFFIX) for path in found)


def documents(group: str, case: str) -> list[dict[str, Any]]:
    """The YAML documents of an input."""
    text = (GOLDEN / group / f"{case}{INPUT_SUFFIX}").read_text()
    return loaded(text)


def loaded(text: str) -> list[Any]:
    """The YAML documents of a text; empty ones are left out."""
    return [doc for doc in yaml.load_all(text, LOADER) if doc]


def stale_files() -> list[Path]:
    """Outputs, of any group, that belong to no input."""
    known = {p.name.removesuffix(INPUT_SUFFIX) for p in GOLDEN.glob(f"*/*{INPUT_SUFFIX}")}
    outputs = (p for p in GOLDEN.glob("*/*") if not p.name.endswith(INPUT_SUFFIX))
    return sorted(p for p in outputs if p.name.partition(".")[0] not in known)


def plain(value: Any) -> Any:
    """Structs as dicts without the fields that have their default; tuples as lists."""
    if isinstance(value, msgspec.Struct):
        return {
            f.encode_name: plain(got)
            for f in msgspec.structs.fields(value)
            if (got := getattr(value, f.name)) != _default(f)
        }
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def to_yaml(value: Any) -> str:
    """A value as stable, readable YAML, without what has its default."""
    return str(
        yaml.dump(plain(value), Dumper=DUMPER, sort_keys=False, allow_unicode=True, width=100)
    )


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return msgspec.NODEFAULT


class Golden:
    """The `golden` fixture: compares with the recorded output, or records it."""

    def __init__(self, update: bool) -> None:
        self.update = update

    def check(self, group: str, case: str, what: str, actual: str) -> None:
        """`actual` must equal `tests/golden/<group>/<case>.<what>`, byte for byte."""
        path = GOLDEN / group / f"{case}.{what}"
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_text() != actual:
                path.write_text(actual)
            return
        name = path.relative_to(GOLDEN.parent)
        assert path.exists(), f"{name} is missing; record it with `make golden`"
        expected = path.read_text()
        if expected != actual:
            lines = difflib.unified_diff(
                expected.splitlines(), actual.splitlines(), str(name), "actual", lineterm="", n=4
            )
            shown = "\n".join(list(lines)[:DIFF_LINES_MAX])
            raise AssertionError(f"{shown}\n\nif this is right: `make golden`, then read the diff")
