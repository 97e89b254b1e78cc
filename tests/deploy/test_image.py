"""The Dockerfile: small, for nobody's root, and with all that the commands of the compose file need."""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib

from tests.deploy.compose import ROOT, compose, dockerfile
from tests.deploy.test_compose import resolve

STAGES: list[list[tuple[str, str]]] = []
for word, rest in dockerfile():
    if word == "FROM":
        STAGES.append([])
    STAGES[-1].append((word, rest))
BUILD, FINAL = STAGES


def said(stage: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for found, rest in stage if found == word]


def test_both_stages_begin_with_the_same_pinned_image() -> None:
    (build,), (final,) = said(BUILD, "FROM"), said(FINAL, "FROM")
    assert build == f"{final} AS build"
    assert re.fullmatch(r"python:3\.12\.\d+-slim-[a-z]+", final)


def test_the_final_image_takes_only_what_was_built() -> None:
    assert said(FINAL, "COPY") == ["--from=build /opt/converter /opt/converter"]
    assert not re.search(r"pip|apt-get", " ".join(said(FINAL, "RUN")))


def test_it_runs_as_the_user_that_owns_its_folders() -> None:
    (user,) = said(FINAL, "USER")
    (number,) = set(user.split(":"))
    assert f"--uid {number}" in " ".join(said(FINAL, "RUN"))
    folders = " ".join(said(FINAL, "RUN"))
    for one in compose().services.values():
        if one.ours:
            assert all(f"uid={number}," in place for place in one.tmpfs if "/var/lib/converter" in place)
    assert {"/var/lib/converter", "/run/settings", "/run/metrics"} <= set(folders.split())
    assert f"uid={number}," in compose().volumes["metrics"].driver_opts["o"]
    assert [word for word, _ in FINAL].index("USER") > [word for word, _ in FINAL].index("RUN")


def test_the_extras_exist_and_cover_the_ledger_that_the_system_uses() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.search(r"\[([a-z,]+)\]", " ".join(said(BUILD, "RUN")))
    assert extras is not None
    assert set(extras[1].split(",")) == {"postgres", "otel"} <= set(project["optional-dependencies"])
    assert compose().services["api"].image == f"converter:{project['version']}"


def test_what_is_copied_is_there_and_is_sent_to_the_build() -> None:
    copied = [source for line in said(BUILD, "COPY") for source in line.split()[:-1]]
    ignored, *sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored == "*"
    kept = {line[1:] for line in sent if line.startswith("!")}
    assert set(copied) == kept
    assert [name for name in copied if not (ROOT / name).exists()] == []
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], "pyproject.toml", "README.md", "LICENSE"}
    assert [name for name in needed if not any(fnmatch.fnmatch(name, f"{one}*") for one in copied)] == []


def test_its_own_commands_exist() -> None:
    (health,), (command,) = said(FINAL, "HEALTHCHECK"), said(FINAL, "CMD")
    resolve(json.loads(health.partition("CMD ")[2]))
    assert json.loads(command) == ["converter", "--help"]
