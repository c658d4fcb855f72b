"""Generate `weft.api.k8s` (frozen msgspec structs) from the Kubernetes OpenAPI definitions.

Run with `make generate`. The source is the definitions file of the `kubernetes-validate` package
(a development dependency); what this writes is committed, so users need neither.

The field rules follow Go's zero values, which is what Kubernetes itself means by an absent field:
strings default to "", lists to (), maps to {}; numbers and booleans to None, because Kubernetes
uses pointers where zero and absent differ; nested messages to None, except metadata, spec,
status and template, which default to an empty value so that readers need no None checks.
"""

import json
import keyword
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

KUBERNETES_VERSION = "1.33.0"
OUT = Path(__file__).parent.parent / "src/weft/api/k8s"
# Kinds our own code reads as typed values. Everything else is served from schema data alone.
ROOTS = (
    "core.v1.Namespace", "core.v1.Node", "core.v1.Pod", "core.v1.Service", "core.v1.ConfigMap",
    "core.v1.Secret", "core.v1.ServiceAccount", "core.v1.Event", "discovery.v1.EndpointSlice",
    "coordination.v1.Lease", "apps.v1.Deployment", "apps.v1.ReplicaSet", "batch.v1.Job",
    "core.v1.LimitRange", "core.v1.ResourceQuota", "scheduling.v1.PriorityClass",
    "admissionregistration.v1.ValidatingAdmissionPolicy",
    "admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    "admissionregistration.v1.ValidatingWebhookConfiguration",
    "admissionregistration.v1.MutatingWebhookConfiguration",
    "admissionregistration.v1alpha1.MutatingAdmissionPolicy",
    "admissionregistration.v1alpha1.MutatingAdmissionPolicyBinding",
    "certificates.v1.CertificateSigningRequest",
    "core.v1.PersistentVolume", "core.v1.PersistentVolumeClaim", "core.v1.Endpoints",
    "core.v1.ReplicationController", "core.v1.PodTemplate", "apps.v1.StatefulSet",
    "apps.v1.DaemonSet", "apps.v1.ControllerRevision", "batch.v1.CronJob",
    "autoscaling.v2.HorizontalPodAutoscaler", "policy.v1.PodDisruptionBudget",
    "storage.v1.StorageClass", "networking.v1.Ingress", "networking.v1.IngressClass",
    "networking.v1.NetworkPolicy", "node.v1.RuntimeClass",
    "rbac.v1.Role", "rbac.v1.RoleBinding", "rbac.v1.ClusterRole", "rbac.v1.ClusterRoleBinding",
)  # fmt: skip
MODULES = {
    "io.k8s.apimachinery.pkg.apis.meta.v1": "meta_v1",
    "io.k8s.api.core.v1": "core_v1",
    "io.k8s.api.apps.v1": "apps_v1",
    "io.k8s.api.batch.v1": "batch_v1",
    "io.k8s.api.discovery.v1": "discovery_v1",
    "io.k8s.api.coordination.v1": "coordination_v1",
    "io.k8s.api.rbac.v1": "rbac_v1",
    "io.k8s.api.scheduling.v1": "scheduling_v1",
    "io.k8s.api.admissionregistration.v1": "admissionregistration_v1",
    "io.k8s.api.admissionregistration.v1alpha1": "admissionregistration_v1alpha1",
    "io.k8s.api.certificates.v1": "certificates_v1",
    "io.k8s.api.autoscaling.v2": "autoscaling_v2",
    "io.k8s.api.policy.v1": "policy_v1",
    "io.k8s.api.storage.v1": "storage_v1",
    "io.k8s.api.networking.v1": "networking_v1",
    "io.k8s.api.node.v1": "node_v1",
}
# core/v1 is too long for one file. Each part holds what its roots mention and no earlier part has,
# so imports between the parts go one way.
CORE_PARTS = {
    "volume_v1": ("Volume",),
    "container_v1": ("Container", "EphemeralContainer"),
    "pod_v1": ("Pod",),
}
# What these mention and the other kinds of core/v1 do not.
CORE_LATE_PARTS = {"persistent_volume_v1": ("PersistentVolume", "PersistentVolumeClaim")}
SCALARS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "str | int | float | None",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int | str | None",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "str",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "str",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "Any",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "Any",
}
ALWAYS_PRESENT = {"metadata", "spec", "status", "template"}


def definitions() -> dict[str, Any]:
    """Load the OpenAPI definitions of the pinned Kubernetes version."""
    package = find_spec("kubernetes_validate")
    if package is None or package.origin is None:
        raise SystemExit("kubernetes-validate is not installed: run `make install`")
    base = Path(package.origin).parent / "kubernetes-json-schema"
    found: dict[str, Any] = json.loads(
        (base / f"v{KUBERNETES_VERSION}-local/_definitions.json").read_text()
    )["$defs"]
    return found


def reference(schema: dict[str, Any]) -> str | None:
    ref = schema.get("$ref")
    return ref.rsplit("/", 1)[-1] if ref else None


def references(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        own = {schema["$ref"].rsplit("/", 1)[-1]} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*(references(v) for v in schema.values()))
    if isinstance(schema, list):
        return set().union(*(references(v) for v in schema))
    return set()


def closure(roots: Iterable[str], defs: dict[str, Any]) -> set[str]:
    """Every definition that the roots mention, directly or through others."""
    todo = list(roots)
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in seen and name not in SCALARS:
            seen.add(name)
            todo += references(defs[name])
    return seen


