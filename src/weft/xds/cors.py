"""Cross-origin rules, as the per-route configuration of Envoy's CORS filter."""

from envoy.extensions.filters.http.cors.v3 import cors_pb2
from google.protobuf.wrappers_pb2 import BoolValue

from weft.mesh.model import Cors
from weft.xds.matches import string_matcher
from weft.xds.proto import Proto


def cors_policy(cors: Cors) -> Proto:
    """What the filter answers preflights with and adds to responses."""
    policy = cors_pb2.CorsPolicy(
        allow_origin_string_match=[string_matcher(origin) for origin in cors.origins],
        allow_methods=",".join(cors.methods),
        allow_headers=",".join(cors.headers),
        expose_headers=",".join(cors.expose),
        forward_not_matching_preflights=BoolValue(value=cors.forward_unmatched),
    )
    if cors.max_age is not None:
        policy.max_age = str(round(cors.max_age))
    if cors.credentials is not None:
        policy.allow_credentials.CopyFrom(BoolValue(value=cors.credentials))
    return policy
