"""`weft status` as text: nodes, pods, proxies, what each Envoy has acknowledged."""

from collections.abc import Mapping
from typing import Any

from weft.views.tables import PLAIN, Style, render


def status_lines(document: Mapping[str, Any], style: Style = PLAIN) -> list[str]:
    """Lines of the whole document, a table per part."""
    lines = _section("Nodes", style)
    lines += render(
        ("Name", "Status", "Isolation", "Pods", "Gateway ports"), _nodes(document), style
    )
    lines += ["", *_section("Proxies", style)]
    lines += render(
        (
            "Node",
            "Status",
            "Clusters",
            "Endpoints",
            "Listeners",
            "Routes",
            "Secrets",
            "Last change",
        ),
        _proxies(document),
        style,
    )
    rejected = [report for proxy in document["proxies"] for report in proxy["rejected"]]
    if rejected:
        lines += ["", *_section("Refused by Envoy", style)]
        rows = [
            (r["node"], r["type_url"].rsplit(".", 1)[-1], r["name"], r["error"]) for r in rejected
        ]
        lines += render(("Node", "Type", "Resource", "Error"), rows, style)
    lines += ["", *_section("Pods", style)]
    headers = ("Namespace", "Name", "Status", "Ready", "Restarts", "Address", "Process")
    lines += render(headers, _pods(document), style)
    if document["diagnostics"]:
        lines += ["", *_section("Diagnostics", style), *_diagnostics(document)]
    return lines


def _section(title: str, style: Style) -> list[str]:
    return [f"{style.bold}{title}{style.reset}"]


def _nodes(document: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            node["name"],
            "Ready" if node["ready"] else "NotReady",
            node["isolation"],
            node["pods"],
            ", ".join(
                port if str(bound) == port else f"{port} at {bound}"
                for port, bound in sorted(node["gatewayPorts"].items(), key=lambda p: int(p[0]))
            )
            or "-",
        )
        for node in document["nodes"]
    ]


def _proxies(document: Mapping[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for proxy in document["proxies"]:
        if not proxy["connected"]:
            state = "disconnected"
        elif proxy["rejected"]:
            state = "rejected"
        else:
            state = "acked" if proxy["inSync"] else "pending"
        seconds = proxy["convergenceSeconds"]
        counts = [
            f"{proxy['resources'][word]['acked']}/{proxy['resources'][word]['wanted']}"
            for word in ("clusters", "endpoints", "listeners", "routes", "secrets")
        ]
        took = "-" if seconds is None else f"{seconds * 1000:.0f} ms"
        rows.append((proxy["node"], state, *counts, took))
    return rows


def _pods(document: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            pod["namespace"],
            pod["name"],
            pod["phase"],
            "yes" if pod["ready"] else "no",
            pod["restarts"],
            pod["address"] or "-",
            pod["pid"] or "-",
        )
        for pod in document["pods"]
    ]


def _diagnostics(document: Mapping[str, Any]) -> list[str]:
    lines = []
    for found in document["diagnostics"]:
        # Without an object it is about the whole configuration.
        where = f" {found['kind']} {found['namespace']}/{found['name']}" if found["kind"] else ""
        path = f" {found['path']}" if found.get("path") else ""
        lines.append(f"{found['severity']}[{found['code']}]{where}{path}: {found['message']}")
        if found.get("hint"):
            lines.append(f"  hint: {found['hint']}")
    return lines
