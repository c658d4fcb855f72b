"""`weft rollout`: what `kubectl argo rollouts` does, built in.

State is written in the same fields, so both can be used side by side.
"""

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from weft.api import registry
from weft.api.argo.rollout import Rollout
from weft.api.errors import ApiError
from weft.cli import options, output
from weft.cli.connection import Connection, connect
from weft.cli.resources import run
from weft.cli.traffic import traffic_of
from weft.lib.aio import now, ticks
from weft.lib.durations import parse_duration
from weft.lib.timefmt import rfc3339
from weft.telemetry.signals import TrafficDocument
from weft.views import rollouts as view

REFRESH_SECONDS = 0.5
CALLS_SECONDS = 30.0
"""Of which the tree shows rate, errors and latency."""
TIMEOUT_DEFAULT = "10m"
DEGRADED_CODE, TIMEOUT_CODE = 1, 3
Json = Mapping[str, Any]
EXAMPLES = """\b
Examples:
  weft rollout list
  weft rollout get web                  status, versions, pods, analyses as a tree
  weft rollout watch web                the same, live
  weft rollout set image web main=web:2
  weft rollout promote web              go on after a pause
  weft rollout promote web --full       to the end, without pauses and analyses
  weft rollout abort web
  weft rollout undo web --to-revision 3
"""
_name = click.argument("name")


@click.group(epilog=EXAMPLES)
def rollout() -> None:
    """Progressive delivery: see where Rollouts stand, promote, abort, undo, restart them."""


def _path(namespace: str, name: str = "", sub: str = "", plural: str = "rollouts") -> str:
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{quote(namespace)}/{plural}"
    return path + (f"/{quote(name)}" if name else "") + (f"/{sub}" if sub else "")


