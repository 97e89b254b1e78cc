"""docker-compose.yml says nothing that does not exist: no engine runs here, so every word of it is looked up."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from celery.bin.base import CLIContext
from celery.bin.celery import celery

from converter.cli.main import main
from converter.enqueue import QUEUES
from converter.security.given import KEYS
from converter.services import REGISTRY, service_class
from converter.settings import Settings
from tests.deploy.compose import ROOT, Service, compose, dockerfile, option, seconds
from workers.app import app

SERVICES = compose().services
OURS = {name: one for name, one in SERVICES.items() if one.ours}
ONE_SHOT = {"migrate", "point"}
INSIDE_ONLY = {"redis", "postgres", "migrate", "point", "beat"}
"""What neither asks anybody outside nor is asked from there."""

FOREIGN_VARIABLES = {
    "postgres": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE"},
    "grafana": {
        "GF_SECURITY_ADMIN_USER",
        "GF_SECURITY_ADMIN_PASSWORD__FILE",
        "GF_USERS_ALLOW_SIGN_UP",
        "GF_ANALYTICS_REPORTING_ENABLED",
        "GF_ANALYTICS_CHECK_FOR_UPDATES",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES",
    },
}
FOREIGN_PROGRAMS = {
    "redis": {"redis-server", "redis-cli", "sed", "grep"},
    "postgres": {"postgres", "pg_isready"},
    "prometheus": {"wget"},
    "grafana": {"wget"},
}
"""Programs of the images of others that we call."""
PORTS = {
    "redis": 6379,
    "postgres": 5432,
    "api": 8080,
    "flower": 5555,
    "prometheus": 9090,
    "grafana": 3000,
    "sandbox": 8099,
}


def bound(service: Service) -> Iterator[tuple[str, str, str]]:
    """Volumes: source, target, mode."""
    for volume in service.volumes:
        source, target, *mode = volume.split(":")
        yield source, target, mode[0] if mode else "rw"


def variables() -> Iterator[tuple[str, str, str]]:
    for name, service in SERVICES.items():
        for variable, value in service.environment.items():
            yield name, variable, value


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of secrets, made as an operator makes it."""
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    subprocess.run(["sh", str(ROOT / "deploy" / "secrets.sh"), str(folder)], check=True, capture_output=True)
    return folder


# --- The format ------------------------------------------------------------------------------------------------------


def test_every_service_is_there_and_the_model_knows_every_key() -> None:
    workers = {f"worker-{queue}" for queue in QUEUES}
    others = {"redis", "postgres", "migrate", "point", "api", "beat", "flower", "prometheus", "grafana", "sandbox"}
    assert set(SERVICES) == workers | others


def test_dockers_own_parser_takes_the_file(tmp_path: Path) -> None:
    parser = _parser()
    if parser is None:
        pytest.skip("no docker compose 2.20 or newer on this machine (an engine is not needed)")
    told = subprocess.run(
        [*parser, "-f", str(ROOT / "docker-compose.yml"), "--profile", "sandbox", "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=tmp_path,
    )
    assert told.returncode == 0, told.stderr
    assert set(json.loads(told.stdout)["services"]) == set(SERVICES)


def _parser() -> list[str] | None:
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]):
            told = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=False)
            version = re.match(r"v?(\d+)\.(\d+)", told.stdout)
            if told.returncode == 0 and version and (int(version[1]), int(version[2])) >= (2, 20):
                return words
    return None


# --- Commands --------------------------------------------------------------------------------------------------------


def resolve(words: list[str]) -> click.Context:
    """Parse a command line of our image as its program would; raises for what the program does not know."""
    program, *rest = words
    if program == "converter":
        group: click.Command = main
    elif program == "celery":
        group = celery
        assert rest[:3] == ["--quiet", "-A", "workers.app"]
        rest = rest[3:]
    else:
        raise AssertionError(f"our image has no {program}")
    context = click.Context(group, info_name=program)
    context.obj = CLIContext(app=app, no_color=True, workdir=None)
    command = group.get_command(context, rest[0])  # type: ignore[attr-defined]
    assert command is not None, f"{program} has no command {rest[0]}"
    return command.make_context(rest[0], rest[1:], parent=context)


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_command_of_ours_and_its_options_exist(name: str) -> None:
    command = OURS[name].command
    assert command is not None
    resolve(command)


