"""Images of the server's machine, for a node of another machine."""

import asyncio

import aiohttp

from weft.daemon.image_pages import BLOB_PATH, IMAGE_PATH
from weft.node.images import ImageStore
from weft.node.oci.documents import MANIFEST_BYTES_MAX, Descriptor, ImageError
from weft.node.runtime import Image

CHUNK_BYTES = 1 << 18
ANSWER_SECONDS_MAX = 30.0
LAYER_SECONDS_MAX = 600.0


class ServerImages:
    """Upstream of a node's pulls: what the session shows says which node it is."""

    def __init__(self, session: aiohttp.ClientSession, server: str, store: ImageStore) -> None:
        self._session = session
        self._server = server
        self._store = store

    async def fetch(self, name: str) -> Image | None:
        """See Upstream. A server that cannot be reached has no images."""
        try:
            return await self._fetch(name)
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def _fetch(self, name: str) -> Image | None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
        url = self._server + IMAGE_PATH
        async with self._session.get(url, params={"name": name}, timeout=timeout) as answer:
            if answer.status != 200:
                return None
            found = await answer.json()
        if found["origin"] != "import":
            return None  # the registry's word is newer
        store = self._store
        with store.blobs.in_use():
            await self._blob(Descriptor(found["digest"], MANIFEST_BYTES_MAX))
            manifest = await asyncio.to_thread(store.manifest, found["digest"])
            for descriptor in (manifest.config, *manifest.layers):
                await self._blob(descriptor)
            return await asyncio.to_thread(store.keep, name, found["digest"], origin="import")

    async def _blob(self, descriptor: Descriptor) -> None:
        blobs = self._store.blobs
        if await asyncio.to_thread(blobs.has, descriptor.digest):
            return
        timeout = aiohttp.ClientTimeout(total=LAYER_SECONDS_MAX)
        query = {"digest": descriptor.digest}
        url = self._server + BLOB_PATH
        async with self._session.get(url, params=query, timeout=timeout) as answer:
            if answer.status != 200:
                raise ImageError(f"the server answered {answer.status} for {descriptor.digest}")
            with blobs.writer(descriptor.digest, descriptor.size) as writer:
                async for data in answer.content.iter_chunked(CHUNK_BYTES):
                    await asyncio.to_thread(writer.write, data)
