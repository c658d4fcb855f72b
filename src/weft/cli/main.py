"""The `weft` command: groups and global options. Commands live one per file."""

import difflib
import importlib
from typing import Any

import click

from weft import __version__
from weft.cli import output

USAGE_CODE = 2  # as click's own mistakes of usage

COMMANDS = {
    "up": ("weft.cli.up", "Start everything"),
    "server": ("weft.cli.server", "Start everything, and let other machines join"),
    "agent": ("weft.cli.agent", "Make this machine a node of a server"),
    "token": ("weft.cli.token", "Tokens with which machines join"),
    "node": ("weft.cli.node", "List machines, keep pods away from one, move its pods elsewhere"),
    "down": ("weft.cli.up", "Stop everything"),
    "status": ("weft.cli.status", "Nodes, pods, proxies and what each Envoy has acknowledged"),
    "why": ("weft.cli.why", "Say where a request goes, and why"),
    "translate": ("weft.cli.translate", "Print the Envoy configuration that files result in"),
    "simulate": ("weft.cli.simulate", "Place pods on nodes that are made up"),
    "diff": ("weft.cli.diff", "Say what applying files would change"),
    "top": ("weft.cli.traffic", "Rate, errors and latency of services, live"),
    "graph": ("weft.cli.traffic", "Who calls whom"),
    "tap": ("weft.cli.tap", "Single requests as they pass"),
    "alerts": ("weft.cli.alerts", "What is wrong, since when, and where to look"),
    "dashboard": ("weft.cli.dashboard", "The mesh in a browser"),
    "rollout": ("weft.cli.rollout", "Progressive delivery: watch, promote, abort, undo"),
    "ca": ("weft.cli.ca", "Show and rotate the authority behind identities"),
    "trace": ("weft.cli.trace", "The way of single requests through the services"),
    "proxy": ("weft.cli.proxy", "Have a new Envoy take over from the running one"),
    "credentials": ("weft.cli.credentials", "New keys and tokens, old ones forgotten"),
    "queue": ("weft.cli.queue", "Queues of Jobs and pods, and what they wait for"),
    "apply": ("weft.cli.resources", "Create or change objects from files"),
    "analyze": ("weft.cli.analyze", "Say what is wrong or doubtful in files or what is stored"),
    "get": ("weft.cli.resources", "List objects"),
    "describe": ("weft.cli.resources", "Show an object and what happened to it"),
    "logs": ("weft.cli.resources", "Print the logs of a pod"),
    "exec": ("weft.cli.pods", "Run a command in a pod"),
    "cp": ("weft.cli.pods", "Copy files to and from pods"),
    "port-forward": ("weft.cli.pods", "Make ports of a pod reachable here"),
    "delete": ("weft.cli.deletion", "Delete objects"),
    "image": ("weft.cli.image", "Say what image names mean on this machine"),
    "workload": ("weft.cli.workload", "Be a machine of a WorkloadGroup"),
    "completion": ("weft.cli.completion", "Completion of commands for your shell"),
    "demo": ("weft.cli.demo", "Run the sample applications and show what the mesh does"),
}


class LazyGroup(click.Group):
    """Imports a command's module only when it is used, so that `weft get` starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        attribute = {"exec": "exec_"}.get(cmd_name, cmd_name.replace("-", "_"))
        command: click.Command = getattr(module, attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean `weft {near[0]}`?" if near else "`weft --help` lists them"
            output.fail(f"there is no command `{args[0]}`", hint, code=USAGE_CODE)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click ends quietly
        except OSError as error:
            reason = error.strerror or str(error)
            output.fail(f"{error.filename}: {reason}" if error.filename else reason)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: weft up -f examples/weather/ then weft status",
)
@click.version_option(__version__, prog_name="weft")
def main() -> None:
    """weft runs the services your Kubernetes and Istio YAML describes, meshed by Envoy."""