@pytest.mark.parametrize(
    "words", ["converter api --prot 1", "celery --quiet -A workers.app worker --pol x", "python -m x"]
)
def test_a_misspelt_option_would_be_seen(words: str) -> None:
    with pytest.raises((click.UsageError, AssertionError)):
        resolve(words.split())


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_health_check_is_a_command_that_its_image_has(name: str) -> None:
    service = SERVICES[name]
    health = service.healthcheck
    if name in ONE_SHOT:
        assert health.disable
        assert service.restart == "no"
        return
    kind, *words = health.test
    if service.ours:
        assert kind == "CMD"
        resolve(words)
    elif kind == "CMD":
        assert words[0] in FOREIGN_PROGRAMS[name]
    else:
        called = re.findall(r"(?:^|[|(] ?|\" )([a-z][a-z_-]+)", words[0])
        assert called
        assert set(called) <= FOREIGN_PROGRAMS[name]


def test_programs_of_other_images_are_known_ones() -> None:
    for name, programs in FOREIGN_PROGRAMS.items():
        command = SERVICES[name].command
        assert command is None or command[0] in programs or command[0].startswith("--")


def test_the_script_of_an_installed_package_is_what_the_commands_name() -> None:
    scripts = {path.name for path in Path(sys.executable).parent.iterdir()}
    assert {str(one.command[0]) for one in OURS.values() if one.command} <= scripts


# --- Workers ---------------------------------------------------------------------------------------------------------


def workers() -> dict[str, Service]:
    return {name: one for name, one in OURS.items() if one.command and one.command[4:5] == ["worker"]}


def test_every_queue_has_a_pool_of_its_own() -> None:
    pools = {name: option(one.command or [], "-Q") for name, one in workers().items()}
    assert pools == {f"worker-{queue}": queue for queue in QUEUES}
    assert {option(one.command or [], "-P") for one in workers().values()} == {"threads"}


def test_a_worker_is_asked_by_its_own_name() -> None:
    for one in workers().values():
        assert option(one.command or [], "-n") == f"{option(one.healthcheck.test, '--worker')}@%h"


def test_a_worker_has_the_time_to_end_what_it_does() -> None:
    for one in workers().values():
        assert seconds(one.stop_grace_period) > app.conf.worker_soft_shutdown_timeout + 5


def test_the_limits_are_divided_by_the_workers_there_are() -> None:
    processes = sum(one.deploy.replicas for one in workers().values())
    for one in workers().values():
        assert one.environment["CONVERTER_ENGINE__WORKERS"] == str(processes)


def test_there_is_one_beat() -> None:
    beats = [one for one in OURS.values() if one.command and one.command[4:5] == ["beat"]]
    assert [one.deploy.replicas for one in beats] == [1]


# --- Variables and secrets -------------------------------------------------------------------------------------------


def key_names() -> set[str]:
    named = {(service, key) for service in REGISTRY for key in service_class(service).capabilities.keys}
    named |= {("api", "token"), ("flower", "user"), ("flower", "password")}
    return {f"CONVERTER_KEY_{service}_{key}".upper() for service, key in named}


def is_setting(variable: str) -> bool:
    model: Any = Settings
    for part in variable.removeprefix("CONVERTER_").lower().split("__"):
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return False
        model = fields[part].annotation
    return True


def test_every_variable_is_one_that_is_read() -> None:
    ours = {KEYS, "CONVERTER_CONFIG", "PROMETHEUS_MULTIPROC_DIR", *key_names()}
    unknown = []
    for service, variable, _ in variables():
        plain = variable.removesuffix("_FILE")
        known = FOREIGN_VARIABLES.get(service, set())
        in_a_file = plain in ("CONVERTER_REDIS_URL", "CONVERTER_LEDGER_URL") or plain.startswith("CONVERTER_KEY_")
        if (
            variable not in known | ours
            and not is_setting(variable)
            and not (in_a_file and (plain in ours or is_setting(plain)))
        ):
            unknown.append((service, variable))
    assert unknown == []
    assert not is_setting("CONVERTER_ENGINE__WORKRES")


def test_settings_of_the_file_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CONVERTER_")]:
        monkeypatch.delenv(name)
    given = {variable: value for _, variable, value in variables() if is_setting(variable)}
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    assert set(given) >= {"CONVERTER_ENGINE__WORKERS", "CONVERTER_API__ALLOWED_HOSTS"}
    Settings()


