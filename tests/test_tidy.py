"""House rules as tests: sizes, mirrored test files, words that must not appear."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src/weft").rglob("*.py"))
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
BANNED = {
    r"\b(TODO|FIXME|XXX)\b": "finish it, or write an issue",
    r"/work/|/tmp/lab|/farm/": "no machine paths",
    r"asyncio\.create_task\(": "use weft.lib.aio.Tasks.spawn",
    r"\btime\.time\(": "pure code takes `now`; shells use weft.lib.aio.now",
}
ALLOWED = {r"\btime\.time\(": {"lib/aio.py", "node/podhost"}}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT / "src/weft"))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_sizes(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= FILE_LINES_MAX, "split the file by what it is about"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_words(path: Path) -> None:
    text = path.read_text()
    for pattern, instead in BANNED.items():
        if any(relative(path).startswith(a) for a in ALLOWED.get(pattern, ())):
            continue
        found = re.search(pattern, text)
        assert not found, f"`{found[0]}`: {instead}"


def test_every_package_says_what_it_takes_gives_and_never_does() -> None:
    for path in (ROOT / "src/weft").glob("*/__init__.py"):
        text = path.read_text()
        assert all(word in text for word in ("Takes:", "Gives:", "Never:")), path


def test_tests_mirror_sources() -> None:
    """A file tests/<package>/test_<module>.py is about the module of that name."""
    strays = []
    for path in (ROOT / "tests").glob("*/test_*.py"):
        package = ROOT / "src/weft" / path.parent.name
        if not package.is_dir():
            continue
        modules = {p.stem for p in package.rglob("*.py")} | {p.name for p in package.rglob("*/")}
        name = path.stem.removeprefix("test_")
        if not any(name == m or name.startswith(f"{m}_") for m in modules):
            strays.append(str(path.relative_to(ROOT)))
    assert not strays, f"no module of that name: {strays}"
