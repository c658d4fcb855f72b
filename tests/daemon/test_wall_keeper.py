"""NetworkPolicies are in force on a node before anybody is told so."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from msgspec.structs import replace

from tests.waiting import until
from weft.daemon.node_links import NodeLinks
from weft.daemon.wall_keeper import WallKeeper
from weft.lib.aio import Tasks
from weft.mesh.model import MeshModel, Walls, Workload
from weft.node.network_netns import NetnsNetwork, NetworkError

SHUT = Walls(egress=())
POD = Workload(
    uid="a", name="a", namespace="default", node="here", address="10.244.0.2", workload="a",
    principal="spiffe://cluster.local/ns/default/sa/default", netns="/run/a",
)  # fmt: skip


class Network:
    """A pod network whose kernel answers when it is let."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.failures = 0
        self.said: list[Mapping[str, Walls]] = []

    async def enforce(self, walls: Mapping[str, Walls]) -> None:
        self.said.append(walls)
        await self.may.wait()
        if self.failures:
            self.failures -= 1
            raise NetworkError("the kernel refuses")


@asynccontextmanager
async def keeper(network: Network, links: NodeLinks | None = None) -> AsyncIterator[WallKeeper]:
    made = WallKeeper("here", cast(NetnsNetwork, network), links or NodeLinks(lambda _: {}))
    tasks = Tasks()
    tasks.spawn(made.run(), "keeper")
    try:
        yield made
    finally:
        await tasks.close()


def model(pod: Workload, walls: Walls | None) -> MeshModel:
    return MeshModel(workloads=(replace(pod, walls=walls),))


async def test_a_pod_waits_until_its_rules_are_set() -> None:
    network = Network()
    async with keeper(network) as walls:
        walls.on_model(model(POD, SHUT))
        waiting = asyncio.ensure_future(walls.in_force("here", "a"))
        await until(lambda: network.said == [{"a": SHUT}])
        assert not waiting.done()
        network.may.set()
        await asyncio.wait_for(waiting, 3)


async def test_a_kernel_that_refuses_starts_nothing() -> None:
    network = Network()
    network.failures = 1
    network.may.set()
    async with keeper(network) as walls:
        walls.on_model(model(POD, SHUT))
        waiting = asyncio.ensure_future(walls.in_force("here", "a"))
        await until(lambda: len(network.said) == 1)
        assert not waiting.done()
        await asyncio.wait_for(waiting, 3)
        assert len(network.said) == 2, "it is tried again"


async def test_a_pod_without_policies_waits_for_nothing() -> None:
    async with keeper(Network()) as walls:
        walls.on_model(model(POD, None))
        await asyncio.wait_for(walls.in_force("here", "a"), 1)


async def test_a_node_that_connects_again_is_told_again() -> None:
    """Its machine may have been started anew, and its pods' networks with it."""
    told: list[Any] = []

    class Links(NodeLinks):
        def connected(self, node: str) -> bool:
            return True

        async def call(self, node: str, method: str, **args: Any) -> Any:
            told.append((node, args["pods"]))

    async with keeper(Network(), Links(lambda _: {})) as walls:
        walls.on_model(model(replace(POD, node="there"), SHUT))
        await asyncio.wait_for(walls.in_force("there", "a"), 3)
        walls.link_changed("there", False)
        waiting = asyncio.ensure_future(walls.in_force("there", "a"))
        await asyncio.sleep(0)
        assert not waiting.done()
        walls.link_changed("there", True)
        await asyncio.wait_for(waiting, 3)
        assert [node for node, _ in told] == ["there", "there"]
