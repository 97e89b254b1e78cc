"""Settings of what others see: the HTTP API, webhooks, alerts, logs. Secrets are keys, not settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from converter.domain.events import ALL_EVENTS
from converter.settings_types import Milliseconds, Section

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Api(Section):
    """The HTTP API. `allowed_hosts`: names under which it may be asked, beside this machine's own (`pool.example`).

    With more than `max_queued` conversions that nobody has begun with, new ones are refused for the moment.
    """

    allowed_hosts: tuple[str, ...] = ()
    max_queued: int = Field(default=10_000, ge=1)


class Webhook(Section):
    """Where events are sent, all or those that are named. Its secret is the key `secret` of `webhook_<id>`.

    `allow_private`: the address may be one of a private network, or this machine.
    """

    id: Name
    url: str = Field(pattern=r"^https?://")
    events: tuple[str, ...] = ()
    allow_private: bool = False
    timeout: Annotated[Milliseconds, Field(le=timedelta(seconds=30))] = timedelta(seconds=15)

    @model_validator(mode="after")
    def _known_events(self) -> Webhook:
        unknown = sorted(set(self.events) - ALL_EVENTS)
        if unknown:
            raise ValueError(f"no event is called {unknown[0]!r}; accepted: {', '.join(sorted(ALL_EVENTS))}")
        return self


class AlertSink(Section):
    """Where alerts are told: a `webhook` or `slack` (a Slack-compatible hook) by its `url`, an `email` by SMTP.

    A hook's URL is often a secret: then it is the key `url` of `alert_<id>` in the place of `url`.
    """

    id: Name
    kind: Literal["webhook", "slack", "email"]
    url: str = Field(default="", repr=False)
    host: str = ""
    port: int = Field(default=587, ge=1, le=65535)
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()
    allow_private: bool = False

    @model_validator(mode="after")
    def _has_a_way(self) -> AlertSink:
        if self.kind == "email" and not (self.host and self.sender and self.to):
            raise ValueError("an email needs host, sender and to")
        return self


class Alerts(Section):
    """Who is told, and how long the same alert is not told again."""

    sinks: tuple[AlertSink, ...] = ()
    cooldown: Milliseconds = timedelta(minutes=15)


class Logs(Section):
    """`json`: one object on each line; `text`: for a person at a terminal."""

    format: Literal["json", "text"] = "json"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
