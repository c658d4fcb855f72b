"""Authorities of the machine are read when the first connection asks for them.

aiohttp makes two contexts as it is imported, each with all of them: a tenth of the time that weft
takes to start, and most instances never call anybody whom those certify.
"""

import contextlib
import ssl
from collections.abc import Iterator
from typing import Any


class _Late(ssl.SSLContext):
    """Becomes an ordinary context, with the machine's authorities, at its first connection. Until
    then it trusts nobody."""

    def _read(self) -> None:
        self.__class__ = ssl.SSLContext  # type: ignore[assignment]
        self.set_default_verify_paths()

    def wrap_bio(self, *args: Any, **named: Any) -> Any:
        self._read()
        return self.wrap_bio(*args, **named)

    def wrap_socket(self, *args: Any, **named: Any) -> Any:
        self._read()
        return self.wrap_socket(*args, **named)


@contextlib.contextmanager
def authorities_read_later() -> Iterator[None]:
    """Contexts that are made in this block read them late. For imports: everything else in the
    process has to wait."""
    made: list[ssl.SSLContext] = []

    def note(context: ssl.SSLContext) -> None:
        made.append(context)

    ssl.SSLContext.set_default_verify_paths = note  # type: ignore[assignment]
    try:
        yield
    finally:
        del ssl.SSLContext.set_default_verify_paths  # what it inherits is seen again
        for context in made:
            context.__class__ = _Late
