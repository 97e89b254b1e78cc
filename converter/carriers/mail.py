"""E-mail by SMTP: one plain text message for each alert that begins or ends."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, Literal

from converter.domain.deliveries import TAKEN, Letter, Receipt
from converter.ports import Deadline
from converter.transport.exchange import CallStoppedError, Exchange, current

_EACH, _WHOLE = 10.0, 30.0
"""Seconds for one answer of the server, and for all of it."""


@dataclass(frozen=True)
class Mailbox:
    """Where and how mail goes out. `password` is asked for each time; None: the server asks nobody who they are."""

    host: str
    port: int
    tls: Literal["starttls", "tls", "none"]
    sender: str
    to: tuple[str, ...]
    user: str = ""
    password: Callable[[], str | None] = lambda: None


class MailCarrier:
    """Sends alerts by mail."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def carry(self, letter: Letter) -> Receipt:
        """Hand it over once. Recipients that were refused beside others who were not are no failure."""
        with Exchange(Deadline.after(_WHOLE), fresh=True) as exchange:
            exchange.start()
            exchange.handed_over = True
            self._send(self._message(letter))
        if exchange.error is None and not exchange.cut:
            return TAKEN
        return Receipt(taken=False, error=_words(exchange))

    def _send(self, message: EmailMessage) -> None:
        box = self._mailbox
        context = ssl.create_default_context()
        with _TimedTls(box.host, box.port, context) if box.tls == "tls" else _Timed(box.host, box.port) as server:
            if box.tls == "starttls":
                server.starttls(context=context)
            if box.user:
                server.login(box.user, box.password() or "")
            server.send_message(message)

    def _message(self, letter: Letter) -> EmailMessage:
        box, data = self._mailbox, letter.content["data"]
        message = EmailMessage()
        message["From"] = box.sender
        message["To"] = ", ".join(box.to)
        over = letter.content["type"] == "alert:ended"
        message["Subject"] = f"[converter] {'over' if over else data['severity']}: {data['name']}"
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{letter.id}@{box.sender.rpartition('@')[2] or 'converter'}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail_text(letter.content))
        return message


def mail_text(content: Mapping[str, Any]) -> str:
    """What happened, and the facts below it."""
    data = content["data"]
    lines = [data["text"], ""]
    lines += [f"since    {data['firstAt']}", f"last     {data['lastAt']}"]
    lines += [f"over     {data['resolvedAt']}"] if data["resolvedAt"] else []
    lines += [f"times    {data['count']}", f"alert    {data['key']}"]
    return "\n".join(lines) + "\n"


class _Timed(smtplib.SMTP):
    """Cut off at the deadline of the calling thread's exchange, however slowly the server drips."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, timeout=_EACH)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        # Private there, and the one place where its socket is made.
        sock = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        current().adopt(sock)
        return sock  # type: ignore[no-any-return]


class _TimedTls(smtplib.SMTP_SSL):
    """The same with TLS from the beginning."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=_EACH, context=context)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        sock = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        current().adopt(sock)
        return sock  # type: ignore[no-any-return]


def _words(exchange: Exchange) -> str:
    """What went wrong. What a server says may name addresses, so only its code is told."""
    error, exchange.error = exchange.error, None
    if error is None or exchange.cut:
        return "the deadline passed"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "every recipient was refused"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the server answered {error.smtp_code} ({type(error).__name__})"
    if isinstance(error, CallStoppedError):
        return str(error)
    return f"{type(error).__name__}: {error.strerror}" if isinstance(error, OSError) else type(error).__name__
