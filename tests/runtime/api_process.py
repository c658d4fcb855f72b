"""An API server as a process of its own: `python -m tests.runtime.api_process FILE PEM CA PORT`.

Prints its port when it serves. Tests kill it.
"""

import asyncio
import ssl
import sys
from pathlib import Path

from weft.apiserver.access import MASTERS, User
from weft.apiserver.app import ApiServer, Settings
from weft.store.sqlite import SqliteStore

TOKEN = "a-token"


async def main(path: Path, pem: str, ca: str, port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.load_verify_locations(ca)
    store = await SqliteStore.open(path)
    server = ApiServer(store, Settings(tokens={TOKEN: User("admin", (MASTERS,))}))
    await server.start("127.0.0.1", port, context)
    print(server.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
