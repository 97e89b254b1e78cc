"""Shells complete commands, options, choices and services, from the script that `converter completion` prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from converter.cli.main import main


def offered(*words: str) -> list[str]:
    """What is offered for the last word."""
    *before, incomplete = words
    found = ShellComplete(main, {}, "converter", "_CONVERTER_COMPLETE").get_completions(before, incomplete)
    return [one.value for one in found]


def test_commands_and_what_is_below_them_are_completed() -> None:
    assert offered("conv") == ["conversions", "convert"]
    assert {"isolate", "list", "quote", "recover", "release"} <= set(offered("services", ""))
    assert offered("conversions", "re") == ["resolve", "retry", "review"]


def test_options_and_choices_are_completed() -> None:
    assert {"--watch", "--json"} <= set(offered("status", "--"))
    assert offered("conversions", "list", "--state", "NEEDS") == ["NEEDS_REVIEW"]
    assert offered("completion", "") == ["bash", "zsh", "fish"]
    assert offered("services", "emergency", "o") == ["on", "off"]


def test_services_are_completed_by_what_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVERTER_CONFIG", raising=False)
    assert offered("services", "isolate", "k") == ["kraken"]
    assert offered("convert", "--service", "chan") == ["changenow"]
    monkeypatch.setenv("CONVERTER_CONFIG", "/nowhere/at/all.json")
    assert offered("services", "isolate", "k") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed_for_each_shell(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"_CONVERTER_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself_completes_with_the_script(tmp_path: Path) -> None:
    command = tmp_path / "converter"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m converter.cli.main "$@"\n')
    command.chmod(0o755)
    script = CliRunner().invoke(main, ["completion", "bash"]).stdout
    asked = 'COMP_WORDS=(converter services iso); COMP_CWORD=2; _converter_completion converter; echo "${COMPREPLY[@]}"'
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}"], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout.split() == ["isolate"]
