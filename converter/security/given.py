"""A value from the environment, or from the file that the environment names for it.

`CONVERTER_REDIS_URL_FILE=/run/secrets/redis_url` stands for the content of that file: what is secret need not stand in
the environment of a process, where its children and every tool that inspects a container see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from converter.domain.errors import ConfigurationError

KEYS = "CONVERTER_KEYS"
"""Variable that names a folder of key files: `<service>_<name>`, such as `changenow_api_key`."""


def given(environ: Mapping[str, str], variable: str) -> str | None:
    """The value of a variable, else the content of the file in `<variable>_FILE`, else None; empty counts as missing.

    Raises ConfigurationError when the named file cannot be read.
    """
    value = environ.get(variable)
    if value:
        return value
    named = environ.get(f"{variable}_FILE")
    return _content(f"{variable}_FILE", Path(named)) if named else None


def given_in_folder(environ: Mapping[str, str], name: str) -> str | None:
    """The content of a file in the folder of keys, None where there is no such file.

    Raises ConfigurationError when there is no such folder, or the file cannot be read.
    """
    folder = environ.get(KEYS)
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ConfigurationError(f"{KEYS}: {folder} is no folder; accepted: a folder with a file for each key")
    file = Path(folder, name)
    return _content(KEYS, file) if file.exists() else None


def _content(variable: str, file: Path) -> str | None:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        problem = "it is no text"
    else:
        return text.rstrip("\r\n") or None
    raise ConfigurationError(f"{variable}: {file} cannot be read ({problem}); accepted: a file that holds the value")
