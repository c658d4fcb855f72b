"""Facts of the machine agree with what it says elsewhere."""

import os
import platform
import socket

from weft.node.system import load_average, machine, memory_available


def test_facts() -> None:
    facts = machine()
    assert facts.hostname == socket.gethostname()
    assert 1 <= facts.cpu_cores <= (os.cpu_count() or 1)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < facts.memory_bytes <= physical * 1.01
    assert 0 < memory_available() <= physical
    assert facts.kernel_version == platform.release()
    assert facts.os_image
    assert socket.inet_aton(facts.address)
    assert load_average() >= 0