async def _get(connection: Connection, namespace: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = await connection.json("GET", _path(namespace, name))
    return found


async def _parts(connection: Connection, namespace: str, name: str) -> view.Parts:
    rollout_ = await _get(connection, namespace, name)

    async def items(path: str, kind: str) -> list[Any]:
        found = await connection.json("GET", path)
        return [{**item, "kind": kind} for item in found["items"]]

    async def calls() -> TrafficDocument | None:
        with contextlib.suppress(ApiError):  # not everybody may read it
            return await traffic_of(connection, CALLS_SECONDS, namespace)
        return None

    space = quote(namespace)
    sets, pods, runs, experiments, traffic = await asyncio.gather(
        items(f"/apis/apps/v1/namespaces/{space}/replicasets", "ReplicaSet"),
        items(f"/api/v1/namespaces/{space}/pods", "Pod"),
        items(_path(namespace, plural="analysisruns"), "AnalysisRun"),
        items(_path(namespace, plural="experiments"), "Experiment"),
        calls(),
    )
    return view.Parts(rollout_, sets, pods, runs, experiments, traffic)


async def _patch(
    connection: Connection, namespace: str, name: str, body: Json, sub: str = ""
) -> None:
    kind = registry.kind_for(Rollout)
    await connection.client.patch(kind, name, body, namespace, subresource=sub)


@rollout.command("list", epilog="Example: weft rollout list -n shop")
@options.namespace
@options.format_only
@options.data_dir
def list_(namespace: str, form: str, data_dir: str | None) -> None:
    """Rollouts with their status, step and weight."""

    async def work() -> None:
        async with connect(data_dir) as connection:
            found = await connection.json("GET", _path(namespace))
        if form != "table":
            output.structured(found, form)
        elif found["items"]:
            output.lines(view.list_lines(found["items"], output.style()))
        else:
            output.note(f"there are no Rollouts in namespace {namespace}")

    run(work())


@rollout.command(epilog="Example: weft rollout get web -o json")
@_name
@options.namespace
@options.format_only
@click.option("-w", "--watch", "live", is_flag=True, help="Go on until interrupted.")
@options.data_dir
def get(name: str, namespace: str, form: str, live: bool, data_dir: str | None) -> None:
    """Where a Rollout stands, with its versions, pods and analyses as a tree."""
    if live and form == "table":
        _watch(name, namespace, data_dir)
        return

    async def work() -> None:
        async with connect(data_dir) as connection:
            if form != "table":
                output.structured(await _get(connection, namespace, name), form)
                return
            parts = await _parts(connection, namespace, name)
        output.lines(view.lines(parts, now(), output.style()))

    run(work())


@rollout.command(epilog="Example: weft rollout watch web")
@_name
@options.namespace
@options.data_dir
def watch(name: str, namespace: str, data_dir: str | None) -> None:
    """The tree, live; Ctrl-C ends it. Into a pipe: a line for each change of the status."""
    _watch(name, namespace, data_dir)


def _watch(name: str, namespace: str, data_dir: str | None) -> None:
    run(_screen(name, namespace, data_dir) if sys.stdout.isatty()
        else _changes(name, namespace, data_dir))  # fmt: skip


async def _screen(name: str, namespace: str, data_dir: str | None) -> None:
    from rich.live import Live  # noqa: PLC0415 - slow to import
    from rich.text import Text  # noqa: PLC0415

    async with connect(data_dir) as connection:
        with Live(auto_refresh=False, screen=True) as live:
            while True:
                parts = await _parts(connection, namespace, name)
                text = "\n".join(view.lines(parts, now(), output.style()))
                live.update(Text.from_ansi(text), refresh=True)
                await asyncio.sleep(REFRESH_SECONDS)


async def _changes(name: str, namespace: str, data_dir: str | None) -> None:
    before = ""
    async with connect(data_dir) as connection:
        while True:
            found = await _get(connection, namespace, name)
            line = _line(found)
            if line != before:
                print(line, flush=True)
            before = line
            await asyncio.sleep(REFRESH_SECONDS)


def _line(found: Json) -> str:
    status = found.get("status") or {}
    weight = view.weight_of(found)
    parts = [str(status.get("phase") or "Progressing"), view.step_text(found),
             "" if weight is None else f"weight {weight}", status.get("message") or ""]  # fmt: skip
    return " - ".join(part for part in parts if part)


@rollout.command(epilog="Example: weft rollout status web --timeout 5m")
@_name
@click.option("--timeout", default=TIMEOUT_DEFAULT, show_default=True, help="Wait so long.")
@click.option("--no-wait", is_flag=True, help="Say how it is, and wait for nothing.")
@options.namespace
@options.data_dir
def status(name: str, timeout: str, no_wait: bool, namespace: str, data_dir: str | None) -> None:
    """Wait until a Rollout is healthy; fails when it is degraded (1) or time is over (3)."""
    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        output.fail(f"--timeout {error}")

    async def work() -> int:
        end, before = ticks() + seconds, ""
        async with connect(data_dir) as connection:
            while True:
                found = await _get(connection, namespace, name)
                line, there = _line(found), found.get("status") or {}
                if line != before:
                    print(line, flush=True)
                before = line
                seen = str(there.get("observedGeneration")) == str(found["metadata"]["generation"])
                if seen and there.get("phase") == "Degraded":
                    return DEGRADED_CODE
                if no_wait or (seen and there.get("phase") == "Healthy"):
                    return 0
                if ticks() >= end:
                    return TIMEOUT_CODE
                await asyncio.sleep(REFRESH_SECONDS)

    try:
        code = asyncio.run(work())
    except ApiError as error:
        output.fail(error.message)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


# ------------------------------------------------------------------ what people decide


@rollout.command(epilog="Example: weft rollout promote web --full")
@_name
@click.option("--full", is_flag=True, help="To the end, without steps, pauses and analyses.")
@click.option("--skip-current-step", is_flag=True, help="Go on to the next step.")
@click.option("--skip-all-steps", is_flag=True, help="Leave all steps out.")
@options.namespace
@options.data_dir
def promote(
    name: str, full: bool, skip_current_step: bool, skip_all_steps: bool, namespace: str,
    data_dir: str | None,
) -> None:  # fmt: skip
    """Go on after a pause, or skip the present step."""
    if full + skip_current_step + skip_all_steps > 1:
        output.fail("--full, --skip-current-step and --skip-all-steps exclude each other")

    async def work() -> None:
        async with connect(data_dir) as connection:
            found = await _get(connection, namespace, name)
            if (found.get("spec") or {}).get("paused"):
                await _patch(connection, namespace, name, {"spec": {"paused": False}})
            body = promotion(found, full=full, one=skip_current_step, all_=skip_all_steps)
            if body is not None:
                await _patch(connection, namespace, name, {"status": body}, "status")
        print(f"rollout '{name}' {'fully ' if full else ''}promoted")
        if note := idle(found, "promote"):
            output.note(note)

    run(work())


def idle(found: Json, verb: str) -> str:
    """Why promoting or aborting changes nothing; "" when it does."""
    there = found.get("status") or {}
    rolls = there.get("currentPodHash") != there.get("stableRS")
    if there.get("abort") and rolls:
        name = found["metadata"]["name"]
        return f"note: the update is aborted; `weft rollout retry {name}` begins it anew"
    paused = there.get("pauseConditions") or (found.get("spec") or {}).get("paused")
    if not rolls and not paused and there.get("phase") == "Healthy":
        return f"note: it is healthy; there is no update to {verb}"
    return ""


def promotion(found: Json, *, full: bool, one: bool, all_: bool) -> dict[str, Any] | None:
    """What of the status changes; None for nothing. As `kubectl argo rollouts promote` does it."""
    there, steps = found.get("status") or {}, view.steps_of(found)
    at = there.get("currentStepIndex")
    if full:
        return (
            {"promoteFull": True} if there.get("currentPodHash") != there.get("stableRS") else None
        )
    if all_:
        return {"currentStepIndex": len(steps), "pauseConditions": None, "controllerPause": False}
    forward = {"currentStepIndex": min((at or 0) + 1, len(steps))} if steps else {}
    if one:
        return {**forward, "pauseConditions": None, "controllerPause": False}
    if there.get("pauseConditions"):
        return {"pauseConditions": None}
    return forward or None


@rollout.command(epilog="Example: weft rollout abort web")
@_name
@options.namespace
@options.data_dir
def abort(name: str, namespace: str, data_dir: str | None) -> None:
    """Go back to the stable version; the template stays as it is until it is changed or retried."""

    async def work() -> None:
        async with connect(data_dir) as connection:
            found = await _get(connection, namespace, name)
            await _patch(connection, namespace, name, {"status": {"abort": True}}, "status")
        print(f"rollout '{name}' aborted")
        if note := idle(found, "abort"):
            output.note(note)

    run(work())


@rollout.command(epilog="Example: weft rollout retry web")
@_name
@options.namespace
@options.data_dir
def retry(name: str, namespace: str, data_dir: str | None) -> None:
    """Begin an aborted update anew."""
    _write(name, namespace, data_dir, {"status": {"abort": False}}, "retried", "status")


@rollout.command(epilog="Example: weft rollout pause web")
@_name
@options.namespace
@options.data_dir
def pause(name: str, namespace: str, data_dir: str | None) -> None:
    """Stop where it is; `promote` goes on."""
    _write(name, namespace, data_dir, {"spec": {"paused": True}}, "paused")


@rollout.command(epilog="Example: weft rollout restart web")
@_name
@options.namespace
@options.data_dir
def restart(name: str, namespace: str, data_dir: str | None) -> None:
    """Replace all pods, a few at a time."""
    _write(name, namespace, data_dir, {"spec": {"restartAt": rfc3339(now())}}, "restarts")


def _write(
    name: str, namespace: str, data_dir: str | None, body: Json, word: str, sub: str = ""
) -> None:
    async def work() -> None:
        async with connect(data_dir) as connection:
            await _patch(connection, namespace, name, body, sub)
        print(f"rollout '{name}' {word}")

    run(work())


@rollout.command(epilog="Example: weft rollout undo web --to-revision 3")
@_name
@click.option("--to-revision", type=int, default=0, help="0: the one before the present one.")
@options.namespace
@options.data_dir
def undo(name: str, to_revision: int, namespace: str, data_dir: str | None) -> None:
    """Put the template of an earlier revision back; it goes through the strategy as any change."""

    async def work() -> None:
        async with connect(data_dir) as connection:
            parts = await _parts(connection, namespace, name)
            number, template = earlier(parts, to_revision)
            body = [{"op": "add", "path": "/spec/template", "value": template}]
            kind = registry.kind_for(Rollout)
            await connection.client.patch(kind, name, body, namespace, patch_type="json")
        print(f"rollout '{name}' undone to revision {number}")

    run(work())


def earlier(parts: view.Parts, wanted: int) -> tuple[int, Json]:
    """The revision, and its template as a Rollout has it."""
    uid = parts.rollout["metadata"]["uid"]
    known: dict[int, Json] = {}
    for found in parts.sets:
        owners = found["metadata"].get("ownerReferences") or ()
        text = (found["metadata"].get("annotations") or {}).get(view.REVISION, "")
        if any(o.get("uid") == uid for o in owners) and text.isdigit():
            known[int(text)] = found
    current = max(known, default=0)
    past = sorted(n for n in known if n != current)
    number = wanted or (past[-1] if past else 0)
    if number not in known:
        there = ", ".join(map(str, sorted(known))) or "none"
        output.fail(f"there is no revision {wanted or 'before this one'}", f"revisions: {there}")
    template = dict(known[number]["spec"]["template"])
    metadata = dict(template.get("metadata") or {})
    labels = dict(metadata.get("labels") or {})
    labels.pop(view.HASH, None)
    return number, {**template, "metadata": {**metadata, "labels": labels}}


@rollout.group("set", epilog="Example: weft rollout set image web main=web:2")
def set_() -> None:
    """Change what a Rollout runs."""


@set_.command(epilog="Example: weft rollout set image web main=web:2")
@_name
@click.argument("images", nargs=-1, required=True, metavar="CONTAINER=IMAGE...")
@options.namespace
@options.data_dir
def image(name: str, images: tuple[str, ...], namespace: str, data_dir: str | None) -> None:
    """Another image for a container, or for all (`*=IMAGE`)."""
    wanted = dict(each.partition("=")[::2] for each in images)
    if not all(key and value for key, value in wanted.items()):
        output.fail("write CONTAINER=IMAGE", "for example main=web:2, or *=web:2")

    async def work() -> None:
        async with connect(data_dir) as connection:
            found = await _get(connection, namespace, name)
            body = []
            template = (found.get("spec") or {}).get("template") or {}
            known = (template.get("spec") or {}).get("containers") or ()
            for number, container in enumerate(known):
                new = wanted.get(container["name"], wanted.get("*"))
                if new:
                    path = f"/spec/template/spec/containers/{number}/image"
                    body.append({"op": "add", "path": path, "value": new})
            missing = set(wanted) - {c["name"] for c in known} - {"*"}
            if missing or not body:
                names = ", ".join(c["name"] for c in known) or "none (see its workloadRef)"
                text = f"there is no container {', '.join(sorted(missing))}"
                output.fail(text, f"containers: {names}")
            await connection.client.patch(
                registry.kind_for(Rollout), name, body, namespace,
                patch_type="json",
            )  # fmt: skip
        print(f"rollout '{name}' image updated")

    run(work())
