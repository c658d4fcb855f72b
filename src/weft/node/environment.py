"""What a container runs: its command, environment and directory. Pure.

Layers of the environment, lowest first: the node's base, service variables, the image's, what weft
sets (HOSTNAME, PORT, ...), the container's `envFrom`, its `env`. A program therefore finds in PORT
a number to listen on even when a Service named `port` exists.
"""

import base64
import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from weft.api.k8s.container_v1 import (
    ConfigMapKeySelector,
    Container,
    EnvVar,
    EnvVarSource,
    SecretKeySelector,
)
from weft.api.k8s.core_v1 import ConfigMap, Secret, Service, ServicePort
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.api.wellknown import CLUSTER_DOMAIN, ISOLATION_HOST
from weft.lib.ports import bindable_ports
from weft.mesh.model import LABELS_APP
from weft.mesh.workloads import LABELS_VERSION, first_label, workload_name
from weft.node.downward import PodFacts, field_value, resource_value
from weft.node.runtime import Image
from weft.telemetry.traces import resource, service_name

CONFIG_ERROR = "CreateContainerConfigError"
PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
OTLP_SERVICE = "OTEL_SERVICE_NAME"
OTLP_RESOURCE = "OTEL_RESOURCE_ATTRIBUTES"
"""Source: OpenTelemetry, "Environment Variable Specification"."""
_REFERENCE = re.compile(r"\$(\$|\(([^()$]*)\))")


class Command(Struct, frozen=True):
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str


class Refusal(Struct, frozen=True):
    """Why a container cannot be started now; becomes its waiting state."""

    reason: str
    message: str


class _Context(Struct, frozen=True):
    pod: Pod
    container: Container
    image: Image
    objects: Snapshot
    facts: PodFacts


class _Refused(Exception):
    """Ends the making of a command; never leaves this module."""


def command(
    pod: Pod, container: Container, image: Image, objects: Snapshot, facts: PodFacts
) -> Command | Refusal:
    """The command of one container, or what is missing for it."""
    try:
        env = _environment(_Context(pod, container, image, objects, facts))
    except _Refused as refused:
        return Refusal(CONFIG_ERROR, str(refused))
    entry = container.command or image.command
    args = container.args or (() if container.command else image.args)
    argv = tuple(expand(word, env) for word in (*entry, *args))
    if not argv:
        return Refusal(CONFIG_ERROR, f"image `{image.name}` has no command, and the container "
                       "gives none")  # fmt: skip
    return Command(argv=argv, env=env, cwd=container.working_dir or image.directory or "/")


def otlp_variables(endpoint: str) -> dict[str, str]:
    """What tells OpenTelemetry's libraries where spans go, over HTTP; nothing without a place."""
    if not endpoint:
        return {}
    protocol = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    return {OTLP_ENDPOINT: endpoint, **protocol}


def _own_name(pod: Pod) -> dict[str, str]:
    """What OpenTelemetry's libraries say of themselves: the same as the proxy says of the pod."""
    name, labels = pod.metadata, pod.metadata.labels
    workload = workload_name(pod)
    version = first_label(labels, LABELS_VERSION)
    about = resource(workload, name.namespace, version, name.name)
    return {
        OTLP_SERVICE: service_name(first_label(labels, LABELS_APP) or workload, name.namespace),
        OTLP_RESOURCE: ",".join(f"{key}={value}" for key, value in about.items()),
    }


def hostname_of(pod: Pod) -> str:
    """The pod's host name, at most 63 characters (as kubelet cuts it); the node's in its
    network."""
    if pod.spec.host_network:
        return pod.spec.node_name
    return (pod.spec.hostname or pod.metadata.name)[:63].rstrip("-.")


def fqdn(pod: Pod) -> str:
    """The name under which its headless service knows it; "" without a subdomain."""
    if not pod.spec.subdomain:
        return ""
    zone = f"{pod.metadata.namespace}.svc.{CLUSTER_DOMAIN}"
    return f"{hostname_of(pod)}.{pod.spec.subdomain}.{zone}"


