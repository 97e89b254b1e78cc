"""`point`: where a system of containers converts."""

from __future__ import annotations

from pathlib import Path

import click
import requests

from converter.cli.output import console, json_option, print_json, speaks_errors
from converter.domain.errors import ConfigurationError

_PLACE = click.Path(path_type=Path)


@click.command()
@click.option("--into", required=True, type=_PLACE, help="Folder that all parts read: config.json and keys/.")
@click.option("--config", required=True, type=_PLACE, help="The operator's configuration.")
@click.option("--keys", required=True, type=_PLACE, help="The operator's folder of keys, a file for each.")
@click.option("--sandbox", "url", required=True, help="Where a sandbox would be, such as http://sandbox:8099.")
@json_option
@speaks_errors
def point(into: Path, config: Path, keys: Path, url: str, as_json: bool) -> None:
    """Point a system of containers at the sandbox beside it, or outside when there is none.

    Refuses when the system converted on the other side before.
    """
    from converter.local import pointing  # noqa: PLC0415  pulls in the services

    try:
        side = pointing.point(into, config, keys, url)
    except (requests.RequestException, OSError) as error:
        raise ConfigurationError(f"point: {type(error).__name__}: {error}; accepted: a sandbox that answers") from error
    if as_json:
        print_json({"converts": side})
    else:
        console.print(f"this system converts {'in the ' if side == pointing.SANDBOX else ''}{side}", highlight=False)
