"""The articles' manifests: valid ones pass, the others are told exactly what is wrong."""

from pathlib import Path

import pytest

from weft.api.diagnostics import render
from weft.api.manifests import diagnose

SEEDS = Path(__file__).parent.parent / "seeds"

# file: (line, path, code, word that the hint must hold)
FINDINGS: dict[str, list[tuple[int, str, str, str]]] = {
    "a2-virtual-service.yaml": [
        (12, "spec.http[0].route[1].destination", "WEFT0106", "host: my-service, subset: v1"),
        (13, "spec.http[0].route[1].namespace", "WEFT0105", "`destination`"),
        (14, "spec.http[0].route[1].subset", "WEFT0105", "belongs in `destination`"),
        (15, "spec.http[0].route[2].destination", "WEFT0106", "host: my-service, subset: v2"),
        (16, "spec.http[0].route[2].namespace", "WEFT0105", "`destination`"),
        (17, "spec.http[0].route[2].subset", "WEFT0105", "belongs in `destination`"),
    ],
    "a2-destination-rule.yaml": [
        (10, "spec.trafficPolicy.faultTolerance", "WEFT0105", "did you mean `outlierDetection`?"),
    ],
    "a2-gateway.yaml": [(9, "spec.servers[0].hosts", "WEFT0106", '"*"')],
    "a3-service-mesh.yaml": [
        (13, "spec.loadBalancerSourceRanges", "WEFT0109", "`type: LoadBalancer`"),
        (17, "kind", "WEFT0104", "`kind: VirtualService`"),
        (49, "spec.loadBalancerSourceRanges", "WEFT0109", "`type: LoadBalancer`"),
    ],
}
FILES = sorted(path.name for path in SEEDS.glob("*.yaml"))


def test_all_seeds_are_here() -> None:
    assert len(FILES) == 16
    assert set(FINDINGS) <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_findings(name: str) -> None:
    checked = diagnose((SEEDS / name).read_text(), name)
    found = [(d.line, d.path, d.code) for d in checked.diagnostics]
    wanted = FINDINGS.get(name, [])
    assert found == [(line, path, code) for line, path, code, _ in wanted]
    for diagnostic, (_, _, _, word) in zip(checked.diagnostics, wanted, strict=True):
        assert word in diagnostic.hint
        assert diagnostic.file == name
    assert checked.documents
    assert checked.ok is not bool(wanted)


@pytest.mark.parametrize("name", sorted(FINDINGS))
def test_the_line_holds_the_field(name: str) -> None:
    """A finding about a field that stands in the file points at its line."""
    text = (SEEDS / name).read_text()
    for found in diagnose(text, name).diagnostics:
        if found.code == "WEFT0105":
            assert f"{found.path.rpartition('.')[2]}:" in text.split("\n")[found.line - 1]


def test_rendered() -> None:
    text = (SEEDS / "a2-destination-rule.yaml").read_text()
    (found,) = diagnose(text, "rule.yaml").diagnostics
    assert render(found) == (
        "error[WEFT0105]: DestinationRule `my-service` has no field `faultTolerance` here\n"
        "  rule.yaml:10  spec.trafficPolicy.faultTolerance\n"
        "\n"
        "hint: did you mean `outlierDetection`?\n"
    )
