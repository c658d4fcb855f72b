"""Keys that were read before a restart."""

import json
from pathlib import Path

from tests.e2e.tokens import Issuer
from weft.daemon.issuer_keys import IssuerKeyKeeper
from weft.mesh.issuer_keys import IssuerKeys
from weft.mesh.key_sets import usable_keys
from weft.runtime.cache import Cache


def told(file: Path) -> IssuerKeys:
    heard: list[IssuerKeys] = []
    IssuerKeyKeeper(Cache(), file, 300, heard.append)
    return heard[-1]


def test_they_count_until_the_issuer_answers(tmp_path: Path) -> None:
    file, issuer = tmp_path / "keys.json", Issuer("https://a.example")
    file.write_text(json.dumps({"https://a.example": issuer.key_set, "https://b.example": "{}"}))
    found = told(file).found
    assert found is not None
    assert {name: each.key_set for name, each in found.items()} == {
        "https://a.example": usable_keys(issuer.key_set)
    }


def test_a_damaged_file_is_none(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    for text in ("", "[]", "{", '{"a": 7}', "[" * 100_000):
        file.write_text(text)
        assert told(file).found == {}, text[:9]
