"""Custom kinds by what people call them."""

import pytest

from weft.cli.custom_kinds import kinds, names

DISCOVERY = {
    "items": [
        {
            "metadata": {"name": "example.com"},
            "versions": [
                {
                    "version": version,
                    "resources": [
                        {
                            "resource": "foos",
                            "responseKind": {"kind": "Foo"},
                            "scope": scope,
                            "singularResource": "foo",
                            "shortNames": ["fo"],
                        }
                    ],
                }
                for version, scope in (("v2", "Namespaced"), ("v1", "Cluster"))
            ],
        }
    ]
}


@pytest.mark.parametrize("text", ["foos", "foo", "fo", "foos.example.com", "fo.example.com"])
def test_every_name_finds_the_preferred_version(text: str) -> None:
    found = next(kind for kind in kinds(DISCOVERY) if text in names(kind))
    assert (found.api_version, found.kind, found.namespaced) == ("example.com/v2", "Foo", True)


def test_other_names_find_nothing() -> None:
    assert not [kind for kind in kinds(DISCOVERY) if "bars" in names(kind)]
    assert list(kinds({})) == []
