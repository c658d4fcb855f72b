"""Another root for the API server, while the one before is still trusted. Two steps:

`add` makes a root that signs from then on. The old one stays trusted, and vouches for the new one,
so that clients that know the old one alone believe the server as well. `forget` trusts the new one
only. Files: those of `ca`. Each step leaves a whole authority behind at any moment.
"""

from pathlib import Path

from weft.lib.files import replace_file
from weft.pki.ca import (
    CERTIFICATE_FILE,
    CERTIFICATE_MODE,
    CROSS_FILE,
    KEY_FILE,
    NEXT_KEY_FILE,
    Authority,
    CaError,
)


def add(directory: Path, trust_domain: str, now: float) -> Authority:
    """Raises CaError, OSError."""
    old = Authority.load_or_create(directory, trust_domain, now)
    if len(old.names_of_roots) > 1:
        raise CaError(
            "a root from before is still trusted, and no third one is taken beside it: "
            "`weft credentials forget-ca` first"
        )
    new = Authority.create(trust_domain, now)
    key = new.key_pem.encode()
    replace_file(directory / NEXT_KEY_FILE, key)
    replace_file(directory / CROSS_FILE, old.vouch_for(new, now).encode(), CERTIFICATE_MODE)
    bundle = (new.roots + old.roots).encode()
    replace_file(directory / CERTIFICATE_FILE, bundle, CERTIFICATE_MODE)
    replace_file(directory / KEY_FILE, key)
    (directory / NEXT_KEY_FILE).unlink()
    return Authority.load_or_create(directory, trust_domain, now)


def forget(directory: Path, trust_domain: str, now: float) -> Authority:
    """Raises CaError, OSError."""
    found = Authority.load_or_create(directory, trust_domain, now)
    replace_file(directory / CERTIFICATE_FILE, found.certificate_pem.encode(), CERTIFICATE_MODE)
    (directory / CROSS_FILE).unlink(missing_ok=True)
    return Authority.load_or_create(directory, trust_domain, now)
