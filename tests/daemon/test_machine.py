"""What the drain contract is told about requests in flight."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from weft.daemon.machine import Machine
from weft.lib.instance import Settings
from weft.node import envoy
from weft.node.envoy import EnvoyAdmin, EnvoyError, admin_socket


class Supervisor:
    def __init__(self, run_dir: Path) -> None:
        self.admin = EnvoyAdmin(admin_socket(run_dir))


@pytest_asyncio.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    machine = Machine(Settings(str(tmp_path), str(tmp_path)))
    supervisor = Supervisor(tmp_path)
    machine.envoy = supervisor  # type: ignore[assignment]
    yield machine
    await supervisor.admin.close()


async def test_an_envoy_that_is_gone_carries_nothing(machine: Machine) -> None:
    assert await machine.active("10.0.0.1") == 0


async def test_an_envoy_that_does_not_answer_may_carry_something(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy, "ADMIN_TIMEOUT_SECONDS", 0.1)
    server = await asyncio.start_unix_server(lambda r, w: None, admin_socket(tmp_path))
    with pytest.raises(EnvoyError, match="does not answer"):
        await machine.active("10.0.0.1")
    server.close()
