"""Receivers made from the settings: webhooks that hear events, sinks that are told of alerts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from converter.alerting import Alarms
from converter.carriers.hooks import Hook, SlackCarrier, WebhookCarrier
from converter.carriers.mail import Mailbox, MailCarrier
from converter.delivering import ALERT, WEBHOOK, Posts
from converter.domain.deliveries import Letter, Receipt
from converter.domain.events import Only
from converter.ports import Carrier, KeyStore
from converter.settings import Settings
from converter.settings_faces import AlertSink, check_url

SECRETS = ("secret", "previous_secret")


@dataclass(frozen=True)
class _Unready:
    """Carries nothing for want of something."""

    problem: str

    def carry(self, letter: Letter) -> Receipt:  # noqa: ARG002
        """Say what is missing."""
        return Receipt(taken=False, error=self.problem)


def build_posts(settings: Settings, keys: KeyStore) -> Posts:
    """Every configured receiver. What is missing is found when something is sent, and is then an alert."""
    carriers: dict[str, Carrier] = {}
    for one in settings.webhooks:
        hook = Hook(one.url, one.timeout.total_seconds(), one.allow_private)
        carriers[WEBHOOK + one.id] = WebhookCarrier(hook, _secrets(keys, f"webhook_{one.id}"))
    for sink in settings.alerts.sinks:
        carriers[ALERT + sink.id] = _sink(sink, keys)
    wanted = {WEBHOOK + one.id: Only(frozenset(one.events)) for one in settings.webhooks}
    return Posts(carriers, wanted)


def alarms_of(settings: Settings) -> Alarms:
    """Who is told of alerts, and when."""
    given = settings.alerts
    return Alarms(
        sinks=tuple(ALERT + one.id for one in given.sinks),
        receivers=tuple(WEBHOOK + one.id for one in settings.webhooks),
        cooldown=given.cooldown,
        unfinished_after=given.unfinished_after,
        unknown_after=given.unknown_after,
    )


def _sink(sink: AlertSink, keys: KeyStore) -> Carrier:
    owner = f"alert_{sink.id}"
    if sink.kind == "email":
        password = lambda: keys.get(owner, "password")  # noqa: E731  asked for each time
        return MailCarrier(Mailbox(sink.host, sink.port, sink.tls, sink.sender, sink.to, sink.user, password))
    url = keys.get(owner, "url") or sink.url
    problem = _problem(url, allow_private=sink.allow_private)
    if problem:
        return _Unready(problem)
    hook = Hook(url, allow_private=sink.allow_private)
    return SlackCarrier(hook) if sink.kind == "slack" else WebhookCarrier(hook, _secrets(keys, owner))


def _problem(url: str, *, allow_private: bool) -> str:
    """What is wrong with a URL, without the URL."""
    try:
        check_url(url)
    except ValueError:
        return "its key `url` is no usable URL"
    if not url:
        return "it has no url, and its key `url` is missing"
    return "" if url.startswith("https://") or allow_private else "its url is not https://"


def _secrets(keys: KeyStore, owner: str) -> Callable[[], tuple[str, ...]]:
    return lambda: tuple(key for name in SECRETS if (key := keys.get(owner, name)) is not None)
