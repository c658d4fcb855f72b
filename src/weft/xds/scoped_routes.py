"""Route tables of many hosts in parts, so that Envoy takes a change of one route in milliseconds.

Envoy builds a RouteConfiguration anew, all of its virtual hosts, whichever of them changed (VHDS is
no exception). So the virtual hosts of a large table are spread over several RouteConfigurations by
a hash of their domains; a header that the connection manager itself sets from the same hash of
`Host` says which one a request needs (scoped routes, SRDS). Virtual hosts for wildcard domains
stand in every part. The hash is a row of bits, each the parity of how often characters of a set
occur before a port: RE2 finds that out in one pass, and neither letter case, a port nor a trailing
dot, which Envoy ignores as well, make a difference.
"""

from collections.abc import Iterable, Sequence, Set
from functools import cache, lru_cache

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import scoped_route_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2

from weft.mesh.model import RouteTable
from weft.xds.proto import ADS, Proto, extension, resource
from weft.xds.resource import SCOPES, Resource

SCOPE_HEADER = "x-weft-scope"
"""Names the part of the table that a request needs; nobody else sees it."""
SCOPED_HOSTS_MIN = 1024
"""From so many virtual hosts on a table is divided: below, Envoy builds it within 100 ms, and the
requests need not pay for the hash (10 to 30 µs each)."""
WHOLE_HOSTS_MAX = 512
"""With so few virtual hosts a divided table becomes one again."""
EXACT_PER_WILDCARD_MIN = 16
"""So many virtual hosts of exact domains are needed for each wildcard, which every part has."""
_ALPHABET = "-.0123456789_abcdefghijklmnopqrstuvwxyz"
_SETS = (
    "-4567bcdejklmrstuz",
    "-0189_abcjklmnovwxyz",
    "-3459_aefgklmqrswxy",
    "12569_cdghklopstwx",
    "123789cdeijkopquvw",
    "-06789_fghijpqrstz",
)
"""The characters that each bit counts, found by trying: hosts that differ in one number or in one
word spread well, and the programs of RE2 stay below the size that Envoy allows (100)."""
PARTS = 2 ** len(_SETS)
SCOPES_KEPT_MAX = 1024
"""So many scopes are held ready as bytes."""
_KNOWN = frozenset(_ALPHABET)
EDGE_TABLES = ("http.", "https.")
"""How names of the tables of gateways begin. Others end with routes for addresses instead of
hosts, which every part would need."""
_SCOPES = "hosts"


def part_of(domain: str) -> int:
    """The number of the part that requests for an exact domain are answered by."""
    host = domain.lower().partition(":")[0]
    if not host or not _KNOWN.issuperset(host):
        return 0
    number = 0
    for characters in _SETS:
        number = number * 2 + sum(map(host.count, characters)) % 2
    return number


def part_name(table: str, number: int) -> str:
    return f"{table}/{number}"


def table_of(name: str) -> str:
    """The table that a RouteConfiguration is, or is a part of."""
    table, _, number = name.rpartition("/")
    return table if number.isdigit() and table.startswith(EDGE_TABLES) else name


def route_names(tables: Iterable[str], scoped: frozenset[str]) -> tuple[str, ...]:
    """The names of the RouteConfigurations that tables consist of."""
    return tuple(
        name
        for table in tables
        for name in ((part_name(table, n) for n in range(PARTS)) if table in scoped else (table,))
    )


def is_wildcard(domain: str) -> bool:
    return "*" in domain


def shall_be_scoped(table: RouteTable, is_scoped: bool) -> bool:
    """Whether a table is worth dividing. It stays as it is between two limits, because going from
    one to the other drains the gateway's connections."""
    if not table.name.startswith(EDGE_TABLES) or table.passthrough:
        return False
    hosts = len(table.virtual_hosts)
    if hosts < (WHOLE_HOSTS_MAX if is_scoped else SCOPED_HOSTS_MIN):
        return False
    wildcards = len([d for host in table.virtual_hosts for d in host.domains if "*" in d])
    return wildcards * EXACT_PER_WILDCARD_MIN <= hosts * (2 if is_scoped else 1)


def domains_by_part(domains: Sequence[str]) -> dict[int, list[str]]:
    """The domains of a virtual host that each part has; wildcards are in all of them."""
    everywhere = [domain for domain in domains if is_wildcard(domain)]
    found: dict[int, list[str]] = {n: list(everywhere) for n in range(PARTS)} if everywhere else {}
    for domain in domains:
        if not is_wildcard(domain):
            found.setdefault(part_of(domain), []).append(domain)
    return found


def scopes(table: str) -> list[Resource]:
    """The scopes of a divided table: they only say which part is where, and never change."""
    return [_scope(part_name(table, number)) for number in range(PARTS)]


@lru_cache(maxsize=SCOPES_KEPT_MAX)
def _scope(name: str) -> Resource:
    made = scoped_route_pb2.ScopedRouteConfiguration(name=name, route_configuration_name=name)
    made.key.fragments.add(string_key=name)
    return resource(SCOPES, name, made)


def select_scope(hcm: Proto, table: str) -> None:
    """Make a connection manager choose the part of a divided table by the host of each request."""
    scoped = hcm.scoped_routes
    scoped.name = _SCOPES
    scoped.rds_config_source.CopyFrom(ADS)
    scoped.scoped_rds.scoped_rds_config_source.CopyFrom(ADS)
    fragment = scoped.scope_key_builder.fragments.add()
    fragment.header_value_extractor.name = SCOPE_HEADER
    fragment.header_value_extractor.index = 0
    mutation = header_mutation_pb2.HeaderMutation()
    added = mutation.mutations.add().append
    added.header.key = SCOPE_HEADER
    added.header.value = f"{table}/%CEL({_expression()})%"
    added.append_action = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    name = "envoy.http.early_header_mutation.header_mutation"
    hcm.early_header_mutation_extensions.append(extension(name, mutation))


def patterns() -> tuple[str, ...]:
    """For each bit, the expression that matches hosts for which it is set."""
    return tuple(_odd(characters) for characters in _SETS)


def _odd(characters: str) -> str:
    some, rest = _one_of(set(characters)), _one_of(_KNOWN.difference(characters))
    return f"(?i)^{rest}*{some}(?:{rest}|{some}{rest}*{some})*(?::|$)"


def _one_of(characters: Set[str]) -> str:
    """A class of characters in as few ranges as can be; without backslashes, which CEL takes."""
    ranges: list[str] = []
    for each in sorted(characters - {"-"}):
        if ranges and ord(ranges[-1][-1]) + 1 == ord(each):
            ranges[-1] = f"{ranges[-1][0]}-{each}"
        else:
            ranges.append(each)
    return f"[{'-' * ('-' in characters)}{''.join(ranges)}]"


@cache
def _expression() -> str:
    """The number of a part, as an expression of CEL."""

    def branch(number: int, left: tuple[str, ...]) -> str:
        if not left:
            return f"'{number}'"
        odd, even = branch(number * 2 + 1, left[1:]), branch(number * 2, left[1:])
        return f"request.host.matches('{left[0]}')?({odd}):{even}"

    return branch(0, patterns())
