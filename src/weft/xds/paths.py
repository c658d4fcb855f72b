"""Paths in policies as Envoy's matchers."""

from envoy.type.matcher.v3 import path_pb2

from weft.mesh import path_patterns
from weft.mesh.model import StringMatch
from weft.xds.matches import string_matcher
from weft.xds.proto import Proto


def path_matcher(text: StringMatch) -> Proto:
    """The path as it is written."""
    return _path(path_patterns.as_written(text))


def doubtful_path() -> Proto:
    """Paths that a callee may resolve to another one."""
    return _path(StringMatch("regex", path_patterns.DOUBTFUL))


def unplain_path() -> Proto:
    """Paths that can be written more simply."""
    return _path(StringMatch("regex", path_patterns.UNPLAIN))


def any_writing(text: StringMatch) -> Proto:
    """Every path that a callee may take for one of these."""
    return _path(path_patterns.any_writing(text))


def _path(text: StringMatch) -> Proto:
    return path_pb2.PathMatcher(path=string_matcher(text))
