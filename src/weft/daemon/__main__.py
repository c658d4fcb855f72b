"""`python -m weft.daemon run|clean-up SETTINGS [FILE...]`: what `weft up` and `down` start."""

import asyncio
import gc
import logging
import os
import sys

import msgspec
import uvloop

from weft.api.wellknown import ISOLATION_HOST, ISOLATION_NETNS
from weft.daemon.late_trust import authorities_read_later
from weft.lib.instance import Settings
from weft.node.rootless import Place, first_isolation

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
# gRPC must neither take part in forks (it can block a child for ever) nor write to our output.
GRPC_SETTINGS = {"GRPC_ENABLE_FORK_SUPPORT": "0", "GRPC_VERBOSITY": "ERROR"}


def main() -> int:
    """Exit code: 0 after a clean stop, 1 when it could not start."""
    verb, values, *files = sys.argv[1:]
    settings = msgspec.json.decode(values, type=Settings)
    os.environ.update(GRPC_SETTINGS)
    place = Place(settings.run_dir)
    try:
        if not settings.no_node:
            place.enter(settings.isolation, create=may_make(verb, settings))
        return serve(verb, settings, tuple(files))
    except OSError as error:
        say(f"error: {describe(error)}")
        return 1
    finally:
        place.leave()


def may_make(verb: str, settings: Settings) -> bool:
    """Whether a user namespace is made for a node that has none. One of several machines is
    reached by others, which has to be asked for to hear why it cannot be. A container engine's
    containers cannot enter its networks. An instance stays what it was: its Services have
    addresses of its isolation."""
    alone = not settings.listen and not settings.join
    if verb == "clean-up" or settings.engine:
        return False
    if settings.isolation == ISOLATION_NETNS:
        return True
    return alone and first_isolation(settings.data_dir) != ISOLATION_HOST


def serve(verb: str, settings: Settings, files: tuple[str, ...]) -> int:
    """Do what is asked; exit code."""
    gc.disable()  # looking for garbage would be a tenth of the time that these imports take
    with authorities_read_later():
        import aiohttp  # noqa: F401, PLC0415

    # gRPC reads its settings when it is imported.
    from weft.cli.apply import BadManifests  # noqa: PLC0415
    from weft.daemon import instance  # noqa: PLC0415
    from weft.daemon.agent_instance import run_agent  # noqa: PLC0415
    from weft.daemon.joining import CannotJoin  # noqa: PLC0415

    gc.freeze()  # it stays as it is, and is never looked through
    gc.enable()
    logging.basicConfig(level=settings.log_level.upper(), format=LOG_FORMAT)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            if verb == "clean-up":
                runner.run(instance.clean_up(settings, say))
                return 0
            if verb == "agent":
                return runner.run(run_agent(settings, say))
            return runner.run(instance.run_until_signal(settings, files, say))
        except BadManifests as error:
            say(str(error))
        except (CannotJoin, *instance.CANNOT_START) as error:
            say(f"error: {describe(error)}")
    return 1


def describe(error: Exception) -> str:
    """Without the number that Python puts before the system's words."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def say(text: str) -> None:
    """Lines for the person who started it."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
