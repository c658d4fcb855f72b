"""`python -m weft.daemon run|clean-up SETTINGS [FILE...]`: what `weft up` and `down` start."""

import asyncio
import logging
import sys

import msgspec
import uvloop

from weft.cli.apply import BadManifests
from weft.daemon.files import InstanceTaken
from weft.daemon.instance import clean_up, run_until_signal
from weft.lib.instance import Settings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def main() -> int:
    """Exit code: 0 after a clean stop, 1 when it could not start."""
    verb, values, *files = sys.argv[1:]
    settings = msgspec.json.decode(values, type=Settings)
    logging.basicConfig(level=settings.log_level.upper(), format=LOG_FORMAT)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            if verb == "clean-up":
                runner.run(clean_up(settings, say))
                return 0
            return runner.run(run_until_signal(settings, tuple(files), say))
        except (InstanceTaken, BadManifests, OSError) as error:
            say(f"error: {error}")
            return 1


def say(text: str) -> None:
    """Lines for the person who started it."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
