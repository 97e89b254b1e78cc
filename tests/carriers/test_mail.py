"""Alerts by mail, to a real SMTP server on a real socket."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from typing import Any, Literal

import pytest

from converter.carriers import mail
from converter.carriers.mail import Mailbox, MailCarrier
from converter.domain.deliveries import TAKEN, Letter
from tests.services.socket_server import CERTIFICATE

DATA = {
    "key": "service:unavailable:alpha:quote",
    "name": "service:unavailable",
    "text": "alpha is unavailable (quote), 3 failures",
    "severity": "warning",
    "firstAt": "2026-03-04T12:00:00+00:00",
    "lastAt": "2026-03-04T12:01:00+00:00",
    "resolvedAt": None,
    "count": 2,
}
RAISED = Letter("alert_ops_7", {"type": "alert:raised", "timestamp": "t", "data": DATA})


class SmtpServer(socketserver.ThreadingTCPServer):
    """Speaks as much SMTP as a relay does; keeps what it was handed. `answers` replace its own by the verb."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *, tls: Literal["starttls", "tls", "none"] = "none", **answers: str) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.tls, self.answers = tls, answers
        self.commands: list[str] = []
        self.logins: list[bytes] = []
        self.mails: list[bytes] = []
        self.over = threading.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(CERTIFICATE)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Session(socketserver.BaseRequestHandler):
    server: SmtpServer

    def handle(self) -> None:
        try:
            if self.server.tls == "tls":
                self._secure()
            self._say("220 relay ready")
            while self._step(self._line()):
                pass
        except OSError:
            pass

    def _secure(self) -> None:
        self.request = self.server.context.wrap_socket(self.request, server_side=True)

    def _say(self, text: str) -> None:
        self.request.sendall(f"{text}\r\n".encode())

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            more = self.request.recv(1)
            if not more:
                raise ConnectionError
            line += more
        return line.rstrip(b"\r\n")

    def _step(self, line: bytes) -> bool:
        verb = line.split(b" ")[0].split(b":")[0].decode().lower()
        self.server.commands.append(verb)
        if verb in self.server.answers:
            self._say(self.server.answers[verb])
            return True
        if verb == "ehlo":
            secured = isinstance(self.request, ssl.SSLSocket)
            offers = ["STARTTLS"] if self.server.tls == "starttls" and not secured else ["AUTH PLAIN"]
            self._say("250-relay\r\n250 " + offers[0])
        elif verb == "starttls":
            self._say("220 go on")
            self._secure()
        elif verb == "auth":
            self.server.logins.append(base64.b64decode(line.split(b" ")[2]))
            self._say("235 welcome")
        elif verb == "data":
            self._say("354 go on")
            mail_lines = iter(self._line, b".")
            self.server.mails.append(b"\r\n".join(mail_lines))
            self._say("250 taken")
        elif verb == "quit":
            self._say("221 bye")
            return False
        elif verb == "hang":
            self.server.over.wait(20)
        else:
            self._say("250 ok")
        return True


@contextmanager
def serving(**given: Any) -> Iterator[SmtpServer]:
    with SmtpServer(**given) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


def mailbox(server: SmtpServer, **changes: Any) -> Mailbox:
    given = {"host": "127.0.0.1", "port": server.port, "tls": "none", "sender": "pool@example.org"}
    return Mailbox(**{**given, "to": ("ops@example.org", "boss@example.org"), **changes})


def test_an_alert_arrives_as_a_plain_mail() -> None:
    with serving() as server:
        assert MailCarrier(mailbox(server)).carry(RAISED) == TAKEN
    [raw] = server.mails
    got = message_from_bytes(raw, policy=policy.default)
    assert got["Subject"] == "[converter] warning: service:unavailable"
    assert (got["From"], got["To"]) == ("pool@example.org", "ops@example.org, boss@example.org")
    assert got["Message-ID"] == "<alert_ops_7@example.org>"
    assert got["Auto-Submitted"] == "auto-generated"
    assert server.commands.count("rcpt") == 2
    text = got.get_content()
    assert text.startswith("alpha is unavailable (quote), 3 failures")
    assert "times    2" in text
    assert "over" not in text


def test_its_end_arrives_as_another_one() -> None:
    over = {**DATA, "resolvedAt": "2026-03-04T12:05:00+00:00"}
    with serving() as server:
        MailCarrier(mailbox(server)).carry(
            Letter("alert_ops_8", {"type": "alert:ended", "timestamp": "t", "data": over})
        )
    got = message_from_bytes(server.mails[0], policy=policy.default)
    assert got["Subject"] == "[converter] over: service:unavailable"
    assert "over     2026-03-04T12:05:00+00:00" in got.get_content()


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_user_is_named_only_over_tls_with_a_certificate_that_is_good(
    tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tls=tls) as server:
        box = mailbox(server, tls=tls, user="pool", password=lambda: "pass word")
        refused = MailCarrier(box).carry(RAISED)
        assert not refused.taken
        assert "SSL" in refused.error
        assert server.logins == []
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert MailCarrier(box).carry(RAISED) == TAKEN
    assert server.logins == [b"\0pool\0pass word"]
    assert len(server.mails) == 1


def test_a_relay_without_starttls_gets_no_mail_where_tls_is_wanted() -> None:
    with serving() as server:
        assert not MailCarrier(mailbox(server, tls="starttls")).carry(RAISED).taken
    assert server.mails == []


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"rcpt": "550 ops@example.org is unknown"}, "every recipient was refused"),
        ({"mail": "451 come back"}, "the server answered 451 (SMTPSenderRefused)"),
        ({"data": "554 no"}, "the server answered 554 (SMTPDataError)"),
    ],
)
def test_a_refusal_is_told_by_its_code_alone(answers: dict[str, str], error: str) -> None:
    with serving(**answers) as server:
        receipt = MailCarrier(mailbox(server)).carry(RAISED)
    assert (receipt.taken, receipt.error) == (False, error)


def test_nobody_there_is_no_mail() -> None:
    with serving() as server:
        box = mailbox(server)
    receipt = MailCarrier(box).carry(RAISED)
    assert not receipt.taken
    assert "refused" in receipt.error


def test_a_relay_that_drips_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "_WHOLE", 0.5)

    class Dripping(_Session):
        def handle(self) -> None:
            with_dots = b"220-" + b"x" * 400
            for position in range(len(with_dots)):
                self.request.sendall(with_dots[position : position + 1])
                if self.server.over.wait(0.05):
                    return

    with serving() as server:
        server.RequestHandlerClass = Dripping
        began = time.monotonic()
        receipt = MailCarrier(mailbox(server)).carry(RAISED)
        assert time.monotonic() - began < 3
    assert receipt.error == "the deadline passed"
