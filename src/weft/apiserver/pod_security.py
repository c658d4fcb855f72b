"""The Pod Security Standards: what a pod may not ask for at each level. Pure.

Source: the PodSecurity admission of kube-apiserver (1.33), also for its words and their order.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

Json = Mapping[str, Any]
PRIVILEGED, BASELINE, RESTRICTED = LEVELS = ("privileged", "baseline", "restricted")
"""From the least to the most strict."""
PREFIX = "pod-security.kubernetes.io/"
MODES = ("enforce", "audit", "warn")
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)", re.ASCII)
_KEYS = ("initContainers", "containers", "ephemeralContainers")
_CAPABILITIES = frozenset((
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
    "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
))  # fmt: skip
_SYSCTLS = frozenset((
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
))  # fmt: skip
_SELINUX_TYPES = frozenset(
    ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
)
_PROFILES = ("RuntimeDefault", "Localhost")
_VOLUMES = frozenset((
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
    "projected", "secret",
))  # fmt: skip
_PROC = ("", "Default")
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


class Standard(Struct, frozen=True):
    """A level and the version that the label names."""

    level: str = PRIVILEGED
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


class Policy(Struct, frozen=True):
    """What a namespace asks for."""

    enforce: Standard = Standard()
    audit: Standard = Standard()
    warn: Standard = Standard()
    errors: tuple[tuple[str, str, str], ...] = ()
    """Labels that cannot be read: (name, value, why)."""


class Violation(Struct, frozen=True):
    """One rule that a pod breaks: `hostPort (container "a" uses hostPort 80)`."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


def policy_of(labels: Mapping[str, str] | None) -> Policy:
    """Of a namespace's labels. A level to enforce that cannot be read is taken as `restricted`,
    others as `privileged`; to warn of is what is enforced when nothing is said."""
    labels = labels or {}
    errors: list[tuple[str, str, str]] = []
    found: dict[str, Standard] = {}
    for mode in MODES:
        level = labels.get(PREFIX + mode, PRIVILEGED)
        if level not in LEVELS:
            errors.append((PREFIX + mode, level, f"must be one of {', '.join(LEVELS)}"))
            level = RESTRICTED if mode == "enforce" else PRIVILEGED
        version = labels.get(f"{PREFIX}{mode}-version", "latest")
        if version != "latest" and not _VERSION.fullmatch(version):
            errors.append((f"{PREFIX}{mode}-version", version, 'must be "latest" or "v1.x"'))
            version = "latest"
        found[mode] = Standard(level, version)
    if PREFIX + "warn" not in labels:
        found["warn"] = found["enforce"]
    return Policy(**found, errors=tuple(errors))


def violations(level: str, metadata: Json, spec: Json) -> list[Violation]:
    """What the pod asks for and may not, in Kubernetes' order."""
    if level == PRIVILEGED:
        return []
    checks = (*_BOTH, *_RESTRICTED) if level == RESTRICTED else _BASELINE
    return [found for check in checks if (found := check(metadata, spec)) is not None]


def matters(new: Json, old: Json) -> bool:
    """Whether a change of a pod is one to be asked about: its images, its containers."""
    was, now = old.get("spec") or {}, new.get("spec") or {}
    return _images(was) != _images(now)


def _images(spec: Json) -> list[tuple[str, str, str]]:
    return [
        (key, c.get("name") or "", c.get("image") or "")
        for key in _KEYS
        for c in spec.get(key) or ()
    ]


# ------------------------------------------------------------ reading


def _contexts(spec: Json) -> Iterable[tuple[str, Json]]:
    """Names and security contexts of all containers."""
    for key in _KEYS:
        for container in spec.get(key) or ():
            yield container.get("name") or "", container.get("securityContext") or {}


def _own(spec: Json) -> Json:
    return spec.get("securityContext") or {}


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(f'"{v}"' for v in values)


def _plural(word: str, count: int) -> str:
    return word if count == 1 else word + "s"


def _containers(names: list[str]) -> str:
    return f"{_plural('container', len(names))} {_quoted(names)}"


def _setters(spec: Json, bad: Callable[[Json], bool]) -> str:
    """`pod and container "a"`; empty when nobody is."""
    names = [name for name, context in _contexts(spec) if bad(context)]
    parts = ["pod"] * bad(_own(spec)) + [_containers(names)] * bool(names)
    return " and ".join(parts)


def _bad_types(spec: Json, key: str) -> list[str]:
    """Types of profiles that are neither the runtime's nor the node's."""
    contexts = (_own(spec), *(c for _, c in _contexts(spec)))
    return sorted({t for c in contexts if (t := _type(c, key)) not in (None, *_PROFILES)})


