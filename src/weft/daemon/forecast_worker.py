"""A process that forecasts: a question per line of standard input (JSON), an answer per line of
standard output. Ends with its input."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

NICENESS = 10


def main() -> None:
    os.nice(NICENESS)
    try:
        from weft.daemon.forecast_fit import forecast  # noqa: PLC0415 - may be missing
    except ImportError as error:
        _say({"unable": str(error), "missing": error.name or ""})
        return
    _say({"ready": True})
    for line in sys.stdin:
        _say(_answer(forecast, json.loads(line)))


def _answer(forecast: Callable[..., dict[str, Any]], question: dict[str, Any]) -> dict[str, Any]:
    try:
        return forecast(question["values"], question["steps"], question["periods"])
    except Exception as error:  # whatever a series does to a library: the next one may be fine
        return {"error": f"{type(error).__name__}: {error}"}


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