HOSTNAME_CHARACTERS_MAX = 64
"""Longer names the kernel does not take."""


def kernel_hostname(pod: Pod) -> str:
    """What `hostname` prints in its containers."""
    whole = bool(pod.spec.set_hostname_as_fqdn) and not pod.spec.host_network
    return (whole and fqdn(pod)) or hostname_of(pod)


def hostname_refusal(pod: Pod) -> Refusal | None:
    """Why the pod cannot have its host name."""
    name = kernel_hostname(pod)
    if len(name) <= HOSTNAME_CHARACTERS_MAX:
        return None
    text = f"setHostnameAsFQDN: `{name}` has more than {HOSTNAME_CHARACTERS_MAX} characters"
    return Refusal(CONFIG_ERROR, text)


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable's value; `$$` is a dollar sign; unknown names stay."""

    def one(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return env.get(found[2], found[0])

    return _REFERENCE.sub(one, text)


def _environment(given: _Context) -> dict[str, str]:
    pod, facts = given.pod, given.facts
    env = {"PATH": PATH_DEFAULT} | dict(facts.base_env)
    if given.image.oci is not None:  # its own programs, not the machine's
        env["PATH"] = PATH_DEFAULT
    if OTLP_ENDPOINT in env:
        env |= _own_name(pod)
    links = pod.spec.enable_service_links is not False
    services = given.objects.list(Service)
    env |= service_variables(
        pod.metadata.namespace, services, links=links, first_port=facts.first_port
    )
    env |= given.image.env
    env |= _own_variables(pod, given.container, facts)
    env |= _from_sources(given)
    for variable in given.container.env:
        value = _value(given, variable, env)
        if value is not None:
            env[variable.name] = value
    return env


def _own_variables(pod: Pod, container: Container, facts: PodFacts) -> dict[str, str]:
    env = {"HOSTNAME": kernel_hostname(pod)}
    ports = [p for p in container.ports if p.container_port]
    if facts.isolation != ISOLATION_HOST or pod.spec.host_network:
        if ports:
            env["PORT"] = str(ports[0].container_port)
        return env
    env["HOST"] = facts.address
    if ports or facts.host_ports:
        first = ports[0].container_port if ports else min(facts.host_ports)
        env["PORT"] = str(facts.host_ports.get(first or 0, first))
    for port in ports:
        allocated = str(facts.host_ports.get(port.container_port or 0, port.container_port))
        env[f"PORT_{port.container_port}"] = allocated
        if port.name:
            env[f"PORT_{_variable(port.name)}"] = allocated
    if facts.proxy:
        # https_proxy stays unset: TLS to the outside goes direct.
        env |= dict.fromkeys(("http_proxy", "HTTP_PROXY"), f"http://{facts.proxy}")
        env |= dict.fromkeys(("no_proxy", "NO_PROXY"), facts.no_proxy)
    return env


# --- variables of services


def service_variables(
    namespace: str, services: Iterable[Service], *, links: bool = True, first_port: int = 0
) -> dict[str, str]:
    """`REDIS_SERVICE_HOST` and its kin, for services of the namespace that have an address; and
    always those of the API's own service. Ports below `first_port` are told where they moved."""
    env: dict[str, str] = {}
    for service in services:
        meta = service.metadata
        api = (meta.namespace, meta.name) == ("default", "kubernetes")
        if (meta.namespace == namespace and links) or api:
            env |= _service_variables(service, first_port)
    return env


def _service_variables(service: Service, first_port: int) -> dict[str, str]:
    address, ports = service.spec.cluster_ip, service.spec.ports
    if not address or address == "None" or not ports:
        return {}
    tcp = (port.port or 0 for port in ports if (port.protocol or "TCP") == "TCP")
    bound = bindable_ports(tcp, first_port)

    def number(port: ServicePort) -> str:
        return str(bound.get(port.port or 0, port.port))

    def url(port: ServicePort) -> str:
        return f"{(port.protocol or 'TCP').lower()}://{address}:{number(port)}"

    name = _variable(service.metadata.name)
    env = {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": number(ports[0])}
    for port in ports:
        if port.name:
            env[f"{name}_SERVICE_PORT_{_variable(port.name)}"] = number(port)
    env[f"{name}_PORT"] = url(ports[0])
    for port in ports:
        protocol = (port.protocol or "TCP").upper()
        prefix = f"{name}_PORT_{port.port}_{protocol}"
        env[prefix] = url(port)
        env[f"{prefix}_PROTO"] = protocol.lower()
        env[f"{prefix}_PORT"] = number(port)
        env[f"{prefix}_ADDR"] = address
    return env


def _variable(name: str) -> str:
    return name.upper().replace("-", "_").replace(".", "_")


# --- envFrom and env


def _from_sources(given: _Context) -> dict[str, str]:
    env: dict[str, str] = {}
    namespace, objects = given.pod.metadata.namespace, given.objects
    for source in given.container.env_from:
        data: Mapping[str, str] = {}
        if (ref := source.config_map_ref) is not None:
            config_map = objects.get(ConfigMap, ref.name, namespace)
            if config_map is None and not ref.optional:
                raise _Refused(f'configmap "{ref.name}" not found')
            data = config_map.data if config_map is not None else {}
        elif (secret_ref := source.secret_ref) is not None:
            secret = objects.get(Secret, secret_ref.name, namespace)
            if secret is None and not secret_ref.optional:
                raise _Refused(f'secret "{secret_ref.name}" not found')
            data = secret_text(secret) if secret is not None else {}
        env |= {source.prefix + key: value for key, value in data.items()}
    return env


def secret_text(secret: Secret) -> dict[str, str]:
    """The Secret's values as text; undecodable bytes are kept as surrogates."""
    return {k: v.decode("utf-8", "surrogateescape") for k, v in secret_bytes(secret).items()}


def secret_bytes(secret: Secret) -> dict[str, bytes]:
    """The Secret's values. What is not base64 is left out (the API refuses it)."""
    values: dict[str, bytes] = {}
    for key, encoded in secret.data.items():
        try:
            values[key] = base64.b64decode(encoded, validate=False)
        except ValueError:
            continue
    return values | {k: v.encode() for k, v in secret.string_data.items()}


def _value(given: _Context, variable: EnvVar, env: Mapping[str, str]) -> str | None:
    source = variable.value_from
    if source is None:
        return expand(variable.value, env)
    if source.field_ref is not None:
        found = field_value(given.pod, source.field_ref.field_path, given.facts)
        if found is None:
            raise _Refused(f"unsupported fieldPath: {source.field_ref.field_path}")
        return found
    if source.resource_field_ref is not None:
        try:
            return resource_value(
                given.pod, given.container, source.resource_field_ref, given.facts
            )
        except ValueError as error:
            raise _Refused(str(error)) from error
    return _key_value(given.pod.metadata.namespace, source, given.objects)


def _key_value(namespace: str, source: EnvVarSource, objects: Snapshot) -> str | None:
    data: Mapping[str, str] | None = None
    if (ref := source.config_map_key_ref) is not None:
        config_map = objects.get(ConfigMap, ref.name, namespace)
        data = config_map.data if config_map is not None else None
        return _pick(data, "ConfigMap", namespace, ref)
    if (secret_ref := source.secret_key_ref) is not None:
        secret = objects.get(Secret, secret_ref.name, namespace)
        data = secret_text(secret) if secret is not None else None
        return _pick(data, "Secret", namespace, secret_ref)
    return ""


def _pick(
    data: Mapping[str, str] | None,
    kind: str,
    namespace: str,
    ref: ConfigMapKeySelector | SecretKeySelector,
) -> str | None:
    if data is not None and ref.key in data:
        return data[ref.key]
    if ref.optional:
        return None
    if data is None:
        raise _Refused(f'{kind.lower()} "{ref.name}" not found')
    raise _Refused(f"couldn't find key {ref.key} in {kind} {namespace}/{ref.name}")
