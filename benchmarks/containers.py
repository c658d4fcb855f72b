"""What a container from an image costs to start and to keep, by who starts it. Root only."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests import archives, engines

from benchmarks.harness import Benchmark, Row
from weft.node.engine.api import EngineApi
from weft.node.engine.images import EngineImages
from weft.node.engine.runtime import EngineRuntime
from weft.node.images import ImageStore
from weft.node.oci.configuration import Place, Program, configuration
from weft.node.oci.security import Confinement, Identity
from weft.node.podhost_client import PodhostRuntime, ensure_podhost
from weft.node.runtime import ContainerSpec, EngineContainer, Limits, Rootfs

COUNT = 20
ENGINE_PODS = 8
IMAGE = "docker.io/library/sleep:1"
PROCESS, BUILTIN = "process", "builtin"


def pss_kilobytes(pid: int) -> float:
    """Of one process: its share of what it has in memory."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    return 0.0


def spec_of(runner: str, number: int, layers: tuple[str, ...], directory: Path) -> ContainerSpec:
    """A container that sleeps."""
    name = f"{runner}-{number}"
    program = shutil.which("busybox") or ""
    if runner == PROCESS:
        return ContainerSpec(id=name, argv=(program, "sleep", "600"), env={}, hostname="bench")
    root = directory / "roots" / name
    root.mkdir(parents=True)
    config = configuration(
        Program(("sleep", "600"), {"PATH": "/bin"}, "/", Identity()), Confinement(),
        Place(hostname="bench"), (), Limits(),
    )  # fmt: skip
    path = "" if runner == BUILTIN else shutil.which(runner) or ""
    return ContainerSpec(
        id=name, argv=("sleep", "600"), env={}, rootfs=Rootfs(layers, str(root)), oci=config,
        runtime=path,
    )  # fmt: skip


async def by_engine(kind: str, directory: Path, archive: Path) -> list[Row]:
    """The same through a container engine: the first container of a pod, which needs the pod's
    holder, and further ones."""
    store = ImageStore(directory / kind)
    store.import_from(archive)
    with engines.running(kind, directory / f"{kind}-engine") as engine:
        api = EngineApi(kind, str(engine.socket))
        images = EngineImages(store, api)
        runtime = EngineRuntime(api, images, "bench", directory / kind)
        await runtime.open()
        first, further = [], []
        try:
            await images.present(IMAGE)
            for number in range(ENGINE_PODS):
                for times in (first, further):
                    made = EngineContainer(
                        image=IMAGE, name=f"k8s_c{len(times)}_p{number}_bench_{number}_{id(times)}",
                        pod=str(number),
                    )  # fmt: skip
                    spec = ContainerSpec(
                        id=made.name, argv=("sleep", "600"), env={}, hostname="bench", engine=made
                    )
                    begin = time.monotonic()
                    state = await runtime.start(spec)
                    times.append((time.monotonic() - begin) * 1000)
                    if state.exit_code is not None:
                        raise RuntimeError(f"{kind}: {state.message}")
        finally:
            await runtime.shutdown()
            await runtime.close()
    base = f"start, {PROCESS}"
    return [
        Row(f"start, {kind}, first of a pod", "ms", tuple(first), base),
        Row(f"start, {kind}, further", "ms", tuple(further), base),
    ]


async def measured(
    runtime: PodhostRuntime, runner: str, layers: tuple[str, ...], directory: Path
) -> list[Row]:
    """Start some, one after the other, and look at what they hold."""
    before = pss_kilobytes(runtime.podhost_pid)
    times, pids = [], []
    for number in range(COUNT):
        spec = spec_of(runner, number, layers, directory)
        begin = time.monotonic()
        state = await runtime.start(spec)
        times.append((time.monotonic() - begin) * 1000)
        if state.exit_code is not None:
            raise RuntimeError(f"{runner}: {state.message}")
        pids.append(state.pid)
    held = sum(map(pss_kilobytes, pids)) + pss_kilobytes(runtime.podhost_pid) - before
    for number in range(COUNT):
        await runtime.remove(f"{runner}-{number}")
    base = f"start, {PROCESS}"
    return [
        Row(f"start, {runner}", "ms", tuple(times), base),
        Row(f"memory per container, {runner}", "kB", (held / COUNT,)),
    ]


async def measure() -> list[Row]:
    directory = Path(tempfile.mkdtemp(prefix="weft-bench-"))
    runtime = None
    try:
        archive = archives.docker_archive(
            directory / "sleep.tar", "sleep:1", [archives.base_layer()], {}
        )
        store = ImageStore(directory)
        image = store.import_from(archive)[0]
        assert image.oci is not None
        runtime = await ensure_podhost(directory / "run")
        rows = []
        for runner in (PROCESS, BUILTIN, "crun", "runc"):
            if runner in (PROCESS, BUILTIN) or shutil.which(runner):
                rows += await measured(runtime, runner, store.layers(image.oci), directory)
        for kind in engines.KINDS:
            if not engines.unavailable(kind):
                rows += await by_engine(kind, directory, archive)
        return rows
    finally:
        if runtime is not None:
            await runtime.shutdown()
            await runtime.close()
        shutil.rmtree(directory, ignore_errors=True)


def run() -> Iterable[Row]:
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "containers",
    "Start and memory of containers from an image, each a static program that sleeps.",
    run,
)