def assign_modules(defs: dict[str, Any]) -> dict[str, str]:
    """The module each definition is written to."""
    core = "io.k8s.api.core.v1"
    modules: dict[str, str] = {}
    for module, roots in CORE_PARTS.items():
        for name in closure((f"{core}.{root}" for root in roots), defs):
            if name.startswith(core):
                modules.setdefault(name, module)
    late = {f"core.v1.{root}" for roots in CORE_LATE_PARTS.values() for root in roots}
    early = [f"io.k8s.api.{r}" for r in ROOTS if r.startswith("core.") and r not in late]
    for name in closure(early, defs):
        modules.setdefault(name, MODULES[name.rpartition(".")[0]])
    for module, roots in CORE_LATE_PARTS.items():
        for name in closure((f"{core}.{root}" for root in roots), defs):
            modules.setdefault(name, module)
    for name in closure((f"io.k8s.api.{root}" for root in ROOTS), defs):
        modules.setdefault(name, MODULES[name.rpartition(".")[0]])
    return modules


def snake(name: str) -> str:
    """clusterIPs -> cluster_ips, podIP -> pod_ip, apiVersion -> api_version."""
    if name.startswith(("$", "x-")):
        name = re.sub(r"\W", "_", name).strip("_")
    plural_acronym = re.sub(r"([A-Z]{2,})s(?=$|[A-Z])", lambda m: m[1].capitalize() + "s", name)
    word = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", plural_acronym)
    word = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", word).lower()
    return word + "_" if keyword.iskeyword(word) else word


def python_type(schema: dict[str, Any]) -> str:
    """The annotation for a value of this schema inside a container (never None)."""
    ref = reference(schema)
    if ref:
        return SCALARS[ref].removesuffix(" | None") if ref in SCALARS else ref.rsplit(".", 1)[-1]
    kinds = schema.get("type", "object")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if kind == "array":
        return f"tuple[{python_type(schema['items'])}, ...]"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"Mapping[str, {python_type(values)}]" if isinstance(values, dict) else "Any"
    return {"string": "str", "integer": "int", "boolean": "bool", "number": "float"}[kind]


def field_line(name: str, schema: dict[str, Any], defs: dict[str, Any]) -> str:
    typ = python_type(schema)
    attribute = snake(name)
    rename = f', name="{name}"'
    if typ == "str":
        default = 'default=""'
    elif typ.startswith("tuple"):
        default = "default=()"
    elif typ.startswith("Mapping"):
        default = "default_factory=dict"
    elif name in ALWAYS_PRESENT and defs.get(reference(schema) or "", {}).get("properties"):
        default = f"default={typ}()"
    else:
        typ, default = ("Any" if typ == "Any" else f"{typ} | None"), "default=None"
    return f"    {attribute}: {typ} = field({default}{rename})"


def summary(schema: dict[str, Any]) -> str:
    text = " ".join(schema.get("description", "").split()).replace("\\", "").replace('"', "'")
    first = re.split(r"(?<=[a-z)])\. ", text + " ")[0].strip().rstrip(".")
    return (first[:82].rsplit(" ", 1)[0] + " ..." if len(first) > 84 else first) or "No description"


def struct(name: str, defs: dict[str, Any]) -> str:
    schema = defs[name]
    short = name.rsplit(".", 1)[-1]
    lines = [f"class {short}(Struct, frozen=True, omit_defaults=True):"]
    lines.append(f'    """{summary(schema)}."""\n')
    lines += [field_line(n, s, defs) for n, s in schema.get("properties", {}).items()]
    if not schema.get("properties"):
        lines.append("    value: Any = None")
    return "\n".join(lines)


def ordered(names: list[str], defs: dict[str, Any]) -> list[str]:
    done: list[str] = []

    def visit(name: str) -> None:
        if name in done or name not in names:  # every name comes after those it mentions
            return
        for other in sorted(references(defs[name])):
            visit(other)
        done.append(name)

    for name in sorted(names):
        visit(name)
    return done


def write(module: str, modules: dict[str, str], defs: dict[str, Any]) -> None:
    names = [name for name, owner in modules.items() if owner == module]
    imports: dict[str, set[str]] = defaultdict(set)
    for name in names:
        for ref in references(defs[name].get("properties", {})):
            if ref not in SCALARS and modules[ref] != module:
                imports[modules[ref]].add(ref.rsplit(".", 1)[-1])
    body = "\n\n\n".join(struct(n, defs) for n in ordered(names, defs))
    head = [
        f'"""Kubernetes {module.replace("_", "/")} values, generated."""\n',
        "# Made from the OpenAPI definitions of Kubernetes "
        f"{KUBERNETES_VERSION} (Apache-2.0); do not edit.\n",
        "from collections.abc import Mapping\n" if "Mapping[" in body else "",
        "from typing import Any\n" if re.search(r"\bAny\b", body) else "",
        "from msgspec import Struct, field\n",
    ]
    head += [
        f"from weft.api.k8s.{m} import {', '.join(sorted(names))}\n"
        for m, names in sorted(imports.items())
    ]
    (OUT / f"{module}.py").write_text("".join(head) + "\n" + body + "\n")


def main() -> None:
    defs = definitions()
    modules = assign_modules(defs)
    OUT.mkdir(parents=True, exist_ok=True)
    for module in sorted(set(modules.values())):
        write(module, modules, defs)
    (OUT / "__init__.py").write_text(
        '"""Kubernetes objects as frozen values, generated (tools/generate_api.py).\n\n'
        "Takes: nothing. Gives: one struct per message of the Kubernetes API that weft reads.\n"
        'Never: behaviour, defaults or validation; those live one level up.\n"""\n'
    )
    paths = [str(p) for p in OUT.glob("*.py")]
    for command in (["check", "--fix", "-q"], ["format", "-q"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *paths], check=True)


if __name__ == "__main__":
    main()