def _type(context: Json, key: str) -> Any:
    profile = context.get(key)
    return None if profile is None else profile.get("type") or ""


# ------------------------------------------------------------ baseline


def _apparmor(metadata: Json, spec: Json) -> Violation | None:
    values = _bad_types(spec, "appArmorProfile")
    setters = _setters(spec, lambda c: _type(c, "appArmorProfile") not in (None, *_PROFILES))
    noted = sorted(
        f'{key}="{value}"'
        for key, value in (metadata.get("annotations") or {}).items()
        if key.startswith(_APPARMOR)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    said = [setters] * bool(setters) + [_plural("annotation", len(noted))] * bool(noted)
    if not said:
        return None
    values += noted
    return Violation(
        _plural("forbidden AppArmor profile", len(values)),
        f"{' and '.join(said)} must not set AppArmor profile type to {_quoted(values)}",
    )


def _capabilities(metadata: Json, spec: Json) -> Violation | None:
    names, added = _adding(spec, _CAPABILITIES)
    if not names:
        return None
    where = "securityContext.capabilities.add"
    text = f"{_containers(names)} must not include {_quoted(added)} in {where}"
    return Violation("non-default capabilities", text)


def _adding(spec: Json, allowed: Iterable[str]) -> tuple[list[str], list[str]]:
    """Containers that add other capabilities, and which."""
    names: list[str] = []
    added: set[str] = set()
    for name, context in _contexts(spec):
        more = set((context.get("capabilities") or {}).get("add") or ()) - set(allowed)
        added |= more
        names += [name] * bool(more)
    return names, sorted(added)


def _host_namespaces(metadata: Json, spec: Json) -> Violation | None:
    shared = [f"{k}=true" for k in ("hostNetwork", "hostPID", "hostIPC") if spec.get(k)]
    return Violation("host namespaces", ", ".join(shared)) if shared else None


def _host_paths(metadata: Json, spec: Json) -> Violation | None:
    names = [v.get("name") or "" for v in spec.get("volumes") or () if "hostPath" in v]
    if not names:
        return None
    return Violation("hostPath volumes", f"{_plural('volume', len(names))} {_quoted(names)}")


def _host_ports(metadata: Json, spec: Json) -> Violation | None:
    names: list[str] = []
    found: set[str] = set()
    for container in (c for key in _KEYS for c in spec.get(key) or ()):
        ports = {str(p["hostPort"]) for p in container.get("ports") or () if p.get("hostPort")}
        found |= ports
        names += [container.get("name") or ""] * bool(ports)
    if not names:
        return None
    verb = "uses" if len(names) == 1 else "use"
    word = _plural("hostPort", len(found))
    return Violation("hostPort", f"{_containers(names)} {verb} {word} {', '.join(sorted(found))}")


def _privileged(metadata: Json, spec: Json) -> Violation | None:
    names = [name for name, c in _contexts(spec) if c.get("privileged")]
    if not names:
        return None
    text = f"{_containers(names)} must not set securityContext.privileged=true"
    return Violation("privileged", text)


def _proc_mount(metadata: Json, spec: Json) -> Violation | None:
    asked = [(name, c.get("procMount") or "") for name, c in _contexts(spec)]
    bad = [(name, value) for name, value in asked if value not in _PROC]
    if not bad:
        return None
    values = _quoted(sorted({value for _, value in bad}))
    names = _containers([name for name, _ in bad])
    return Violation("procMount", f"{names} must not set securityContext.procMount to {values}")


def _selinux(metadata: Json, spec: Json) -> Violation | None:
    setters = _setters(spec, lambda c: bool(_selinux_faults(c)))
    if not setters:
        return None
    contexts = (_own(spec), *(c for _, c in _contexts(spec)))
    faults = {fault for c in contexts for fault in _selinux_faults(c)}
    types = sorted(value for key, value in faults if key == "type")
    said = [f"{_plural('type', len(types))} {_quoted(types)}"] if types else []
    said += [f"{key} may not be set" for key in ("user", "role") if (key, "") in faults]
    text = f"{setters} set forbidden securityContext.seLinuxOptions: {'; '.join(said)}"
    return Violation("seLinuxOptions", text)


def _selinux_faults(context: Json) -> list[tuple[str, str]]:
    options = context.get("seLinuxOptions") or {}
    kind = options.get("type") or ""
    found = [("type", kind)] if kind not in _SELINUX_TYPES else []
    return found + [(key, "") for key in ("user", "role") if options.get(key)]


def _seccomp_set(metadata: Json, spec: Json) -> Violation | None:
    setters = _setters(spec, lambda c: _type(c, "seccompProfile") not in (None, *_PROFILES))
    if not setters:
        return None
    values = _quoted(_bad_types(spec, "seccompProfile"))
    text = f"{setters} must not set securityContext.seccompProfile.type to {values}"
    return Violation("seccompProfile", text)


def _sysctls(metadata: Json, spec: Json) -> Violation | None:
    asked = [s.get("name") or "" for s in _own(spec).get("sysctls") or ()]
    bad = [name for name in asked if name not in _SYSCTLS]
    return Violation("forbidden sysctls", ", ".join(bad)) if bad else None


def _host_process(metadata: Json, spec: Json) -> Violation | None:
    setters = _setters(spec, lambda c: bool((c.get("windowsOptions") or {}).get("hostProcess")))
    if not setters:
        return None
    text = f"{setters} must not set securityContext.windowsOptions.hostProcess=true"
    return Violation("hostProcess", text)


# ------------------------------------------------------------ restricted


def _escalation(metadata: Json, spec: Json) -> Violation | None:
    names = [n for n, c in _contexts(spec) if c.get("allowPrivilegeEscalation") is not False]
    if not names:
        return None
    text = f"{_containers(names)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", text)