def test_a_variable_that_names_a_secret_names_one_that_the_service_has() -> None:
    for service, _, value in variables():
        if value.startswith("/run/secrets/"):
            assert Path(value).name in SERVICES[service].secrets, (service, value)


def test_no_secret_stands_in_the_file() -> None:
    for service, variable, value in variables():
        if re.search(r"PASSWORD|TOKEN|SECRET|_URL", variable):
            assert value.startswith("/run/secrets/"), (service, variable)


def test_every_secret_is_drawn_by_the_script_and_used(drawn: Path) -> None:
    used = {secret for one in SERVICES.values() for secret in one.secrets}
    assert used == set(compose().secrets)
    made = {path.name for path in drawn.iterdir() if path.is_file()}
    assert {Path(one.file).name for one in compose().secrets.values()} == made == used


def test_the_secrets_are_for_the_owner_on_the_host_and_readable_in_a_container(drawn: Path) -> None:
    assert stat.S_IMODE(drawn.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in drawn.iterdir() if path.is_file()} == {0o444}
    assert stat.S_IMODE((drawn / "keys").stat().st_mode) == 0o755


def test_the_secrets_fit_together_and_are_drawn_once(drawn: Path) -> None:
    before = {path.name: path.read_text() for path in drawn.iterdir() if path.is_file()}
    subprocess.run(["sh", str(ROOT / "deploy" / "secrets.sh"), str(drawn)], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in drawn.iterdir() if path.is_file()} == before
    password = before["redis_auth"].removeprefix("requirepass ").strip()
    assert before["redis_url"].strip() == f"redis://:{password}@redis:{PORTS['redis']}/0"
    user, database = (SERVICES["postgres"].environment[f"POSTGRES_{name}"] for name in ("USER", "DB"))
    password = before["postgres_password"].strip()
    assert before["ledger_url"].strip() == f"postgresql://{user}:{password}@postgres:{PORTS['postgres']}/{database}"
    assert min(len(text.split()[-1]) for text in before.values()) >= 48
    assert len(set(before.values())) == len(before)


def test_secrets_are_never_committed_nor_sent_to_the_build() -> None:
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignore[0] == "*"
    assert not any(line.startswith("!deploy") for line in ignore)


# --- Volumes, ports, networks, order ---------------------------------------------------------------------------------


def test_every_volume_is_named_and_used_and_every_file_is_there() -> None:
    used = set()
    for service in SERVICES.values():
        for source, target, _ in bound(service):
            assert target.startswith("/")
            if not source.startswith("./"):
                used.add(source)
            elif not source.startswith("./deploy/secrets"):
                assert (ROOT / source).exists(), f"{source} is not there"
    assert used == set(compose().volumes)


def test_what_is_mounted_from_the_host_is_read_only() -> None:
    assert [
        volume for one in SERVICES.values() for volume in bound(one) if volume[0][0] == "." and volume[2] != "ro"
    ] == []


def test_only_point_writes_the_settings_that_all_read() -> None:
    writing = {
        name for name, one in OURS.items() for source, _, mode in bound(one) if source == "settings" and mode == "rw"
    }
    assert writing == {"point"}
    into = option(SERVICES["point"].command or [], "--into")
    for name, variable, value in variables():
        if variable in (KEYS, "CONVERTER_CONFIG"):
            assert Path(value).parent == Path(into), name
    mounted = {target for _, target, _ in bound(SERVICES["point"])}
    assert {into, "/run/keys", "/etc/converter"} == mounted
    for name, one in OURS.items():  # links lead to the same places everywhere
        if KEYS in one.environment:
            assert mounted <= {target for _, target, _ in bound(one)}, name


def test_ports_are_published_to_this_machine_only_and_are_those_that_are_served() -> None:
    for name, one in SERVICES.items():
        for port in one.ports:
            assert port == f"127.0.0.1:{PORTS[name]}:{PORTS[name]}"
        words = one.command or []
        if one.ours and "--port" in words:
            assert (option(words, "--host"), option(words, "--port")) == ("0.0.0.0", str(PORTS[name]))
            assert one.ports
            assert f":{PORTS[name]}/" in option(one.healthcheck.test, "--http")


def test_what_asks_nobody_outside_has_no_way_out() -> None:
    assert compose().networks["back"].internal
    assert not compose().networks["front"].internal
    assert {name for name, one in SERVICES.items() if "front" not in one.networks} == INSIDE_ONLY
    assert all("back" in one.networks for one in SERVICES.values())


