"""`chat-client completion`: what makes the Tab key work."""

import click
from click.shell_completion import get_completion_class

WHERE = {
    "bash": 'eval "$(chat-client completion bash)"      # in ~/.bashrc',
    "zsh": 'eval "$(chat-client completion zsh)"       # in ~/.zshrc',
    "fish": "chat-client completion fish | source       # in ~/.config/fish/config.fish",
}


@click.command(epilog="\b\nAdd one line to the start file of your shell:\n  " + "\n  ".join(WHERE.values()))
@click.argument("shell", type=click.Choice(list(WHERE)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands and options in your shell."""
    root = context.find_root()
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"this version of click cannot complete in {shell}")
    click.echo(kind(root.command, {}, "chat-client", "_CHAT_CLIENT_COMPLETE").source())
