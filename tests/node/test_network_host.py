"""Addresses and ports of pods on the machine's own network."""

import asyncio
import ipaddress
import socket
from pathlib import Path

import pytest

from weft.node.network_host import HostNetwork
from weft.node.ports import HOST_PORT_FIRST, HOST_PORT_LAST


async def made(run_dir: Path) -> HostNetwork:
    network = HostNetwork(run_dir)
    await network.open()
    return network


@pytest.mark.slow
async def test_every_pod_has_an_address_it_can_bind(tmp_path: Path) -> None:
    network = await made(tmp_path)
    pods = [await network.create(f"pod-{number}") for number in range(300)]
    assert len({pod.address for pod in pods}) == 300
    assert {pod.netns for pod in pods} == {""}
    loopback = ipaddress.IPv4Network("127.128.0.0/9")
    assert all(ipaddress.IPv4Address(pod.address) in loopback for pod in pods)
    with socket.socket() as server:
        server.bind((pods[0].address, 0))
    assert await network.create("pod-0") == pods[0]


async def test_ports_differ_between_pods_and_stay(tmp_path: Path) -> None:
    network = await made(tmp_path)
    for pod in ("a", "b"):
        await network.create(pod)
    first, second = [await network.allocate_ports(pod, (80, 8080)) for pod in ("a", "b")]
    proxy = await network.proxy_port("a")
    ports = [*first.values(), *second.values(), proxy]
    assert len(set(ports)) == 5
    assert all(HOST_PORT_FIRST <= port <= HOST_PORT_LAST for port in ports)
    again = await made(tmp_path)
    assert await again.allocate_ports("a", (80, 8080)) == first
    assert await again.proxy_port("a") == proxy
    assert set(await again.list()) == {"a", "b"}
    await again.delete("a")
    await again.delete("a")
    assert set(await (await made(tmp_path)).list()) == {"b"}
    with pytest.raises(LookupError):
        await again.allocate_ports("a", (80,))


async def test_pods_that_ask_at_once_get_different_ports(tmp_path: Path) -> None:
    network = await made(tmp_path)
    pods = [f"pod-{number}" for number in range(8)]
    for pod in pods:
        await network.create(pod)
    found = await asyncio.gather(*(network.allocate_ports(pod, (80, 443)) for pod in pods))
    assert len({port for ports in found for port in ports.values()}) == 2 * len(pods)


async def test_taken_ports_are_passed_over(tmp_path: Path) -> None:
    network = await made(tmp_path)
    await network.create("a")
    port = (await network.allocate_ports("a", (80,)))[80]
    await network.destroy()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        network = await made(tmp_path)
        await network.create("a")
        assert (await network.allocate_ports("a", (80,)))[80] != port


async def test_instances_begin_at_different_places(tmp_path: Path) -> None:
    first, second = await made(tmp_path / "1"), await made(tmp_path / "2")
    assert (await first.create("a")).address != (await second.create("a")).address
