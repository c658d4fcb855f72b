"""Conditions of routes: paths, headers, query parameters, the caller's namespace."""

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.type.matcher.v3 import filter_state_pb2, regex_pb2, string_pb2
from google.protobuf.wrappers_pb2 import BoolValue

from weft.mesh.model import HttpMatch, NamedMatch, StringMatch
from weft.xds.faults import fraction
from weft.xds.identity import DESTINATION_KEY, LABELS_KEY, NAMESPACE_KEY, WORKLOAD_KEY, label
from weft.xds.proto import Proto

ALL_PERCENT = 100.0
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""Methods that a repeat cannot harm (RFC 9110 section 9.2.1), TRACE left out."""


def route_match(match: HttpMatch, methods: tuple[str, ...] = ()) -> Proto:
    """The match of an Envoy route; `methods`, when given, are a further condition."""
    result = route_pb2.RouteMatch()
    _path(result, match)
    if match.percent < ALL_PERCENT:
        result.runtime_fraction.default_value.CopyFrom(fraction(match.percent))
    if match.method is not None:
        result.headers.append(header_matcher(":method", match.method))
    if match.authority is not None:
        result.headers.append(header_matcher(":authority", match.authority))
    if match.scheme is not None:
        result.headers.append(header_matcher(":scheme", match.scheme))
    if methods:
        result.headers.append(header_matcher(":method", StringMatch("regex", "|".join(methods))))
    result.headers.extend(named_header_matcher(header) for header in match.headers)
    result.query_parameters.extend(query_matcher(query) for query in match.query)
    if match.source_namespaces:
        result.filter_state.append(_caller_in(match.source_namespaces))
    if match.source_workload:
        result.filter_state.append(_caller_is(match.source_workload))
    result.filter_state.extend(_caller_has(*pair) for pair in match.source_labels)
    return result


def to_address(address: str) -> Proto:
    """Holds for connections that were made to this address."""
    return filter_state_pb2.FilterStateMatcher(
        key=DESTINATION_KEY, string_match=string_pb2.StringMatcher(exact=address)
    )


def regex(pattern: str) -> Proto:
    return regex_pb2.RegexMatcher(regex=pattern)


def _path(result: Proto, match: HttpMatch) -> None:
    path = match.path
    if path is None or path.kind == "present":
        result.prefix = "/"
        return
    if path.kind == "exact":
        result.path = path.value
    elif path.kind == "prefix" and match.path_segments:
        result.path_separated_prefix = path.value
    elif path.kind == "prefix":
        result.prefix = path.value
    else:
        pattern = f"(?i){path.value}" if match.ignore_path_case else path.value
        result.safe_regex.CopyFrom(regex(pattern))
        return
    if match.ignore_path_case:
        result.case_sensitive.CopyFrom(BoolValue(value=False))


def string_matcher(match: StringMatch) -> Proto:
    """Of values that are there; `present` matches any."""
    if match.kind == "exact":
        return string_pb2.StringMatcher(exact=match.value)
    if match.kind == "prefix":
        return string_pb2.StringMatcher(prefix=match.value)
    if match.kind == "suffix":
        return string_pb2.StringMatcher(suffix=match.value)
    return string_pb2.StringMatcher(safe_regex=regex(match.value))


def header_matcher(name: str, match: StringMatch) -> Proto:
    """A condition on a header."""
    if match.kind == "present" or (match.kind == "prefix" and not match.value):
        return route_pb2.HeaderMatcher(name=name, present_match=True)
    return route_pb2.HeaderMatcher(name=name, string_match=string_matcher(match))


def named_header_matcher(named: NamedMatch) -> Proto:
    """A condition on a header, perhaps inverted."""
    matcher = header_matcher(named.name, named.match)
    if named.invert:
        matcher.invert_match = True
        # "without this value" also holds for requests that lack the header.
        matcher.treat_missing_header_as_empty = matcher.HasField("string_match")
    return matcher


def query_matcher(named: NamedMatch) -> Proto:
    """A condition on a query parameter."""
    if named.match.kind == "present" or (named.match.kind == "prefix" and not named.match.value):
        return route_pb2.QueryParameterMatcher(name=named.name, present_match=True)
    return route_pb2.QueryParameterMatcher(
        name=named.name, string_match=string_matcher(named.match)
    )


def _caller_in(namespaces: tuple[str, ...]) -> Proto:
    """Namespaces are DNS labels: no character of theirs means anything in a regular expression."""
    if len(namespaces) == 1:
        matcher = string_pb2.StringMatcher(exact=namespaces[0])
    else:
        matcher = string_pb2.StringMatcher(safe_regex=regex("|".join(namespaces)))
    return filter_state_pb2.FilterStateMatcher(key=NAMESPACE_KEY, string_match=matcher)


def _caller_is(workload: str) -> Proto:
    matcher = string_pb2.StringMatcher(exact=workload)
    return filter_state_pb2.FilterStateMatcher(key=WORKLOAD_KEY, string_match=matcher)


def _caller_has(name: str, value: str) -> Proto:
    matcher = string_pb2.StringMatcher(contains=f";{label(name, value)};")
    return filter_state_pb2.FilterStateMatcher(key=LABELS_KEY, string_match=matcher)