def test_a_server_that_is_asked_from_elsewhere_has_a_token() -> None:
    api = SERVICES["api"]
    assert api.environment["CONVERTER_KEY_API_TOKEN_FILE"] == "/run/secrets/api_token"
    assert json.loads(api.environment["CONVERTER_API__ALLOWED_HOSTS"]) == ["api"]


def test_the_order_of_the_start_can_be_kept() -> None:
    for name, one in SERVICES.items():
        for other, dependency in one.depends_on.items():
            assert other in SERVICES, (name, other)
            if dependency.condition == "service_healthy":
                assert not SERVICES[other].healthcheck.disable
            if dependency.condition == "service_completed_successfully":
                assert other in ONE_SHOT
            assert dependency.required is not bool(SERVICES[other].profiles)
    done: set[str] = set()
    while len(done) < len(SERVICES):
        ready = {name for name, one in SERVICES.items() if name not in done and set(one.depends_on) <= done}
        assert ready, f"a circle among {set(SERVICES) - done}"
        done |= ready


def test_nothing_works_on_a_ledger_that_is_not_migrated() -> None:
    for name in ("api", "beat", *workers()):
        assert SERVICES[name].depends_on["migrate"].condition == "service_completed_successfully"


def test_the_profile_adds_the_sandbox_where_the_system_looks_for_it() -> None:
    assert {name: one.profiles for name, one in SERVICES.items() if one.profiles} == {"sandbox": ["sandbox"]}
    assert option(SERVICES["point"].command or [], "--sandbox") == f"http://sandbox:{PORTS['sandbox']}"


# --- Hardening -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    one = SERVICES[name]
    assert one.read_only
    assert one.cap_drop == ["ALL"]
    assert one.security_opt == ["no-new-privileges:true"]
    user = one.user or dict(dockerfile())["USER"]
    assert int(user.partition(":")[0]) > 0
    assert one.logging.options == {"max-size": "10m", "max-file": "5"}
    assert one.restart == ("no" if name in ONE_SHOT else "unless-stopped")


def test_together_the_limits_fit_a_machine_of_eight_gigabytes() -> None:
    def megabytes(size: str) -> int:
        return int(size[:-1]) * {"m": 1, "g": 1024}[size[-1]]

    assert sum(megabytes(one.limits.memory) for name, one in SERVICES.items() if name not in ONE_SHOT) <= 8 * 1024


def test_redis_keeps_what_it_is_given_and_has_a_password() -> None:
    (config,) = [
        source for source, target, _ in bound(SERVICES["redis"]) if target == (SERVICES["redis"].command or [])[1]
    ]
    lines = [line.split(maxsplit=1) for line in (ROOT / config).read_text().splitlines() if line and line[0] != "#"]
    said = dict(lines)
    assert (said["appendonly"], said["maxmemory-policy"]) == ("yes", "noeviction")
    assert (said["port"], said["dir"]) == (str(PORTS["redis"]), "/data")
    assert said["include"] == "/run/secrets/redis_auth"
    assert "redis_auth" in SERVICES["redis"].secrets


# --- Who watches -----------------------------------------------------------------------------------------------------


def test_prometheus_scrapes_parts_that_there_are() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    targets = [
        target
        for job in config["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
        if not target.startswith("localhost")
    ]
    assert targets
    for target in targets:
        name, _, port = target.partition(":")
        assert PORTS[name] == int(port)
    for job in config["scrape_configs"]:
        file = job.get("authorization", {}).get("credentials_file") or job.get("basic_auth", {}).get("password_file")
        if file:
            assert file.removeprefix("/run/secrets/") in SERVICES["prometheus"].secrets


def test_nothing_is_said_twice() -> None:
    """YAML takes a key twice and keeps the last one."""

    class Once(yaml.SafeLoader):
        pass

    def pairs(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, object]:
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = [name for name, times in Counter(names).items() if times > 1]
        assert twice == [], f"line {node.start_mark.line}"
        return {}

    Once.add_constructor("tag:yaml.org,2002:map", pairs)
    root = yaml.compose((ROOT / "docker-compose.yml").read_text(), Loader=Once)
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, yaml.MappingNode):
            pairs(None, node)  # type: ignore[arg-type]
            stack += [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            stack += node.value
