"""What `weft ca` asks the running instance."""

from typing import Any

import msgspec

from weft.apiserver.app import ApiServer
from weft.daemon.mesh_identity import MeshIdentity
from weft.pki.ca import CaError

SHOW = "/weft/v1/ca"
ROTATE = "/weft/v1/ca/rotate"
ROTATE_NOW = "/weft/v1/ca/rotate-now"
JSON = "application/json"


class CaPages:
    """The mesh's authority over the API server."""

    def __init__(self, identity: MeshIdentity) -> None:
        self._identity = identity

    def add_to(self, api: ApiServer) -> None:
        api.add_page(SHOW, self._show)
        api.add_action(ROTATE, self._rotate)
        api.add_action(ROTATE_NOW, self._rotate_now)

    async def _show(self) -> tuple[str, bytes]:
        return JSON, msgspec.json.encode(self._identity.page())

    async def _rotate(self) -> tuple[str, bytes]:
        return self._rotated(hurry=False)

    async def _rotate_now(self) -> tuple[str, bytes]:
        return self._rotated(hurry=True)

    def _rotated(self, *, hurry: bool) -> tuple[str, bytes]:
        try:
            self._identity.rotate(hurry=hurry)
        except CaError as error:
            refused: dict[str, Any] = {"error": str(error)}
            return JSON, msgspec.json.encode(refused)
        return JSON, msgspec.json.encode(self._identity.page())