def _dropped(metadata: Json, spec: Json) -> Violation | None:
    said: list[str] = []
    where = "securityContext.capabilities"
    keeping = [
        name
        for name, c in _contexts(spec)
        if "ALL" not in ((c.get("capabilities") or {}).get("drop") or ())
    ]
    if keeping:
        said.append(f'{_containers(keeping)} must set {where}.drop=["ALL"]')
    names, added = _adding(spec, ("NET_BIND_SERVICE",))
    if names:
        said.append(f"{_containers(names)} must not include {_quoted(added)} in {where}.add")
    return Violation("unrestricted capabilities", "; ".join(said)) if said else None


def _volumes(metadata: Json, spec: Json) -> Violation | None:
    bad = [v for v in spec.get("volumes") or () if not _VOLUMES & v.keys()]
    if not bad:
        return None
    types = sorted({next((key for key in v if key != "name"), "unknown") for v in bad})
    names = _quoted(v.get("name") or "" for v in bad)
    verb = "uses" if len(bad) == 1 else "use"
    word = _plural("restricted volume type", len(types))
    text = f"{_plural('volume', len(bad))} {names} {verb} {word} {_quoted(types)}"
    return Violation("restricted volume types", text)


def _non_root(metadata: Json, spec: Json) -> Violation | None:
    setters = _setters(spec, lambda c: c.get("runAsNonRoot") is False)
    if setters:
        text = f"{setters} must not set securityContext.runAsNonRoot=false"
        return Violation("runAsNonRoot != true", text)
    silent = [name for name, c in _contexts(spec) if c.get("runAsNonRoot") is None]
    if _own(spec).get("runAsNonRoot") or not silent:
        return None
    text = f"pod or {_containers(silent)} must set securityContext.runAsNonRoot=true"
    return Violation("runAsNonRoot != true", text)


def _root_user(metadata: Json, spec: Json) -> Violation | None:
    setters = _setters(spec, lambda c: c.get("runAsUser") == 0)
    return Violation("runAsUser=0", f"{setters} must not set runAsUser=0") if setters else None


def _seccomp_named(metadata: Json, spec: Json) -> Violation | None:
    bad = _seccomp_set(metadata, spec)
    if bad is not None:
        return bad
    silent = [name for name, c in _contexts(spec) if _type(c, "seccompProfile") is None]
    if _type(_own(spec), "seccompProfile") is not None or not silent:
        return None
    field = "securityContext.seccompProfile.type"
    text = f'pod or {_containers(silent)} must set {field} to "RuntimeDefault" or "Localhost"'
    return Violation("seccompProfile", text)


_Check = Callable[[Json, Json], Violation | None]
_BASELINE: tuple[_Check, ...] = (
    _apparmor, _capabilities, _host_namespaces, _host_paths, _host_ports, _privileged,
    _proc_mount, _selinux, _seccomp_set, _sysctls, _host_process,
)  # fmt: skip
_STRICTER = (_capabilities, _host_paths, _seccomp_set)
"""Checks that one of `restricted` takes the place of."""
_BOTH = tuple(check for check in _BASELINE if check not in _STRICTER)
_RESTRICTED: tuple[_Check, ...] = (
    _escalation, _dropped, _volumes, _non_root, _root_user, _seccomp_named,
)  # fmt: skip
