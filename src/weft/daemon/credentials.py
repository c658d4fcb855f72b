"""New credentials for a running instance: keys that sign service account tokens, the
administrator's token, the API server's certificate. Old ones are believed until forgotten."""

import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec

from weft.apiserver.app import ApiServer
from weft.daemon import files
from weft.lib.instance import Settings
from weft.pki import signing_keys
from weft.pki.ca import Authority, CaError

ROTATE = "/weft/v1/credentials-rotate"
FORGET = "/weft/v1/credentials-forget"


class Credentials:
    """The two actions of `weft credentials`."""

    def __init__(
        self,
        settings: Settings,
        api: ApiServer,
        ca: Authority,
        context: ssl.SSLContext,
        renew_certificate: Callable[[ssl.SSLContext], None],
    ) -> None:
        self._settings = settings
        self._api = api
        self._ca = ca
        self._context = context
        self._renew = renew_certificate
        api.add_action(ROTATE, self._rotate)
        api.add_action(FORGET, self._forget)

    async def _rotate(self) -> tuple[str, bytes]:
        """Everything new; what was valid before stays so."""
        directory = Path(self._settings.data_dir) / "pki"
        try:
            signing_keys.rotate(directory)
            files.rotate_admin_token(self._settings)
            self._renew(self._context)
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

    def _take_over(self, directory: Path) -> tuple[str, bytes]:
        ring = signing_keys.load_or_create(directory)
        token, tokens = files.admin_token(self._settings)
        self._api.use_signing_keys(ring)
        self._api.use_tokens(tokens)
        files.publish_kubeconfig(self._settings, self._api.port, self._ca, token)
        told = {"signingKeys": len(ring), "tokens": len(tokens)}
        return "application/json", msgspec.json.encode(told)


def _failed(error: Exception) -> tuple[str, bytes]:
    return "application/json", msgspec.json.encode({"error": str(error)})
