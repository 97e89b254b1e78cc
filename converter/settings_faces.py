"""Settings of what others see: the HTTP API, webhooks, alerts, logs. Secrets are keys, not settings."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from converter.domain.events import ALL_EVENTS
from converter.settings_types import Milliseconds, Section


def check_url(url: str) -> str:
    """An `http(s)://` URL as it goes over the line: encoded, without a user and a fragment. Raises ValueError."""
    if url and not _URL.fullmatch(url):
        raise ValueError("an encoded http(s):// URL is accepted, without a user and a fragment")
    return url


_URL = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+(?:/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-F]{2})*)?")

HookUrl = Annotated[str, AfterValidator(check_url)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Api(Section):
    """The HTTP API. `allowed_hosts`: names under which it may be asked, beside this machine's own (`pool.example`).

    With more than `max_queued` conversions that nobody has begun with, new ones are refused for the moment.
    """

    allowed_hosts: tuple[str, ...] = ()
    max_queued: int = Field(default=10_000, ge=1)


class Events(Section):
    """How long events, deliveries and alerts that ended are kept. The ends of conversions stay, and every event of
    those that have not ended; what a named follower or a webhook still needs is kept twice as long."""

    keep_days: int = Field(default=30, ge=4, le=3650)


class Webhook(Section):
    """Where events are sent, all or those that are named. Its secret is the key `secret` of `webhook_<id>`, and while
    it is exchanged the old one the key `previous_secret`.

    `allow_private`: the address may be one of a private network, or this machine, and `http://`.
    """

    id: Name
    url: HookUrl = Field(repr=False)
    events: tuple[str, ...] = ()
    allow_private: bool = False
    timeout: Annotated[Milliseconds, Field(le=timedelta(seconds=30))] = timedelta(seconds=15)

    @model_validator(mode="after")
    def _usable(self) -> Webhook:
        _check_scheme(self.url, self.allow_private)
        unknown = sorted(set(self.events) - ALL_EVENTS)
        if unknown:
            raise ValueError(f"no event is called {unknown[0]!r}; accepted: {', '.join(sorted(ALL_EVENTS))}")
        return self


class AlertSink(Section):
    """Where alerts are told: a `webhook` or `slack` (a Slack-compatible hook) by its `url`, an `email` by SMTP.

    A hook's URL is often a secret: then it is the key `url` of `alert_<id>` in the place of `url`. A webhook is signed
    with the key `secret`, an e-mail's `user` shows the key `password`.
    """

    id: Name
    kind: Literal["webhook", "slack", "email"]
    url: HookUrl = Field(default="", repr=False)
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
        if self.kind == "email" and self.user and self.tls == "none":
            raise ValueError("a user's password is not sent without TLS; accepted: tls starttls or tls")
        if any(not one.isprintable() or "@" not in one for one in (*self.to, *([self.sender] if self.sender else []))):
            raise ValueError("sender and to are mail addresses, such as pool@example.org")
        if self.url:
            _check_scheme(self.url, self.allow_private)
        return self


class Alerts(Section):
    """Who is told, and how long the same alert is not told again. A conversion that has not ended after
    `unfinished_after` (or whose outcome is unknown after `unknown_after`) is an alert."""

    sinks: tuple[AlertSink, ...] = ()
    cooldown: Milliseconds = timedelta(minutes=15)
    unfinished_after: Milliseconds = timedelta(hours=1)
    unknown_after: Milliseconds = timedelta(minutes=10)


def _check_scheme(url: str, allow_private: bool) -> None:
    if not url.startswith("https://") and not allow_private:
        raise ValueError("a hook is reached by https://; http:// is accepted with allowPrivate")


class Logs(Section):
    """`json`: one object on each line; `text`: for a person at a terminal."""

    format: Literal["json", "text"] = "json"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
