"""Whether one condition of a VirtualService holds wherever another one does."""

from collections.abc import Mapping

from weft.api.istio import networking_v1 as istio
from weft.mesh.istio_matches import MESH

NOTHING = istio.HTTPMatchRequest()
_FIELDS = tuple(n for n in NOTHING.__struct_fields__ if n not in ("name", "stat_prefix"))


def same(one: istio.HTTPMatchRequest, other: istio.HTTPMatchRequest) -> bool:
    """Whether two conditions are alike; names are for logs."""
    return all(getattr(one, name) == getattr(other, name) for name in _FIELDS)


def everything(match: istio.HTTPMatchRequest) -> bool:
    """Whether a condition always holds."""
    fields = (n for n in _FIELDS if n not in ("uri", "ignore_uri_case"))
    return _any_text(match.uri) and all(getattr(match, n) == getattr(NOTHING, n) for n in fields)


def covers(
    wide: istio.HTTPMatchRequest, narrow: istio.HTTPMatchRequest, gateways: tuple[str, ...]
) -> bool:
    """Whether `wide` holds for every request for which `narrow` does. `gateways` are those of the
    object. May say no where it is hard to tell."""
    if wide.gateways and not set(wide.gateways) >= set(narrow.gateways or gateways or (MESH,)):
        return False
    if wide.port not in (None, narrow.port):
        return False
    if wide.source_namespace not in ("", narrow.source_namespace):
        return False
    if not wide.source_labels.items() <= narrow.source_labels.items():
        return False
    return (
        _path(wide, narrow)
        and _texts(wide.headers, narrow.headers)
        and _texts(wide.query_params, narrow.query_params)
        and _text(wide.method, narrow.method)
        and _text(wide.authority, narrow.authority)
        and _text(wide.scheme, narrow.scheme)
        and all(narrow.without_headers.get(k) == v for k, v in wide.without_headers.items())
    )


def _path(wide: istio.HTTPMatchRequest, narrow: istio.HTTPMatchRequest) -> bool:
    if _any_text(wide.uri):
        return True
    if narrow.ignore_uri_case and not wide.ignore_uri_case:
        return False
    if wide.ignore_uri_case:
        return _text(_lower(wide.uri), _lower(narrow.uri))
    return _text(wide.uri, narrow.uri)


def _texts(wide: Mapping[str, istio.StringMatch], narrow: Mapping[str, istio.StringMatch]) -> bool:
    """All that the wide one asks of headers or parameters, the narrow one asks as well."""
    return all(key in narrow and _named(value, narrow[key]) for key, value in wide.items())


def _named(wide: istio.StringMatch, narrow: istio.StringMatch) -> bool:
    """An empty condition asks for the header's presence only."""
    return wide == istio.StringMatch() or _text(wide, narrow)


def _text(wide: istio.StringMatch | None, narrow: istio.StringMatch | None) -> bool:
    if wide is None or wide == narrow:
        return True
    if narrow is None or wide.prefix is None:
        return False
    value = narrow.exact if narrow.exact is not None else narrow.prefix
    return value is not None and value.startswith(wide.prefix)


def _any_text(value: istio.StringMatch | None) -> bool:
    """Whether every path fulfils the condition."""
    return value is None or value.prefix in ("", "/") or value.regex in (".*", "/.*")


def _lower(value: istio.StringMatch | None) -> istio.StringMatch | None:
    if value is None or value.regex is not None:
        return value
    return istio.StringMatch(
        exact=value.exact.lower() if value.exact is not None else None,
        prefix=value.prefix.lower() if value.prefix is not None else None,
    )
