"""The DNS server's process.

The port that it listens on stands in BOUND_FILE once it does; NETNS is the path of the network
namespace to listen in, empty for its own. What is asked of others leaves its own network.
"""

import asyncio
import signal
from pathlib import Path

from weft.lib.files import replace_file
from weft.node.dns.names import NamesFile
from weft.node.dns.server import DnsServer


async def serve(names: Path, address: str, port: int, bound: Path, netns: str) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    server = DnsServer(NamesFile(names).read)
    found = await server.start(address, port, netns)
    replace_file(bound, str(found).encode(), durable=False)
    await told.wait()
    await server.close()


def main(names: str, address: str, port: str, bound: str, netns: str) -> str | int:
    try:
        asyncio.run(serve(Path(names), address, int(port), Path(bound), netns))
    except OSError as error:
        return f"DNS server: cannot listen on {address}:{port}: {error.strerror or error}"
    return 0
