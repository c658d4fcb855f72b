"""Accept headers as clients send them."""

import pytest

from weft.api.errors import ApiError
from weft.apiserver.negotiation import accept, is_for_people, parse_body

KUBECTL_GET = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,"
    "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)


@pytest.mark.parametrize(
    ("header", "shape", "media"),
    [
        ("", "object", "application/json"),
        ("*/*", "object", "application/json"),
        (KUBECTL_GET, "table", "application/json"),
        ("application/vnd.kubernetes.protobuf,application/json", "object", "application/json"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", "object",
         "application/json"),
        ("application/yaml", "object", "application/yaml"),
        ("text/html;q=1,application/yaml;q=0.2,application/json;q=0.5", "object",
         "application/json"),
        ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "partial",
         "application/json"),
    ],
)  # fmt: skip
def test_forms(header: str, shape: str, media: str) -> None:
    wanted = accept(header)
    assert (wanted.shape, wanted.media_type) == (shape, media)


@pytest.mark.parametrize(
    "header",
    ["text/html", "application/vnd.kubernetes.protobuf", "application/json;as=Nope;v=v1;g=x"],
)
def test_forms_that_are_not_served(header: str) -> None:
    with pytest.raises(ApiError) as caught:
        accept(header)
    assert caught.value.code == 406


def test_yaml_reads_as_kubernetes_reads_it() -> None:
    text = b"data: {1: a, x: b}\nwhen: 2026-01-01\n"
    found = parse_body(text, "application/yaml")
    assert found["data"]["1"] == "a"
    assert found["when"] == "2026-01-01"
    with pytest.raises(ApiError, match="not valid YAML"):
        parse_body(b"a: [", "application/yaml")


def test_yaml_that_grows_without_end_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ApiError, match="500000 values") as caught:
        parse_body("\n".join(lines).encode(), "application/yaml")
    assert caught.value.code == 400


def test_yaml_bodies_hold_one_object() -> None:
    with pytest.raises(ApiError, match="one object"):
        parse_body(b"a: 1\n---\nb: 2\n", "application/yaml")
    assert parse_body(b"", "application/yaml") is None


@pytest.mark.parametrize(
    ("pretty", "agent", "indented"),
    [
        ("", "curl/8.5.0", True), ("", "Mozilla/5.0 (X11)", True), ("", "kubectl/v1.33", False),
        ("true", "kubectl/v1.33", True), ("0", "curl/8.5.0", False),
    ],
)  # fmt: skip
def test_people_get_indented_json(pretty: str, agent: str, indented: bool) -> None:
    assert is_for_people(pretty, agent) is indented


def test_what_was_sent_instead_of_an_object_is_shown() -> None:
    for body, shown in ((b"", "<empty>"), (b"a: b", "613a2062"), (b"{" * 40, "{" * 30 + " ...")):
        with pytest.raises(ApiError) as refused:
            parse_body(body, "", "Pod")
        text = refused.value.message
        assert text.startswith("the object provided is unrecognized (must be of type Pod): ")
        assert text.endswith(f"({shown})")
