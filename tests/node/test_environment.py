"""Commands and environments of containers, as a program sees them."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.node.pods import pod
from weft.api.k8s.core_v1 import ConfigMap, Secret, Service
from weft.api.objects import decode
from weft.api.snapshot import ObjectSnapshot
from weft.node.downward import PodFacts
from weft.node.environment import Command, Refusal, command, expand, service_variables
from weft.node.runtime import Image

IMAGE = Image("web:1.0", "/srv/web", ("python", "app.py"), {"MODE": "image"})
FACTS = PodFacts(address="10.244.0.5", host_ip="192.0.2.1", cpu_cores=2, memory_bytes=2**30)


def made(container: dict[str, Any], *objects: Any, facts: PodFacts = FACTS, **spec: Any) -> Any:
    found = pod(containers=[{"name": "web", "image": "web:1.0"} | container], **spec)
    return command(found, found.spec.containers[0], IMAGE, ObjectSnapshot(objects), facts)


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=meta(name), data=data)


def secret(name: str, **data: str) -> Secret:
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
    return Secret(metadata=meta(name), data=encoded)


def meta(name: str) -> Any:
    from weft.api.k8s.meta_v1 import ObjectMeta

    return ObjectMeta(name=name, namespace="default")


def service(name: str, address: str, *ports: dict[str, Any]) -> Service:
    body = {"metadata": {"name": name, "namespace": "default"},
            "spec": {"clusterIP": address, "ports": list(ports)}}  # fmt: skip
    return decode(Service, body)


def test_opentelemetry_says_of_a_pod_what_its_proxy_says() -> None:
    facts = msgspec.structs.replace(FACTS, base_env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"})
    labels = {"app": "web", "version": "v2"}
    web = pod(containers=[{"name": "web", "image": "web:1.0"}])
    labelled = msgspec.structs.replace(web.metadata, labels=labels)
    web = msgspec.structs.replace(web, metadata=labelled)
    found = command(web, web.spec.containers[0], IMAGE, ObjectSnapshot(()), facts)
    assert isinstance(found, Command)
    name, namespace = web.metadata.name, web.metadata.namespace
    assert found.env["OTEL_SERVICE_NAME"] == f"web.{namespace}"
    assert found.env["OTEL_RESOURCE_ATTRIBUTES"] == (
        f"weft.workload={name},k8s.namespace.name={namespace},k8s.pod.name={name},"
        "service.version=v2"
    )


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        ({}, ("python", "app.py")),
        ({"args": ["--debug"]}, ("python", "app.py", "--debug")),
        ({"command": ["sh", "-c"], "args": ["echo $(MODE)"]}, ("sh", "-c", "echo image")),
        ({"command": ["echo", "$$(MODE) $(NOPE)"]}, ("echo", "$(MODE) $(NOPE)")),
    ],
)
def test_command_and_args_override_the_image(
    container: dict[str, Any], argv: tuple[str, ...]
) -> None:
    found = made(container)
    assert isinstance(found, Command)
    assert found.argv == argv
    assert found.cwd == "/srv/web"


def test_variables_refer_to_earlier_ones_and_override_the_image() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"},
           {"name": "C", "value": "$(D)"}, {"name": "D", "value": "x"},
           {"name": "MODE", "value": "mine"}]  # fmt: skip
    found = made({"env": env, "workingDir": "/tmp"})
    assert (found.env["B"], found.env["C"], found.env["MODE"]) == ("12", "$(D)", "mine")
    assert found.env["HOSTNAME"] == "web-0"
    assert found.cwd == "/tmp"
    assert "PATH" in found.env


def test_values_from_config_maps_secrets_fields_and_resources() -> None:
    env = [
        {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "k"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {
            "resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "GONE", "valueFrom": {"configMapKeyRef": {
            "name": "cfg", "key": "x", "optional": True}}},
    ]  # fmt: skip
    found = made(
        {"env": env, "envFrom": [{"prefix": "CFG_", "configMapRef": {"name": "cfg"}}],
         "resources": {"limits": {"cpu": "250m"}}},
        config_map("cfg", k="v"), secret("s", p="hunter2"),
    )  # fmt: skip
    got = {k: found.env.get(k) for k in ("KEY", "PASSWORD", "IP", "APP", "MEM", "CPU", "CFG_k")}
    assert got == {"KEY": "v", "PASSWORD": "hunter2", "IP": "10.244.0.5", "APP": "",
                   "MEM": "1024", "CPU": "1", "CFG_k": "v"}  # fmt: skip
    assert "GONE" not in found.env


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"configMapRef": {"name": "nope"}}]}, 'configmap "nope" not found'),
        ({"envFrom": [{"secretRef": {"name": "nope"}}]}, 'secret "nope" not found'),
        ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k"}}}]},
         'secret "no" not found'),
        ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "q"}}}]},
         "couldn't find key q in ConfigMap default/cfg"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(container: dict[str, Any], message: str) -> None:
    assert made(container, config_map("cfg", k="v")) == Refusal(
        "CreateContainerConfigError", message
    )


def test_service_variables_are_kubernetes_and_docker_style() -> None:
    redis = service("redis-master", "10.96.0.11", {"port": 6379, "name": "db", "protocol": "TCP"})
    headless = service("peers", "None", {"port": 1})
    env = service_variables("default", [redis, headless])
    assert env == {
        "REDIS_MASTER_SERVICE_HOST": "10.96.0.11",
        "REDIS_MASTER_SERVICE_PORT": "6379",
        "REDIS_MASTER_SERVICE_PORT_DB": "6379",
        "REDIS_MASTER_PORT": "tcp://10.96.0.11:6379",
        "REDIS_MASTER_PORT_6379_TCP": "tcp://10.96.0.11:6379",
        "REDIS_MASTER_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_MASTER_PORT_6379_TCP_PORT": "6379",
        "REDIS_MASTER_PORT_6379_TCP_ADDR": "10.96.0.11",
    }
    assert service_variables("other", [redis]) == {}
    assert service_variables("default", [redis], links=False) == {}


def test_service_variables_name_the_port_that_an_ordinary_user_can_reach() -> None:
    web = service("web", "127.64.0.9", {"port": 80, "name": "http"}, {"port": 8080, "name": "alt"})
    env = service_variables("default", [web], first_port=1024)
    assert env["WEB_SERVICE_PORT"] == env["WEB_SERVICE_PORT_HTTP"] == "8081"
    assert env["WEB_SERVICE_PORT_ALT"] == env["WEB_PORT_8080_TCP_PORT"] == "8080"
    assert env["WEB_PORT"] == env["WEB_PORT_80_TCP"] == "tcp://127.64.0.9:8081"


def test_port_is_the_container_port_or_the_allocated_one() -> None:
    ports = {"ports": [{"containerPort": 8080, "name": "http"}, {"containerPort": 9090}]}
    assert made(ports).env["PORT"] == "8080"
    host = PodFacts(address="127.64.0.7", isolation="host", host_ports={8080: 20001, 9090: 20002},
                    proxy="127.64.0.7:15001")  # fmt: skip
    env = made(ports, facts=host).env
    assert (env["HOST"], env["PORT"], env["PORT_9090"], env["PORT_HTTP"]) == (
        "127.64.0.7", "20001", "20002", "20001",
    )  # fmt: skip
    assert env["http_proxy"] == env["HTTP_PROXY"] == "http://127.64.0.7:15001"
    assert env["no_proxy"] == "localhost,127.0.0.1,::1"
    assert "https_proxy" not in env


def test_a_pod_in_the_nodes_network_listens_on_its_container_port() -> None:
    ports = {"ports": [{"containerPort": 8080}]}
    facts = PodFacts(address="127.0.0.1", isolation="host")
    env = made(ports, facts=facts, hostNetwork=True).env
    assert (env["PORT"], env["HOSTNAME"]) == ("8080", "node-1")
    assert not {"HOST", "http_proxy"} & set(env)


def test_a_service_named_port_does_not_take_the_port_variable() -> None:
    found = made({"ports": [{"containerPort": 80}]}, service("x", "10.96.0.2", {"port": 1}))
    assert found.env["PORT"] == "80"


@examples(200)
@given(st.text(alphabet="$()Aab ", max_size=20))
def test_expansion_never_fails_and_leaves_text_without_dollars(text: str) -> None:
    result = expand(text, {"A": "x"})
    if "$" not in text:
        assert result == text
    assert expand(text.replace("$", "$$"), {"A": "x"}) == text
