"""Schemas: the compiled trees and the published documents."""

import json
import re
from typing import Any

import pytest
from msgspec import inspect as msginspect

from weft.api import registry, schema
from weft.api.kinds import Kind
from weft.api.packaged import definitions


def kind(name: str) -> Kind:
    found = registry.by_name(name)
    assert found is not None
    return found


def differences(found: msginspect.Type, of: schema.Schema, at: str) -> list[str]:
    """Places where a value type and a schema do not know the same fields."""
    if isinstance(found, msginspect.Metadata):
        return differences(found.type, of, at)
    if isinstance(found, msginspect.UnionType):
        return [d for t in found.types for d in differences(t, of, at)]
    if isinstance(found, msginspect.VarTupleType) and of.items:
        return differences(found.item_type, of.items, f"{at}[]")
    if isinstance(found, msginspect.DictType) and of.values:
        return differences(found.value_type, of.values, f"{at}{{}}")
    if not isinstance(found, msginspect.StructType) or of.type != "object":
        return []
    fields = {field.encode_name: field.type for field in found.fields}
    wrong = [f"{at}.{name}" for name in set(fields) ^ set(of.fields)]
    both = set(fields) & set(of.fields)
    return wrong + [d for n in both for d in differences(fields[n], of.fields[n], f"{at}.{n}")]


STORED = [k for k in registry.KINDS if not k.verbs and k.view_of is None]


@pytest.mark.parametrize("of", STORED, ids=lambda k: k.kind)
def test_schema_and_value_type_know_the_same_fields(of: Kind) -> None:
    """What the schema accepts, our values read: nothing is lost by decoding. Also fails when a
    struct changed and `make generate` did not run."""
    assert of.struct is not None
    assert differences(msginspect.type_info(of.struct), schema.schema_for(of), of.kind) == []


def test_merge_keys_of_containers() -> None:
    deployment = schema.schema_for(kind("deploy"))
    containers = schema.at(deployment, ("spec", "template", "spec", "containers"))
    assert containers is not None
    assert containers.type == "array"
    assert (containers.patch_merge_key, containers.patch_strategies) == ("name", ("merge",))
    assert (containers.list_type, containers.list_map_keys) == ("map", ("name",))
    ports = schema.at(containers, (0, "ports"))
    assert ports is not None
    assert ports.list_map_keys == ("containerPort", "protocol")
    protocol = schema.at(ports, (0, "protocol"))
    assert protocol is not None
    assert protocol.default == "TCP"
    strategy = schema.at(deployment, ("spec", "strategy"))
    assert strategy is not None
    assert strategy.patch_strategies == ("retainKeys",)


def test_places_in_objects() -> None:
    pod = schema.schema_for(kind("pod"))
    limits = schema.at(pod, ("spec", "containers", 3, "resources", "limits", "cpu"))
    assert limits is not None
    assert limits.type == "quantity"
    assert schema.at(pod, ("spec", "nothing")) is None
    label = schema.at(pod, ("metadata", "labels", "any"))
    assert label is not None
    assert label.type == "string"


def test_istio_enums_and_formats() -> None:
    rule = schema.schema_for(kind("dr"))
    simple = schema.at(rule, ("spec", "trafficPolicy", "loadBalancer", "simple"))
    assert simple is not None
    assert "LEAST_REQUEST" in simple.enum
    interval = schema.at(rule, ("spec", "trafficPolicy", "outlierDetection", "interval"))
    assert interval is not None
    assert interval.format == "duration"


def references(value: Any) -> set[str]:
    return set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(value)))


@pytest.mark.parametrize("of", STORED, ids=lambda k: k.kind)
def test_published_components_are_complete(of: Kind) -> None:
    for version in of.versions:
        found = schema.components(of, version)
        name = schema.definition_name(of, version)
        assert found[name]["x-kubernetes-group-version-kind"][0]["version"] == version
        assert f"{name}List" in found
        assert references(found) <= set(found)
        assert all(schema_["description"] for schema_ in found[name]["properties"].values())


def test_published_references_have_no_siblings() -> None:
    text = json.dumps(schema.components(kind("deploy")))
    assert '"$ref"' in text
    assert not re.search(r'"\$ref": "[^"]+", "', text)


def test_publishing_does_not_change_the_data() -> None:
    before = json.dumps(definitions(), sort_keys=True)
    schema.components(kind("vs"), "v1alpha3")
    schema.common_components()
    schema.component("io.k8s.api.autoscaling.v1.Scale")
    assert json.dumps(definitions(), sort_keys=True) == before


def test_every_message_and_field_is_described() -> None:
    for name, found in definitions().items():
        if name.startswith("io.istio"):
            assert found["description"], name
            for field, value in found["properties"].items():
                assert value.get("description"), f"{name}.{field}"
