"""Chooses the isolation of pods: by trying, with a sentence for each thing that is missing."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from weft.api.wellknown import ISOLATION_HOST, ISOLATION_NETNS

PROBE_TIMEOUT_SECONDS = 20.0
AUTO = "auto"

_NETNS_NEEDS = {
    "mounts": "mount namespaces",
    "etc": "an overlay on /etc",
    "volumes": "bind mounts",
    "own_devices": "changes to this machine's network",
    "namespace": "network namespaces",
    "pin": "pinning a network namespace",
    "devices": "bridges and veth devices",
    "redirect": "nftables redirection",
    "low_ports": "ports below 1024 for pods",
}


_NOT_REACHED = "not reached"


class IsolationReport(Struct, frozen=True):
    """What pods get on this machine."""

    isolation: str
    """`netns` or `host`."""
    possible: bool = True
    """False: what was asked for cannot be had; `missing` says why."""
    private_files: bool = True
    """Containers have their own /etc entries (names resolve) and volumes at any path."""
    missing: tuple[str, ...] = ()
    """One sentence for each thing a user might expect and does not get."""


async def choose(requested: str = AUTO) -> IsolationReport:
    """Try what the machine allows (some 30 ms) and choose. `requested`: auto, netns or host."""
    return decide(requested, await probe())


async def probe() -> dict[str, str]:
    """What `weft.node.linux.trial` found: question -> "" or why not."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(Path(__file__).parent / "linux")),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            output, _ = await process.communicate()
        answers: dict[str, str] = json.loads(output)
    except (TimeoutError, ValueError):
        return {"mounts": "the probe gave no answer", "user.mounts": "the probe gave no answer"}
    return answers


def decide(requested: str, answers: Mapping[str, str]) -> IsolationReport:
    """The choice from the probe's answers. Pure."""
    refused = [
        f"{words} ({answers.get(name, _NOT_REACHED)})"
        for name, words in _NETNS_NEEDS.items()
        if answers.get(name, _NOT_REACHED)
    ]
    if requested != ISOLATION_HOST and not refused:
        return IsolationReport(ISOLATION_NETNS)
    if requested == ISOLATION_NETNS:
        reached = [text for text in refused if not text.endswith(f"({_NOT_REACHED})")]
        lacks = ", ".join(reached or refused)
        sentence = f"isolation netns is not possible here, it lacks {lacks}; it needs root"
        return IsolationReport(ISOLATION_NETNS, False, False, (sentence,))
    missing = [_shared_network(requested, refused)]
    files = _own_files(answers)
    if not files:
        missing.append(
            "Containers see this machine's /etc and cannot have volumes, because private mounts"
            f" are refused ({answers.get('user.mounts') or answers.get('mounts', 'unknown')});"
            " service names work through http_proxy only."
        )
    return IsolationReport(ISOLATION_HOST, True, files, tuple(missing))


def _own_files(answers: Mapping[str, str]) -> bool:
    return any(
        all(answers.get(prefix + name, "no") == "" for name in ("mounts", "etc", "volumes"))
        for prefix in ("", "user.")
    )


def _shared_network(requested: str, refused: list[str]) -> str:
    because = "as asked" if requested == ISOLATION_HOST else f"for lack of {refused[0]}"
    return (
        f"Pods share this machine's network ({because}): programs listen on $PORT, and only calls"
        " through http_proxy or to a Service's address go through the mesh."
    )
