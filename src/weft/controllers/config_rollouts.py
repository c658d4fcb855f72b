"""Roll on configuration changes, for Deployments that ask for it: when a ConfigMap or Secret that
the pods read changes, the template gets a new annotation, and pods are replaced as by any update.

Opt-in by the annotation `weft.dev/roll-on-config-change: "true"`. What was seen is noted on the
Deployment; nothing rolls when the annotation is set, or when an object appears that was missing.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.core_v1 import ConfigMap, Secret
from weft.api.k8s.pod_v1 import PodSpec
from weft.api.snapshot import Snapshot, meta
from weft.api.wellknown import (
    ANNOTATION_CONFIG_SEEN,
    ANNOTATION_POD_CONFIG_REVISION,
    ANNOTATION_ROLL_ON_CONFIG,
)
from weft.controllers.support.patches import object_patch
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Key, Plan, RecordEvent

_DIGEST_BYTES = 6

Reference = tuple[type[Struct], str]


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Note what the pods read; roll when something of it changed."""
    found = snapshot.get(Deployment, key.name, key.namespace)
    if found is None or found.metadata.annotations.get(ANNOTATION_ROLL_ON_CONFIG) != "true":
        return NOTHING
    seen = _parse(found.metadata.annotations.get(ANNOTATION_CONFIG_SEEN, ""))
    there = dict(_versions(snapshot, found))
    changed = sorted(name for name in there if name in seen and seen[name] != there[name])
    kept = {**{n: v for n, v in seen.items() if n in _names(found)}, **there}
    annotations = dict(found.metadata.annotations) | {ANNOTATION_CONFIG_SEEN: _text(kept)}
    new = replace(found, metadata=replace(found.metadata, annotations=annotations))
    if not changed:
        return Plan(object_patch(found, new, conditional=True))
    template = found.spec.template
    mark = {ANNOTATION_POD_CONFIG_REVISION: _digest(_text(kept).encode())}
    marks = dict(template.metadata.annotations) | mark
    template = replace(template, metadata=replace(template.metadata, annotations=marks))
    new = replace(new, spec=replace(new.spec, template=template))
    text = f"Pods are replaced because of changes in {', '.join(changed)}"
    event = RecordEvent(found, "Normal", "ConfigChanged", text)
    return Plan((*object_patch(found, new, conditional=True), event))


def _versions(snapshot: Snapshot, found: Deployment) -> Iterator[tuple[str, str]]:
    """What is there of what the pods read. A ConfigMap's content counts; of a Secret only that it
    was written, so that nothing of its content shows."""
    for cls, name in references(found.spec.template.spec):
        obj = snapshot.get(cls, name, found.metadata.namespace)
        if isinstance(obj, ConfigMap):
            content = msgspec.json.encode((obj.data, obj.binary_data), order="deterministic")
            yield _label((cls, name)), _digest(content)
        elif obj is not None:
            yield _label((cls, name)), meta(obj).resource_version


def references(spec: PodSpec) -> frozenset[Reference]:
    """ConfigMaps and Secrets that containers or volumes of the pods read."""
    found: set[Reference] = set()
    for container in (*spec.init_containers, *spec.containers):
        for source in container.env_from:
            if source.config_map_ref is not None:
                found.add((ConfigMap, source.config_map_ref.name))
            if source.secret_ref is not None:
                found.add((Secret, source.secret_ref.name))
        for variable in container.env:
            value = variable.value_from
            if value is not None and value.config_map_key_ref is not None:
                found.add((ConfigMap, value.config_map_key_ref.name))
            if value is not None and value.secret_key_ref is not None:
                found.add((Secret, value.secret_key_ref.name))
    for volume in spec.volumes:
        if volume.config_map is not None:
            found.add((ConfigMap, volume.config_map.name))
        if volume.secret is not None:
            found.add((Secret, volume.secret.secret_name))
        for part in volume.projected.sources if volume.projected is not None else ():
            if part.config_map is not None:
                found.add((ConfigMap, part.config_map.name))
            if part.secret is not None:
                found.add((Secret, part.secret.name))
    return frozenset(found)


def _names(found: Deployment) -> frozenset[str]:
    return frozenset(_label(r) for r in references(found.spec.template.spec))


def _label(reference: Reference) -> str:
    return f"{reference[0].__name__.lower()}/{reference[1]}"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def _text(versions: Mapping[str, str]) -> str:
    return ",".join(f"{name}={version}" for name, version in sorted(versions.items()))


def _parse(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {name: version for name, _, version in pairs}


def _readers(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """Deployments that ask for it and read the object."""
    found = meta(obj)
    return [
        Key(found.namespace, d.metadata.name)
        for d in snapshot.list(Deployment, found.namespace)
        if d.metadata.annotations.get(ANNOTATION_ROLL_ON_CONFIG) == "true"
        and (type(obj), found.name) in references(d.spec.template.spec)
    ]


CONTROLLER = Controller(
    name="config-rollout",
    primary=Deployment,
    plan=plan,
    watches=(Watch(ConfigMap, _readers), Watch(Secret, _readers)),
)
