"""Findings for people and programs."""

from weft.api.diagnostics import Diagnostic
from weft.views.findings import Scope, at_least, finding_lines, github_lines, summary
from weft.views.tables import COLOUR

NOTE = Diagnostic("WEFT2403", "info", "port 80 declares no protocol", "Service", "a", "web")
ERROR = Diagnostic("WEFT0101", "error", "no YAML: 100%", file="a,b.yaml", line=3, hint="mend it")


def test_lines_with_and_without_places() -> None:
    assert finding_lines([NOTE, ERROR]) == [
        "note[WEFT2403] Service a/web: port 80 declares no protocol",
        "error[WEFT0101] a,b.yaml:3: no YAML: 100%",
        "  hint: mend it",
    ]


def test_colours_are_the_styles() -> None:
    assert finding_lines([ERROR], COLOUR)[0].startswith(f"{COLOUR.bad}error[WEFT0101]")
    assert "\x1b" not in "".join(finding_lines([ERROR]))


def test_github_escapes() -> None:
    line = github_lines([ERROR])[0]
    assert line == "::error file=a%2Cb.yaml,line=3,title=WEFT0101::no YAML: 100%25%0Ahint: mend it"


def test_summaries() -> None:
    assert summary([ERROR, NOTE], Scope(1, 2)) == "1 error, 1 note in 1 object of 2 files"
    assert summary([], Scope(3, 0, True)) == "nothing to report in 3 objects that are stored"
    assert summary([], Scope(2, 1, True)).endswith("2 objects of 1 file on top of what is stored")


def test_thresholds() -> None:
    assert at_least([ERROR, NOTE], "warning") == (ERROR,)
    assert at_least([ERROR, NOTE], "info") == (ERROR, NOTE)
