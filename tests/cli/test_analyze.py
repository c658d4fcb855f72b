"""`weft analyze` over files: what it prints, where it points, how it ends."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from weft.cli.main import main

SEEDS = Path(__file__).parent.parent / "seeds"
SERVICE = """apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  selector: {app: reviews}
  ports:
  - {name: http, port: 9080}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews}
spec:
  selector: {matchLabels: {app: reviews}}
  template:
    metadata: {labels: {app: reviews, version: v1}}
    spec: {containers: [{name: app, image: reviews:1, ports: [{containerPort: 9080}]}]}
"""
ROUTES = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination:
        host: revews
"""
PATCH = """apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: slow}
spec:
  configPatches:
  - applyTo: CLUSTER
    patch: {operation: MERGE, value: {conect_timeout: 3s}}
"""


def run(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["analyze", *args], input=stdin, env={"NO_COLOR": "1"})


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    (tmp_path / "app.yaml").write_text(SERVICE)
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return tmp_path


def test_a_finding_says_where_what_and_what_to_do(mesh: Path) -> None:
    done = run(str(mesh))
    assert done.exit_code == 1
    assert done.stdout == (
        f"error[WEFT2101] {mesh}/routes.yaml:9 VirtualService default/reviews "
        "spec.http[0].route[0].destination.host: no Service or ServiceEntry is named `revews`; "
        "requests are answered 503\n"
        "  hint: did you mean `reviews`?\n"
    )
    assert done.stderr == "1 error in 3 objects of 2 files\n"


def test_sound_files(mesh: Path) -> None:
    (mesh / "routes.yaml").write_text(ROUTES.replace("revews", "reviews"))
    done = run("-f", str(mesh))
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "nothing to report in 3 objects of 2 files\n"


def test_the_namespace_is_that_of_objects_without_one(mesh: Path) -> None:
    done = run(str(mesh), "-n", "shop")
    assert "VirtualService shop/reviews" in done.stdout
    assert "there is no namespace `shop`" in done.stdout


def test_exit_codes_follow_fail_on(mesh: Path) -> None:
    (mesh / "app.yaml").write_text(SERVICE.replace("name: http,", "name: web,"))
    (mesh / "routes.yaml").write_text("")
    assert run(str(mesh)).exit_code == 0, "a note"
    (mesh / "app.yaml").write_text(SERVICE.replace("selector: {app: reviews}", "selector: {a: b}"))
    assert run(str(mesh)).exit_code == 0, "a warning"
    assert run(str(mesh), "--fail-on", "warning").exit_code == 1
    (mesh / "routes.yaml").write_text(ROUTES)
    assert run(str(mesh), "--fail-on", "never").exit_code == 0


@pytest.mark.parametrize(
    "option",
    [
        "WEFT2101",
        "WEFT2101=VirtualService default/reviews",
        "weft2101=VirtualService *",
        "IST0101=VirtualService reviews.default",
        "*=* default/*",
    ],
)
def test_suppressed_by_option(mesh: Path, option: str) -> None:
    done = run(str(mesh), "--suppress", option)
    assert (done.exit_code, done.stdout) == (0, "")


def test_suppressed_for_others_only(mesh: Path) -> None:
    assert run(str(mesh), "--suppress", "WEFT2101=VirtualService shop/*").exit_code == 1
    bad = run(str(mesh), "--suppress", "VirtualService")
    assert bad.exit_code == 2
    assert "`VirtualService` is no code" in bad.stderr


@pytest.mark.parametrize(
    "annotation",
    ["weft.dev/analyze-suppress: WEFT2101", 'weft.dev/analyze-suppress: "*"',
     "galley.istio.io/analyze-suppress: IST0101"],
)  # fmt: skip
def test_suppressed_by_annotation(mesh: Path, annotation: str) -> None:
    named = ROUTES.replace("{name: reviews}", f"{{name: reviews, annotations: {{{annotation}}}}}")
    (mesh / "routes.yaml").write_text(named)
    assert run(str(mesh)).exit_code == 0


def test_for_programs(mesh: Path) -> None:
    found = json.loads(run(str(mesh), "-o", "json").stdout)
    assert found["summary"] == {
        "errors": 1, "warnings": 0, "notes": 0, "objects": 3, "files": 2, "live": False,
    }  # fmt: skip
    assert found["findings"][0]["line"] == 9
    assert found["findings"][0]["path"] == "spec.http[0].route[0].destination.host"
    assert yaml.safe_load(run(str(mesh), "-o", "yaml").stdout) == found


def test_as_a_table_and_for_github(mesh: Path) -> None:
    table = run(str(mesh), "-o", "table").stdout.splitlines()
    assert table[0].split() == ["SEVERITY", "CODE", "FILE", "OBJECT", "FIELD", "MESSAGE"]
    assert "VirtualService default/reviews" in table[1]
    github = run(str(mesh), "-o", "github").stdout
    assert github.startswith(f"::error file={mesh}/routes.yaml,line=9,title=WEFT2101::")
    assert "%0Ahint: did you mean" in github


def test_standard_input() -> None:
    done = run("-", stdin=SERVICE.replace("containerPort: 9080", "containerPort: 80"))
    assert done.stdout.startswith("note[WEFT2154] standard input:7 Service default/reviews")


def test_a_value_of_a_patch_that_is_none_of_envoy() -> None:
    done = run("-", stdin=PATCH)
    assert done.exit_code == 1
    assert done.stdout.startswith(
        "error[WEFT2345] standard input:6 EnvoyFilter default/slow spec.configPatches[0]"
    )
    assert "conect_timeout" in done.stdout


def test_broken_text_is_a_finding_and_the_rest_is_looked_at(mesh: Path) -> None:
    (mesh / "broken.yaml").write_text("kind: [\n")
    done = run(str(mesh))
    assert done.exit_code == 1
    assert "error[WEFT0101]" in done.stdout
    assert "error[WEFT2101]" in done.stdout


def test_fields_that_do_not_exist_stand_beside_what_the_analysis_finds() -> None:
    done = run(str(SEEDS / "a2-virtual-service.yaml"))
    codes = [line.split("[")[1][:8] for line in done.stdout.splitlines() if line[0] != " "]
    assert set(codes) == {"WEFT0105", "WEFT0106", "WEFT2101"}


def test_an_object_in_two_files(mesh: Path) -> None:
    (mesh / "z.yaml").write_text(SERVICE)
    found = json.loads(run(str(mesh), "-o", "json").stdout)["findings"]
    twice = [f for f in found if f["code"] == "WEFT2254"]
    assert [(Path(f["file"]).name, f["line"]) for f in twice] == [("z.yaml", 1), ("z.yaml", 9)]
    assert f"{mesh}/app.yaml:1" in twice[0]["message"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "nothing to analyse"),
        (("nowhere.yaml",), "nowhere.yaml does not exist"),
        (("--live", "--data-dir", "nowhere"), "weft does not run"),
        (("--fail-on", "bad"), "'bad' is not one of"),
    ],
)
def test_what_cannot_be_analysed(args: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = run(*args)
    assert done.exit_code == 2
    assert says in done.stderr


def test_an_empty_directory_and_an_empty_file(tmp_path: Path) -> None:
    done = run(str(tmp_path))
    assert (done.exit_code, "holds no .yaml" in done.stderr) == (2, True)
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    done = run(str(tmp_path))
    assert (done.exit_code, done.stderr) == (0, "nothing to report in 0 objects of 1 file\n")


def test_help_has_examples() -> None:
    text = run("--help").stdout
    assert "weft analyze mesh/ --live" in text
    assert "Exit codes" in text
