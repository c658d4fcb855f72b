"""Facts of the machine agree with what it says elsewhere."""

import os
import platform
import shutil
from pathlib import Path

import pytest

from weft.node import machine_facts as module
from weft.node.machine_facts import machine_facts

PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_facts(tmp_path: Path) -> None:
    facts = machine_facts(str(tmp_path))
    assert 1 <= facts.cpu_count <= (os.cpu_count() or 1)
    assert 0 < facts.memory_bytes <= PHYSICAL
    assert facts.disk_bytes == shutil.disk_usage(tmp_path).total
    assert facts.kernel_version == platform.release()
    assert facts.os_image


@pytest.mark.parametrize(("limit", "expected"), [("1048576", 1048576), ("max", PHYSICAL)])
def test_a_container_has_no_more_memory_than_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    monkeypatch.setattr(module, "_MEMORY_LIMITS", (str(tmp_path / "memory.max"),))
    assert machine_facts(str(tmp_path)).memory_bytes == expected
