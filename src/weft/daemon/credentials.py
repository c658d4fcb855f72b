"""New credentials for a running instance: keys that sign service account tokens, the
administrator's token, the API server's certificate, and the root that it and clients' certificates
come from. Old ones are believed until forgotten."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from weft.apiserver.app import ApiServer
from weft.daemon import files
from weft.daemon.api_authority import ApiAuthority
from weft.lib.instance import Settings
from weft.pki import signing_keys
from weft.pki.ca import CaError

ROTATE = "/weft/v1/credentials-rotate"
FORGET = "/weft/v1/credentials-forget"
ROTATE_CA = "/weft/v1/credentials-rotate-ca"
FORGET_CA = "/weft/v1/credentials-forget-ca"
FORGET_CA_FORCE = "/weft/v1/credentials-forget-ca-force"


class Credentials:
    """The actions of `weft credentials`. `behind` names nodes that do not know the newest root, or
    still show certificates of an older one."""

    def __init__(
        self,
        settings: Settings,
        api: ApiServer,
        ca: ApiAuthority,
        behind: Callable[[str], Awaitable[list[str]]],
    ) -> None:
        self._settings = settings
        self._api = api
        self._ca = ca
        self._behind = behind
        api.add_action(ROTATE, self._rotate)
        api.add_action(FORGET, self._forget)
        api.add_action(ROTATE_CA, self._rotate_ca)
        api.add_action(FORGET_CA, self._forget_ca)
        api.add_action(FORGET_CA_FORCE, self._forget_roots)

    async def _rotate(self) -> tuple[str, bytes]:
        """Everything new; what was valid before stays so."""
        directory = Path(self._settings.data_dir) / "pki"
        try:
            signing_keys.rotate(directory)
            files.rotate_admin_token(self._settings)
            self._ca.renew_server_certificate()
            return self._take_over(directory)
        except (OSError, CaError, files.BadTokens) as error:
            return _failed(error)

    async def _forget(self) -> tuple[str, bytes]:
        """Only the newest stays valid."""
        directory = Path(self._settings.data_dir) / "pki"
        try:
            signing_keys.forget(directory)
            files.forget_admin_tokens(self._settings)
            return self._take_over(directory)
        except (OSError, CaError, files.BadTokens) as error:
            return _failed(error)

    async def _rotate_ca(self) -> tuple[str, bytes]:
        """Another root signs; the one before stays trusted."""
        try:
            self._ca.add_root()
            told = self._publish()
            await self._behind(self._ca.current.roots)  # a node that is asked looks at once
            return told
        except (OSError, CaError, files.BadTokens) as error:
            return _failed(error)

    async def _forget_ca(self) -> tuple[str, bytes]:
        """Unless a node would be cut off."""
        if names := await self._behind(self._ca.current.roots):
            text = "these nodes do not use the new root yet, or cannot be asked: "
            text += f"{', '.join(names)}; try again in a minute, or use --force: they then "
            return _failed(CaError(text + "need `weft token create` and `weft agent --token` anew"))
        return await self._forget_roots()

    async def _forget_roots(self) -> tuple[str, bytes]:
        try:
            self._ca.forget_roots()
            told = self._publish()
            await self._behind(self._ca.current.roots)
            return told
        except (OSError, CaError, files.BadTokens) as error:
            return _failed(error)

    def _publish(self) -> tuple[str, bytes]:
        token, _ = files.admin_token(self._settings)
        files.publish_kubeconfig(self._settings, self._api.port, self._ca.current, token)
        told = {"roots": list(self._ca.current.names_of_roots)}
        return "application/json", msgspec.json.encode(told)

    def _take_over(self, directory: Path) -> tuple[str, bytes]:
        ring = signing_keys.load_or_create(directory)
        token, tokens = files.admin_token(self._settings)
        self._api.use_signing_keys(ring)
        self._api.use_tokens(tokens)
        files.publish_kubeconfig(self._settings, self._api.port, self._ca.current, token)
        told = {"signingKeys": len(ring), "tokens": len(tokens)}
        return "application/json", msgspec.json.encode(told)


def _failed(error: Exception) -> tuple[str, bytes]:
    return "application/json", msgspec.json.encode({"error": str(error)})
