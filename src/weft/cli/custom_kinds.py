"""Kinds that only the server knows: those of custom resources, found by discovery."""

from collections.abc import Iterator, Mapping
from typing import Any

from weft.api.kinds import Kind
from weft.cli.connection import Connection

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def find(connection: Connection, text: str) -> Kind | None:
    """By plural, singular, kind or short name, also with the group (`foos.example.com`)."""
    found = await connection.json("GET", "/apis", accept=AGGREGATED)
    wanted = text.lower()
    return next((kind for kind in kinds(found) if wanted in names(kind)), None)


def kinds(discovery: Mapping[str, Any]) -> Iterator[Kind]:
    """What an APIGroupDiscoveryList names, of each group the preferred version first."""
    for group in discovery.get("items") or ():
        for version in group.get("versions") or ():
            for each in version.get("resources") or ():
                yield Kind(
                    group["metadata"]["name"],
                    version["version"],
                    each["responseKind"]["kind"],
                    each["resource"],
                    namespaced=each["scope"] == "Namespaced",
                    short_names=(each.get("singularResource") or "", *each.get("shortNames", ())),
                )


def names(kind: Kind) -> frozenset[str]:
    """How a kind may be written."""
    short = {name for name in (kind.plural, kind.singular, *kind.short_names) if name}
    return frozenset(short | {f"{name}.{kind.group}" for name in short})
