"""How many examples the property tests try: all of them in `make test`, a share in `make check`."""

import os

from hypothesis import HealthCheck, settings

ALL = os.environ.get("WEFT_TESTS") == "all"
SHARE_OF_CHECK = 5
EXAMPLES_MIN = 10


def examples(count: int, *, slow: bool = False) -> settings:
    """Settings for `count` examples; `slow` says that making them may take long."""
    tried = count if ALL else max(EXAMPLES_MIN, count // SHARE_OF_CHECK)
    allowed = [HealthCheck.too_slow] if slow else []
    return settings(max_examples=tried, deadline=None, suppress_health_check=allowed)
