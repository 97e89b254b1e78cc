"""`converter`: every command, found here by its name and imported when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

_COMMANDS = {
    "alerts": "converter.cli.events:alerts",
    "api": "converter.cli.serve:api",
    "audit": "converter.cli.audit:audit",
    "completion": "converter.cli.completing:completion",
    "conversions": "converter.cli.conversions:conversions",
    "convert": "converter.cli.conversions:convert",
    "demo": "converter.cli.demo:demo",
    "drill": "converter.cli.drill:drill",
    "events": "converter.cli.events:events",
    "migrate": "converter.cli.system:migrate",
    "rates": "converter.cli.rates:rates",
    "sandbox": "converter.cli.system:sandbox",
    "serve": "converter.cli.serve:api",
    "services": "converter.cli.services:services",
    "status": "converter.cli.system:status",
    "up": "converter.cli.system:up",
    "webhooks": "converter.cli.webhooks:webhooks",
}

_INTERRUPTED = 130


class _Lazy(click.Group):
    """Imports a command's module when the command is used, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C ends it with 130, as shells have it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(err=True)
            raise SystemExit(_INTERRUPTED) from None


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="converter")
def main() -> None:
    """Convert coins over many services with failover, never paying twice.

    The data folder is CONVERTER_HOME (default ~/.converter). Ends with 0 when it is done, 1 when it failed or is
    unfinished, 2 for bad input or configuration, 130 when Ctrl-C ended it.
    """


if __name__ == "__main__":
    main(prog_name="converter")
