"""House rules as tests: sizes, mirrored test files, words that must not appear."""

import ast
import configparser
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src/weft").rglob("*.py"))
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
BANNED = {
    r"\b(TODO|FIXME|XXX)\b": "finish it, or write an issue",
    r"[\"'](/root|/home|/Users)/": "no paths of one machine",
    r"asyncio\.create_task\(": "use weft.lib.aio.Tasks.spawn",
    r"\btime\.time\(": "pure code takes `now`; shells use weft.lib.aio.now",
}
ALLOWED = {r"\btime\.time\(": {"lib/aio.py", "node/podhost"}}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT / "src/weft"))


@cache
def parsed(path: Path) -> list[ast.AST]:
    """The nodes of a source file that the rules speak of; files do not change under the tests.
    Functions come without what is in them: a million nodes would keep the garbage collector busy.
    """
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.Import | ast.ImportFrom
    tree = ast.parse(path.read_text())
    found: list[ast.AST] = [node for node in statements(tree) if isinstance(node, kinds)]
    for node in found:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = []
    return found


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Those below a node. Expressions hold none and are most of a tree, so they are not walked."""
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        below = getattr(node, name, ())
        for each in below if isinstance(below, list) else ():
            yield each
            yield from statements(each)


def test_sizes() -> None:
    found = []
    for path in SOURCES:
        if path.read_text().count("\n") > FILE_LINES_MAX:
            found.append(f"{relative(path)}: split it by what it is about")
        for node in parsed(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    found.append(f"{relative(path)}: {node.name} has {length} lines")
    assert not found


def test_words() -> None:
    found = []
    for path in SOURCES:
        text = path.read_text()
        for pattern, instead in BANNED.items():
            allowed = ALLOWED.get(pattern, ())
            if not any(relative(path).startswith(each) for each in allowed):
                found += [
                    f"{relative(path)}: `{hit[0]}`: {instead}" for hit in re.finditer(pattern, text)
                ]
    assert not found


def test_every_package_says_what_it_takes_gives_and_never_does() -> None:
    for path in (ROOT / "src/weft").glob("*/__init__.py"):
        text = path.read_text()
        assert all(word in text for word in ("Takes:", "Gives:", "Never:")), path


@cache
def modules_of(package: Path) -> frozenset[str]:
    """Names of its modules and of the packages in it."""
    return frozenset(p.stem for p in package.rglob("*.py")) | {p.name for p in package.rglob("*/")}


def test_tests_mirror_sources() -> None:
    """A file tests/<package>/test_<module>.py is about the module of that name."""
    strays = []
    for path in (ROOT / "tests").glob("*/test_*.py"):
        package = ROOT / "src/weft" / path.parent.name
        if not package.is_dir():
            continue
        name = path.stem.removeprefix("test_")
        if not any(name == m or name.startswith(f"{m}_") for m in modules_of(package)):
            strays.append(str(path.relative_to(ROOT)))
    assert not strays, f"no module of that name: {strays}"


# --- pure core, thin shells

CONTRACTS = configparser.ConfigParser()
CONTRACTS.read(ROOT / ".importlinter")
PURE_CORE = CONTRACTS["importlinter:contract:pure-core"]
IMPURE = set(PURE_CORE["forbidden_modules"].split())
ALL_SHELLS = ("cli", "daemon")
"""Packages that are shells as a whole: they may hold pure modules, nobody relies on it."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


@cache
def imports(path: Path) -> frozenset[str]:
    """Modules that a file names; a name taken from a package may be a module or not."""
    found = set()
    for node in parsed(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def shells() -> set[str]:
    """Modules that do I/O themselves."""
    return {
        module_of(path)
        for path in SOURCES
        if IMPURE & {name.split(".", 1)[0] for name in imports(path)}
    }


def test_every_pure_module_is_held_to_it() -> None:
    """A module that reaches no shell and does no I/O stands in the contract, and stays so."""
    uses = {module_of(path): imports(path) for path in SOURCES}
    impure, grew = shells(), True
    while grew:
        more = {name for name in uses if name not in impure and uses[name] & impure}
        impure, grew = impure | more, bool(more)
    held = set(PURE_CORE["source_modules"].split())
    packages = {module_of(path) for path in SOURCES if path.name == "__init__.py"}
    free = [
        name
        for name in sorted(set(uses) - impure - packages)
        if name.split(".")[1] not in ALL_SHELLS
        and not any(name == h or name.startswith(f"{h}.") for h in held)
    ]
    assert not free, "add them to the pure-core contract of .importlinter"


def test_the_map_names_every_shell() -> None:
    """ARCHITECTURE.md: the only modules with I/O, package by package."""
    rows = re.findall(
        r"^\| `(\w+)/` \|[^|]*\| ([^|]*) \|$", (ROOT / "ARCHITECTURE.md").read_text(), re.M
    )
    named = {package: set(re.findall(r"`([\w/]+)`", text)) for package, text in rows}
    missing, stale = [], []
    found: dict[str, set[str]] = {}
    for name in shells():
        package, *rest = name.removeprefix("weft.").split(".")
        found.setdefault(package, set()).add(f"{rest[0]}/" if len(rest) > 1 else rest[0])
    for package in sorted({*found, *named} - set(ALL_SHELLS)):
        there, told = found.get(package, set()), named.get(package, set())
        missing += [f"{package}: {module}" for module in sorted(there - told)]
        stale += [f"{package}: {module}" for module in sorted(told - there)]
    assert (missing, stale) == ([], []), "not named in ARCHITECTURE.md; named but no shell"


def test_every_diagnostic_can_be_looked_up() -> None:
    """docs/features.md lists the codes that the sources have, no more and no fewer."""
    code = re.compile(r"WEFT\d{4}")
    told = set(code.findall((ROOT / "docs/features.md").read_text()))
    given = {found for path in SOURCES for found in code.findall(path.read_text())}
    assert given - told == set(), "add them to the table in docs/features.md"
    assert told - given == set(), "docs/features.md tells of codes that nothing gives"
    more = set(code.findall((ROOT / "docs/diagnostics.md").read_text()))
    assert more - given == set(), "docs/diagnostics.md tells of codes that nothing gives"


KEYED_BY_CODE = {
    "api/schema.py:definition",
}
"""Caches without a bound whose keys the code itself chooses."""


def test_caches_that_users_can_fill_are_bounded() -> None:
    found = []
    for path in SOURCES:
        for node in parsed(path):
            if not isinstance(node, ast.FunctionDef):
                continue
            kept = any(isinstance(d, ast.Name) and d.id == "cache" for d in node.decorator_list)
            by_text = any("str" in ast.unparse(a.annotation or node) for a in node.args.args)
            name = f"{relative(path)}:{node.name}"
            if kept and by_text and name not in KEYED_BY_CODE:
                found.append(f"{name}: use lru_cache with a limit")
    assert not found
