"""What an engine answers, as weft knows it: states of containers, usage, images, the engine itself.
Pure."""

import re
from collections.abc import Mapping
from typing import Any

from weft.lib.timefmt import parse_rfc3339
from weft.node.oci.references import normalize, parse
from weft.node.runtime import ContainerState, Image, OciImage

START_FAILED_CODE = 128
API_VERSION_MIN = (1, 40)
API_VERSION_KNOWN = (1, 44)
_FRACTION = re.compile(r"\.(\d+)")
_NANO = 1e9
_DIGITS_MAX = 6


def seconds(text: str) -> float:
    """Of a time with nanoseconds; 0.0 for the zero time."""
    if not text or text.startswith("0001-"):
        return 0.0
    return parse_rfc3339(_FRACTION.sub(lambda found: f".{found[1][:_DIGITS_MAX]}", text, count=1))


def state_of(container_id: str, inspected: Mapping[str, Any]) -> ContainerState:
    """Of a container as the engine describes it."""
    state = inspected.get("State") or {}
    base = ContainerState(
        id=container_id, pid=state.get("Pid") or 0, started_at=seconds(state.get("StartedAt", "")),
        log_written=False,
    )  # fmt: skip
    if is_alive(inspected):
        return base
    code = int(state.get("ExitCode") or 0)
    reason = "Completed" if code == 0 else "Error"
    message = str(state.get("Error") or "")
    if state.get("OOMKilled"):
        reason = "OOMKilled"
    elif state.get("Status") == "created":
        code, reason = START_FAILED_CODE, "StartError"
    return ContainerState(
        id=container_id, started_at=base.started_at, exit_code=code, reason=reason,
        finished_at=seconds(state.get("FinishedAt", "")), message=message, log_written=False,
    )  # fmt: skip


def is_alive(inspected: Mapping[str, Any]) -> bool:
    """It runs, or is stopping."""
    state = inspected.get("State") or {}
    return bool(state.get("Running")) or state.get("Status") in ("running", "paused", "stopping")


def usage_of(stats: Mapping[str, Any]) -> tuple[float, int]:
    """CPU seconds so far and working set bytes."""
    cpu = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage") or 0
    memory = stats.get("memory_stats") or {}
    more = memory.get("stats") or {}
    idle = more.get("total_inactive_file", more.get("inactive_file", 0))  # version 1, 2
    return cpu / _NANO, max(0, (memory.get("usage") or 0) - idle)


def candidates(name: str, podman: bool) -> tuple[str, ...]:
    """What an image of this name may be called in the engine, best first."""
    full = normalize(name)
    first = name.partition("/")[0]
    short = "/" not in name or not ("." in first or ":" in first or first == "localhost")
    local = (f"localhost/{full.partition('/')[2].removeprefix('library/')}",)
    return (*(local if podman and short else ()), full)


def image_of(name: str, inspected: Mapping[str, Any]) -> Image:
    """An image of the engine. One that never saw a registry is this machine's own word."""
    settings = inspected.get("Config") or {}
    full = normalize(name)
    digests = [d for d in inspected.get("RepoDigests") or () if not d.startswith("localhost/")]
    own = next((d for d in digests if _repository(d) == parse(full).repository), "")
    digest = (own or (digests[0] if digests else "")).partition("@")[2] or str(inspected["Id"])
    platform = f"{inspected.get('Os') or 'linux'}/{inspected.get('Architecture') or ''}"
    return Image(
        name=full,
        directory=settings.get("WorkingDir") or "/",
        command=tuple(settings.get("Entrypoint") or ()),
        args=tuple(settings.get("Cmd") or ()),
        env=dict(entry.partition("=")[::2] for entry in settings.get("Env") or ()),
        oci=OciImage(
            digest=digest, id=_with_algorithm(str(inspected["Id"])),
            user=settings.get("User") or "",
            stop_signal=settings.get("StopSignal") or "", platform=platform,
            created=str(inspected.get("Created") or ""), size_bytes=int(inspected.get("Size") or 0),
            ports=tuple(settings.get("ExposedPorts") or ()), labels=settings.get("Labels") or {},
            origin="pull" if digests else "import",
            repositories=tuple(dict.fromkeys(map(_repository, digests))),
        ),
    )  # fmt: skip


def _repository(reference: str) -> str:
    return normalize(reference).partition("@")[0]


def _with_algorithm(digest: str) -> str:
    return digest if ":" in digest else f"sha256:{digest}"


def api_version(version: Mapping[str, Any]) -> str:
    """Which version of its API to speak. ValueError."""
    highest = _numbers(str(version.get("ApiVersion", "0.0")))
    lowest = _numbers(str(version.get("MinAPIVersion") or "1.24"))
    if highest < API_VERSION_MIN:
        wanted = ".".join(map(str, API_VERSION_MIN))
        raise ValueError(
            f"its API is version {version.get('ApiVersion')}, and weft needs {wanted} or newer:"
            " Docker 19.03, Podman 3.0 or newer"
        )
    return ".".join(map(str, max(min(highest, API_VERSION_KNOWN), lowest)))


def _numbers(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return (int(major), int(minor.partition(".")[0] or 0)) if major.isdecimal() else (0, 0)


def refusal(info: Mapping[str, Any], as_root: bool, kernel: str) -> str:
    """Why this engine cannot run pods of the machine with this kernel; empty when it can."""
    security = " ".join(info.get("SecurityOptions") or ())
    rootless = bool(info.get("Rootless")) or "name=rootless" in security
    if (info.get("OSType") or "linux") != "linux":
        return f"it runs containers for {info['OSType']}, not Linux"
    if (theirs := info.get("KernelVersion") or kernel) != kernel:
        return (
            f"its containers run on another kernel ({theirs}, here {kernel}), as in the virtual"
            " machine of Docker Desktop: they cannot enter pods' networks"
        )
    if "name=userns" in security:
        return (
            "it maps users of containers to others of this machine (userns-remap), who may not"
            " enter pods' networks; run dockerd without it"
        )
    if rootless and as_root:
        return "it runs without root, and so cannot enter the networks that weft makes as root"
    return ""


def shortcomings(info: Mapping[str, Any]) -> tuple[str, ...]:
    """What it does not do for pods, as sentences."""
    missing = [
        what
        for what, key in (("memory", "MemoryLimit"), ("cpu", "CpuCfsQuota"), ("pids", "PidsLimit"))
        if info.get(key) is False
    ]
    if not missing:
        return ()
    return (f"limits of {', '.join(missing)} are not enforced: the engine has no control groups",)
