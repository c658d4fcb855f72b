"""Fields of objects are found in the files they were read from."""

from weft.api.field_errors import path_steps
from weft.api.manifests import diagnose
from weft.offline.lines import Lines

TEXT = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
    - route:
        - destination: {host: a}
    - name: second
      route:
        - destination: {host: b}
"""


def test_a_path_leads_to_its_line() -> None:
    lines = Lines(diagnose(TEXT, "web.yaml").documents)
    place = ("VirtualService", "default", "web")
    assert lines.locate(*place, "spec.http[1]") == ("web.yaml", 9)
    assert lines.locate(*place, "spec.http[1].timeout") == ("web.yaml", 9)
    assert lines.locate(*place, "") == ("web.yaml", 1)
    assert lines.locate("VirtualService", "shop", "web", "") == ("", 0)


def test_paths_are_taken_apart() -> None:
    assert path_steps("spec.http[0].match[1].headers[x-a.b]") == (
        "spec", "http", 0, "match", 1, "headers", "x-a.b",
    )  # fmt: skip
