"""A pod that calls a service by its name all the time, over new connections, and counts."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance, wait_for

PROGRAM = """
import asyncio
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

async def call():
    connector = TCPConnector(use_dns_cache=False)
    async with ClientSession(timeout=ClientTimeout(total=20), connector=connector) as session:
        async with session.get("http://api/slow?seconds=0.05") as answer:
            return [] if answer.status == 200 else [answer.status]

async def main():
    failed, total = [], 0
    while True:
        try:
            failed += await call()
        except (ClientError, OSError, TimeoutError) as error:
            failed.append(repr(error))
        total += 1
        print(total, failed, flush=True)

asyncio.run(main())
"""


def pod() -> dict[str, Any]:
    main = {"name": "main", "image": "echo:1", "command": [sys.executable, "-c", PROGRAM]}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [main]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "steady"}, "spec": spec}


def calls(weft: Instance) -> tuple[int, str]:
    """How many, and those that failed; as the log on the disk says, for weft may not run."""
    for log in weft.data_dir.glob("node/logs/default_steady_*/main/0.log"):
        for line in reversed(log.read_text().splitlines()):
            total, _, failed = line.split(" ", 3)[-1].partition(" ")
            if total.isdigit():
                return int(total), failed.strip()
    return 0, ""


def more_calls(weft: Instance, what: str, count: int = 10) -> None:
    """Wait for so many."""
    wanted = calls(weft)[0] + count
    wait_for(lambda: calls(weft)[0] >= wanted, f"calls {what}")


def programs(weft: Instance, name: str) -> list[int]:
    """Processes of the instance, but for the daemon, with this in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(weft.run_dir) in command and name in command and "weft.daemon" not in command:
                found.append(int(folder.name))
    return found


def name_servers(weft: Instance) -> list[int]:
    """Processes that answer the node's DNS."""
    return programs(weft, "node/dns\0")


def kill_name_server(weft: Instance) -> None:
    """And wait for another one."""
    (before,) = name_servers(weft)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: set(name_servers(weft)) - {before}, "the DNS server is back")
