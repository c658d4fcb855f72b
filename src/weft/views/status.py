"""`weft status` as text: nodes, pods, proxies, what each Envoy has acknowledged."""

import textwrap
from collections.abc import Mapping
from typing import Any

from weft.views.tables import PLAIN, Style, fitted

WIDTH = 80
OBJECTS_SHOWN_MAX = 40
"""Objects that are in force everywhere; all others are shown. `-o json` has every one."""
NO_NODE = "No node of its own (--no-node): pods run on machines that join, else stay Pending."
KINDS = ("clusters", "endpoints", "listeners", "routes", "secrets")


def status_lines(
    document: Mapping[str, Any], style: Style = PLAIN, width: int = WIDTH
) -> list[str]:
    """Lines of the whole document, a table per part, within so many columns."""
    lines = _section("Nodes", style)
    headers: tuple[str, ...] = (
        "Name", "Status", "Isolation", "Runtime", "Pods", "Gateway ports",
    )  # fmt: skip
    lines += fitted(headers, _nodes(document), style, width)
    if not document.get("ownNode", True):
        lines += _wrapped(NO_NODE, width)
    lines += ["", *_section("Proxies", style)]
    headers = ("Node", "Status", "Acknowledged", "Last change")
    lines += fitted(headers, _proxies(document), style, width)
    rejected = [report for proxy in document["proxies"] for report in proxy["rejected"]]
    if rejected:
        lines += ["", *_section("Refused by Envoy", style)]
        for r in rejected:
            kind = r["type_url"].rsplit(".", 1)[-1]
            lines += _wrapped(f"{r['node']}: {kind} {r['name']}: {r['error']}", width)
    if document.get("addresses"):
        lines += ["", *_section("Addresses for callers from outside", style)]
        headers = ("Kind", "Of", "Address", "Ports")
        lines += fitted(headers, _addresses(document), style, width)
    lines += ["", *_section("Pods", style)]
    headers = ("Name", "Status", "Ready", "mTLS", "Address", "Restarts", "Node", "Process")
    spare = ("Restarts", "Node", "Process")
    lines += fitted(headers, _pods(document), style, width, spare)
    if document.get("objects"):
        lines += ["", *_section("Objects", style), *_objects(document, style, width)]
    if document["diagnostics"]:
        lines += ["", *_section("Diagnostics", style), *_diagnostics(document, width)]
    return lines


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_on_hyphens=False,
    )


def _addresses(document: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        (row["kind"], row["owner"].partition(" ")[2], row["address"],
         ", ".join(_port(port) for port in row["ports"]))
        for row in document["addresses"]
    ]  # fmt: skip


def _port(port: Mapping[str, Any]) -> str:
    transport = "/udp" if port["protocol"] == "UDP" else ""
    return f"{port['of']} at {port['port']}{transport}" if "of" in port else (
        f"{port['port']}{transport}")  # fmt: skip


def _objects(document: Mapping[str, Any], style: Style, width: int) -> list[str]:
    """What is not in force everywhere first, and of the rest a few."""
    rows = document["objects"]
    fine = [r for r in rows if r["accepted"] and r["programmed"]]
    shown = [r for r in rows if r not in fine] + fine[:OBJECTS_SHOWN_MAX]
    cells = [
        (
            f"{row['kind']} {row['namespace']}/{row['name']}",
            "True" if row["accepted"] else row["reason"],
            _programmed(row),
            _acknowledged(row),
        )
        for row in shown
    ]
    lines = fitted(("Object", "Accepted", "Programmed", "Acknowledged by"), cells, style, width)
    more = len(fine) - OBJECTS_SHOWN_MAX
    return [*lines, f"and {more} more that all nodes acknowledged"] if more > 0 else lines


def _programmed(row: Mapping[str, Any]) -> str:
    if row["refused"]:
        return "Refused"
    return "True" if row["programmed"] else "Pending"


def _acknowledged(row: Mapping[str, Any]) -> str:
    has, lacks = row["acknowledged"], row["missing"]
    if not lacks:
        return has[0] if len(has) == 1 else f"all {len(has)}"
    return f"{len(has)} of {len(has) + len(lacks)}, not {', '.join(lacks)}"


def _section(title: str, style: Style) -> list[str]:
    return [f"{style.bold}{title}{style.reset}"]


def _nodes(document: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            node["name"],
            "Ready" if node["ready"] else "NotReady",
            node["isolation"],
            node.get("runtime") or "-",
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
        elif not proxy.get("relay", {"connected": True})["connected"]:
            state = "relay disconnected"
        elif proxy["rejected"]:
            state = "rejected"
        else:
            state = "acked" if proxy["inSync"] else "pending"
        seconds = proxy["convergenceSeconds"]
        took = "-" if seconds is None else f"{seconds * 1000:.0f} ms"
        rows.append((proxy["node"], state, _counted(proxy["resources"]), took))
    return rows


def _counted(resources: Mapping[str, Any]) -> str:
    """How many resources are acknowledged, and of which kind some are not."""
    found = [(word, resources[word]["acked"], resources[word]["wanted"]) for word in KINDS]
    acked, wanted = sum(a for _, a, _ in found), sum(w for _, _, w in found)
    lacking = [f"{word} {a}/{w}" for word, a, w in found if a != w]
    if not lacking:
        return f"{acked} resources"
    return f"{acked}/{wanted}: {', '.join(lacking)}"


def _pods(document: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            f"{pod['namespace']}/{pod['name']}",
            pod["phase"],
            "yes" if pod["ready"] else "no",
            pod.get("mtls") or "-",
            pod["address"] or "-",
            pod["restarts"],
            pod["node"] or "-",
            pod["pid"] or "-",
        )
        for pod in document["pods"]
    ]


def _diagnostics(document: Mapping[str, Any], width: int) -> list[str]:
    lines: list[str] = []
    for found in document["diagnostics"]:
        # Without an object it is about the whole configuration.
        where = f" {found['kind']} {found['namespace']}/{found['name']}" if found["kind"] else ""
        path = f" {found['path']}" if found.get("path") else ""
        head = f"{found['severity']}[{found['code']}]{where}{path}"
        lines += _wrapped(f"{head}: {found['message']}", width)
        if found.get("hint"):
            lines += _wrapped(f"hint: {found['hint']}", width, "  ")
    return lines
