"""docker-compose.yml as a model: the part of the format that we use, strictly. An unknown key is a misspelt one."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

ROOT = Path(__file__).parent.parent.parent

Duration = Annotated[str, Field(pattern=r"^(\d+(ms|s|m|h))+$")]
Size = Annotated[str, Field(pattern=r"^\d+(b|k|m|g)$")]
Image = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9./-]*:v?\d+\.\d+(\.\d+)?(-[a-z0-9]+)?$")]
User = Annotated[str, Field(pattern=r"^\d+:\d+$")]
Port = Annotated[str, Field(pattern=r"^127\.0\.0\.1:\d+:\d+$")]
Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Health(Part):
    disable: bool = False
    test: list[str] = []
    interval: Duration = "30s"
    timeout: Duration = "30s"
    start_period: Duration = "0s"
    retries: int = 3


class Dependency(Part):
    condition: Condition
    required: bool = True


class Limits(Part):
    cpus: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    memory: Size
    pids: int


class Resources(Part):
    limits: Limits


class Deployment(Part):
    replicas: int = 1
    resources: Resources


class Logging(Part):
    driver: Literal["json-file"]
    options: dict[Literal["max-size", "max-file"], str]


class Service(Part):
    image: Image
    build: Literal["."] | None = None
    profiles: list[str] = []
    init: bool = False
    user: User | None = None
    command: list[str] | None = None
    environment: dict[str, str] = {}
    secrets: list[str] = []
    ports: list[Port] = []
    volumes: list[str] = []
    tmpfs: list[str] = []
    networks: list[str]
    depends_on: dict[str, Dependency] = {}
    healthcheck: Health
    read_only: bool = False
    cap_drop: list[str] = []
    security_opt: list[str] = []
    restart: Literal["no", "always", "unless-stopped"]
    stop_grace_period: Duration = "10s"
    shm_size: Size | None = None
    logging: Logging
    deploy: Deployment

    @property
    def ours(self) -> bool:
        """Whether it runs our image."""
        return self.build is not None

    @property
    def limits(self) -> Limits:
        return self.deploy.resources.limits


class Network(Part):
    internal: bool = False


class Volume(Part):
    driver: Literal["local"] = "local"
    driver_opts: dict[str, str] = {}


class Secret(Part):
    file: Annotated[str, Field(pattern=r"^\./deploy/secrets/[a-z_]+$")]


class Compose(Part):
    name: str
    services: dict[str, Service]
    networks: dict[str, Network]
    volumes: dict[str, Volume]
    secrets: dict[str, Secret]


@cache
def compose() -> Compose:
    content = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return Compose.model_validate({name: part for name, part in content.items() if not name.startswith("x-")})


def seconds(duration: str) -> float:
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h)", duration))


def option(command: list[str], *names: str) -> str:
    """What follows an option of a command."""
    found = [command[place + 1] for place, word in enumerate(command) if word in names]
    assert len(found) == 1, (command, names)
    return found[0]


@cache
def dockerfile() -> list[tuple[str, str]]:
    """Instructions and what follows them."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]
