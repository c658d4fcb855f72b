"""Where in the files a field of an object stands."""

from collections.abc import Iterable

from weft.api.field_errors import path_steps
from weft.api.manifests import Document


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
        return document.file, document.line_of(path_steps(path))
