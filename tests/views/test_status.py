"""`weft status` says where the mesh is reached and what is in force, within 80 columns."""

import re
from typing import Any

from weft.views.status import OBJECTS_SHOWN_MAX, status_lines
from weft.views.tables import COLOUR, PLAIN

LONG = "checkout-with-a-rather-long-name-7c9f8d6b5-x2x4z"


def kinds(**acked: int) -> dict[str, dict[str, int]]:
    words = ("clusters", "endpoints", "listeners", "routes", "secrets")
    return {word: {"acked": acked.get(word, 3), "wanted": 3} for word in words}


def proxy(node: str, **more: Any) -> dict[str, Any]:
    return {"node": node, "pid": 1, "connected": True, "inSync": True, "convergenceSeconds": 0.012,
            "resources": kinds(), "rejected": [], **more}  # fmt: skip


def thing(name: str, **more: Any) -> dict[str, Any]:
    return {"kind": "VirtualService", "namespace": "shop", "name": name, "accepted": True,
            "reason": "", "programmed": True, "refused": "", "acknowledged": ["a", "b"],
            "missing": [], **more}  # fmt: skip


def pod(name: str, mtls: str) -> dict[str, Any]:
    return {"namespace": "shop", "name": name, "phase": "CrashLoopBackOff", "ready": False,
            "restarts": 12, "address": "10.244.0.123", "node": "a", "pid": 123456,
            "mtls": mtls}  # fmt: skip


REJECTED = {"node": "b", "type_url": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": "http.80", "error": "regex is too large " * 12}  # fmt: skip
DOCUMENT: dict[str, Any] = {
    "nodes": [
        {"name": n, "ready": True, "isolation": "netns", "runtime": "podman 4.3.1", "pods": 3,
         "gatewayPorts": {"80": 8080, "443": 443}} for n in ("a", "b")
    ],
    "proxies": [
        proxy("a"),
        proxy("b", inSync=False, resources=kinds(routes=2), rejected=[REJECTED]),
    ],
    "addresses": [
        {"owner": "Gateway shop/edge", "kind": "Gateway", "address": "127.0.0.1", "nodes": ["a"],
         "ports": [{"port": 8080, "of": 80, "protocol": "TCP"}, {"port": 443, "protocol": "TCP"}]},
        {"owner": "Service shop/web", "kind": "LoadBalancer", "address": "127.0.9.7",
         "nodes": ["a"], "ports": [{"port": 53, "protocol": "UDP"}]},
    ],
    "pods": [pod(LONG, "STRICT"), pod("web-1", "PERMISSIVE, STRICT on 8080")],
    "objects": [
        *(thing(f"fine-{n:03}") for n in range(OBJECTS_SHOWN_MAX + 7)),
        thing("odd", accepted=False, reason="WEFT2101"),
        thing("new", programmed=False, acknowledged=["a"], missing=["b"]),
        thing("bad", programmed=False, refused="regex", acknowledged=[], missing=["a", "b"]),
    ],
    "diagnostics": [
        {"code": "WEFT2101", "severity": "error", "kind": "VirtualService", "namespace": "shop",
         "name": "odd", "path": "spec.http[0].route[0].destination.host",
         "message": "no Service or ServiceEntry is named `nobody.shop.svc.cluster.local`; requests",
         "hint": "did you mean `somebody`? " * 5},
    ],
}  # fmt: skip


def test_it_fits_80_columns_and_loses_no_name() -> None:
    lines = status_lines(DOCUMENT, PLAIN, 80)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for word in ("80 at 8080, 443", "53/udp", "127.0.9.7", "STRICT", "web-1", "x2x4z", "shop/odd"):
        assert word in text, word
    assert " ".join("regex is too large" for _ in range(12)) in re.sub(r"\s+", " ", text)
    wide = "\n".join(status_lines(DOCUMENT, PLAIN, 200))
    assert LONG in wide
    assert "PROCESS" in wide
    coloured = "\n".join(status_lines(DOCUMENT, COLOUR, 80))
    assert re.sub(r"\x1b\[\d+m", "", coloured) == text


def test_objects_that_are_not_in_force_come_first_and_say_where() -> None:
    lines = status_lines(DOCUMENT, PLAIN, 120)
    start = lines.index("Objects") + 2
    assert [re.split(r" {3,}", line) for line in lines[start : start + 4]] == [
        ["VirtualService shop/odd", "WEFT2101", "True", "all 2"],
        ["VirtualService shop/new", "True", "Pending", "1 of 2, not b"],
        ["VirtualService shop/bad", "True", "Refused", "0 of 2, not a, b"],
        ["VirtualService shop/fine-000", "True", "True", "all 2"],
    ]
    assert "and 7 more that all nodes acknowledged" in lines
    assert any("14/15: routes 2/3" in line for line in lines)


def test_it_says_that_there_is_no_own_node() -> None:
    alone = {**DOCUMENT, "nodes": [], "ownNode": ""}
    assert any("No node of its own (--no-node)" in line for line in status_lines(alone))
    joined = {**DOCUMENT, "ownNode": "a"}
    assert not any("--no-node" in line for line in status_lines(joined))
