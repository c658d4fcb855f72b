"""Where in the files a field of an object stands."""

import re
from collections.abc import Iterable

from weft.api.manifests import Document
from weft.api.yaml_reader import Path

_STEP = re.compile(r"([^.\[\]]+)|\[([^\]]+)\]")


class Lines:
    """Finds objects and their fields in documents."""

    def __init__(self, documents: Iterable[Document], namespace: str = "default") -> None:
        self._documents = {
            (
                document.kind.kind,
                (document.namespace or namespace) if document.kind.namespaced else "",
                document.name,
            ): document
            for document in documents
            if document.kind is not None
        }

    def locate(self, kind: str, namespace: str, name: str, path: str) -> tuple[str, int]:
        """File and line of a field, or of the nearest one around it; ("", 0) for objects that are
        in no file."""
        document = self._documents.get((kind, namespace, name))
        if document is None:
            return "", 0
        return document.file, document.line_of(steps(path))


def steps(path: str) -> Path:
    """`spec.http[0].route` as `("spec", "http", 0, "route")`."""
    found = ((word, index) for word, index in _STEP.findall(path))
    return tuple(
        word if word else int(index) if index.isdigit() else index for word, index in found
    )
