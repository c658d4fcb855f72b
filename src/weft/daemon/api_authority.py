"""The authority of the API server while it runs: another root is put before the one that signs, and
the old one is forgotten once nobody needs it."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from weft.daemon import files
from weft.lib.aio import now
from weft.lib.instance import Settings
from weft.pki import api_roots
from weft.pki.ca import Authority, signed_by

KNOWN_CERTIFICATES_MAX = 4096


class ApiAuthority:
    """Whoever signs or trusts asks for `current` each time."""

    def __init__(self, settings: Settings, names: tuple[str, ...]) -> None:
        """`names` are the server's own. Raises CaError, OSError."""
        self._settings = settings
        self._names = names
        self.context, self.current = files.server_tls(settings, names)
        self.on_change: Callable[[str], None] = lambda _: None
        """Called with the roots that are to be trusted from now on."""

    def renew_server_certificate(self) -> None:
        """A new one for connections from now on. Raises OSError."""
        files.renew_server_certificate(self._settings, self.current, self._names, self.context)

    def add_root(self) -> None:
        """Sign with a new root; the old one stays trusted. Raises CaError, OSError."""
        self._use(api_roots.add(self._directory, self._settings.trust_domain, now()))

    def forget_roots(self) -> None:
        """Trust the root that signs alone. Raises CaError, OSError."""
        self._use(api_roots.forget(self._directory, self._settings.trust_domain, now()))

    def believes(self) -> Callable[[bytes], bool]:
        """Whether a client's certificate (DER) comes from a root that is trusted now: TLS itself
        cannot be told to forget one."""
        roots = self.current.roots
        return lru_cache(KNOWN_CERTIFICATES_MAX)(lambda shown: signed_by(shown, roots))

    @property
    def _directory(self) -> Path:
        return Path(self._settings.data_dir) / "pki"

    def _use(self, authority: Authority) -> None:
        self.current = authority
        self.renew_server_certificate()
        self.context.load_verify_locations(cadata=authority.roots)
        self.on_change(authority.roots)
