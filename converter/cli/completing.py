"""`completion`: what a shell needs to complete commands, options and choices; and what some arguments complete to."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from converter.cli.output import json_option, print_json, speaks_errors
from converter.domain.errors import ConfigurationError
from converter.settings import load_settings

SHELLS = ("bash", "zsh", "fish")
_ASKED_BY = "_CONVERTER_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
@speaks_errors
def completion(shell: str, as_json: bool) -> None:
    """Print the script that makes a shell complete this command.

    \b
    bash:  eval "$(converter completion bash)"          in ~/.bashrc
    zsh:   eval "$(converter completion zsh)"           in ~/.zshrc
    fish:  converter completion fish | source           in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise ConfigurationError(f"shell: {shell} is not supported; accepted: {', '.join(SHELLS)}")
    script = kind(click.get_current_context().find_root().command, {}, "converter", _ASKED_BY).source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)


def service_ids(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of the configured services."""
    try:
        found = [one.id for one in load_settings().services]
    except ConfigurationError:
        found = []
    return [CompletionItem(one) for one in found if one.startswith(incomplete)]
