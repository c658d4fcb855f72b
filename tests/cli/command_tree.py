"""Every command of weft, and which of them print data."""

from collections.abc import Iterator

import click

from weft.cli.main import main

ACTS = frozenset(
    {
        *("up", "server", "agent", "down", "dashboard", "demo", "workload register", "completion"),
        *(
            "token delete",
            "node cordon",
            "node delete",
            "node uncordon",
            "proxy",
            "credentials",
            "apply",
        ),
        *("delete", "logs", "exec", "cp", "port-forward", "describe"),
        *("rollout abort", "rollout pause", "rollout promote", "rollout restart", "rollout retry"),
        *("rollout set image", "rollout status", "rollout undo", "rollout watch"),
        *("image add", "image import", "image prune", "image remove"),
    }
)
"""Commands that do something and say so, pass bytes on, or print prose; every other prints data."""


def commands(
    group: click.Command = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """All that can be run, by name."""
    if not isinstance(group, click.Group):
        yield " ".join(path), group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield from commands(found, (*path, name))


def showing() -> tuple[str, ...]:
    """Names of the commands that print data."""
    return tuple(name for name, _ in commands() if name not in ACTS)


def forms(command: click.Command) -> tuple[str, ...]:
    """What `-o` takes."""
    for option in command.params:
        if "-o" in option.opts and isinstance(option.type, click.Choice):
            return tuple(option.type.choices)
    return ()
