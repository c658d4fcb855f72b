"""APIService objects, and OpenAPI v2 as JSON."""

import pytest

from tests.apiserver.crds import crd
from tests.apiserver.serving import Running

APIS = "/apis/apiregistration.k8s.io/v1/apiservices"


async def test_every_version_that_is_served_is_listed_as_available(live: Running) -> None:
    _, served = await live.json("GET", "/apis")
    _, found = await live.json("GET", APIS)
    listed = {item["metadata"]["name"] for item in found["items"]}
    names = [v["groupVersion"] for group in served["groups"] for v in group["versions"]]
    wanted = {".".join(reversed(name.split("/"))) for name in names} | {"v1."}
    assert listed == wanted
    for item in found["items"]:
        (condition,) = item["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("Available", "True")


async def test_one_by_name_selector_and_table(live: Running) -> None:
    code, found = await live.json("GET", f"{APIS}/v1.apps")
    assert (code, found["spec"]["group"], found["spec"]["version"]) == (200, "apps", "v1")
    assert (await live.json("GET", f"{APIS}/v1.absent"))[0] == 404
    query = {"labelSelector": "kube-aggregator.kubernetes.io/automanaged=true"}
    _, found = await live.json("GET", APIS, params=query)
    assert found["items"] == []
    definition = crd()
    where = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await live.json("POST", where, json=definition))[0] == 201
    _, found = await live.json("GET", APIS, params=query)
    assert {item["spec"]["group"] for item in found["items"]} == {definition["spec"]["group"]}
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    _, found = await live.json("GET", APIS, headers=table)
    assert [c["name"] for c in found["columnDefinitions"]] == [
        "Name", "Service", "Available", "Age",
    ]  # fmt: skip
    code, _ = await live.json("DELETE", f"{APIS}/v1.apps")
    assert code == 405
    own = {"metadata": {"name": "v1.own.test"}, "spec": {"group": "own.test", "version": "v1"}}
    assert (await live.json("POST", APIS, json=own))[0] == 405


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
async def test_openapi_v2_is_swagger_for_those_who_take_no_protobuf(
    live: Running, accept: str
) -> None:
    """Terraform's provider finds the type of a manifest in it."""
    _, found = await live.json("GET", "/openapi/v2", headers={"Accept": accept})
    assert found["swagger"] == "2.0"
    definitions = found["definitions"]
    deployment = definitions["io.k8s.api.apps.v1.Deployment"]
    assert deployment["x-kubernetes-group-version-kind"][0]["kind"] == "Deployment"
    spec = deployment["properties"]["spec"]["$ref"].removeprefix("#/definitions/")
    assert definitions[spec]["properties"]["replicas"]["format"] == "int32"
    text = str(found)
    assert "#/components" not in text
    assert "oneOf" not in text
