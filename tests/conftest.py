"""What every test may use: golden files, and clean skips for tests that need root or programs."""

import gc
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from tests.golden_support import Golden, stale_files

# How long an example takes is the machine's business: it may be busy.
settings.register_profile("weft", deadline=None)
settings.load_profile("weft")

# What collecting the tests leaves behind is large and lives to the end: looking through it over
# and over took a quarter of the fast tests' processor time.
gc.set_threshold(50_000, 20, 50)


MARKS = re.compile(r"^pytestmark = (\[[^\]]*\]|.*)", re.M)
SLOW = re.compile(r"mark\.(slow|e2e)\b")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files that have none of the tests asked for are not even imported. Those that are slow as a
    whole bring clients along that take a third of the time of the fast tests' imports."""
    asked = config.option.markexpr
    if collection_path.suffix != ".py" or not asked:
        return None
    text = collection_path.read_text()
    if asked.startswith("slow"):
        return None if SLOW.search(text) else True
    marks = MARKS.search(text)
    return True if asked.startswith("not slow") and marks and "mark.slow" in marks[1] else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-update",
        action="store_true",
        help="rewrite golden outputs instead of comparing, and delete those without an input",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if os.geteuid() != 0 and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))
        for marker in item.iter_markers("tools"):
            missing = [name for name in marker.args if shutil.which(name) is None]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"{', '.join(missing)} is not installed"))


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--golden-update"):
        for path in stale_files():
            path.unlink()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(update=bool(request.config.getoption("--golden-update")))
