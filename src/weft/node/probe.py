"""Chooses the isolation of pods: by trying, with a sentence for each thing that is missing."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from weft.api.wellknown import ISOLATION_HOST, ISOLATION_NETNS
from weft.node.linux import userns

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


_USER_NEEDS = {
    **{f"user.{name}": words for name, words in _NETNS_NEEDS.items() if name != "own_devices"},
    "user.nested": "user namespaces inside user namespaces",
}
"""The same, as an ordinary user inside a user namespace."""

LACKS = (
    "Without root, through a user namespace: pods and this machine's network exchange TCP only, and"
    " all users of containers are this user.",
)
"""What a node in a user namespace has not."""
_NOT_REACHED = "not reached"


class IsolationReport(Struct, frozen=True):
    """What pods get on this machine."""

    isolation: str
    """`netns` or `host`."""
    possible: bool = True
    """False: what was asked for cannot be had; `missing` says why."""
    rootless: bool = False
    """`netns` without root: the node lives in a user namespace."""
    private_files: bool = True
    """Containers have their own /etc entries (names resolve) and volumes at any path."""
    missing: tuple[str, ...] = ()
    """One sentence for each thing a user might expect and does not get."""


async def choose(requested: str = AUTO, run_dir: str = "") -> IsolationReport:
    """Try what the machine allows (some 30 ms) and choose. `requested`: auto, netns or host.
    With a run directory: as the node there is, when it lives in a user namespace already."""
    if run_dir and userns.is_inside(run_dir):
        return IsolationReport(ISOLATION_NETNS, rootless=True, missing=LACKS)
    # It would be in a user namespace by now, if the node belonged there.
    return decide(requested, await probe(), as_user=False)


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


def decide(requested: str, answers: Mapping[str, str], *, as_user: bool = True) -> IsolationReport:
    """The choice from the probe's answers; `as_user`: a user namespace may be made. Pure."""
    refused = _refusals(_NETNS_NEEDS, answers)
    if requested != ISOLATION_HOST and not refused:
        return IsolationReport(ISOLATION_NETNS)
    in_namespace = _refusals(_USER_NEEDS, answers)
    if requested != ISOLATION_HOST and as_user and not in_namespace:
        return IsolationReport(ISOLATION_NETNS, rootless=True)
    if requested == ISOLATION_NETNS:
        sentence = (
            f"isolation netns is not possible here, it lacks {_reached(refused)}; it needs root, or"
            f" user namespaces that allow all of it, which lack {_reached(in_namespace)}"
        )
        return IsolationReport(
            ISOLATION_NETNS, possible=False, private_files=False, missing=(sentence,)
        )
    missing = [_shared_network(requested, refused, in_namespace)]
    files = _own_files(answers)
    if not files:
        missing.append(
            "Containers see this machine's /etc and cannot have volumes, because private mounts"
            f" are refused ({answers.get('user.mounts') or answers.get('mounts', 'unknown')});"
            " service names work through http_proxy only."
        )
    return IsolationReport(ISOLATION_HOST, private_files=files, missing=tuple(missing))


def _refusals(needs: Mapping[str, str], answers: Mapping[str, str]) -> list[str]:
    return [
        f"{words} ({answers.get(name, _NOT_REACHED)})"
        for name, words in needs.items()
        if answers.get(name, _NOT_REACHED)
    ]


def _reached(refused: list[str]) -> str:
    """Without what could not be tried for lack of something else."""
    reached = [text for text in refused if not text.endswith(f"({_NOT_REACHED})")]
    return ", ".join(reached or refused)


def _own_files(answers: Mapping[str, str]) -> bool:
    return any(
        all(answers.get(prefix + name, "no") == "" for name in ("mounts", "etc", "volumes"))
        for prefix in ("", "user.")
    )


def _shared_network(requested: str, refused: list[str], in_namespace: list[str]) -> str:
    because = "as asked" if requested == ISOLATION_HOST else f"for lack of {refused[0]}"
    if requested != ISOLATION_HOST and in_namespace:
        because += f", and in a user namespace of {in_namespace[0]}"
    elif requested != ISOLATION_HOST:
        because += (
            "; a user namespace is not for several machines, a container engine, or an instance"
            " that began without one"
        )
    return (
        f"Pods share this machine's network ({because}): programs listen on $PORT, and only calls"
        " through http_proxy or to a Service's address go through the mesh."
    )
