"""Findings of the analysis: recorded, and silent where there is nothing to say."""

import re
from pathlib import Path

from tests.golden_support import Golden, documents, to_yaml
from tests.mesh.cluster import snapshot
from weft.mesh import findings
from weft.mesh.analysis import analyze
from weft.mesh.analysis import catalogue as of_analysis
from weft.mesh.build import DEFAULTS


def test_doubtful_objects(golden: Golden) -> None:
    found = analyze(snapshot(documents("mesh", "doubtful")), DEFAULTS)
    golden.check("mesh", "doubtful", "analysis.yaml", to_yaml(found))


def test_sound_objects_have_no_findings() -> None:
    found = analyze(snapshot(documents("mesh", "routes")), DEFAULTS)
    # A rule for another port, to see that it is left out.
    assert [(d.code, d.path) for d in found] == [("WEFT2153", "spec.http[4].match[0].port")]


def test_codes_are_unique_and_every_finding_is_used() -> None:
    catalogue = {
        n: v
        for module in (findings, of_analysis)
        for n, v in vars(module).items()
        if isinstance(v, findings.Finding)
    }
    codes = [f.code for f in catalogue.values()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"WEFT2\d{3}", code) for code in codes)
    sources = Path(findings.__file__).parents[1].rglob("*.py")
    homes = ("findings.py", "catalogue.py")
    text = "".join(p.read_text() for p in sources if p.name not in homes)
    text += (Path(findings.__file__).parents[1] / "cli/analyze.py").read_text()
    assert sorted(catalogue.keys() - set(re.findall(r"\w+", text))) == []
