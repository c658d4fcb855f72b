"""Generate `src/weft/api/data/kubernetes-1.33-protobuf.json.gz`: how Kubernetes' objects look as
protobuf, for reading the bodies that Go clients send.

Run with `make generate-protobuf KUBECTL=/path/to/kubectl-1.33` (any released 64 bit Linux kubectl
of that version); the result is committed, so users need neither. Field numbers, JSON names and
which zero values JSON shows all stand in the tags and types of the program's own structs
(Kubernetes, Apache-2.0); field numbers never change.
"""

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

from go_types import MAP, POINTER, SCALARS, SLICE, STRUCT, Field, Program, Type

OUT = Path(__file__).parent.parent / "src/weft/api/data/kubernetes-1.33-protobuf.json.gz"
_API = re.compile(r"k8s\.io/api/(\w+)/(v[12])$")
_META = "k8s.io/apimachinery/pkg/apis/meta/v1"
GROUPS = {
    "core": "", "admissionregistration": "admissionregistration.k8s.io", "apps": "apps",
    "authentication": "authentication.k8s.io", "authorization": "authorization.k8s.io",
    "autoscaling": "autoscaling", "batch": "batch", "certificates": "certificates.k8s.io",
    "coordination": "coordination.k8s.io", "discovery": "discovery.k8s.io",
    "events": "events.k8s.io", "flowcontrol": "flowcontrol.apiserver.k8s.io",
    "networking": "networking.k8s.io", "node": "node.k8s.io", "policy": "policy",
    "rbac": "rbac.authorization.k8s.io", "scheduling": "scheduling.k8s.io",
    "storage": "storage.k8s.io",
}  # fmt: skip
SPECIAL = {
    (_META, "Time"): "time",
    (_META, "MicroTime"): "microtime",
    (_META, "Duration"): "duration",
    (_META, "FieldsV1"): "raw",
    ("k8s.io/apimachinery/pkg/api/resource", "Quantity"): "quantity",
    ("k8s.io/apimachinery/pkg/util/intstr", "IntOrString"): "int-or-string",
    ("k8s.io/apimachinery/pkg/runtime", "RawExtension"): "raw",
}


class Messages:
    """Walks the structs from the kinds down."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.found: dict[str, list[list[Any]]] = {}

    def message(self, typ: Type) -> str:
        package = typ.package.removeprefix("k8s.io/api/").removeprefix(f"{_META}")
        name = f"{package or 'meta/v1'}.{typ.name}"
        if name not in self.found:
            rows: list[list[Any]] = []
            self.found[name] = rows
            rows += [row for f in self.program.fields(typ) if (row := self.row(f))]
        return f"@{name}"

    def row(self, field: Field) -> list[Any] | None:
        """Number, JSON name ("" for what JSON has in line), type, whether JSON shows zeros."""
        tags = dict(re.findall(r'(\w+):"([^"]*)"', field.tag))
        if "protobuf" not in tags:
            return None
        number = tags["protobuf"].split(",")[1]
        name, *options = tags["json"].split(",")
        shown = field.type.kind == POINTER or "omitempty" not in options
        return [int(number), "" if "inline" in options else name, self.type(field.type), int(shown)]

    def type(self, typ: Type) -> str:
        if typ.kind == POINTER:
            return self.type(self.program.element(typ))
        if special := SPECIAL.get((typ.package, typ.name)):
            return special
        if typ.kind == STRUCT:
            return self.message(typ)
        if typ.kind == MAP:
            return "{}" + self.type(self.program.element(typ))
        if typ.kind == SLICE:
            element = self.program.element(typ)
            if SCALARS.get(element.kind) == "uint8":
                return "bytes"
            # A list type with a name (ExtraValue) is a message with the field `items` = 1.
            return ("<>" if typ.package else "[]") + self.type(element)
        scalar = SCALARS[typ.kind]
        return "int" if "int" in scalar else "float" if "float" in scalar else scalar


def table(program: Program) -> dict[str, Any]:
    messages = Messages(program)
    kinds = {}
    for (package, name), typ in sorted(program.structs.items()):
        where = _API.match(package)
        is_kind = any(f.name == "TypeMeta" for f in program.fields(typ))
        if package == _META and name in ("DeleteOptions", "Status"):
            kinds[f"meta.k8s.io/v1/{name}"] = messages.message(typ)[1:]
        elif where and is_kind and where[1] in GROUPS:
            group = GROUPS[where[1]]
            version = f"{group}/{where[2]}" if group else where[2]
            kinds[f"{version}/{name}"] = messages.message(typ)[1:]
    return {
        "source": "Kubernetes 1.33 (Apache-2.0): the struct tags in its kubectl",
        "kinds": kinds,
        "messages": dict(sorted(messages.found.items())),
    }


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: generate_protobuf.py /path/to/kubectl (of Kubernetes 1.33)")
    found = table(Program(Path(sys.argv[1])))
    text = json.dumps(found, separators=(",", ":"), sort_keys=True)
    OUT.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(
        f"{OUT.name}: {len(found['kinds'])} kinds, {len(found['messages'])} messages, "
        f"{OUT.stat().st_size // 1000} kB"
    )


if __name__ == "__main__":
    main()
