"""Reading and checking texts of manifests: many documents, lists, unknown kinds, broken YAML."""

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from weft.api.manifests import Checked, diagnose, parse

POD = (
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i:1}]}\n"
)


def check(text: str) -> Checked:
    return diagnose(dedent(text), "m.yaml")


def test_many_documents_keep_their_lines() -> None:
    checked = diagnose(f"# first\n{POD}---\n---\n{POD.replace('image', 'imag')}", "m.yaml")
    assert [d.valid for d in checked.documents] == [True, False]
    assert [d.line for d in checked.documents] == [2, 8]
    assert [(d.line, d.path) for d in checked.diagnostics] == [
        (11, "spec.containers[0].imag"),
        (11, "spec.containers[0].image"),
    ]
    assert checked.diagnostics[0].hint == "did you mean `image`?"
    assert not checked.ok


def test_a_list_is_taken_apart() -> None:
    checked = check("""\
        apiVersion: v1
        kind: List
        items:
        - apiVersion: v1
          kind: Pod
          metadata: {name: a}
          spec: {containers: [{name: c, image: i}]}
        - apiVersion: v1
          kind: Service
          metadata: {name: b}
          spec:
            port: 80
        """)
    assert [(d.name, d.line, d.valid) for d in checked.documents] == [
        ("a", 4, True),
        ("b", 8, False),
    ]
    assert [(d.line, d.path, d.hint) for d in checked.diagnostics] == [
        (11, "spec.ports", ""),
        (12, "spec.port", "`port` belongs in `ports`"),
    ]


@pytest.mark.parametrize(
    ("api_version", "kind", "path", "hint"),
    [
        ("v1", "Servise", "kind", "did you mean `kind: Service` with `apiVersion: v1`?"),
        ("apps/v1", "Deploymnet", "kind", "`kind: Deployment` with `apiVersion: apps/v1`"),
        ("apps/v1", "deployment", "kind", "`kind: Deployment` with `apiVersion: apps/v1`"),
        ("extensions/v1beta1", "Deployment", "apiVersion", "write `apiVersion: apps/v1`"),
        ("batch/v1", "Quux", "kind", "kinds of `batch`: CronJob, Job"),
        ("x/v1", "Quux", "kind", "kinds are: Namespace, Node, Pod"),
    ],
)
def test_unknown_kind(api_version: str, kind: str, path: str, hint: str) -> None:
    text = f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x}}\n"
    (found,) = check(text).diagnostics
    assert (found.code, found.path, found.line) == ("WEFT0104", path, 2 if path == "kind" else 1)
    assert hint in found.hint


def test_missing_api_version_and_kind() -> None:
    (found,) = check("kind: Deployment\nmetadata: {name: x}\n").diagnostics
    assert found.code == "WEFT0103"
    assert found.hint == "write `apiVersion: apps/v1`"
    (found,) = check("apiVersion: v1\n").diagnostics
    assert "lacks `kind`" in found.message


def test_something_else_than_an_object() -> None:
    (found,) = check("- apiVersion: v1\n  kind: Pod\n").diagnostics
    assert (found.code, found.line) == ("WEFT0102", 1)
    assert "---" in found.hint


def test_wrong_type_says_both_types() -> None:
    text = POD.replace("name: c", "name: 5").replace("image: i:1", "image: i, tty: 'yes'")
    messages = [(d.message, d.hint) for d in check(text).diagnostics]
    assert messages == [
        ("Pod `p`: `name` must be of type string, not integer", 'put it in quotes: "5"'),
        ("Pod `p`: `tty` must be of type boolean, not string", "leave out the quotes"),
    ]


def test_every_istio_version_is_served() -> None:
    for version in ("v1", "v1beta1", "v1alpha3"):
        text = f"""\
            apiVersion: networking.istio.io/{version}
            kind: DestinationRule
            metadata: {{name: x}}
            spec: {{host: x}}
            """
        assert check(text).ok


def test_double_key_makes_the_document_invalid() -> None:
    checked = check(f"{POD}spec: {{}}\n")
    assert ("WEFT0110", 5) in [(d.code, d.line) for d in checked.diagnostics]
    assert not checked.documents[0].valid


def test_parse_does_not_check() -> None:
    (document,) = parse("apiVersion: v1\nkind: Pod\nspec: {nonsense: 1}\n", "f")
    assert document.kind is not None
    assert document.value["spec"] == {"nonsense": 1}


@examples(150)
@given(st.text(alphabet="abk:-[]{}&*!#|>'\"%@\n\t 01~<,?.", max_size=120))
def test_no_text_raises(text: str) -> None:
    diagnose(text, "f")
    diagnose(f"{POD}{text}", "f")


def test_string_data_of_secrets_counts() -> None:
    text = """apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {name: cert}
stringData: {tls.crt: one%s}
"""
    assert diagnose(text % ", tls.key: two", "s.yaml").ok
    (found,) = diagnose(text % "", "s.yaml").diagnostics
    assert found.path == "data[tls.key]"
