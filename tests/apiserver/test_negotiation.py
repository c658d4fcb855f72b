"""Accept headers as clients send them."""

import pytest

from weft.api.errors import ApiError
from weft.apiserver.negotiation import accept, parse_body

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
