"""`weft completion`: what a shell needs to complete weft's commands and options."""

import click
from click.shell_completion import get_completion_class

EXAMPLES = """\b
Examples:
  weft completion bash >> ~/.bashrc
  weft completion zsh >> ~/.zshrc
  weft completion fish > ~/.config/fish/completions/weft.fish
"""
VARIABLE = "_WEFT_COMPLETE"


@click.command(epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the lines that teach a shell to complete weft's commands and options."""
    cls = get_completion_class(shell)
    assert cls is not None
    found = cls(ctx.find_root().command, {}, "weft", VARIABLE)
    click.echo(cls.source_template % found.source_vars())
