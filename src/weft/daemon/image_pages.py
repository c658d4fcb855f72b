"""Images of this machine for its nodes: each can run what was imported here."""

import asyncio
import json
from collections.abc import Callable

from aiohttp import web

from weft.api.errors import ApiError
from weft.apiserver.access import User
from weft.node.images import ImageStore
from weft.node.oci.documents import ImageError
from weft.node.oci.references import parse

IMAGE_PATH = "/weft/v1/node/image"
BLOB_PATH = "/weft/v1/node/blob"


class ImagePages:
    """For nodes that have joined, by their certificates. `node_of` raises ApiError 403 for all
    others."""

    def __init__(self, store: ImageStore, node_of: Callable[[User], str]) -> None:
        self._store = store
        self._node_of = node_of

    async def image(self, http: web.BaseRequest, user: User) -> web.StreamResponse:
        """The manifest's digest of the image `name`, and where the image came from."""
        self._node_of(user)
        name = http.query.get("name", "")
        try:
            image = self._store.resolve(str(parse(name)))
        except ValueError as error:
            raise ApiError(400, "BadRequest", str(error)) from None
        if image is None or image.oci is None:
            raise ApiError(404, "NotFound", f'no image "{name}"')
        body = {"digest": image.oci.digest, "origin": image.oci.origin}
        return web.Response(body=json.dumps(body).encode(), content_type="application/json")

    async def blob(self, http: web.BaseRequest, user: User) -> web.StreamResponse:
        """Content by its digest; only what some image here has."""
        self._node_of(user)
        digest = http.query.get("digest", "")
        try:
            path = self._store.blobs.path(digest)
        except ImageError as error:
            raise ApiError(400, "BadRequest", str(error)) from None
        if not await asyncio.to_thread(path.exists):
            raise ApiError(404, "NotFound", f"no content {digest}")
        return web.FileResponse(path)
