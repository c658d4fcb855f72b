"""Images that pods wait for: present, pulled, or why not, as `imagePullPolicy` says."""

import asyncio
import logging
from pathlib import Path
from typing import Protocol

import aiohttp

from weft.api.k8s.container_v1 import Container
from weft.api.k8s.core_v1 import Secret, ServiceAccount
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.api.suggest import nearest
from weft.lib.aio import now
from weft.node.agent_settings import Say
from weft.node.environment import Refusal, secret_bytes
from weft.node.images import ImageStore
from weft.node.oci import registries, registry
from weft.node.oci.documents import ImageError
from weft.node.oci.references import parse
from weft.node.oci.registries import Credentials, Registries
from weft.node.pod_containers import IMAGE_MISSING
from weft.node.runtime import Image

log = logging.getLogger("weft.node")

PULLS_AT_ONCE_MAX = 4
NEVER_PRESENT = "ErrImageNeverPull"
INVALID_NAME = "InvalidImageName"
_ALWAYS, _NEVER = "Always", "Never"

Secrets = tuple[tuple[str, Credentials], ...]


class Upstream(Protocol):
    """Where this node's control plane keeps images."""

    async def fetch(self, name: str) -> Image | None:
        """Bring an image of the control plane's machine into the store; None when it has none.
        ImageError."""


class Engine(Protocol):
    """A container engine, which has images of its own and can pull."""

    def resolve(self, name: str) -> Image | None: ...

    async def look(self, name: str) -> None:
        """See what it has under this name now. EngineError."""

    async def pull(self, name: str, credentials: Credentials | None) -> Image:
        """ImageError."""


class ImagePulls:
    """One node's pulls; each image once at a time. `close` when done."""

    def __init__(
        self, store: ImageStore, known: Registries, upstream: Upstream | None = None,
        engine: Engine | None = None,
    ) -> None:  # fmt: skip
        """An `engine` pulls for itself, unless `known` says how: then weft does."""
        self._engine = engine
        self._store = store
        self._known = known
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None
        self._locks: dict[str, asyncio.Lock] = {}
        self._limit = asyncio.Semaphore(PULLS_AT_ONCE_MAX)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def ready(
        self, pod: Pod, container: Container, objects: Snapshot, say: Say
    ) -> Refusal | None:
        """Returns when the image is present; why it cannot be."""
        name, policy = container.image, container.image_pull_policy
        if self._engine is not None:
            await self._engine.look(name)
        image = (self._engine or self._store).resolve(name)
        if image is not None and (not _pulled(image) or policy != _ALWAYS):
            say("Normal", "Pulled", f'Container image "{name}" already present on machine')
            return None
        try:
            parse(name)
        except ValueError as error:
            return Refusal(INVALID_NAME, str(error))
        if policy == _NEVER:
            text = f'Container image "{name}" is not present with pull policy of Never'
            return Refusal(NEVER_PRESENT, text)
        say("Normal", "Pulling", f'Pulling image "{name}"')
        began = now()
        try:
            image = await self.pull(name, pull_secrets(pod, objects))
        except ImageError as error:
            say("Warning", "Failed", f'Failed to pull image "{name}": {error}')
            hint = (
                f"from this machine: `weft image add {name} --dir DIR -- COMMAND`, "
                f"`weft image import FILE --name {name}`"
            )
            if near := nearest(name, self._store.names()):
                hint += f"; did you mean `{near}`?"
            return Refusal(IMAGE_MISSING, f'failed to pull image "{name}": {error}; {hint}')
        size = image.oci.size_bytes if image.oci is not None else 0
        text = f'Successfully pulled image "{name}" in {now() - began:.3g}s'
        say("Normal", "Pulled", f"{text}. Image size: {size} bytes.")
        return None

    async def pull(self, name: str, secrets: Secrets = ()) -> Image:
        """ImageError."""
        full = str(parse(name))
        lock = self._locks.setdefault(full, asyncio.Lock())
        try:
            async with lock, self._limit:
                return await self._pull(full, secrets)
        except OSError as error:
            raise ImageError(f"{error.filename or 'disk'}: {error.strerror}") from None
        finally:
            if not lock.locked():
                self._locks.pop(full, None)

    async def _pull(self, name: str, secrets: Secrets) -> Image:
        if self._upstream is not None:
            image = await self._upstream.fetch(name)
            if image is not None:
                return image
        reference = parse(name)
        places = registries.endpoints(reference, self._known, secrets)
        if self._engine is not None and not (self._known.mirrors or self._known.configs):
            known = [each for place in places for each in place.credentials]
            return await self._engine.pull(name, known[0] if known else None)
        if self._session is None:
            self._session = registry.client_session()
        with self._store.blobs.in_use():
            digest = await registry.pull(
                self._session, reference, places, self._store.blobs, self._store.platform
            )
            return await asyncio.to_thread(self._store.keep, name, digest)


def _pulled(image: Image) -> bool:
    return image.oci is not None and image.oci.origin == "pull"


def may_be_there(image: Image | None, policy: str) -> bool:
    """Whether a container that waits for this image need not wait any more."""
    return image is not None and (policy != _ALWAYS or not _pulled(image))


def pull_secrets(pod: Pod, objects: Snapshot) -> Secrets:
    """Of the pod and of its service account. What cannot be read is left out, and logged without
    what stands there."""
    namespace = pod.metadata.namespace
    named = [each.name for each in pod.spec.image_pull_secrets]
    account = objects.get(ServiceAccount, pod.spec.service_account_name or "default", namespace)
    if account is not None and not named:
        named = [each.name for each in account.image_pull_secrets]
    found: list[tuple[str, Credentials]] = []
    for name in named:
        secret = objects.get(Secret, name, namespace)
        if secret is None:
            log.info("image pull secret missing namespace=%s name=%s", namespace, name)
            continue
        try:
            found += registries.secret_credentials(secret.type, secret_bytes(secret))
        except ValueError as error:
            log.warning("image pull secret namespace=%s name=%s: %s", namespace, name, error)
    return tuple(found)


def read_registries(path: str) -> Registries:
    """The file, or none for "". ValueError and OSError say what is wrong with it."""
    return registries.read(Path(path).read_text()) if path else Registries()
