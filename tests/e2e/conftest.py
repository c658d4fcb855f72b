"""Instances of weft shared by the end-to-end tests of a module."""

import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.diagnosis import diagnosis, instances
from tests.e2e.instance import Instance, stopping

APPS = Path(__file__).parent / "apps"
ISOLATIONS = ["netns", "host"] if os.geteuid() == 0 else ["host"]


EARLY = ("test_workloads.py",)
"""Files that wait for clocks longest: begun last, they would leave the machine idle at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in EARLY)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure is shown with what its instances say: it may never come again."""
    report = yield
    if report.failed and report.when == "call" and isinstance(item, pytest.Function):
        for weft in instances(item.funcargs.values()):
            report.sections.append((f"instance {weft.data_dir}", diagnosis(weft)))
    return report


def fresh(isolation: str) -> Iterator[Instance]:
    directory = Path(tempfile.mkdtemp(prefix="weft-e2e-"))
    instance = Instance(directory, isolation)
    instance.image("echo:1", APPS / "echo", sys.executable, "app.py")
    try:
        yield from stopping(instance)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module", params=ISOLATIONS)
def weft(request: pytest.FixtureRequest) -> Iterator[Instance]:
    """A running instance in every isolation this user can have."""
    for instance in fresh(request.param):
        instance.up()
        yield instance


@pytest.fixture(scope="module")
def isolated() -> Iterator[Instance]:
    """A running instance in the best isolation this user can have."""
    for instance in fresh(ISOLATIONS[0]):
        instance.up()
        yield instance


@pytest.fixture
def stopped() -> Iterator[Instance]:
    """An instance of its own, not started."""
    yield from fresh(ISOLATIONS[0])
