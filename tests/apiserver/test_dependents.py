"""Owners and what depends on them."""

import json
from typing import Any

from weft.apiserver.dependents import Dependents


def value(*uids: str) -> bytes:
    metadata: dict[str, Any] = {"name": "a"}
    if uids:
        metadata["ownerReferences"] = [{"uid": uid} for uid in uids]
    return json.dumps({"metadata": metadata}).encode()


def test_kept_as_objects_change() -> None:
    found = Dependents()
    found.put("k1", value("a", "b"))
    found.put("k2", value("b"))
    found.put("k3", value())
    assert found.of(["b"]) == ["k1", "k2"]
    assert found.of(["a", "b", "c"]) == ["k1", "k2"]
    found.put("k1", value("a"))
    assert found.of(["b"]) == ["k2"]
    found.remove("k2")
    found.remove("k2")
    found.put("k1", value())
    assert found.of(["a", "b"]) == []
