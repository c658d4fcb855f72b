"""Findings of the analysis: recorded, and silent where there is nothing to say."""

import re
from pathlib import Path

from tests.golden_support import Golden, documents, to_yaml
from tests.mesh.cluster import snapshot
from weft.mesh import findings
from weft.mesh.analysis import analyze
from weft.mesh.build import DEFAULTS


def test_doubtful_objects(golden: Golden) -> None:
    found = analyze(snapshot(documents("mesh", "doubtful")), DEFAULTS)
    golden.check("mesh", "doubtful", "analysis.yaml", to_yaml(found))


def test_sound_objects_have_no_findings_beyond_style() -> None:
    found = analyze(snapshot(documents("mesh", "routes")), DEFAULTS)
    assert found == ()


def test_codes_are_unique_and_every_finding_is_used() -> None:
    catalogue = {n: v for n, v in vars(findings).items() if isinstance(v, findings.Finding)}
    codes = [f.code for f in catalogue.values()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"WEFT2\d{3}", code) for code in codes)
    sources = Path(findings.__file__).parent.glob("*.py")
    text = "".join(p.read_text() for p in sources if p.name != "findings.py")
    assert [n for n in catalogue if not re.search(rf"\b{n}\b", text)] == []
