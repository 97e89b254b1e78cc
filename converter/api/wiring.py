"""The parts of the HTTP application, made from the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from converter.accepting import Accepting
from converter.api.app import Parts
from converter.api.callbacks import Listener
from converter.api.door import LOOPBACK, Door
from converter.api.hints import Hints
from converter.bootstrap import build_engine, build_surveying
from converter.domain.errors import ConfigurationError
from converter.enqueue import TaskSender
from converter.equipping import SystemClock, minimums
from converter.hearing import Hearing
from converter.ledger.repository import SqlLedger, open_ledger
from converter.operating import Operating
from converter.ports import KeyStore
from converter.reviewing import Reviewing
from converter.services import CALLBACKS, callback_reader, service_class
from converter.services.base import ServiceSettings
from converter.services.callbacks import SECRET, TOKEN, CallbackHint, check_token
from converter.settings import Settings
from converter.surveying import Surveying


@contextmanager
def open_parts(settings: Settings, keys: KeyStore) -> Iterator[Parts]:
    """The parts on the configured ledger and broker, closed at the end. Raises ConfigurationError."""
    try:
        ledger = open_ledger(settings.ledger, migrate=True)
    except SQLAlchemyError as error:
        kind = type(error).__name__
        raise ConfigurationError(f"ledger: did not answer ({kind}); accepted: a database that runs") from error
    sender = TaskSender(settings.redis_url)
    hints = Hints(sender.send)
    try:
        yield make_parts(settings, keys, ledger, hints.send)
    finally:
        hints.close()
        sender.close()
        ledger.close()


def make_parts(settings: Settings, keys: KeyStore, ledger: SqlLedger, send: Callable[[str, str], bool]) -> Parts:
    """The parts on a given ledger; `send` takes a task and a conversion id."""
    engine = build_engine(settings, keys, ledger)
    commons = engine.commons
    return Parts(
        settings=settings,
        engine=engine,
        hearing=Hearing(ledger, send),
        listeners=make_listeners(settings, keys),
        accepting=Accepting(ledger, minimums(settings, engine.desk.policy), send),
        surveying=Surveying(build_surveying(settings, keys).entries, engine.desk.services.__getitem__, SystemClock()),
        operating=Operating(ledger, commons.breakers, commons.desk.rates),
        reviewing=Reviewing(engine.desk),
        send=send,
    )


def make_door(settings: Settings, keys: KeyStore, host: str) -> Door | None:
    """Who may ask a server that listens on `host`; None where nobody may, for there is no token to show."""
    token = keys.get("api", "token")
    if token is None and host not in LOOPBACK:
        return None
    return Door(LOOPBACK | {host, *settings.api.allowed_hosts}, token)


def make_listeners(settings: Settings, keys: KeyStore) -> dict[str, Listener]:
    """A listener for each configured service that sends callbacks; a disabled one may still have orders under way."""
    return {
        one.id: _listener(one.id, _settings(one.id, one.base_url, one.options, keys))
        for one in settings.services
        if one.id in CALLBACKS
    }


def _settings(service_id: str, base_url: str, options: Mapping[str, str], keys: KeyStore) -> ServiceSettings:
    known = service_class(service_id).capabilities
    names = {*known.keys, *known.optional_keys, SECRET, TOKEN}
    given = {name: key for name in names if (key := keys.get(service_id, name)) is not None}
    return ServiceSettings(base_url, given, options)


def _listener(service_id: str, settings: ServiceSettings) -> Listener:
    read = callback_reader(service_id)

    def listen(headers: Mapping[str, str], body: bytes, token: str) -> CallbackHint:
        check_token(token, settings)
        return read(headers, body, settings)

    return listen
