"""What is said about values of weft's own annotations."""

import pytest

from weft.mesh.analysis.annotation_catalogue import KNOWN


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("auto-rollback", "true", ""),
        ("auto-rollback", "yes", "must be `true` or `false`"),
        ("judge", "result.errorPercent < 1", ""),
        ("judge", "errors low", "neither `true` nor a condition"),
        ("predict-seconds", "1m", "must be a number"),
        ("scale-to-zero-after", "5m", ""),
        ("scale-to-zero-after", "banana", "is not a duration"),
        ("scale-to-zero-after", "2s", "`2s` counts as 6s"),
        ("hold-timeout", "2", "is not a duration"),
        ("start-after", "deployment/db, svc/cache job/migrate", ""),
        ("start-after", "db", ""),
        ("start-after", "cronjob/x", "`cronjob/x` is of no kind"),
        ("start-after", "service/", "lacks a name"),
        ("start-after", " ", "names nothing"),
        ("duration", "soon", "is not a duration"),
    ],
)
def test_values(name: str, value: str, said: str) -> None:
    found = KNOWN[f"weft.dev/{name}"].problem(value)
    assert said in found if said else found == ""
