"""The documentation says what is so."""

import re
import tomllib
from pathlib import Path

import pytest

from weft.api import registry

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def test_architecture_names_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for lines in optional for line in lines)]
    names = {re.split(r"[<>=]", line)[0] for line in wanted}
    table = (ROOT / "ARCHITECTURE.md").read_text().split("## Dependencies")[1].split("\n## ")[0]
    rows = [
        line.split("|")[1].replace("(optional)", "") for line in table.splitlines() if "|" in line
    ]
    listed = {name.strip() for row in rows[2:] for name in row.split(",")}
    assert listed == names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_stands_twice(page: Path) -> None:
    lines = [line for line in page.read_text().splitlines() if line.startswith("- ")]
    assert sorted(lines) == sorted(set(lines))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_tests_that_are_named_exist(page: Path) -> None:
    missing = []
    for path, _, test in re.findall(r"`((?:tests|src|docs)/[\w./]+)(::(\w+))?`", page.read_text()):
        file = ROOT / path
        if not file.exists() or (test and f"def {test}(" not in file.read_text()):
            missing.append(f"{path}::{test}")
    assert not missing


TRAFFIC = ("Services and names", "Istio", "Gateway API", "weft's own policies", "The node proxy")


@pytest.mark.parametrize("section", TRAFFIC)
def test_what_works_on_traffic_names_its_test(section: str) -> None:
    """In its row, or for all rows in the text above the table."""
    text = (ROOT / "docs/features.md").read_text()
    (body,) = re.findall(rf"^## {section}\b[^\n]*\n(.*?)(?=^## )", text, re.M | re.S)
    head, _, table = body.partition("\n|")
    rows = [row for row in table.splitlines() if re.search(r" \| yes \| ", row)]
    assert rows
    assert "`tests/" in head or [row for row in rows if "`tests/" not in row] == []


def test_the_readme_names_every_kind() -> None:
    text = (ROOT / "README.md").read_text().split("## What works today")[1]
    text = text.split("- **Not yet:**")[0]
    reviews = {kind.kind for kind in registry.KINDS if kind.kind.endswith("Review")}
    bindings = {"RoleBinding", "ClusterRoleBinding"}
    missing = (
        {kind.kind for kind in registry.KINDS if not re.search(rf"\b{kind.kind}\b", text)}
        - reviews
        - bindings
    )
    assert not missing


def test_the_api_page_names_every_kind_with_its_subresources() -> None:
    text = (ROOT / "docs/kubernetes-api.md").read_text()
    rows = re.findall(r"^\| [\w.()-]+ \| ([\w, ]+) \| (.+) \|$", text, re.M)
    told = {(part, version) for versions, kinds in rows for part in _parts(kinds)
            for version in versions.split(", ")}  # fmt: skip
    for kind in registry.KINDS:
        more = f" ({', '.join(kind.subresources)})" if kind.subresources else ""
        for version in kind.versions:
            row = f"{kind.kind}{more} in a row of version {version}"
            assert (kind.kind + more, version) in told, f"docs/kubernetes-api.md lacks {row}"


def _parts(kinds: str) -> list[str]:
    return re.findall(r"\w+(?: \([^)]*\))?", kinds)
