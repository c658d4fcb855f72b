"""Who sees an object: what exportTo means."""

NOBODY = "~"
"""No namespace has this name."""


def visible_to(export_to: tuple[str, ...], namespace: str) -> tuple[str, ...] | None:
    """Namespaces that an exportTo names; () is all, None is nobody."""
    if not export_to or "*" in export_to:
        return ()
    named = {namespace if e == "." else e for e in export_to if e != "~"}
    return tuple(sorted(named)) or None
