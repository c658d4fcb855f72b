"""MetricTemplate and AlertProvider: what Canaries share."""

import re
from collections.abc import Mapping
from typing import Literal

from weft.api.istio.common import Message
from weft.api.k8s.meta_v1 import ObjectMeta

PLACEHOLDER = re.compile(r"\{\{-?\s*([a-z]+)(?:\.([\w-]+))?\s*-?\}\}")
"""In a query: `{{ target }}`, `{{ variables.NAME }}`."""
PLACEHOLDERS = ("name", "namespace", "target", "service", "ingress", "route", "interval")


class SecretReference(Message, frozen=True):
    """A Secret of the same namespace."""

    name: str = ""
    """Its name."""


class MetricProvider(Message, frozen=True):
    """Who is asked."""

    type: Literal[
        "", "prometheus", "influxdb", "datadog", "externalmetrics", "stackdriver", "cloudwatch",
        "newrelic", "graphite", "dynatrace", "keptn", "splunk",
    ] = ""  # fmt: skip
    """prometheus; the others are refused."""
    address: str = ""
    """Where it is, such as http://prometheus:9090."""
    headers: Mapping[str, tuple[str, ...]] = {}
    """Headers of the request."""
    secret_ref: SecretReference | None = None
    """A Secret with `username` and `password`, or a `token`."""
    region: str = ""
    """Refused: no provider that weft has needs one."""
    insecure_skip_verify: bool = False
    """Take any certificate."""


class MetricTemplateSpec(Message, frozen=True):
    """A query and whom it asks."""

    provider: MetricProvider = MetricProvider()
    """Who is asked."""
    query: str = ""
    """The query, with `{{ namespace }}`, `{{ target }}`, `{{ interval }}` and so on in it."""


class MetricTemplate(Message, frozen=True):
    """A query that Canaries are judged by."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """MetricTemplate."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: MetricTemplateSpec = MetricTemplateSpec()
    """What is asked."""


class AlertProviderSpec(Message, frozen=True):
    """Where alerts are sent."""

    type: Literal["", "slack", "msteams", "discord", "rocket", "gchat"] = ""
    """What is spoken there: slack, discord, rocket or gchat; msteams is refused."""
    channel: str = ""
    """The channel; general when absent."""
    username: str = ""
    """Who sends; flagger when absent."""
    address: str = ""
    """URL of the hook."""
    proxy: str = ""
    """Refused."""
    secret_ref: SecretReference | None = None
    """A Secret whose `address` is the URL of the hook, or with a `token` of Slack's API."""


class AlertProvider(Message, frozen=True):
    """Where Canaries send alerts."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """AlertProvider."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: AlertProviderSpec = AlertProviderSpec()
    """Where alerts are sent."""
