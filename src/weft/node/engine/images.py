"""What image names mean where a container engine runs containers: weft's own store, then the
engine's, so that what `docker build` made just runs."""

import asyncio
import base64
import json
import logging
import tempfile
from typing import IO, Any

from weft.lib.aio import Tasks, ticks
from weft.node.engine import archive
from weft.node.engine.api import EngineApi, EngineError
from weft.node.engine.states import candidates, image_of
from weft.node.images import ImageStore
from weft.node.oci.documents import ImageError
from weft.node.oci.references import familiar, normalize, parse
from weft.node.oci.registries import Credentials
from weft.node.runtime import Image, OciImage

log = logging.getLogger("weft.node")

LOOK_AGAIN_SECONDS = 1.0
"""Between two looks for an image that somebody waits for."""
PULL_SECONDS_MAX = 3600.0
_NOT_FOUND = 404


class EngineImages:
    """Images. `close` when done."""

    def __init__(self, store: ImageStore, api: EngineApi) -> None:
        self._store = store
        self._api = api
        self._found: dict[str, tuple[Image, str]] = {}
        """By full name: the engine's images that were asked for, and what it calls them."""
        self._looked: dict[str, float] = {}
        self._loads: dict[str, asyncio.Lock] = {}
        self._tasks = Tasks()

    async def close(self) -> None:
        await self._tasks.close()

    # --- Images

    def resolve(self, name: str) -> Image | None:
        """As it was known at the last look; somebody who waits for it makes us look again."""
        own = self._store.resolve(name)
        if own is not None and not _pulled(own):
            return own
        full = normalize(name)
        if full in self._found:
            return self._found[full][0]
        if own is None and ticks() - self._looked.get(full, -LOOK_AGAIN_SECONDS) >= (
            LOOK_AGAIN_SECONDS
        ):
            self._looked[full] = ticks()
            self._tasks.spawn(self._look_quietly(name), "engine-image")
        return own

    def names(self) -> tuple[str, ...]:
        return tuple(sorted({*self._store.names(), *map(familiar, self._found)}))

    def id_of(self, name: str) -> str:
        image = self.resolve(name)
        if image is None or image.oci is None or normalize(name) not in self._found:
            return self._store.id_of(name)
        if not image.oci.repositories:
            return image.oci.id
        return f"{image.oci.repositories[0]}@{image.oci.digest}"

    def layers(self, image: OciImage) -> tuple[str, ...]:
        return self._store.layers(image)

    # --- the engine's

    async def look(self, name: str) -> None:
        """See what the engine has under this name now. EngineError."""
        own = self._store.resolve(name)
        if own is not None and not _pulled(own):
            return
        full = normalize(name)
        for candidate in candidates(name, self._api.podman):
            inspected = await self._inspect(candidate)
            if inspected is not None:
                self._found[full] = (image_of(name, inspected), candidate)
                self._looked.pop(full, None)
                return
        self._found.pop(full, None)

    async def _look_quietly(self, name: str) -> None:
        try:
            await self.look(name)
        except EngineError as error:
            log.info("image not looked for name=%s error=%s", name, error)

    async def _inspect(self, reference: str) -> Any:
        try:
            return await self._api.call("GET", f"/images/{reference}/json")
        except EngineError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    async def present(self, name: str) -> str:
        """What the engine calls the image; one of weft's store is brought to it. EngineError."""
        image = self.resolve(name)
        known = self._found.get(normalize(name))
        if known is not None and known[0] is image:
            return known[1]
        if image is None or image.oci is None:
            raise EngineError(f'there is no container image "{name}"')
        lock = self._loads.setdefault(image.oci.id, asyncio.Lock())
        async with lock:
            if await self._inspect(image.oci.id) is not None:
                return image.oci.id
            return await self._load(image.name, image.oci)

    async def _load(self, name: str, image: OciImage) -> str:
        """A name that the engine uses for an image of its own stays with that."""
        free = "@" not in name and await self._inspect(name) is None
        log.info("image loaded into the engine name=%s id=%s", name, image.id)
        try:
            with tempfile.TemporaryFile() as file:
                await asyncio.to_thread(
                    archive.write, self._store, image, (name,) if free else (), file
                )
                file.seek(0)
                await self.load(file)
        except (ImageError, OSError) as error:
            raise EngineError(f'image "{name}" cannot be loaded: {error}') from error
        if await self._inspect(image.id) is not None:
            return image.id
        if free and await self._inspect(name) is not None:  # some engines count another digest
            return name
        raise EngineError(f'image "{name}" was loaded, and the engine does not know it')

    async def load(self, file: "IO[bytes] | bytes") -> None:
        """An archive as `docker save` writes it. EngineError."""
        answer = await self._api.call(
            "POST", "/images/load", query={"quiet": 1}, upload=file, wait=PULL_SECONDS_MAX
        )
        if failed := _failure(answer):
            raise EngineError(failed)

    async def pull(self, name: str, credentials: Credentials | None) -> Image:
        """By the engine, as it is set up. ImageError."""
        reference = parse(name)
        query = {"fromImage": reference.repository, "tag": reference.digest or reference.tag}
        headers = {}
        if credentials is not None:
            headers["X-Registry-Auth"] = _authorization(credentials, reference.registry)
        try:
            answer = await self._api.call(
                "POST", "/images/create", query=query, headers=headers, wait=PULL_SECONDS_MAX
            )
            if failed := _failure(answer):
                raise ImageError(failed)
            await self.look(name)
        except EngineError as error:
            raise ImageError(str(error)) from error
        found = self._found.get(normalize(name))
        if found is None:
            raise ImageError("the engine pulled it, and does not know it")
        return found[0]


def _pulled(image: Image) -> bool:
    return image.oci is not None and image.oci.origin == "pull"


def _failure(answer: Any) -> str:
    """The first error among the messages of an answer."""
    for message in answer if isinstance(answer, list) else [answer]:
        if isinstance(message, dict) and message.get("error"):
            return str(message["error"])
    return ""


def _authorization(credentials: Credentials, registry: str) -> str:
    server = "https://index.docker.io/v1/" if registry == "docker.io" else registry
    fields = {
        "username": credentials.username, "password": credentials.password,
        "identitytoken": credentials.identity_token, "serveraddress": server,
    }  # fmt: skip
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
